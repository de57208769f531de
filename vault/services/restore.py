"""Restoring a cell: custody and record of one newest instant, values of that instant or an older one.

What a backup would bring back that was erased since is taken out again, by `erased.log` of the half-stores.
Of a record that may not be the newest nothing gives access any more, and numbers of events that may have
been given are not given twice. Spec: docs/spec/backups.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from vault.clock import parse_time
from vault.errors import BadInput, CoatcheckError, IntegrityError, Misconfigured
from vault.keyring.epoch import StoredEpoch, open_epoch
from vault.keyring.hierarchy import Epoch
from vault.keystate.states import KeyState
from vault.kms.erased import Erased
from vault.kms.halves import HalfStores
from vault.kms.provider import Provider
from vault.services.backup_file import Header, frames, invalid, read_header, read_whole, sha256_of
from vault.services.backup_folder import found_in, pairs
from vault.store import migrations
from vault.store.loads import Loading, columns_in
from vault.store.tables import CUSTODY, RECORD, VALUES

ORDER: Final = (CUSTODY, VALUES, RECORD)
MEND: Final = "mend"
Seen = Callable[[str, int], None]
"""Is told the part, and how many rows of it are in by now."""


@dataclass(frozen=True, slots=True, repr=False)
class Chosen:
    """The files of a restore, opened so far that their headers are known.

    Attributes:
        paths: of each part; values may be missing.
        known: the most events that anything at hand knows of.
    """

    paths: dict[str, Path]
    headers: dict[str, Header]
    epoch: Epoch
    known: int

    @property
    def header(self) -> Header:
        """Of custody."""
        return self.headers[CUSTODY]

    def epoch_of(self, part: str) -> Epoch | None:
        """What a part's file is sealed under."""
        return None if part == VALUES else self.epoch


