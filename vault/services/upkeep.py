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
from typing import Final

from sqlalchemy import text

from vault.clock import format_time
from vault.errors import BadInput, Conflict, IntegrityError, Misconfigured, Unavailable
from vault.store import migrations
from vault.store.cell import Store
from vault.store.loads import read_load
from vault.store.lock import CellLock
from vault.store.pipeline import CELL_LOCK, ServerClock

FILE_MODE = 0o600
_STANDING: Final = """
SELECT pg_database_size(current_database()), count(*) FROM pg_locks
WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted
  AND CAST(classid AS bigint) = :first AND CAST(objid AS bigint) = :last
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_SERVER: Final = """
SELECT CAST(current_setting('server_version_num') AS integer) / 10000,
  current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on',
  current_setting('synchronous_standby_names') <> '',
  pg_is_in_recovery(),
  coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
  coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false),
  CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a cell's database stands.

    Attributes:
        revision: the migration it is at; None: none at all.
        newest: the one that this program needs.
        pending: those between, in order.
        bytes: the database's size; `wal_bytes` that of its write-ahead log, 0 on a server.
        held_by: the process that holds the cell; None if none does, and on a server, which takes many.
        writers: how many processes may write into it now.
    """

    revision: str | None
    newest: str
    pending: list[str]
    bytes: int
    wal_bytes: int
    held_by: int | None
    writers: int


@dataclass(frozen=True, slots=True)
class ServerStanding:
    """How a PostgreSQL server stands.

    Attributes:
        version: its major version.
        durable: whether what it has acknowledged survives its crash (fsync, full_page_writes).
        followed: whether a commit waits for a stand-by, so that a failover loses none.
        standby: whether it is a stand-by itself.
        encrypted: whether this connection is.
        superuser: whether this role is one.
        now: its clock, in microseconds.
    """

    version: int
    durable: bool
    followed: bool
    standby: bool
    encrypted: bool
    superuser: bool
    now: int


@dataclass(frozen=True, slots=True)
class Move:
    """A way from one version to another.

    Attributes:
        steps: the migrations that are run, or undone, in order.
        copy: where the database as it is now is copied to first; None on a server.
        online: whether services may go on meanwhile, and afterwards with the program that they have.
    """

    source: str
    target: str
    up: bool
    steps: list[str]
    copy: Path | None
    online: bool = False


class Upkeep:
    """One cell's database.

    Args:
        path: its file; None on a server.
        store: the same, opened; closed by whoever opened it.
    """

    def __init__(self, path: Path | None, store: Store) -> None:
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
        pending = migrations.between(revision, newest) if known else []
        if self.path is None:
            of = {"first": CELL_LOCK[0], "last": CELL_LOCK[1]}
            [[size, writers]] = self.store.read(text(_STANDING), of)
            return Standing(revision, newest, pending, size, 0, None, writers)
        held_by = CellLock(self.path).holder()
        return Standing(
            revision,
            newest,
            pending,
            _size(self.path),
            _size(self.path.with_name(self.path.name + "-wal")),
            held_by,
            int(held_by is not None),
        )

    def server(self) -> ServerStanding:
        """How the server stands.

        Raises:
            Unavailable: `database_unavailable`.
        """
        return ServerStanding(*self.store.read(text(_SERVER))[0])

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
        copy = self.path and self.path.with_name(f"{self.path.name}.{source}-{stamp}")
        online = up and self.path is None and migrations.is_online(steps)
        return Move(source, target, up, steps, copy, online)

    def move(self, move: Move) -> None:
        """Copies the database, then runs the steps, all or none, under the cell's lock.

        Raises:
            Conflict: `cell_locked`; nothing was done.
            Misconfigured: `host_permissions`: it could not be copied; `migration_required`: a step failed
                and was undone, or the database moved meanwhile.
            IntegrityError: `integrity_failed`: the copy is not whole.
        """
        with self._locked():
            if read_load(self.store.engine) is not None:
                raise Conflict("cell_incomplete")
            if migrations.current(self.store.engine) != move.source:
                raise Misconfigured(
                    "migration_required", reason="the database changed since it was looked at"
                )
            if self.path is not None and move.copy is not None:
                copy_database(self.path, move.copy)
            run = migrations.upgrade if move.up else migrations.downgrade
            run(self.store.engine, move.target)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self.path is None:  # `migrations` takes the server's
            yield
            return
        lock = CellLock(self.path)
        lock.acquire()
        try:
            yield
        finally:
            lock.release()


def hear(store: Store) -> int:
    """The clock that decides, in microseconds: a server's own, which is noted, or that of this host."""
    if isinstance(store.clock, ServerClock):
        store.clock.heard(ServerStanding(*store.read(text(_SERVER))[0]).now)
    return store.clock.now()


def check_writable(store: Store) -> None:
    """Returns if a server can write; notes what its clock says.

    Raises:
        Unavailable: `database_unavailable`: it cannot be reached, or is a stand-by.
    """
    if store.is_file:
        return
    hear(store)
    if store.read(text("SELECT pg_is_in_recovery()"))[0][0]:
        raise Unavailable("database_unavailable", reason="the server is a stand-by, which cannot write")


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
