"""Moves of whole cells: backing one up, restoring one, copying one. Puts wiring and services together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vault.errors import BadInput, Conflict, IntegrityError, Misconfigured
from vault.keyring.epoch import open_epoch, stored_epochs
from vault.kms.erased import Erased, ErasedLog
from vault.ledger.command import Verb
from vault.services.backup import BackedUp, BackupMade, Seen, write_backup
from vault.services.backup_folder import alone, prune
from vault.services.cell import Cell
from vault.services.copying import CellCopied, compare, copy_rows, mark_of, open_some, total_of
from vault.services.restore import Chosen, Found, check_newest, choose, load, look_through
from vault.services.settle import Settled, mend, remove_keyless, settle
from vault.store import migrations
from vault.store.cell import Store
from vault.store.loads import COPY, RESTORE, Loading
from vault.store.lock import CellLock, still
from vault.store.tables import RECORD, VALUES
from vault.wiring import Wiring, as_host, perform, working_of

_START: Final = {"part": 0, "frame": 0}


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that was made.

    Attributes:
        recorded: whether the audit log says so. It does not beside a service that holds a SQLite cell.
        removed: files that had had their time.
    """

    made: BackedUp
    recorded: bool
    removed: list[Path]


def back_up(
    wiring: Wiring, region: str, folder: Path | None, *, values: bool, seen: Seen | None = None
) -> Backup:
    """Backs a cell up, also beside the service that serves it.

    Args:
        folder: None: the one of the settings.

    Raises:
        Misconfigured: `config_invalid`: no folder is named anywhere; `host_permissions`.
        Conflict: `job_running`: a turn is between its flip and its close.
    """
    working = working_of(wiring.config, region)
    folder = working.custody_backup if folder is None else folder
    if folder is None:
        reason = "is missing, and no folder was named"
        raise Misconfigured("config_invalid", setting=f"cell.{region}.custody_backup", reason=reason)
    with wiring.reader(region) as store, contextlib.closing(wiring.provider(region)) as provider:
        head = store.read(store.record.head)[0]
        row = next(row for row in stored_epochs(store) if row.number == head[2])
        epoch = open_epoch(region, row, provider, wiring.halves(region))
        with alone(folder):
            made = write_backup(store, row, epoch, folder, values=values, seen=seen)
            removed = prune(folder, region, head[3], working.custody_backup_keep, store.clock.now())
    return Backup(made, _record(wiring, region, made), removed)


def _record(wiring: Wiring, region: str, made: BackedUp) -> bool:
    """Puts a backup on the record, if the cell is not another process's."""
    path = wiring.database_path(region)
    if path is not None and CellLock(path).holder() is not None:
        return False
    try:
        opened = wiring.open(region)
    except Conflict:
        return False  # somebody took the lock meanwhile
    try:
        opened.cell.committer.execute(BackupMade(as_host(), made))
    finally:
        opened.close()
    return True


