"""Processes of the program in a few milliseconds: forked from one that has loaded it and done nothing else.

    child = nursery().fork(RUN, [["serve", "--config", str(folder)]], environment(), ROOT, outputs)
    child.wait(60)

A child runs what it is told and ends as Python does. What differs from a program that is started is that it
shares its seed of hashes with the other children, and that loading it cannot fail.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
RUN: Final = "vault.cli.main:run"  # what `coatcheck` runs, with the words of its command line
KILLED: Final = -signal.SIGKILL


class Streams(NamedTuple):
    """The files of a child's standard streams; outputs are appended to."""

    given: Path
    out: Path
    err: Path

    @classmethod
    def into(cls, folder: Path) -> Streams:
        """No input, and outputs in the files `stdout` and `stderr` of a folder."""
        return cls(Path(os.devnull), folder / "stdout", folder / "stderr")


class Child:
    """A process that the nursery forked, to be treated as a `subprocess.Popen`.

    Attributes:
        returncode: its exit code, or minus the number of the signal that ended it; None: nobody has asked.
        late: whether it had to be killed from here.
    """

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        weakref.finalize(self, os.close, self._descriptor)
        self._lock = threading.Lock()
        self.returncode: int | None = None
        self.late = False

    def ended(self, within_s: float = 0) -> bool:
        """Whether it ended, within so many seconds."""
        waiting = select.poll()  # `select` takes low descriptors only
        waiting.register(self._descriptor, select.POLLIN)
        if self.returncode is None and waiting.poll(within_s * 1000):
            with self._lock:
                if self.returncode is None:
                    self.returncode = self._nursery.reap(self.pid)
        return self.returncode is not None

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        self.ended()
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Its exit code, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not, within so many seconds.
        """
        if not self.ended(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, if it is there."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self.returncode is None:
                signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)
        assert self.ended(60)

    def kill_late(self) -> None:
        """Ends it if it has not ended, and remembers."""
        if not self.ended():
            self.late = True
            self.kill()


class Nursery:
    """The process that forks."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery", str(theirs.fileno())],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for the tests, which end what they began
        )
        theirs.close()
        self._answers = self._socket.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()

    def fork(
        self,
        function: str,
        arguments: Sequence[Any],
        environment: Mapping[str, str],
        cwd: Path,
        streams: Streams,
    ) -> Child:
        """A process that calls a function, `module:name`, with arguments that JSON can say."""
        pid = self._ask(
            function=function,
            arguments=list(arguments),
            environment=dict(environment),
            cwd=str(cwd),
            streams=[str(path) for path in streams],
        )
        return Child(self, pid)

    def reap(self, pid: int) -> int:
        """The exit code of a child that ended, or minus the number of a signal."""
        return self._ask(reap=pid)

    def _ask(self, **what: Any) -> int:
        with self._lock:
            self._socket.sendall(json.dumps(what).encode() + b"\n")
            return int(self._answers.readline())

    def close(self) -> None:
        """Ends the nursery; its children are to be ended before."""
        self._answers.close()
        self._socket.close()
        self._process.wait(60)


@cache
def nursery() -> Nursery:
    """The nursery of this process, gone with it."""
    made = Nursery()
    atexit.register(made.close)
    return made


def _become(asked: dict[str, Any]) -> None:
    """What a child does after the fork."""
    flags = (os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT | os.O_APPEND] * 2)
    for number, (path, how) in enumerate(zip(asked["streams"], flags, strict=True)):
        descriptor = os.open(path, how, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    module, _, name = asked["function"].partition(":")
    getattr(importlib.import_module(module), name)(*asked["arguments"])


def main(descriptor: int) -> None:
    """Forks and reaps as it is asked to, a line of JSON each; returns in each child, once it is done."""
    # Everything that a process needs, loaded once; no thread may run when it forks.
    import uvicorn.loops.uvloop  # noqa: F401

    import vault.__main__
    import vault.api.app
    import vault.api.server  # noqa: F401

    gc.freeze()  # what is loaded is never looked through again, and its pages stay shared
    # Not by standard streams: those are the children's, and nothing of ours is in their buffers.
    with socket.socket(fileno=descriptor) as ours:
        requests = ours.makefile("r", encoding="utf-8")
        for line in requests:
            asked = json.loads(line)
            if "reap" in asked:
                _, status = os.waitpid(asked["reap"], 0)
                answer = os.waitstatus_to_exitcode(status)
            else:
                answer = os.fork()
                if answer == 0:
                    break
            ours.sendall(f"{answer}\n".encode())
        else:
            return
        requests.close()
    _become(asked)


if __name__ == "__main__":
    main(int(sys.argv[1]))
