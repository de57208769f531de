"""Removing data keys: their rows, and their places in key pages. What lies under them opens no more.

It binds at once. It is final against a database backup when the epoch it was done in has been closed; until
then `erased.log` in every half-store keeps a restore from bringing them back. Whoever asks goes on asking
until it is answered: a key that is gone already is noted again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from vault.audit.event import Event, listed
from vault.clock import Micros
from vault.crypto.keypack import pack_page, page_ids
from vault.errors import IntegrityError, Unavailable
from vault.identifiers import format_id
from vault.keyring.hierarchy import open_page, seal_page
from vault.kms.erased import Erased, ErasedLog
from vault.ledger.command import ROWS_A_WEIGHT, Command, Needs, State, Verb, Writes
from vault.retention.period import IDENTIFIER_CLASS
from vault.services.cell import Cell
from vault.services.directory import RELIST, Directory, referred
from vault.services.enlisting import identifiers, note_removals
from vault.store.crossing import SubjectRow
from vault.store.custody import KeyRow
from vault.store.turning import PageRow

AT_ONCE: Final = 256  # keys of one transaction


@dataclass(frozen=True, slots=True)
class Removed:
    """What came of it.

    Attributes:
        keys: how many there were, and are no more.
        at: when all of them were gone, and every half-store knew, by the ledger's clock.
    """

    keys: int
    at: Micros


@dataclass(slots=True, repr=False)
class _Changes:
    """What is to be changed, each as it was seen."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    people: list[bytes] = field(default_factory=list)
    refs: list[bytes] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)


class RemoveKeys(Command):
    """Removes keys as they were seen; whatever moved meanwhile makes it stale. Bumps the fence.

    Raises `hold_active` where a legal hold stands in the way.
    """

    alone = True

    def __init__(
        self,
        actor: str,
        tenant: str,
        changes: _Changes,
        facts: dict[str, Any],
        unless: Callable[[State], None] | None = None,
    ) -> None:
        self._changes = changes
        self._tenant = tenant
        self._unless = unless
        ids = [format_id("key", one["data_key"]) for one in changes.keys]
        facts = {"count": len(ids), **facts}
        self._event = Event("key.remove", tenant, actor, facts, {"keys": listed(ids)})
        self.weight = 1 + len(ids) // ROWS_A_WEIGHT

    def needs(self, needs: Needs) -> None:
        """The tenant's holds. Of the rest compare-and-swap finds what moved."""
        if self._unless is not None:
            needs.holds.add(self._tenant)
            needs.settled = True  # no hold comes between

    def decide(self, state: State, writes: Writes) -> None:
        """Notes the deletes."""
        if self._unless is not None:
            self._unless(state)
        changes = self._changes
        for key in changes.people:
            writes.update("drop_references_of", data_key=key)
            writes.update("drop_events_of", data_key=key)
            writes.update("drop_subject_of", data_key=key)
        note_removals(writes, changes.refs)
        of = [{"data_key": one["data_key"]} for one in changes.keys]
        writes.change("drop_claims_of", of, each=False)  # what nobody can open need not be kept
        writes.change("remove_data_key", changes.keys)
        writes.change("reseal_page", changes.pages)
        writes.change("drop_page", changes.dropped)
        writes.fence_by += 1
        writes.event(self._event)


def remove_keys(
    cell: Cell,
    actor: str,
    ids: Iterable[bytes],
    *,
    note: bool = True,
    listed: bool = True,
    unless: Callable[[State], None] | None = None,
    **facts: Any,
) -> Verb[Removed]:
    """Removes data keys, of whatever tenant, with the rows of people whose identifiers they seal.

    Args:
        listed: whether the directory may have the people; not if it was told before.
        unless: raises where a hold that is in force at that moment keeps them; asked in each transaction.
        note: whether they are noted in the half-stores; not if they were found there.
        facts: what the events say besides.

    Raises:
        Unavailable: `key_unavailable`: the half-stores are out of reach, or the database is; ask again.
        IntegrityError, Misconfigured: `erased.log` is damaged, or cannot be written; ask again when it can.
    """
    wanted = sorted(set(ids))
    log = _log(cell) if note else None
    if log is not None:
        log.read()  # what cannot be noted is not begun
    removed, at = 0, cell.clock.now()
    for start in range(0, len(wanted), AT_ONCE):
        chunk = wanted[start : start + AT_ONCE]
        for tenant, rows in _by_tenant(cell, chunk):
            done = yield RemoveKeys(actor, tenant, _changes(cell, rows, listed=listed), facts, unless)
            removed, at = removed + len(rows), max(at, done.at)
        if log is not None:
            # Read when all of them are gone, also those that somebody else removed: a later flip says more.
            events = int(cell.store.read(cell.store.record.head)[0][1])
            log.append(Erased(id_, events, at) for id_ in chunk)
    cell.keyring.forget_data()
    cell.store.fold()
    return Removed(removed, at)