class Restore:
    """A restore of a cell from a folder of backups into the database of the settings.

    Attributes:
        chosen: the files; `found` what they hold.
        newest: whether the operator says that nothing was committed after the record.
    """

    def __init__(
        self,
        wiring: Wiring,
        region: str,
        folder: Path,
        *,
        values: Path | None = None,
        without_values: bool = False,
        newest: bool = False,
        above: int = 0,
        seen: Seen = lambda _what, _done, _total: None,
    ) -> None:
        """Looks through all of the files.

        Raises:
            Misconfigured: `no_backup`.
            IntegrityError: `backup_invalid`; `integrity_failed`: an `erased.log` is damaged.
            BadInput: `usage`: the record is not the newest.
        """
        self._wiring = wiring
        self._region = region
        halves = wiring.halves(region)
        self._erased: dict[bytes, Erased] = ErasedLog(region, halves.folders).read()
        with contextlib.closing(wiring.provider(region)) as provider:
            self.chosen: Chosen = choose(
                folder, region, provider, halves, self._erased, values=values, above=above
            )
        if not without_values and VALUES not in self.chosen.paths:
            raise Misconfigured("no_backup", part=VALUES, path=str(folder))
        if newest:
            check_newest(self.chosen)
        self.newest = newest
        self.found: Found = look_through(self.chosen, self._erased, seen)

    def plan(self) -> dict[str, Any]:
        """What would be done, in numbers; nothing of it names a person."""
        chosen, found = self.chosen, self.found
        values = chosen.headers.get(VALUES)
        return {
            "region": self._region,
            "set": chosen.header.set,
            "epoch": chosen.header.epoch,
            "instant": chosen.header.at,
            "values_instant": None if values is None else values.at,
            "values_recorded": found.values_recorded,
            "rows": sum(found.rows.values()),
            "values": found.rows.get("claims", 0),
            "would_come_back": {"keys": found.erased, "values": found.erased_values},
            "revokes": {"grants": 0, "credentials": 0}
            if self.newest
            else {"grants": found.grants, "credentials": found.credentials},
            "events": chosen.headers[RECORD].events,
            "resumes_at": self._resumes_at,
        }

    @property
    def _resumes_at(self) -> int:
        return max(self.chosen.known, self.chosen.headers[RECORD].events)

    def run(self, seen: Seen, *, again: bool = False) -> Settled:
        """Restores the cell, or goes on where it was interrupted. Until this returns nothing serves it.

        Raises:
            Misconfigured: `already_initialised`: there is a cell in the database.
            Conflict: `source_changed`: other files were begun with; `cell_locked`.
        """
        wiring, region, chosen = self._wiring, self._region, self.chosen
        source = f"{self.found.digest[:60]}{'-new' if self.newest else ''}"
        progress = {**_START, "resumes_at": self._resumes_at}
        with wiring.vacant(region) as store:
            loading = Loading.begin(store, RESTORE, source, chosen.header.revision, progress, again=again)
            load(loading, chosen, lambda part, rows: seen(part, rows, self._rows_of(part)))
            if "event" not in loading.load.progress:
                mend(loading, chosen.header.epoch, loading.load.progress["resumes_at"])
        opened = wiring.open(region, loading=True)
        try:
            done = perform(opened.cell, lambda: self._settle(opened.cell, loading))
        finally:
            opened.close()
        loading.load.progress["event"] = done.event
        with wiring.vacant(region) as store:
            ending = Loading(store, loading.load)
            remove_keyless(ending)
            store.fold()
            ending.end()
        return done

    def _rows_of(self, part: str) -> int:
        return sum(self.found.rows.get(table, 0) for table in self.chosen.headers[part].tables)

    def _settle(self, cell: Cell, loading: Loading) -> Verb[Settled]:
        chosen = self.chosen
        values = chosen.headers.get(VALUES)
        facts = {
            "set": chosen.header.set,
            "epoch": chosen.header.epoch,
            "instant": chosen.header.at,
            "events": chosen.headers[RECORD].events,
            "values_instant": None if values is None else values.at,
            "values_recorded": self.found.values_recorded,
        }
        erased = sorted(self._erased)
        return settle(cell, as_host(), loading.load.progress, erased, facts, newest=self.newest)


@dataclass(frozen=True, slots=True)
class Copied:
    """A cell that was copied and compared.

    Attributes:
        rows: of each table.
        digest: over the digests of all tables, the same in source and destination.
        opened: how many values, drawn from all of them, opened at the destination.
        event: the number of the event that says so, at the destination.
    """

    rows: dict[str, int]
    digest: str
    opened: int
    event: int


def copy(source: Wiring, target: Wiring, region: str, seen: Seen, *, again: bool = False) -> Copied:
    """Copies a cell into the empty database of other settings, or goes on where it was interrupted.

    Nobody writes into the source meanwhile, and nothing of it is changed. Until this returns nothing serves
    the destination.

    Args:
        again: whether what an interrupted copy has brought is thrown away.

    Raises:
        Conflict: `cell_locked`: a service has one of them; `source_changed`: the source is not what it was
            when the copy was begun.
        Misconfigured: `already_initialised`: the destination has a cell.
        IntegrityError: `copy_differs`; `integrity_failed`: the destination's keys do not open it.
        BadInput: `usage`: both are one database.
    """
    if _place(source, region) == _place(target, region):
        raise BadInput("usage", reason="source and destination are one database")
    with _still(source, region) as of:
        mark = mark_of(of)
        with target.vacant(region) as store:
            loading = Loading.begin(store, COPY, mark, migrations.newest(), {"place": 0}, again=again)
            copy_rows(of, loading, seen, total_of(of))
            if "event" not in loading.load.progress:
                rows, digest = compare(of, store, seen)
                loading.note(rows=rows, digest=digest)
        if mark_of(of) != mark:
            raise Conflict("source_changed")
        opened = target.open(region, loading=True)
        try:
            done = opened.cell.committer.execute(CellCopied(as_host(), loading.load.progress))
            count = open_some(opened.cell, done)
        except IntegrityError:
            raise IntegrityError("integrity_failed") from None
        finally:
            opened.close()
        with target.vacant(region) as store:
            store.fold()
            Loading(store, loading.load).end()
    kept = loading.load.progress
    return Copied(kept["rows"], kept["digest"], count, done.value)


@contextlib.contextmanager
def _still(wiring: Wiring, region: str) -> Iterator[Store]:
    """A cell's database for reading, while nobody writes into it."""
    path = wiring.database_path(region)
    with contextlib.ExitStack() as stack:
        if path is not None:
            lock = CellLock(path)
            lock.acquire()
            stack.callback(lock.release)
        store = stack.enter_context(wiring.reader(region))
        if path is None:
            stack.enter_context(still(store.engine))
        yield store


def _place(wiring: Wiring, region: str) -> object:
    """A cell's database, however its settings are spelt."""
    path = wiring.database_path(region)
    if path is not None:
        return path.resolve()
    server = wiring.server(region)
    return server.hosts, server.ports, server.name
