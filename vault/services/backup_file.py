"""A backup of custody under an epoch: written durably, sealed frame by frame, and read back whole.

File: `"CKCUST1\\n" | length 4 | header (JSON)`, then frames `length 4 | ve1 message`. It is sealed under a
key of the epoch, so it ends with the epoch as the database does. Spec: docs/spec/key-hierarchy.md. Restoring
one is not built yet; reading one back is, and a turn does not go on without it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO, Final

import msgspec
from sqlalchemy import Connection, Select, Table, select

from vault.clock import format_time
from vault.context import EncryptionContext, Use
from vault.envelope.seal import open_message, seal
from vault.errors import IntegrityError, Misconfigured
from vault.keyring.hierarchy import Epoch
from vault.kms.files import make_private_folder, sync_folder
from vault.services.cell import Cell
from vault.services.hidden import Hidden
from vault.store import migrations
from vault.store.tables import CUSTODY, KEYED_BY_EPOCH, SQLITE

MAGIC: Final = b"CKCUST1\n"
VERSION: Final = 1
ROWS_A_FRAME: Final = 500
MAX_FRAME: Final = 256 * 1024**2  # bytes; of 500 rows, far more than there can be
_LENGTH: Final = Struct(">I")
_PLACE: Final = Struct(">IB")  # the frame's number, and whether it is the last
_FILE_MODE: Final = 0o600


@dataclass(frozen=True, slots=True, repr=False)
class Written:
    """A backup that was written and read back.

    Attributes:
        sha256: of the file, in hex.
        rows: of all tables.
    """

    name: str
    sha256: str
    bytes: int
    rows: int


class Header(Hidden, forbid_unknown_fields=True, frozen=True):
    """What a backup says in the clear: whose it is, and which columns its rows have."""

    v: int
    region: str
    epoch: int
    epoch_id: str
    revision: str
    at: str
    tables: dict[str, list[str]]


def write_backup(cell: Cell, epoch: Epoch, folder: Path) -> Written:
    """Writes a backup of custody as it stands at one instant, and reads it back.

    Rows of an epoch that is about to close are left out: they would end with it.

    Raises:
        Misconfigured: `host_permissions`: the folder cannot be used.
        IntegrityError: `integrity_failed`: what was read is not what was written.
    """
    make_private_folder(folder)
    at = format_time(cell.clock.now())
    stamp = at[:19].replace("-", "").replace(":", "") + "Z"
    path = folder / f"custody-{cell.region}-{epoch.number:06d}-{stamp}.ckc"
    unfinished = path.with_name(path.name + ".new")
    try:
        unfinished.unlink(missing_ok=True)  # what a killed attempt left
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(unfinished, flags, _FILE_MODE), "wb") as file:
            _write(cell, epoch, at, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_folder(folder)
        return read_back(epoch, path)
    except OSError:
        raise Misconfigured("host_permissions", path=str(path)) from None


def read_back(epoch: Epoch, path: Path) -> Written:
    """Opens every frame of a backup and counts its rows.

    Raises:
        IntegrityError: `integrity_failed`: it is cut, altered, another epoch's, or not whole.
    """
    rows = 0
    counted: dict[str, int] = {}
    for table, those in frames(epoch, path):
        if table:
            counted[table] = counted.get(table, 0) + len(those)
            rows += len(those)
        elif dict(those) != counted:
            raise IntegrityError("integrity_failed")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Written(path.name, digest, path.stat().st_size, rows)


def frames(epoch: Epoch, path: Path) -> Iterator[tuple[str, list[Any]]]:
    """The frames of a backup: a table's name and some of its rows; at the end "" and the counts of rows.

    Raises:
        IntegrityError: `integrity_failed`.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise IntegrityError("integrity_failed")
            raw = _piece(file)
            header = msgspec.json.decode(raw, type=Header)
            if (header.v, header.region, header.epoch) != (VERSION, epoch.region, epoch.number):
                raise IntegrityError("integrity_failed")
            index, last = 0, False
            while not last:
                message = _piece(file)
                ahead = file.peek(1)
                last = not ahead
                plain = open_message(epoch.backup, _context(epoch, raw, index, last=last), message)
                table, rows = msgspec.msgpack.decode(plain, type=tuple[str, list[Any]])
                yield table, rows
                index += 1
    except (IntegrityError, msgspec.DecodeError):
        raise IntegrityError("integrity_failed") from None


def _piece(file: BinaryIO) -> bytes:
    """The next bytes with their length before them."""
    head = file.read(_LENGTH.size)
    if len(head) != _LENGTH.size or not 0 < _LENGTH.unpack(head)[0] <= MAX_FRAME:
        raise IntegrityError("integrity_failed")
    (length,) = _LENGTH.unpack(head)
    raw = file.read(length)
    if len(raw) != length:
        raise IntegrityError("integrity_failed")
    return raw


def _context(epoch: Epoch, header: bytes, index: int, *, last: bool) -> EncryptionContext:
    """What a frame is bound to: the header, its place, and whether another follows."""
    record = hashlib.sha256(header).digest() + _PLACE.pack(index, last)
    return EncryptionContext(Use.CUSTODY_BACKUP, tenant="", region=epoch.region, record=record)


def _write(cell: Cell, epoch: Epoch, at: str, file: BinaryIO) -> None:
    tables = [table for table in cell.store.tables.metadata.sorted_tables if table.info["part"] == CUSTODY]
    columns = {table.info["name"]: [str(column.name) for column in table.columns] for table in tables}
    identity = (VERSION, cell.region, epoch.number, epoch.sealing.id.hex(), migrations.newest(), at)
    header = msgspec.json.encode(Header(*identity, columns))
    file.write(MAGIC + _LENGTH.pack(len(header)) + header)
    index = 0

    def frame(table: str, rows: list[Any], *, last: bool = False) -> None:
        nonlocal index
        context = _context(epoch, header, index, last=last)
        message = seal(epoch.backup, context, msgspec.msgpack.encode((table, rows)))
        file.write(_LENGTH.pack(len(message)) + message)
        index += 1

    counted: dict[str, int] = {}
    with cell.store.engine.connect() as bare:
        # One instant: a snapshot on both; on SQLite every transaction is one.
        sqlite = cell.store.tables.dialect == SQLITE
        connection = bare if sqlite else bare.execution_options(isolation_level="REPEATABLE READ")
        for table in tables:
            name = table.info["name"]
            for rows in _rows(connection, table, epoch.number):
                counted[name] = counted.get(name, 0) + len(rows)
                frame(name, rows)
    frame("", [list(item) for item in counted.items()], last=True)


def _rows(connection: Connection, table: Table, epoch: int) -> Iterator[list[Any]]:
    streamed = connection.execution_options(yield_per=ROWS_A_FRAME).execute(_kept(table, epoch))
    for part in streamed.partitions():
        yield [[bytes(value) if isinstance(value, memoryview) else value for value in row] for row in part]


def _kept(table: Table, epoch: int) -> Select[Any]:
    """The rows of a table that live on in an epoch."""
    name = table.info["name"]
    if name in KEYED_BY_EPOCH:
        return select(table).where(table.c.epoch == epoch)
    if name == "epochs":
        return select(table).where(table.c.epoch >= epoch)
    if name == "field_keys":
        return select(table).where(table.c.epoch.in_((0, epoch)))
    return select(table)
