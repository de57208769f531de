"""Several processes that serve one deployment: started, watched, started again, and told what is to be told.

The parent binds the sockets, asks for passphrases, and serves nobody. It forks before it has a thread or a
connection, so that no process has another's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
SETTLED_S: Final = 30.0  # a process that lived for so long is started again at once
GRACE_S: Final = 10.0  # beyond the time that requests under way have
_TICK_S: Final = 0.5
_log = logging.getLogger("coatcheck.supervisor")


@dataclass(frozen=True, slots=True)
class Worker:
    """What a process knows of its parent.

    Attributes:
        number: which of the processes it is, from 0.
        life: a descriptor that ends when the parent does.
    """

    number: int
    life: int
    _ready: int

    def listening(self) -> None:
        """Tells the parent that this process answers."""
        os.write(self._ready, b"1")
        os.close(self._ready)


@dataclass(slots=True)
class _Child:
    pid: int
    started: float
    ready: int  # a descriptor; -1 once it was read


class Supervisor:
    """The parent.

    Args:
        workers: how many processes.
        drain_s: how long requests under way have when it is told to stop.
        announce: called once, when all of them listen.
        let_go: called when it is told to stop: closes the sockets, which the others still have.
    """

    def __init__(
        self, workers: int, drain_s: float, announce: Callable[[], None], let_go: Callable[[], None]
    ) -> None:
        self._drain_s = drain_s
        self._announce = announce
        self._let_go = let_go
        self._children: dict[int, _Child] = {}
        self._due = dict.fromkeys(range(workers), 0.0)  # number -> when it is to be started
        self._pauses = dict.fromkeys(range(workers), FIRST_PAUSE_S)
        self._told: list[signal.Signals] = []
        self._announced = False
        self._end = 0.0  # when all that is left is killed; 0: not told to stop
        self._code = 0
        self._life = (-1, -1)
        self._wake = (-1, -1)

    def run(self) -> Worker | int:
        """In each process, once: who it is. In the parent, at the end: the exit code."""
        self._life, self._wake = os.pipe(), os.pipe()
        os.set_blocking(self._wake[1], False)
        os.set_blocking(self._wake[0], False)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda told, _frame: self._told.append(signal.Signals(told)))
        signal.signal(signal.SIGCHLD, lambda _told, _frame: None)
        while True:
            worker = self._start_those_due()
            if worker is not None:
                return worker
            self._wait()
            for told in self._take_told():
                self._tell(told)
            self._reap()
            if self._end and not self._children:
                return self._code
            if self._end and time.monotonic() > self._end:
                self._send(signal.SIGKILL)

    def _start_those_due(self) -> Worker | None:
        """Starts what is due; the first one alone, so that what is wrong is said once."""
        now = time.monotonic()
        for number, due in list(self._due.items()):
            alone = not self._announced and any(child.ready >= 0 for child in self._children.values())
            if self._end or due > now or alone:
                continue
            del self._due[number]
            worker = self._fork(number)
            if worker is not None:
                return worker
        return None

    def _fork(self, number: int) -> Worker | None:
        ready, tell = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            os.close(tell)
            self._children[number] = _Child(pid, time.monotonic(), ready)
            return None
        signal.set_wakeup_fd(-1)
        for told in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(told, signal.SIG_DFL)
        os.setpgid(0, 0)  # Ctrl-C on a terminal is the parent's to pass on, once
        for child in self._children.values():
            if child.ready >= 0:
                os.close(child.ready)
        for descriptor in (ready, self._life[1], *self._wake):
            os.close(descriptor)
        return Worker(number, self._life[0], tell)

    def _wait(self) -> None:
        """Until a signal, a word of a process, or the next start that is due."""
        words = {child.ready: child for child in self._children.values() if child.ready >= 0}
        next_due = min(self._due.values(), default=float("inf")) - time.monotonic()
        readable, _, _ = select.select([self._wake[0], *words], [], [], max(0.0, min(_TICK_S, next_due)))
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake[0], 4096)
        for descriptor in readable:
            child = words.get(descriptor)
            if child is not None and os.read(descriptor, 1):
                os.close(descriptor)
                child.ready = -1
        listening = [child for child in self._children.values() if child.ready < 0]
        if not self._announced and not self._due and len(listening) == len(self._children):
            self._announced = True
            self._announce()

    def _take_told(self) -> list[signal.Signals]:
        told, self._told = self._told, []
        return told

    def _tell(self, told: signal.Signals) -> None:
        """Passes a signal on; one that ends is SIGTERM for all of them."""
        if told == signal.SIGHUP:
            self._send(told)
            return
        if not self._end:
            self._end = time.monotonic() + self._drain_s + GRACE_S
            self._let_go()
        self._send(signal.SIGTERM)

    def _send(self, told: signal.Signals) -> None:
        for child in self._children.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, told)

    def _reap(self) -> None:
        """Looks who has ended."""
        for number, child in list(self._children.items()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            del self._children[number]
            if child.ready >= 0:
                os.close(child.ready)
            if self._end:
                continue
            code = os.waitstatus_to_exitcode(status)
            if not self._announced and code >= 0:  # it cannot be started as it is: it has said why
                self._code = code or 70
                self._tell(signal.SIGTERM)
                continue
            lived = time.monotonic() - child.started
            pause = FIRST_PAUSE_S if lived > SETTLED_S else self._pauses[number]
            self._pauses[number] = min(2 * pause, LONGEST_PAUSE_S)
            self._due[number] = time.monotonic() + pause
            _log.error("a process ended and is started again", extra={"status": code})
