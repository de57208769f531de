"""Who may have a cell: a SQLite cell one process, by a lock beside its file; a new one whoever makes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from vault.errors import Conflict, Misconfigured, Unavailable
from vault.store.pipeline import CELL_LOCK

_MAKING: Final = (0x636F6174, 0x6D616B65)  # of the database, beside `pipeline.CELL_LOCK`


class CellLock:
    """An advisory lock (flock) on `<database>.lock`; the kernel lets go of it when the process dies.

    Args:
        database: the cell's database file.
    """

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock.

        Raises:
            Conflict: `cell_locked` with the holder's pid.
            Misconfigured: `host_permissions`.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            raise Misconfigured("host_permissions", path=str(self.path)) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _pid(descriptor)
            os.close(descriptor)
            raise Conflict("cell_locked", pid=pid) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor

    def holder(self) -> int | None:
        """The process that holds the lock, 0 if it is not known; None if nobody does. Changes nothing.

        Raises:
            Misconfigured: `host_permissions`.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError:
            raise Misconfigured("host_permissions", path=str(self.path)) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _pid(descriptor)
        else:
            return None
        finally:
            os.close(descriptor)

    def release(self) -> None:
        """Lets go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _pid(descriptor: int) -> int:
    """The process that a lock's file names; 0 if it names none."""
    holder = os.pread(descriptor, 32, 0)
    return int(holder) if holder.strip().isdigit() else 0


@contextlib.contextmanager
def making(engine: Engine) -> Iterator[None]:
    """For the making of a cell on a server: nobody else makes it meanwhile, on whatever host.

    Raises:
        Conflict: `cell_locked`.
        Unavailable: `database_unavailable`.
    """
    with _alone(engine, _MAKING, "it is being made by another process"):
        yield


@contextlib.contextmanager
def still(engine: Engine) -> Iterator[None]:
    """For the copying of a cell on a server: nobody writes into it meanwhile, on whatever host.

    Raises:
        Conflict: `cell_locked`.
        Unavailable: `database_unavailable`.
    """
    with _alone(engine, CELL_LOCK, "a service writes into it"):
        yield


@contextlib.contextmanager
def _alone(engine: Engine, lock: tuple[int, int], reason: str) -> Iterator[None]:
    reader = engine.execution_options(isolation_level="AUTOCOMMIT")
    with contextlib.ExitStack() as stack:
        try:
            connection = stack.enter_context(reader.connect())
            # Of the connection, which is not given back to the pool: the lock goes with it.
            connection.detach()
            taken = connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s, %s)", lock).scalar()
        except DBAPIError:
            raise Unavailable("database_unavailable") from None
        if not taken:
            raise Conflict("cell_locked", reason=reason)
        yield