@dataclass(slots=True, repr=False)
class Found:
    """What all of the files hold, and what of it was erased since.

    Attributes:
        rows: by table.
        erased: data keys of the backup that `erased.log` names; `erased_values` the claims under them.
        grants, credentials: those that would give access; service keys, sessions and passwords.
        values_recorded: whether the audit log, or the header of custody, names this very file of values.
    """

    rows: dict[str, int] = field(default_factory=dict)
    erased: int = 0
    erased_values: int = 0
    grants: int = 0
    credentials: int = 0
    values_recorded: bool = False
    sums: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What names these files together."""
        return hashlib.sha256(
            "\n".join(f"{part} {sha}" for part, sha in self.sums.items()).encode()
        ).hexdigest()


def choose(
    folder: Path,
    region: str,
    provider: Provider,
    halves: HalfStores,
    erased: dict[bytes, Erased],
    *,
    values: Path | None = None,
    above: int = 0,
) -> Chosen:
    """The newest custody and record of a folder, and the newest values that are not newer.

    Args:
        values: the file of values; None: of the folder.
        above: a number that an event is known to have had.

    Raises:
        Misconfigured: `no_backup`, `host_permissions`.
        IntegrityError: `backup_invalid`: foreign, of a closed epoch, or of another version.
    """
    found = found_in(folder, region)
    mine = pairs(found)
    if not mine:
        raise Misconfigured("no_backup", path=str(folder))
    custody, record = mine[0]
    paths = {CUSTODY: custody.path, RECORD: record.path}
    headers = {part: read_header(path) for part, path in paths.items()}
    _check_pair(region, paths, headers)
    older = [one.path for one in found if one.whole and one.part == VALUES]
    for path in [values] if values is not None else older:
        header = read_header(path)
        if values is None and parse_time(header.at) > parse_time(headers[CUSTODY].at):
            continue
        _check_values(region, path, header, headers[CUSTODY])
        paths[VALUES], headers[VALUES] = path, header
        break
    epoch = _open(region, paths[CUSTODY], headers[CUSTODY], provider, halves)
    numbers = [read_header(one.path).events for one in found if one.whole and one.part == RECORD]
    known = max([above, *numbers, *(one.events for one in erased.values())])
    return Chosen(paths, headers, epoch, known)


def _check_pair(region: str, paths: dict[str, Path], headers: dict[str, Header]) -> None:
    for part, header in headers.items():
        if header.part != part:
            raise invalid("is another part of a cell", file=paths[part].name)
        if header.region != region:
            raise invalid("is another region's", file=paths[part].name)
        if not migrations.is_known(header.revision):
            raise invalid("was written by a newer program", file=paths[part].name)
    one, other = headers[CUSTODY], headers[RECORD]
    if msgspec.structs.replace(other, part=CUSTODY, tables=one.tables) != one:
        raise invalid("is not of the same instant as the file of custody", file=paths[RECORD].name)


def _check_values(region: str, path: Path, header: Header, custody: Header) -> None:
    if header.part != VALUES:
        raise invalid("is another part of a cell", file=path.name)
    if header.region != region:
        raise invalid("is another region's", file=path.name)
    if parse_time(header.at) > parse_time(custody.at):
        raise invalid("is newer than custody, which would not know its keys", file=path.name)
    if not migrations.is_known(header.revision):
        raise invalid("was written by a newer program", file=path.name)


def _open(region: str, path: Path, header: Header, provider: Provider, halves: HalfStores) -> Epoch:
    """The epoch of a backup, from its header, the key store and the half-stores.

    Raises:
        IntegrityError: `backup_invalid`.
        Unavailable: `key_unavailable`: the key store is out of reach.
    """
    if len(halves.missing(header.epoch)) == len(halves.folders):
        raise invalid(
            "is of an epoch that is closed: no half-store has its half", file=path.name, epoch=header.epoch
        )
    active = KeyState.ACTIVE.value
    row = StoredEpoch(header.epoch, header.epoch_id, active, header.half, header.canary, 0, None, None)
    try:
        return open_epoch(region, row, provider, halves)
    except IntegrityError:
        raise invalid("is another cell's", file=path.name) from None
    except CoatcheckError as problem:
        if problem.facts.get("cause") == "missing":
            reason = "is of an epoch that is closed: the key store has no such root key"
            raise invalid(reason, file=path.name, epoch=header.epoch) from None
        raise


def look_through(chosen: Chosen, erased: dict[bytes, Erased], seen: Callable[[str, int, int], None]) -> Found:
    """Reads all of the files: whether they are whole, and what of them was erased since.

    Args:
        seen: is told of the bytes read (`check PART`), and of how many.

    Raises:
        IntegrityError: `backup_invalid`.
    """
    found = Found()
    noted = set[str]()
    if chosen.header.values is not None:
        noted.add(chosen.header.values.sha256)

    def see(header: Header) -> Callable[[str, list[Any]], None]:
        places = {
            name: {column: at for at, column in enumerate(columns)} for name, columns in header.tables.items()
        }

        def frame(table: str, rows: list[Any]) -> None:
            at = places[table]
            if table == "data_keys":
                found.erased += sum(row[at["id"]] in erased for row in rows)
            elif table == "claims":
                found.erased_values += sum(row[at["key"]] in erased for row in rows)
            elif table == "grants":
                found.grants += sum(row[at["state"]] == "active" for row in rows)
            elif table == "passwords":
                found.credentials += len(rows)
            elif table in ("api_keys", "sessions"):
                found.credentials += sum(row[at["revoked_at"]] == 0 for row in rows)
            elif table == "audit":
                noted.update(_values_named(row[at["body"]] for row in rows))

        return frame

    for part in ORDER:
        if part in chosen.paths:
            path, header = chosen.paths[part], chosen.headers[part]
            read = partial(seen, f"check {part}")
            found.rows |= read_whole(path, chosen.epoch_of(part), see(header), read)
            found.sums[part] = sha256_of(path)
    found.values_recorded = found.sums.get(VALUES) in noted
    return found


def _values_named(bodies: Any) -> set[str]:
    """The hashes of files of values that events of backups name."""
    named = set()
    for body in bodies:
        if b'"kind":"cell.backup"' in body:
            named.add(msgspec.json.decode(body).get("values", {}).get("sha256", ""))
    return named


def check_newest(chosen: Chosen) -> None:
    """Returns if nothing at hand knows of events that the record does not have.

    Raises:
        BadInput: `usage`.
    """
    if chosen.known > chosen.headers[RECORD].events:
        raise BadInput(
            "usage",
            option="--newest",
            reason="something at hand knows of more events than this record has",
            events=chosen.headers[RECORD].events,
            known=chosen.known,
        )


def load(loading: Loading, chosen: Chosen, seen: Seen) -> None:
    """Puts the rows of all files into the database, from where it stood, and brings its tables up to date.

    Raises:
        IntegrityError: `backup_invalid`: a file is not what it was when it was looked through.
    """
    for part in ORDER[_started(loading) :]:
        if part in chosen.paths:
            _load_part(loading, chosen, part, seen)
        loading.note(part=ORDER.index(part) + 1, frame=0)
    migrations.upgrade(loading.store.engine)


def _started(loading: Loading) -> int:
    return int(loading.load.progress["part"])


def _load_part(loading: Loading, chosen: Chosen, part: str, seen: Seen) -> None:
    path, header = chosen.paths[part], chosen.headers[part]
    there = columns_in(loading.store.engine, part)
    for table, columns in header.tables.items():
        if not set(columns) <= set(there.get(table, ())):
            raise invalid("has tables that its version does not have", file=path.name)
    done = loading.load.progress["frame"]
    rows_in = 0
    for index, (table, rows) in enumerate(frames(path, chosen.epoch_of(part))):
        rows_in += len(rows)
        if index >= done:
            loading.put(table, part, header.tables[table], rows, frame=index + 1)
        seen(part, rows_in)
