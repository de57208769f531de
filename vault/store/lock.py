"""One process a SQLite cell: a lock beside the file, held for the process's life."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from vault.errors import Conflict, Misconfigured


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
