"""Sealing under the next epoch what is sealed under the last: prepared here, swapped in by the ledger.

Nothing is opened that is not sealed again at once, and nothing is changed that is not as it was seen:
whoever changed it meanwhile wins, and it is looked at again. Keys without a row are left out of their pages.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from vault.crypto.block import BLOCK_BYTES
from vault.crypto.keypack import pack_page, page_ids
from vault.errors import IntegrityError
from vault.identifiers import uuid7
from vault.keyring.hierarchy import (
    PAGE_KEYS,
    Epoch,
    Purpose,
    open_page,
    packed_data_key,
    reseal_field_key,
    seal_page,
)
from vault.ledger.command import Needs, State, Writes
from vault.secret import Secret
from vault.services.cell import Cell
from vault.services.jobs import Piece, Progress, Work
from vault.store.custody import FieldKeyRow, KeyRow
from vault.store.rows import EpochsInUse
from vault.store.turning import PageRow

_NEW: Final = 0  # the version before a page's first


@dataclass(slots=True, repr=False)
class Batch:
    """What one transaction swaps.

    Attributes:
        keys: how many keys are sealed anew in it.
    """

    keys: int = 0
    new_pages: list[PageRow] = field(default_factory=list)
    pages: list[dict[str, Any]] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    packed: list[dict[str, Any]] = field(default_factory=list)
    field_keys: list[dict[str, Any]] = field(default_factory=list)


class Swap(Piece):
    """Swaps a batch in, all of it or none."""

    def __init__(self, work: Work, then: Progress, batch: Batch, epochs: EpochsInUse) -> None:
        super().__init__(work, then)
        self.prepared_on = epochs
        self._batch = batch
        self.weight = 1 + batch.keys // 64

    def effect(self, state: State, writes: Writes) -> None:
        """Notes every swap with what it was prepared on."""
        batch = self._batch
        writes.insert_rows("key_page", batch.new_pages)
        writes.change("reseal_page", batch.pages)
        writes.change("drop_page", batch.dropped)
        writes.change("pack_key", batch.packed)
        writes.change("reseal_field_key", batch.field_keys)


def reseal(cell: Cell, old: Epoch, new: Epoch) -> Batch | None:
    """The next batch that is still under the old epoch; None when there is none.

    Raises:
        IntegrityError: `integrity_failed`: something does not open. The turn stops there, with nothing lost.
    """
    try:
        return _field_keys(cell, old, new) or _singles(cell, old, new) or _pages(cell, old, new)
    except IntegrityError:
        raise IntegrityError("integrity_failed", epoch=old.number) from None


def _field_keys(cell: Cell, old: Epoch, new: Epoch) -> Batch | None:
    """All field keys but the epoch's own index layer, which ends with it."""
    rows = cell.store.read(cell.store.turning.field_keys_under, {"epoch": old.number})
    found = [FieldKeyRow(*row) for row in rows]
    swaps = [
        {
            "key_id": row.id,
            "was": old.number,
            "to": new.number,
            "resealed": reseal_field_key(old, new, row),
        }
        for row in found[: cell.working.batch]
        if row.purpose != Purpose.INDEX_LAYER
    ]
    return Batch(keys=len(swaps), field_keys=swaps) if swaps else None


def _singles(cell: Cell, old: Epoch, new: Epoch) -> Batch | None:
    """Keys that were made since the last turn, packed by tenant, class and due period."""
    params = {"epoch": old.number, "most": cell.working.batch}
    rows = [_single(row) for row in cell.store.read(cell.store.turning.singles_under, params)]
    batch = Batch()
    for (tenant, class_, due), those in groupby(rows, key=lambda row: (row.tenant, row.class_, row.due)):
        listed = list(those)
        for start in range(0, len(listed), PAGE_KEYS):
            chunk = listed[start : start + PAGE_KEYS]
            keys = {row.id: packed_data_key(old, row) for row in chunk}
            partial = (
                None if len(chunk) == PAGE_KEYS else _with_room(cell, old, tenant, class_, due, len(chunk))
            )
            if partial is None:
                page = PageRow(uuid7(), tenant, class_, due, _NEW + 1, new.number, 0, b"")
                page = seal_page(new, page, pack_page(keys), len(keys))
                batch.new_pages.append(page)
            else:
                page = _resealed(cell, new, batch, partial, open_page(old, partial), keys, living=-1)
            batch.packed += [{"key_id": id_, "was": old.number, "into": page.id} for id_ in sorted(keys)]
            batch.keys += len(keys)
    return batch if rows else None


def _single(row: Any) -> KeyRow:
    """A key's row from the columns of `singles_under`."""
    id_, tenant, subject, class_, due, state, epoch, sealed = row
    return KeyRow(bytes(id_), tenant, bytes(subject), class_, due, state, epoch, bytes(sealed), state)


def _with_room(cell: Cell, old: Epoch, tenant: str, class_: str, due: str, count: int) -> PageRow | None:
    """A page of the same period that these keys go into too."""
    params = {
        "tenant": tenant, "class": class_, "due": due, "epoch": old.number, "at_most": PAGE_KEYS - count,
    }  # fmt: skip
    rows = cell.store.read(cell.store.turning.page_with_room, params)
    return _page(rows[0]) if rows else None