def still_there(cell: Cell, ids: Sequence[bytes]) -> list[KeyRow]:
    """The rows of those keys that have one."""
    return [_key(row) for row in cell.store.read_keys(cell.store.custody.data_keys, list(ids))]


def _key(row: Any) -> KeyRow:
    found = KeyRow(*row)
    page = None if found.page is None else bytes(found.page)
    return found._replace(id=bytes(found.id), subject=bytes(found.subject), page=page)


def _by_tenant(cell: Cell, ids: Sequence[bytes]) -> Iterator[tuple[str, list[KeyRow]]]:
    rows: dict[str, list[KeyRow]] = defaultdict(list)
    for row in still_there(cell, ids):
        rows[row.tenant].append(row)
    yield from sorted(rows.items())


def _changes(cell: Cell, rows: list[KeyRow], *, listed: bool) -> _Changes:
    """The deletes of rows, and their pages without them."""
    changes = _Changes()
    by_page: dict[bytes, set[bytes]] = defaultdict(set)
    for row in rows:
        single = row.page is None
        changes.keys.append(
            {"data_key": row.id, "was": row.epoch, "of_page": row.page or b"", "single": int(single)}
        )
        if row.class_ == IDENTIFIER_CLASS:
            changes.people.append(row.id)
        if row.page is not None:
            by_page[row.page].add(row.id)
    if listed and cell.directory is not None and changes.people:
        changes.refs = _listed_as(
            cell, cell.directory, [row for row in rows if row.class_ == IDENTIFIER_CLASS]
        )
    if by_page:
        for found in cell.store.read_keys(cell.store.turning.key_pages, sorted(by_page)):
            _without(cell, changes, PageRow(*found), by_page)
    return changes


def _listed_as(cell: Cell, directory: Directory, keys: list[KeyRow]) -> list[bytes]:
    """The references under which the directory may have the people whose identifiers these keys seal.

    Of those whose identifier does not open any more it cannot be said: then everybody is listed anew.
    """
    refs: set[bytes] = set()
    by_tenant: dict[str, list[bytes]] = defaultdict(list)
    for key in keys:
        by_tenant[key.tenant].append(key.subject)
    for tenant, people in sorted(by_tenant.items()):
        found = cell.store.read_keys(cell.store.indexes.people_of_tenant, people, tenant=tenant)
        rows = [SubjectRow(bytes(row[0]), tenant, bytes(row[2]), bytes(row[1])) for row in found]
        try:
            for _, subject in identifiers(cell, rows):
                refs.update([RELIST] if subject is None else referred(directory, tenant, [subject]))
        except Unavailable:  # a key that may not be used any more
            return [RELIST]
    return [RELIST] if RELIST in refs else sorted(refs)


def _without(cell: Cell, changes: _Changes, page: PageRow, gone: dict[bytes, set[bytes]]) -> None:
    """A page without some of its keys; no page, if none is left."""
    page = page._replace(id=bytes(page.id), sealed=bytes(page.sealed))
    epoch = cell.keyring.epoch(page.epoch)
    try:
        opened = open_page(epoch, page)
        kept = [id_ for id_ in page_ids(opened) if id_ not in gone[page.id]]
    except IntegrityError:
        raise IntegrityError("integrity_failed", epoch=page.epoch) from None
    if not kept:
        changes.dropped.append({"page_id": page.id, "was": page.version})
        return
    following = page._replace(version=page.version + 1)
    sealed = seal_page(epoch, following, pack_page({}, opened, kept), len(kept))
    changes.pages.append(
        {
            "page_id": page.id,
            "was": page.version,
            "to": page.epoch,
            "holds": len(kept),
            "resealed": sealed.sealed,
        }
    )


def _log(cell: Cell) -> ErasedLog:
    """The log in the half-stores."""
    if cell.keys is None:
        raise Unavailable("key_unavailable")
    _, halves = cell.keys()
    return ErasedLog(cell.region, halves.folders)
