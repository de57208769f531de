"""A ledger without a cell around it: a database with its head row, a committer, and commands to try."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.support.databases import give_back, new_database
from vault.audit.event import Event
from vault.clock import Clock, SystemClock
from vault.identifiers import new_id
from vault.ledger.command import Command, Needs, State, Writes
from vault.ledger.committer import Committer, Pending
from vault.ledger.group import Outcome
from vault.services.audit import verify
from vault.store import migrations
from vault.store.cell import Store
from vault.store.session import Session

Effect = Callable[[State, Writes], Any]


@dataclass
class Note(Command):
    """Notes its number as an event; inserts a tenant if it has a name, and does more if it is told to."""

    number: int
    tenant: str | None = None
    more: Effect | None = None
    decided: list[State] = field(default_factory=list, repr=False)

    def needs(self, needs: Needs) -> None:
        pass

    def decide(self, state: State, writes: Writes) -> Any:
        self.decided.append(state)
        found = self.more(state, writes) if self.more is not None else self.number
        if self.tenant is not None:
            row = {"id": new_id("tn"), "name": self.tenant, "state": "active", "created_at": state.now}
            writes.insert("tenant", **row)
        writes.event(Event("cell.init", "main", "test", {"number": self.number}))
        return found


class Alone(Note):
    """One that needs a transaction of its own."""

    alone = True


def fails(problem: Exception) -> Effect:
    """An effect that raises."""

    def effect(_state: State, _writes: Writes) -> Any:
        raise problem

    return effect


class Ledger:
    """A database with a head row, and a committer that is made when first used."""

    def __init__(self, store: Store, **bounds: int) -> None:
        self.store = store
        self._bounds = bounds
        self._committer: Committer | None = None
        self.sessions: list[Session] = []
        opened = store.session

        def session() -> Session:
            self.sessions.append(opened())
            return self.sessions[-1]

        # To reach the connection of the committer.
        store.session = session  # type: ignore[method-assign]

    @property
    def committer(self) -> Committer:
        """The committer."""
        if self._committer is None:
            self._committer = Committer(self.store, **self._bounds)
        return self._committer

    def submit(self, commands: Sequence[Command]) -> list[Outcome | None]:
        """Hands commands over at once and waits; their outcomes, in order."""
        done = threading.Semaphore(0)

        def deliver(settled: list[Pending]) -> None:
            done.release(len(settled))

        pending = [self.committer.pending(command, deliver) for command in commands]
        self.committer.submit(pending)
        for _ in pending:
            assert done.acquire(timeout=30)
        return [one.outcome for one in pending]

    def numbers(self) -> list[int]:
        """The numbers noted, in the order of the log, after checking that the log has no gap."""
        verify(self.store)
        rows = self.store.read(self.store.record.audit_range, {"first": 0, "end": 2**62})
        return [msgspec.json.decode(row[2])["number"] for row in rows]

    def tenants(self) -> set[str]:
        """The names of all tenants."""
        return {
            row[0]
            for row in self.store.read(
                self.store.tables.tenants.select().with_only_columns(self.store.tables.tenants.c.name)
            )
        }

    def close(self) -> None:
        """Stops the committer and closes the database."""
        if self._committer is not None:
            self._committer.close()
        self.store.close()


@contextmanager
def ledger(kind: str, folder: Path, clock: Clock | None = None, **bounds: int) -> Iterator[Ledger]:
    """A new ledger on a kind of database: `sqlite` or `postgresql`.

    Args:
        bounds: `max_group`, `max_queue`.
    """
    url = new_database(kind, folder)
    store = Store(url, clock or SystemClock())
    migrations.upgrade(store.engine)
    with store.engine.begin() as connection:
        connection.execute(
            store.tables.head.insert().values(
                id=1, region="eu", next=0, write_epoch=1, read_epoch=1, fence=0, schema_version=0, last_at=0
            )
        )
    made = Ledger(store, **bounds)
    try:
        yield made
    finally:
        made.close()
    give_back(url)
