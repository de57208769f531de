"""The processes that hold keys of a cell: which epochs each has opened, and which it has dropped.

A turn flips to a new epoch when every live process can open it, and destroys an old one when none can any
more. Who lives is told by a lease on the database's clock. A process measures its own lease from before it
asked for it, so it ends here before it ends there; whoever comes to use a key after that finds none.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Mapping
from typing import Final

from vault.clock import SECOND, Micros
from vault.errors import MAX_TRIES, CoatcheckError, Stale, Unavailable
from vault.identifiers import uuid7
from vault.keyring.epoch import StoredEpoch, needed_epochs, open_rows, stored_epochs
from vault.keyring.hierarchy import Epoch
from vault.keyring.ring import awake
from vault.keystate.states import KeyState
from vault.kms.erased import ErasedLog
from vault.ledger.command import Command, Needs, State, Writes
from vault.ledger.state import Head
from vault.services.cell import Cell
from vault.services.finality import final_events
from vault.store.tables import SQLITE
from vault.store.work import ProcessRow

LEASE_S: Final = 60  # as long as a plaintext key is cached at most (store.cache.MAX_AGE_S)
BEAT_S: Final = 20.0  # two may be missed
LOOK_S: Final = 1.0  # how soon a process follows a turn
GRACE_S: Final = 60  # beyond a lapsed lease, for clocks that run apart
FORGOTTEN_S: Final = 3_600  # after its lease lapsed, a row that nobody waits for any more
_log = logging.getLogger("coatcheck.processes")


class Attend(Command):
    """Enters a process, or renews its lease with what it holds by now.

    Args:
        sole: whether there can be no other: who else is entered is dead.
    """

    def __init__(
        self, id_: bytes, kind: str, opened: int, dropped: int, destroyed: int, *, sole: bool
    ) -> None:
        self._id = id_
        self._kind = kind
        self._epochs = {"opened": opened, "dropped": dropped, "destroyed": destroyed}
        self._sole = sole

    def needs(self, needs: Needs) -> None:
        """Touches no row that others decide on."""

    def decide(self, state: State, writes: Writes) -> None:
        """Enters it, if it holds what the head row takes for granted.

        Raises:
            Stale: the head has moved on since it looked: it is not entered as what it is not.
        """
        head = state.head
        if self._epochs["opened"] < head.write_epoch or self._epochs["dropped"] >= head.read_epoch:
            raise Stale
        writes.insert(
            "process",
            id=self._id,
            kind=self._kind,
            pid=os.getpid(),
            started_at=state.now,
            lease_until=state.now + LEASE_S * SECOND,
            **self._epochs,
        )
        if self._sole:
            writes.update("drop_other_processes", process=self._id)
        else:
            writes.update("drop_dead_processes", before=state.now - FORGOTTEN_S * SECOND)


class Leave(Command):
    """Removes a process that holds no key any more."""

    def __init__(self, id_: bytes) -> None:
        self._id = id_

    def needs(self, needs: Needs) -> None:
        """Touches no row that others decide on."""

    def decide(self, state: State, writes: Writes) -> None:
        """Removes it."""
        writes.update("drop_process", process=self._id)


class Process:
    """This process's part in a cell: follows the epochs, and says so.

    Args:
        cell: the cell, whose key stores are known.
        kind: what it does: `serve`, `worker`, `host`.

    Attributes:
        followed: whether a steward looks all the while.
    """

    def __init__(self, cell: Cell, kind: str) -> None:
        self.id = uuid7()
        self.followed = False
        self._cell = cell
        self._kind = kind
        self._lock = threading.Lock()
        self._destroyed = 0
        self._ended = 0
        self._said: tuple[int, int, int] | None = None
        self._renew_at = 0.0
        self._expires = 0.0
        self._sole = cell.store.tables.dialect == SQLITE  # it holds the file's lock

    def look(self) -> None:
        """Opens epochs that are new, drops those that are closed, destroys halves, and says so.

        Raises:
            CoatcheckError: the key store or the database is out of reach; what could be done is done.
        """
        with self._lock:
            for _ in range(MAX_TRIES):
                with contextlib.suppress(Stale):  # the head moved on meanwhile
                    return self._look()
            raise Unavailable("too_busy", retry_after=1)

    def _look(self) -> None:
        keyring, store = self._cell.keyring, self._cell.store
        lapsed = self._said is not None and awake() > self._expires
        if lapsed:
            keyring.wipe()  # before anything else
        head = Head(*store.read(store.record.head)[0])
        opened = self._open([row for row in needed_epochs(store) if row.number not in keyring.held])
        if not lapsed:
            keyring.hold(opened)
        if any(number < head.read_epoch for number in keyring.held):
            keyring.drop_through(head.read_epoch - 1)
        if keyring.in_use != head.epochs:
            self._cell.forget()
        self._destroy()
        self._compact()
        held = {*keyring.held, *opened}
        says = (max(held, default=0), head.read_epoch - 1, self._destroyed)
        if says != self._said or awake() >= self._renew_at:
            self._say(says)
        if lapsed:
            # Not before: whoever comes to use a key without a lease takes all of them out of the ring again.
            keyring.hold(opened)

    def keep(self) -> None:
        """Looks, if no steward does. Without, the lease lapses in the middle of long work, and the keys go.

        Raises:
            CoatcheckError: as `look`.
        """
        if not self.followed:
            self.look()

    def leave(self) -> None:
        """Lets go of the keys, and says that there is no such process any more."""
        with self._lock:
            self._cell.keyring.wipe()
            if self._said is not None:
                with contextlib.suppress(CoatcheckError):
                    self._cell.committer.execute(Leave(self.id))

    def _open(self, rows: list[StoredEpoch]) -> Mapping[int, Epoch]:
        if not rows:
            return {}
        if self._cell.keys is None:
            raise Unavailable("key_unavailable")
        # Opened for this once: what a provider remembers of root keys goes with it.
        return open_rows(self._cell.region, rows, *self._cell.keys())

    def _destroy(self) -> None:
        """Destroys the halves, in this host's half-stores, of epochs for which that was ordered."""
        ordered = [row.number for row in stored_epochs(self._cell.store) if row.destroy_at is not None]
        newest = max(ordered, default=0)
        if newest > self._destroyed and self._cell.keys is not None:
            _, halves = self._cell.keys()
            for number in ordered:
                halves.destroy(number)
            self._destroyed = newest

    def _compact(self) -> None:
        """Leaves out of this host's `erased.log` what no backup can bring back, once for each epoch's end."""
        states = {row.number: row.state for row in stored_epochs(self._cell.store)}
        ended = max((number for number, state in states.items() if state == KeyState.DESTROYED), default=0)
        if ended <= self._ended or self._cell.keys is None:
            return
        self._ended = ended  # what fails now is done at the next end, or by the next process
        try:
            events = final_events(self._cell.store, self._cell.clock.now())
            _, halves = self._cell.keys()
            gone = ErasedLog(self._cell.region, halves.folders).compact(events) if events else 0
        except CoatcheckError as problem:
            _log.warning("erased.log not compacted", extra={"code": problem.code})
        else:
            if gone:
                _log.info("erased.log compacted", extra={"entries": gone})

    def _say(self, says: tuple[int, int, int]) -> None:
        asked = awake()
        self._cell.committer.execute(Attend(self.id, self._kind, *says, sole=self._sole))
        self._said = says
        self._expires = asked + LEASE_S
        self._renew_at = asked + BEAT_S
        self._cell.keyring.lease(self._expires)


