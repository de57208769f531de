"""A cell's database from outside: which version it has, who holds it, and taking it up or down.

Needs no key and opens no value. Nothing is changed without the cell's lock, and without a copy of what was.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vault.clock import format_time
from vault.errors import BadInput, IntegrityError, Misconfigured
from vault.store import migrations
from vault.store.cell import Store
from vault.store.lock import CellLock

FILE_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Standing:
    """How a cell's database stands.

    Attributes:
        revision: the migration it is at; None: none at all.
        newest: the one that this program needs.
        pending: those between, in order.
        bytes: the database's size; `wal_bytes` that of its write-ahead log.
        held_by: the process that holds the cell; None if none does.
    """

    revision: str | None
    newest: str
    pending: list[str]
    bytes: int
    wal_bytes: int
    held_by: int | None


@dataclass(frozen=True, slots=True)
class Move:
    """A way from one version to another.

    Attributes:
        steps: the migrations that are run, or undone, in order.
        copy: where the database as it is now is copied to first.
    """

    source: str
    target: str
    up: bool
    steps: list[str]
    copy: Path


class Upkeep:
    """One SQLite cell's database.

    Args:
        path: its file.
        store: the same, opened; closed by whoever opened it.
    """

    def __init__(self, path: Path, store: Store) -> None:
        self.path = path
        self.store = store

    def standing(self) -> Standing:
        """How it stands. Takes no lock.

        Raises:
            Unavailable: `database_unavailable`.
        """
        revision = migrations.current(self.store.engine)
        newest = migrations.newest()
        known = revision is None or migrations.is_known(revision)
        return Standing(
            revision,
            newest,
            migrations.between(revision, newest) if known else [],
            _size(self.path),
            _size(self.path.with_name(self.path.name + "-wal")),
            CellLock(self.path).holder(),
        )

    def plan(self, target: str | None, *, up: bool) -> Move:
        """The way to a version, None for the newest; without steps if it is there.

        Raises:
            Misconfigured: `not_initialised`; `migration_required`: the database's version is one that this
                program does not know.
            BadInput: `usage`: there is no such version in that direction.
        """
        source = migrations.current(self.store.engine)
        if source is None:
            raise Misconfigured("not_initialised")
        if not migrations.is_known(source):
            raise Misconfigured("migration_required", database=source, program=migrations.newest())
        every = migrations.between(None, migrations.newest())
        target = every[-1] if target is None else target
        side = every[every.index(source) :] if up else every[: every.index(source) + 1]
        if target not in side:
            raise BadInput(
                "usage", reason="there is no such version in that direction", known=", ".join(side)
            )
        steps = migrations.between(source, target) if up else migrations.between(target, source)[::-1]
        stamp = format_time(self.store.clock.now())[:19].replace("-", "").replace(":", "") + "Z"
        return Move(source, target, up, steps, self.path.with_name(f"{self.path.name}.{source}-{stamp}"))

    def move(self, move: Move) -> None:
        """Copies the database, then runs the steps, all or none, under the cell's lock.

        Raises:
            Conflict: `cell_locked`; nothing was done.
            Misconfigured: `host_permissions`: it could not be copied; `migration_required`: a step failed
                and was undone, or the database moved meanwhile.
            IntegrityError: `integrity_failed`: the copy is not whole.
        """
        with self._locked():
            if migrations.current(self.store.engine) != move.source:
                raise Misconfigured(
                    "migration_required", reason="the database changed since it was looked at"
                )
            copy_database(self.path, move.copy)
            run = migrations.upgrade if move.up else migrations.downgrade
            run(self.store.engine, move.target)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = CellLock(self.path)
        lock.acquire()
        try:
            yield
        finally:
            lock.release()


def copy_database(source: Path, target: Path) -> None:
    """Makes one consistent, durable copy of a SQLite database for its owner alone. Never overwrites.

    Raises:
        Misconfigured: `host_permissions`.
        IntegrityError: `integrity_failed`: what was copied is not whole.
    """
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    except OSError:
        raise Misconfigured("host_permissions", path=str(target)) from None
    try:
        with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copy:
            live.backup(copy)
            if copy.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                raise IntegrityError("integrity_failed")
        for place in (target, target.parent):
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except (sqlite3.Error, OSError):
        target.unlink(missing_ok=True)
        raise Misconfigured("host_permissions", path=str(target), reason="the copy failed") from None
    except IntegrityError:
        target.unlink(missing_ok=True)
        raise


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
