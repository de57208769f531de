"""Which data keys were removed: a log in every half-store, so that a restore does not bring them back.

File `erased.log`: `"CKERAS1\\n" | SHA-256 of the region 32`, then entries of 64 bytes:
`key id 16 | events 8 | time 8 | SHA-256 of the entry before (or of the head) and of these 32 bytes: 32`.
An entry that was cut off at the end was never reported, and the next one takes its place. Whoever writes
holds the half-store's folder. Spec: docs/spec/backups.md.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from vault.clock import Micros
from vault.errors import IntegrityError, Misconfigured
from vault.kms.files import make_private_folder, sync_folder

NAME: Final = "erased.log"
UNFINISHED: Final = NAME + ".new"
_MAGIC: Final = b"CKERAS1\n"
_SAID: Final = Struct(">16sQQ")
_SUM_BYTES: Final = 32
_ENTRY_BYTES: Final = _SAID.size + _SUM_BYTES
_FILE_MODE: Final = 0o600


class Erased(NamedTuple):
    """A data key that was removed.

    Attributes:
        events: how many events the audit log had when the key was seen to be gone.
        at: when, by the ledger's clock.
    """

    key: bytes
    events: int
    at: Micros


class ErasedLog:
    """The log of a region, the same in each of its half-stores.

    Args:
        folders: the half-stores.
    """

    def __init__(self, region: str, folders: Sequence[Path]) -> None:
        self._head = _MAGIC + hashlib.sha256(region.encode()).digest()
        self._folders = tuple(folders)

    def read(self) -> dict[bytes, Erased]:
        """What any of the half-stores says was removed, by key.

        Raises:
            IntegrityError: `integrity_failed`: a log is damaged, or another region's.
            Misconfigured: `host_permissions`.
        """
        found: dict[bytes, Erased] = {}
        for folder in self._folders:
            for entry in self._entries(folder / NAME)[0]:
                found.setdefault(entry.key, entry)
        return found

    def append(self, entries: Iterable[Erased]) -> None:
        """Makes entries durable in every half-store; those that are there stay as they are.

        Raises:
            IntegrityError, Misconfigured: as `read`; then not every half-store has them.
        """
        listed = list(entries)
        for folder in self._folders:
            make_private_folder(folder)
            with _alone(folder):
                had, check, end = self._entries(folder / NAME)
                known = {entry.key: entry for entry in had}
                for entry in listed:
                    known.setdefault(entry.key, entry)
                new = list(known.values())[len(had) :]
                if new:
                    _write(folder / NAME, (b"" if end else self._head) + _chained(new, check), end)

    def compact(self, events: int) -> int:
        """Leaves out the entries of keys that were gone when the audit log had so many events, or earlier.

        Each log is replaced by a new one, whole or not at all; one that has no such entry stays as it is.

        Returns:
            how many were left out, of the log that had most.

        Raises:
            IntegrityError, Misconfigured: as `read`; then some half-stores may still have them.
        """
        most = 0
        for folder in self._folders:
            if not (folder / NAME).exists():
                continue
            with _alone(folder):
                had, _, _ = self._entries(folder / NAME)
                kept = [entry for entry in had if entry.events > events]
                if len(kept) < len(had):
                    start = hashlib.sha256(self._head).digest()
                    _write(folder / UNFINISHED, self._head + _chained(kept, start), 0)
                    _put_in_place(folder)
                most = max(most, len(had) - len(kept))
        return most

    def heal(self) -> None:
        """Brings every half-store, such as one added since, to what any of them knows."""
        self.append(self.read().values())

    def _entries(self, path: Path) -> tuple[list[Erased], bytes, int]:
        """The entries of one log, the last check, and where the whole entries end; 0 without a head."""
        start = hashlib.sha256(self._head).digest()
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return [], start, 0
        except OSError:
            raise Misconfigured("host_permissions", path=str(path)) from None
        if len(raw) < len(self._head) and self._head.startswith(raw):
            return [], start, 0  # killed while it was made
        if not raw.startswith(self._head):
            raise IntegrityError("integrity_failed", file=NAME)
        entries: list[Erased] = []
        check, at = start, len(self._head)
        while at + _ENTRY_BYTES <= len(raw):
            said = raw[at : at + _SAID.size]
            following = hashlib.sha256(check + said).digest()
            if raw[at + _SAID.size : at + _ENTRY_BYTES] != following:
                if not any(raw[at:]):
                    break  # the host died before what it had made room for was written
                raise IntegrityError("integrity_failed", file=NAME)
            entries.append(Erased(*_SAID.unpack(said)))
            check = following
            at += _ENTRY_BYTES
        return entries, check, at


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """A half-store whose log nobody else writes, for as long as it takes. Waits for whoever does."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise Misconfigured("host_permissions", path=str(folder)) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _chained(entries: Iterable[Erased], check: bytes) -> bytes:
    """Entries as they are written, behind those that end with a check."""
    out = bytearray()
    for entry in entries:
        said = _SAID.pack(*entry)
        check = hashlib.sha256(check + said).digest()
        out += said + check
    return bytes(out)


def _write(path: Path, new: bytes, end: int) -> None:
    """Writes behind the whole entries; what was cut off there goes."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, _FILE_MODE), "wb", buffering=0) as file:
            file.truncate(end)
            file.seek(end)
            if file.write(new) != len(new):
                raise OSError
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def _put_in_place(folder: Path) -> None:
    """Puts a new log in the place of the old one."""
    try:
        (folder / UNFINISHED).replace(folder / NAME)
        sync_folder(folder)
    except OSError:
        raise Misconfigured("host_permissions", path=str(folder / NAME)) from None