def _pages(cell: Cell, old: Epoch, new: Epoch) -> Batch | None:
    """Pages, rewritten whole."""
    params = {"epoch": old.number, "most": max(1, cell.working.batch // PAGE_KEYS)}
    rows = cell.store.read(cell.store.turning.pages_under, params)
    batch = Batch()
    for row in rows:
        page = _page(row)
        _resealed(cell, new, batch, page, open_page(old, page), {}, living=row[-1])
    return batch if rows else None


def _resealed(
    cell: Cell,
    new: Epoch,
    batch: Batch,
    page: PageRow,
    opened: Secret,
    more: dict[bytes, Secret],
    *,
    living: int,
) -> PageRow:
    """A page under the new epoch: the keys of it that still have a row, and some more.

    Args:
        living: how many of its keys have a row; if not as many as it holds, they are looked up.
    """
    ids = page_ids(opened)
    kept = frozenset(ids)
    if living != len(ids):
        rows = cell.store.read_keys(cell.store.turning.keys_in_page, ids, page=page.id)
        kept = frozenset(bytes(row[0]) for row in rows)
    count = len(kept) + len(more)
    if count == 0:
        batch.dropped.append({"page_id": page.id, "was": page.version})
        return page
    following = page._replace(version=page.version + 1)
    sealed = seal_page(new, following, pack_page(more, opened, kept), count)
    batch.pages.append(
        {
            "page_id": page.id,
            "was": page.version,
            "to": new.number,
            "holds": count,
            "resealed": sealed.sealed,
        }
    )
    batch.keys += len(kept)
    return sealed


def _page(row: Any) -> PageRow:
    return PageRow(*row[:8])


# The rows that are found by a block under the index layer.


@dataclass(frozen=True, slots=True, repr=False)
class Carried:
    """Rows of one epoch with what finds them in the next.

    Attributes:
        table: `reference`, `suppression` or `index`.
        last: the last of them; the next batch begins behind it.
    """

    table: str
    rows: list[tuple[bytes, bytes]]
    last: bytes


def carry(cell: Cell, table: str, above: bytes, epochs: EpochsInUse) -> Carried | None:
    """The next rows of a table that is keyed by epoch; None when there are no more."""
    old, new = cell.keyring.layer(epochs.read), cell.keyring.layer(epochs.write)
    statement = getattr(cell.store.turning, f"{table}_rows")
    params = {"epoch": epochs.read, "above": above, "most": cell.working.batch}
    entries = [bytes(row[0]) for row in cell.store.read(statement, params)]
    if not entries:
        return None
    blocks = new.encrypt_many([old.decrypt(entry) for entry in entries])
    ends = range(0, len(blocks), BLOCK_BYTES)
    rows = [(entry, blocks[at : at + BLOCK_BYTES]) for entry, at in zip(entries, ends, strict=True)]
    rows.sort(key=itemgetter(1))  # as they will stand in the table
    return Carried(table, rows, entries[-1])


def dead_entries(cell: Cell, above: bytes, through: bytes, epochs: EpochsInUse) -> list[dict[str, Any]]:
    """What finds tokens of a part of the index under which nothing lies any more, in both epochs."""
    asked = {"epoch": epochs.read, "above": above, "through": through}
    dead = [bytes(row[0]) for row in cell.store.read(cell.store.turning.dead_entries, asked)]
    if not dead:
        return []
    old, new = cell.keyring.layer(epochs.read), cell.keyring.layer(epochs.write)
    blocks = new.encrypt_many([old.decrypt(entry) for entry in dead])
    ends = range(0, len(blocks), BLOCK_BYTES)
    return [
        {"of_epoch": epoch, "found_by": block}
        for entry, at in zip(dead, ends, strict=True)
        for epoch, block in ((epochs.read, entry), (epochs.write, blocks[at : at + BLOCK_BYTES]))
    ]


class DropDead(Piece):
    """Drops entries of the index that lead to nothing, unless one has come to lead to something meanwhile."""

    def __init__(self, work: Work, entries: list[dict[str, Any]], epochs: EpochsInUse) -> None:
        super().__init__(work, work.progress)
        self.prepared_on = epochs
        self._entries = entries
        self.weight = 1 + len(entries) // 64

    def needs(self, needs: Needs) -> None:
        """The job. Nobody enters a token meanwhile."""
        super().needs(needs)
        needs.settled = True

    def effect(self, state: State, writes: Writes) -> None:
        """Notes the deletes, each on the condition that it is still so."""
        writes.change("drop_dead_entry", self._entries, each=False)


class CarryOver(Piece):
    """Writes rows of the next epoch as those of the last stand: locked, so that nobody moves one between."""

    def __init__(self, work: Work, then: Progress, carried: Carried, epochs: EpochsInUse) -> None:
        super().__init__(work, then)
        self.prepared_on = self._epochs = epochs
        self._carried = carried
        self.weight = 1 + len(carried.rows) // 64

    def effect(self, state: State, writes: Writes) -> None:
        """Notes the inserts. What is there already was written with both epochs."""
        of, epochs = self._carried, self._epochs
        writes.carry(f"carry_{of.table}", of.rows, of_epoch=epochs.read, to_epoch=epochs.write)


def moved(progress: Progress, rows: int, seconds: float, **cursor: Any) -> Progress:
    """The progress after so many rows more, which took so long."""
    rate = round(1000 * rows / seconds) if seconds > 0 else 0
    smooth = rate if not progress.rate else (3 * progress.rate + rate) // 4
    kept = {name: value for name, value in progress.cursor.items() if name != "out_of_reach"}
    return replace(
        progress,
        done=progress.done + rows,
        total=max(progress.total, progress.done + rows),
        rate=smooth,
        cursor={**kept, **cursor},
    )
