"""The committer: one thread a cell and process, which runs all commands that wait as one transaction.

There is no waiting window: groups form while the previous commit runs.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from vault.errors import MAX_TRIES, CoatcheckError, Internal, Stale, Unauthenticated, Unavailable, pause_after
from vault.ledger.command import Answer, Command, Committed, Verb
from vault.ledger.group import Outcome, run_group
from vault.store.cell import Store
from vault.store.session import Session

MAX_GROUP: Final = 256
MAX_QUEUE: Final = 4096
_log = logging.getLogger("coatcheck.ledger")


class Pending:
    """A command on its way; `outcome` is set before `deliver` is called."""

    __slots__ = ("command", "deliver", "outcome", "waiter")

    def __init__(self, command: Command, deliver: Callable[[list[Pending]], None]) -> None:
        self.command = command
        self.deliver = deliver
        self.outcome: Outcome | None = None
        self.waiter: object = None  # whatever the door waits on


class Committer:
    """The one writer of a cell in this process.

    Args:
        store: the cell's database.
        max_group: most commands of one transaction.
        max_queue: most commands that may wait; more are refused with `too_busy`.
    """

    def __init__(self, store: Store, max_group: int = MAX_GROUP, max_queue: int = MAX_QUEUE) -> None:
        self._store = store
        self._max_group = max_group
        self._max_queue = max_queue
        self._queue: queue.SimpleQueue[Sequence[Pending] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._closing = False
        self.groups = 0
        self.commands = 0
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self._thread.start()

    def submit(self, pending: Sequence[Pending]) -> None:
        """Hands commands over; they are decided in this order.

        Raises:
            Unavailable: `too_busy` when the queue is full, `draining` when closing. None was taken.
        """
        with self._lock:
            if self._closing:
                raise Unavailable("draining")
            if self._waiting + len(pending) > self._max_queue:
                raise Unavailable("too_busy", retry_after=1)
            self._waiting += len(pending)
            self._queue.put(pending)

    def pending(self, command: Command, deliver: Callable[[list[Pending]], None]) -> Pending:
        """A command to hand over, and who is told when it is done."""
        return Pending(command, deliver)

    def execute(self, command: Command) -> Committed:
        """Runs one command and waits: for host verbs and tests.

        Raises:
            CoatcheckError: the command was refused.
            Stale: it was prepared on what is no longer so.
        """
        done = threading.Event()
        pending = Pending(command, lambda _: done.set())
        self.submit((pending,))
        done.wait()
        if not isinstance(pending.outcome, Committed):
            raise pending.outcome or Unavailable("too_busy")
        return pending.outcome

    def close(self) -> None:
        """Takes no more commands, finishes those that wait, and stops the thread."""
        with self._lock:
            self._closing = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        session = self._store.session()
        try:
            backlog: list[Pending] = []
            open_ = True
            while open_ or backlog:
                if not backlog:
                    open_ = self._take(backlog, block=True)
                while open_ and len(backlog) < self._max_group and not self._queue.empty():
                    open_ = self._take(backlog, block=False)
                group = self._next_group(backlog)
                if group:
                    self._settle(session, group)
        finally:
            session.close()

    def _take(self, backlog: list[Pending], *, block: bool) -> bool:
        """Moves one hand-over into the backlog; False when it is the last."""
        with contextlib.suppress(queue.Empty):
            taken = self._queue.get(block=block)
            if taken is None:
                return False
            backlog.extend(taken)
        return True

    def _next_group(self, backlog: list[Pending]) -> list[Pending]:
        """The longest run of commands from the front that may share a transaction."""
        size = weight = 0
        for pending in backlog[: self._max_group]:
            weight += pending.command.weight
            if size and (pending.command.alone or weight > self._max_group):
                break
            size += 1
            if pending.command.alone:
                break
        group = backlog[:size]
        del backlog[:size]
        return group

    def _settle(self, session: Session, group: list[Pending]) -> None:
        outcomes = self._outcomes(session, group)
        with self._lock:
            self._waiting -= len(group)
        self.groups += 1
        self.commands += len(group)
        by_door: dict[Callable[[list[Pending]], None], list[Pending]] = {}
        for pending, outcome in zip(group, outcomes, strict=True):
            pending.outcome = outcome
            by_door.setdefault(pending.deliver, []).append(pending)
        for deliver, done in by_door.items():
            try:
                deliver(done)
            except Exception as problem:  # noqa: BLE001 - a door that is gone takes nobody with it
                _log.warning("ledger outcome not delivered", extra={"error": type(problem).__name__})

    def _outcomes(self, session: Session, group: list[Pending]) -> Sequence[Outcome]:
        try:
            return run_group(session, self._store, [pending.command for pending in group])
        except Exception as problem:  # noqa: BLE001 - whoever waits gets an answer, whatever happened
            _log.error("ledger group failed", extra={"error": type(problem).__name__})
            return [Internal("internal") for _ in group]


def drive(
    committer: Committer,
    start: Callable[[], Verb[Answer]],
    on_stale: Callable[[], None] = lambda: None,
    outdated: Callable[[], bool] = lambda: False,
) -> Answer:
    """Runs a verb to its end in the calling thread: for host verbs and tests.

    Args:
        start: makes the verb; called again when a command comes back stale.
        on_stale: drops what was remembered, before the verb is made again.
        outdated: whether a refusal that nothing was committed for rests on what is no longer so.

    Raises:
        CoatcheckError: what the verb raised; `too_busy` when it stayed stale.
    """
    for tries in range(MAX_TRIES):
        time.sleep(pause_after(tries))
        verb, settled = start(), False
        try:
            command = next(verb)
            while True:
                try:
                    outcome = committer.execute(command)
                except CoatcheckError as refusal:
                    command = verb.throw(refusal)
                else:
                    settled = True
                    command = verb.send(outcome)
        except StopIteration as end:
            answer: Answer = end.value
            return answer
        except Stale:
            verb.close()
            on_stale()
        except CoatcheckError as refusal:
            if settled or isinstance(refusal, Unauthenticated | Unavailable) or not outdated():
                raise
            on_stale()
    raise Unavailable("too_busy", retry_after=1)