class Steward:
    """The thread in which a process follows the epochs."""

    def __init__(self, process: Process) -> None:
        self._process = process
        process.followed = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steward", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops it; the process has left when this returns."""
        self._stop.set()
        self._thread.join()
        self._process.leave()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self._process.look()
            except CoatcheckError as problem:
                _log.warning("epochs not followed", extra={"code": problem.code})
            except Exception as problem:  # noqa: BLE001 - it goes on, or the lease lapses
                _log.error("epochs not followed", extra={"error": type(problem).__name__})


def behind(processes: list[ProcessRow], epoch: int, now: Micros) -> list[ProcessRow]:
    """The live processes that have not opened an epoch."""
    return [row for row in processes if row.lease_until >= now and row.opened < epoch]


def holding(processes: list[ProcessRow], epoch: int, now: Micros) -> list[ProcessRow]:
    """The processes that may hold an epoch's key: live ones that say so, and those not long enough dead."""
    return [row for row in processes if row.dropped < epoch and now <= row.lease_until + GRACE_S * SECOND]


def not_destroyed(processes: list[ProcessRow], epoch: int, now: Micros) -> list[ProcessRow]:
    """The live processes whose half-stores still have an epoch's half."""
    return [row for row in processes if row.lease_until >= now and row.destroyed < epoch]
