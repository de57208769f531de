"""One part of a cell as a file: a header, then frames of rows, each bound to the header and to its place.

Custody and record are sealed under a key of their epoch, so they end with it as the database does. Values
are sealed already, under data keys that custody has; their file has a chain of hashes instead. Spec:
docs/spec/backups.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO, Final

import msgspec

from vault.context import EncryptionContext, Use
from vault.envelope.seal import open_message, seal
from vault.errors import IntegrityError, Misconfigured
from vault.keyring.hierarchy import Epoch
from vault.services.hidden import Hidden
from vault.store.tables import CUSTODY, RECORD, VALUES

VERSION: Final = 2
MAGIC: Final = {CUSTODY: b"CKCUST1\n", RECORD: b"CKRECD1\n", VALUES: b"CKVALS1\n"}
USES: Final = {CUSTODY: Use.CUSTODY_BACKUP, RECORD: Use.RECORD_BACKUP}
MAX_FRAME: Final = 256 * 1024**2  # bytes; of 500 rows, far more than there can be
MAX_HEADER: Final = 1024**2
_LENGTH: Final = Struct(">I")
_PLACE: Final = Struct(">IB")  # the frame's number, and whether it is the last
_SUM_BYTES: Final = 32
_encode: Final = msgspec.msgpack.Encoder().encode
Read = Callable[[int, int], None]
"""Is told how many bytes of a file were read, and of how many."""


class Values(Hidden, forbid_unknown_fields=True, frozen=True):
    """The file of values that was written with a backup, at the same instant."""

    name: str
    sha256: str
    rows: int


class Header(Hidden, forbid_unknown_fields=True, frozen=True):
    """What a file says in the clear: whose it is, of which instant, and which columns its rows have.

    Attributes:
        set: the same in the files of one instant.
        epoch: the one that is sealed under; of values, the one at that time.
        half, canary: the epoch's row, so that a file can be opened without a database.
        revision: of the tables.
        events: how many events the audit log had.
        values: the file of values of the same set, if there is one.
    """

    v: int
    part: str
    set: str
    region: str
    epoch: int
    epoch_id: bytes
    half: bytes
    canary: bytes | None
    revision: str
    at: str
    events: int
    tables: dict[str, list[str]]
    values: Values | None = None


def invalid(reason: str, **facts: Any) -> IntegrityError:
    """The error of a backup that cannot be used. The reason is ours."""
    return IntegrityError("backup_invalid", reason=reason, **facts)


class Writer:
    """Writes the frames of a file that is open for writing.

    Args:
        epoch: what custody and record are sealed under; values are not.
    """

    def __init__(self, file: BinaryIO, header: Header, epoch: Epoch | None) -> None:
        raw = msgspec.json.encode(header)
        self._file = file
        self._frames = _Frames(header, raw, epoch)
        self._index = 0
        self.counted: dict[str, int] = {}
        file.write(MAGIC[header.part] + _LENGTH.pack(len(raw)) + raw)

    def rows(self, table: str, rows: list[list[Any]]) -> None:
        """Writes rows of a table."""
        self.counted[table] = self.counted.get(table, 0) + len(rows)
        self._frame(table, rows, last=False)

    def end(self) -> int:
        """Writes the last frame, which counts the rows; how many there are in all."""
        self._frame("", [list(item) for item in self.counted.items()], last=True)
        return sum(self.counted.values())

    def _frame(self, table: str, rows: list[list[Any]], *, last: bool) -> None:
        message = self._frames.close(self._index, _encode((table, rows)), last=last)
        self._file.write(_LENGTH.pack(len(message)) + message)
        self._index += 1


class _Frames:
    """Binds frames to their header and their place, by sealing them or by a chain of hashes."""

    def __init__(self, header: Header, raw: bytes, epoch: Epoch | None) -> None:
        self._part = header.part
        self._epoch = epoch
        self._header = hashlib.sha256(raw).digest()
        self._chain = hashlib.sha256(MAGIC[header.part] + raw).digest()

    def close(self, index: int, plain: bytes, *, last: bool) -> bytes:
        """A frame as it is written."""
        if self._epoch is not None:
            return seal(self._epoch.backup, self._context(index, last=last), plain)
        self._chain = self._next(index, plain, last=last)
        return self._chain + plain

    def open(self, index: int, message: bytes, *, last: bool) -> bytes:
        """What a frame holds.

        Raises:
            IntegrityError: it is not what was written there.
        """
        if self._epoch is not None:
            return open_message(self._epoch.backup, self._context(index, last=last), message)
        plain = message[_SUM_BYTES:]
        self._chain = self._next(index, plain, last=last)
        if message[:_SUM_BYTES] != self._chain:
            raise IntegrityError("integrity_failed")
        return plain

    def _next(self, index: int, plain: bytes, *, last: bool) -> bytes:
        return hashlib.sha256(self._chain + _PLACE.pack(index, last) + plain).digest()

    def _context(self, index: int, *, last: bool) -> EncryptionContext:
        assert self._epoch is not None  # noqa: S101 - asked by the callers
        record = self._header + _PLACE.pack(index, last)
        return EncryptionContext(USES[self._part], tenant="", region=self._epoch.region, record=record)


def read_header(path: Path) -> Header:
    """What a file says of itself. Nothing of it is known to be true before all of the file was read.

    Raises:
        IntegrityError: `backup_invalid`: it is no backup, or of another version.
        Misconfigured: `host_permissions`.
    """
    try:
        with path.open("rb") as file:
            return _header(file)[0]
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def frames(path: Path, epoch: Epoch | None, read: Read | None = None) -> Iterator[tuple[str, list[Any]]]:
    """The frames of a file, each with a table's name and some of its rows, without the last one.

    What was yielded is known to be whole only once all of it was.

    Args:
        read: is told how far it is, with every frame.

    Raises:
        IntegrityError: `backup_invalid`: it is cut, altered, put together from others, or another epoch's.
        Misconfigured: `host_permissions`.
    """
    counted: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            header, raw = _header(file)
            if (epoch is None) is not (header.part == VALUES):
                raise invalid("is another part of a cell", file=path.name)
            if epoch is not None and (header.region, header.epoch) != (epoch.region, epoch.number):
                raise invalid("is another epoch's", file=path.name)
            bound = _Frames(header, raw, epoch)
            size = path.stat().st_size
            index, last = 0, False
            while not last:
                message = _piece(file, MAX_FRAME)
                last = not file.peek(1)
                if read is not None:
                    read(file.tell(), size)
                plain = bound.open(index, message, last=last)
                table, rows = msgspec.msgpack.decode(plain, type=tuple[str, list[Any]])
                if last:
                    if table or dict(rows) != counted:
                        raise IntegrityError("integrity_failed")
                    return
                if table not in header.tables:
                    raise IntegrityError("integrity_failed")
                width = len(header.tables[table])
                if any(type(row) is not list or len(row) != width for row in rows):
                    raise IntegrityError("integrity_failed")
                counted[table] = counted.get(table, 0) + len(rows)
                yield table, rows
                index += 1
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None
    except IntegrityError as problem:
        if problem.code == "backup_invalid":
            raise
        raise invalid("is damaged or not whole", file=path.name) from None
    except (msgspec.DecodeError, TypeError, ValueError):
        raise invalid("is damaged or not whole", file=path.name) from None


def read_whole(
    path: Path,
    epoch: Epoch | None,
    see: Callable[[str, list[Any]], None] = lambda _table, _rows: None,
    read: Read | None = None,
) -> dict[str, int]:
    """Reads every frame of a file; how many rows each of its tables has.

    Args:
        see: is shown every frame; `read` is told how far it is.

    Raises:
        IntegrityError, Misconfigured: as `frames`.
    """
    counted: dict[str, int] = {}
    for table, rows in frames(path, epoch, read):
        counted[table] = counted.get(table, 0) + len(rows)
        see(table, rows)
    return counted


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        Misconfigured: `host_permissions`.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def _header(file: BinaryIO) -> tuple[Header, bytes]:
    name = Path(str(file.name)).name
    magic = file.read(len(MAGIC[CUSTODY]))
    part = next((part for part, mark in MAGIC.items() if mark == magic), None)
    if part is None:
        raise invalid("is no backup of a cell", file=name)
    try:
        raw = _piece(file, MAX_HEADER)
        header = msgspec.json.decode(raw, type=Header)
    except (IntegrityError, msgspec.DecodeError, ValueError):
        raise invalid("is damaged, or of another version of this program", file=name) from None
    if (header.v, header.part) != (VERSION, part):
        raise invalid("is of another version of this program", file=name)
    return header, raw


def _piece(file: BinaryIO, most: int) -> bytes:
    """The next bytes with their length before them.

    Raises:
        IntegrityError: `integrity_failed`.
    """
    head = file.read(_LENGTH.size)
    if len(head) != _LENGTH.size or not 0 < _LENGTH.unpack(head)[0] <= most:
        raise IntegrityError("integrity_failed")
    (length,) = _LENGTH.unpack(head)
    raw = file.read(length)
    if len(raw) != length:
        raise IntegrityError("integrity_failed")
    return raw
