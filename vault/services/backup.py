"""Backups: custody and record of one instant, sealed under the epoch, and the values beside them.

All files of a set are read in one transaction. A file is written under another name, synced, read back whole,
and only then has its own; so one that is there is whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from sqlalchemy import Connection, Select, Table, select

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import format_time, parse_time
from vault.errors import Conflict, IntegrityError, Misconfigured
from vault.identifiers import uuid7
from vault.keyring.epoch import StoredEpoch
from vault.keyring.hierarchy import Epoch
from vault.kms.files import sync_folder
from vault.ledger.command import Command, Needs, State, Writes
from vault.services.backup_file import VERSION, Header, Values, Writer, read_whole, sha256_of
from vault.services.backup_folder import UNFINISHED, name_for
from vault.services.initialise import MAIN_TENANT
from vault.store import migrations
from vault.store.cell import Store
from vault.store.snapshot import columns_of, count_of, name_of, rows_of, snapshot, tables_of
from vault.store.tables import CUSTODY, KEYED_BY_EPOCH, RECORD, VALUES

_FILE_MODE: Final = 0o600
Seen = Callable[[str, int, int], None]
"""Is told what is being done, how many rows of it are, and of how many; of a `check`, bytes."""


@dataclass(frozen=True, slots=True, repr=False)
class Written:
    """A file that was written and read back.

    Attributes:
        sha256: of the file, in hex.
        rows: of all its tables.
    """

    part: str
    name: str
    sha256: str
    bytes: int
    rows: int


@dataclass(frozen=True, slots=True, repr=False)
class BackedUp:
    """A set of files.

    Attributes:
        set: what names it.
        events: how many events the audit log had.
    """

    set: str
    epoch: int
    at: str
    events: int
    files: tuple[Written, ...]

    def facts(self) -> dict[str, Any]:
        """What events and turns say of it."""
        named = {
            one.part: {"name": one.name, "sha256": one.sha256, "bytes": one.bytes, "rows": one.rows}
            for one in self.files
        }
        return {"set": self.set, "epoch": self.epoch, "instant": self.at, "events": self.events, **named}


class BackupMade(Command):
    """Puts a backup on the record, so that its values are known again when they are restored."""

    def __init__(self, caller: Caller, made: BackedUp) -> None:
        self._event = Event("cell.backup", MAIN_TENANT, caller.actor, made.facts())

    def needs(self, needs: Needs) -> None:
        """Touches no row but the head."""

    def decide(self, state: State, writes: Writes) -> None:
        """Notes the event."""
        writes.event(self._event)


def write_backup(
    store: Store,
    row: StoredEpoch,
    epoch: Epoch,
    folder: Path,
    *,
    values: bool = False,
    turning: bool = False,
    seen: Seen | None = None,
) -> BackedUp:
    """Writes custody and record, and values if they are asked for, and reads them back.

    Whoever calls holds the folder (`backup_folder.alone`). Rows of an epoch that is about to close are left
    out: they would end with it.

    Args:
        row, epoch: the epoch that is sealed under.
        turning: whether this is the turn's own backup, which is made where no other can be.
        seen: is told of the rows written (`write PART`) and the bytes read back (`check PART`).

    Raises:
        Misconfigured: `host_permissions`: the folder cannot be used.
        Misconfigured: `migration_required`: the database belongs to a newer program.
        Conflict: `job_running`: a turn is between its flip and its close.
        IntegrityError: `backup_invalid`: what was read is not what was written.
    """
    migrations.check_newest(store.engine)
    set_, now = uuid7().hex(), store.clock.now()
    try:
        with snapshot(store) as connection:
            head = connection.execute(store.record.head.element).one()  # type: ignore[call-overload]
            if head[2] != epoch.number or (head[3] != head[2] and not turning):
                raise Conflict("job_running", step="between flip and close")
            of_all = Header(
                v=VERSION,
                part=CUSTODY,
                set=set_,
                region=head[0],
                epoch=epoch.number,
                epoch_id=row.id,
                half=row.sealed_half,
                canary=None if row.canary is None else bytes(row.canary),
                revision=migrations.newest(),
                at=format_time(now),
                events=int(head[1]),
                tables={},
            )
            made = _write_all(connection, store, folder, of_all, epoch, values=values, seen=seen)
        for path, _ in made:
            path.with_name(path.name + UNFINISHED).replace(path)
        sync_folder(folder)
    except OSError:
        raise Misconfigured("host_permissions", path=str(folder)) from None
    return BackedUp(set_, epoch.number, format_time(now), int(head[1]), tuple(one for _, one in made))


def _write_all(
    connection: Connection,
    store: Store,
    folder: Path,
    of_all: Header,
    epoch: Epoch,
    *,
    values: bool,
    seen: Seen | None,
) -> list[tuple[Path, Written]]:
    """Writes the files under their unfinished names, values first: the header of the others names them.

    Args:
        of_all: the header but for what differs between the parts.
    """
    made: list[tuple[Path, Written]] = []
    beside: Values | None = None
    for part in ((VALUES,) if values else ()) + (CUSTODY, RECORD):
        tables = tables_of(store.tables, part)
        columns = {name_of(table): columns_of(table) for table in tables}
        header = msgspec.structs.replace(of_all, part=part, tables=columns, values=beside)
        path = folder / name_for(part, header.region, header.epoch, parse_time(header.at), header.set)
        one = _write_part(connection, tables, header, path, None if part == VALUES else epoch, seen)
        if part == VALUES:
            beside = Values(one.name, one.sha256, one.rows)
        made.append((path, one))
    return made


def _write_part(
    connection: Connection,
    tables: list[Table],
    header: Header,
    path: Path,
    epoch: Epoch | None,
    seen: Seen | None,
) -> Written:
    unfinished = path.with_name(path.name + UNFINISHED)
    with suppress(FileNotFoundError):
        unfinished.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(unfinished, flags, _FILE_MODE), "wb") as file:
        counted = _write_tables(connection, tables, header, file, epoch, seen)
        file.flush()
        os.fsync(file.fileno())
    read = None if seen is None else partial(seen, f"check {header.part}")
    if read_whole(unfinished, epoch, read=read) != counted:
        raise IntegrityError("integrity_failed")
    size = unfinished.stat().st_size
    return Written(header.part, path.name, sha256_of(unfinished), size, sum(counted.values()))


def _write_tables(
    connection: Connection,
    tables: list[Table],
    header: Header,
    file: BinaryIO,
    epoch: Epoch | None,
    seen: Seen | None,
) -> dict[str, int]:
    writer = Writer(file, header, epoch)
    kept = {name_of(table): _kept(table, header.epoch) for table in tables}
    done, total = 0, 0 if seen is None else sum(count_of(connection, asked) for asked in kept.values())
    for name, asked in kept.items():
        for rows in rows_of(connection, asked):
            writer.rows(name, rows)
            done += len(rows)
            if seen is not None:
                seen(f"write {header.part}", done, total)
    writer.end()
    return writer.counted


def _kept(table: Table, epoch: int) -> Select[Any]:
    """The rows of a table that live on in an epoch."""
    name = name_of(table)
    if name in KEYED_BY_EPOCH:
        return select(table).where(table.c.epoch == epoch)
    if name == "field_keys":
        return select(table).where(table.c.epoch.in_((0, epoch)))
    return select(table)
