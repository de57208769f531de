"""The turn of an epoch, step by step: from n, which every key lies under, to n+1; then n is destroyed.

The order is what makes it safe, and no step begins before the one above it is in the database:

create    root version, half in every half-store, the epoch's row with a canary, its index layer
open      every live process has opened the canary
flip      `write_epoch` is n+1: whatever was prepared under n is stale
reseal    field keys, then single keys into pages, then pages; compare-and-swap, both epochs readable
carry     references, suppressions and index entries get their rows of n+1; look-ups still read n
count     no key is under n, and the rows of n+1 are as many as those of n
backup    custody and record are written under n+1 and read back, where a folder is configured
settle    answers to repeatable requests that are kept under n are waited for, or given up
close     `read_epoch` is n+1
drop      every process has dropped the key of n, or is long enough dead
sweep     rows of n go
prove     the bytes of n still open: what is shown below is the destruction's doing
destroy   the half of n is gone from the half-stores of every live process
root      the root version n is destroyed; n+1 still opens, and the bytes of n no longer do
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, Final

from vault.clock import SECOND, format_time
from vault.errors import CoatcheckError, IntegrityError, Unavailable
from vault.keyring.epoch import StoredEpoch, create_epoch, open_epoch, stored_epochs
from vault.keyring.hierarchy import CELL, Purpose, make_canary, new_field_key
from vault.keystate.states import KeyState
from vault.kms.halves import HalfStores
from vault.kms.provider import Provider
from vault.ledger.command import Command, Committed
from vault.services.backup import write_backup
from vault.services.backup_folder import alone, prune
from vault.services.cell import Cell
from vault.services.jobs import WAITING, Piece, Release, Work
from vault.services.reseal import CarryOver, DropDead, Swap, carry, dead_entries, moved, reseal
from vault.services.turn_pieces import (
    Asked,
    Close,
    Create,
    Dropped,
    Ended,
    Flip,
    HalvesGone,
    Opened,
    Prove,
    Step,
    Sweep,
    epochs_of,
)
from vault.store.custody import FieldKeyRow
from vault.store.turning import COUNTED

KIND: Final = "epoch.turn"
WAIT_S: Final = 1.0  # between two looks at other processes
LONG_WAIT_S: Final = 60.0  # between two looks at answers that are kept
TABLES: Final = ("reference", "suppression", "index")
MAX_CARRIES: Final = 3  # whole passes, if the rows of n+1 were not as many as those of n
KEEP, DROP = "keep", "drop"

Pieces = Generator[Command, Committed, None]


def advance(cell: Cell, work: Work) -> Pieces:
    """Does the next piece of a turn. The job is over, or given back, when its state is no longer `running`.

    Raises:
        Unavailable: the key store or the database is out of reach; it is tried again.
        IntegrityError: something is not what was written; a person must look.
    """
    yield from STEPS[work.progress.step](cell, work)


def _commit(work: Work, piece: Piece) -> Generator[Command, Committed, Any]:
    done = yield piece
    if not isinstance(piece, Asked) or done.value == 0:
        work.progress = piece.then
    return done.value


def _wait(work: Work, waits_for: str, seconds: float) -> Pieces:
    then = replace(work.progress, state=WAITING, waits_for=waits_for, error="")
    yield from _commit(work, Release(work, then, seconds))


def _create(cell: Cell, work: Work) -> Pieces:
    of = epochs_of(work)
    made = create_epoch(cell.region, of.write, *_key_stores(cell))
    layer = new_field_key(made.epoch, CELL, CELL, Purpose.INDEX_LAYER, of.write)
    layer = layer._replace(state=KeyState.PRE_ACTIVE.value)
    canary = None if _row(cell, of.read).canary else make_canary(cell.keyring.epoch(of.read))
    yield from _commit(work, Create(work, made, layer, canary))


def _open(cell: Cell, work: Work) -> Pieces:
    _look(cell)
    if (yield from _commit(work, Opened(work, "flip"))):
        yield from _wait(work, "processes", WAIT_S)


def _flip(cell: Cell, work: Work) -> Pieces:
    of = epochs_of(work)
    rows = {row.number: row for row in stored_epochs(cell.store)}
    total = _to_do(cell, of.read)
    flip = Flip(work, rows[of.read], rows[of.write], _layer(cell, of.write), total)
    if (yield from _commit(work, flip)):
        yield from _wait(work, "processes", WAIT_S)
    else:
        _look(cell)


def _reseal(cell: Cell, work: Work) -> Pieces:
    of = epochs_of(work)
    began = time.monotonic()
    batch = reseal(cell, cell.keyring.epoch(of.read), cell.keyring.epoch(of.write))
    if batch is None:
        yield from _commit(work, Step(work, "carry"))
        return
    now = work.progress
    piece = Swap(work, moved(now, batch.keys, _since(work, began)), batch, of)
    yield from _commit(work, piece)


def _carry(cell: Cell, work: Work) -> Pieces:
    of = epochs_of(work)
    began = time.monotonic()
    now = work.progress
    table = now.cursor.get("table", TABLES[0])
    carried = carry(cell, table, bytes.fromhex(now.cursor.get("above", "")), of)
    if carried is not None:
        if table == "index":
            above = bytes.fromhex(now.cursor.get("above", ""))
            dead = dead_entries(cell, above, carried.last, of)
            if dead:
                yield from _commit(work, DropDead(work, dead, of))
                return
        then = moved(now, len(carried.rows), _since(work, began), table=table, above=carried.last.hex())
        yield from _commit(work, CarryOver(work, then, carried, of))
    elif table != TABLES[-1]:
        following = TABLES[TABLES.index(table) + 1]
        then = replace(now, cursor={**now.cursor, "table": following, "above": ""})
        yield from _commit(work, Piece(work, then))
    else:
        yield from _commit(work, Step(work, "count"))


def _count(cell: Cell, work: Work) -> Pieces:
    """Nothing is left under the old epoch but its own index layer, and both epochs find as much."""
    of = epochs_of(work)
    left = _counts(cell, of.read)
    both = {"of_epoch": of.read, "to_epoch": of.write}
    found = cell.store.read(cell.store.turning.counted_in_both, both)[0]
    if left["data_keys"] or left["key_pages"] or left["field_keys"] != 1:
        yield from _commit(work, _again(work, "reseal"))
    elif found[::2] != found[1::2]:
        yield from _commit(work, _again(work, "carry"))
    else:
        counted = dict(zip(("index_entries", "references", "suppressions"), found[::2], strict=True))
        yield from _commit(work, Step(work, "backup", counted=counted))


def _again(work: Work, step: str) -> Piece:
    """Goes back to a step that left something behind.

    Raises:
        IntegrityError: `integrity_failed`: it did so each time.
    """
    now = work.progress
    tries = now.cursor.get("tries", 0) + 1
    if tries > MAX_CARRIES:
        raise IntegrityError("integrity_failed", step=step)
    return Piece(
        work, replace(now, step=step, cursor={**now.cursor, "tries": tries, "table": TABLES[0], "above": ""})
    )


def _backup(cell: Cell, work: Work) -> Pieces:
    folder = cell.working.custody_backup
    if folder is None:
        yield from _commit(work, Step(work, "settle", backup="not configured"))
        return
    of = epochs_of(work).write
    with alone(folder):
        made = write_backup(cell.store, _row(cell, of), cell.keyring.epoch(of), folder, turning=True)
    yield from _commit(work, Step(work, "settle", backup=made.facts()))


def _settle(cell: Cell, work: Work) -> Pieces:
    of = epochs_of(work)
    last = cell.store.read(cell.store.turning.last_answer, {"epoch": of.read})[0][0] or 0
    left = last - cell.clock.now()
    if work.params["replays"] == KEEP and left > 0:
        yield from _wait(work, "replays", min(left / SECOND + 1, LONG_WAIT_S))
        return
    yield from _commit(work, Step(work, "close", replays=work.params["replays"]))


def _close(cell: Cell, work: Work) -> Pieces:
    yield from _commit(work, Close(work, _layer(cell, epochs_of(work).read)))


def _drop(cell: Cell, work: Work) -> Pieces:
    _look(cell)
    if (yield from _commit(work, Dropped(work, "sweep"))):
        yield from _wait(work, "processes", WAIT_S)


def _sweep(cell: Cell, work: Work) -> Pieces:
    first = {"epoch": epochs_of(work).read, "above": b"", "most": 1}
    statements = cell.store.turning
    rows_of_each = (statements.reference_rows, statements.index_rows, statements.suppression_rows)
    left = [cell.store.read(rows, first) for rows in rows_of_each]
    answers = cell.store.read(statements.last_answer, {"epoch": epochs_of(work).read})[0][0]
    if any(left) or answers is not None:
        yield from _commit(work, Sweep(work, work.progress))
    else:
        folder = cell.working.custody_backup
        if folder is not None:  # those of the closed epoch, and those that have had their time
            keep, now = cell.working.custody_backup_keep, cell.clock.now()
            with alone(folder):
                prune(folder, cell.region, epochs_of(work).write, keep, now)
        yield from _commit(work, Step(work, "prove"))


def _prove(cell: Cell, work: Work) -> Pieces:
    """Opens the old epoch once more, from what a thief would have with all halves and the key store."""
    of = epochs_of(work)
    old = _row(cell, of.read)
    provider, halves = _key_stores(cell)
    open_epoch(cell.region, old, provider, halves)
    folders = [str(folder) for folder in halves.folders]
    yield from _commit(work, Prove(work, half_stores=folders, root=provider.destroy_means))


def _destroy(cell: Cell, work: Work) -> Pieces:
    _look(cell)
    if (yield from _commit(work, HalvesGone(work))):
        yield from _wait(work, "processes", WAIT_S)


def _root(cell: Cell, work: Work) -> Pieces:
    of = epochs_of(work)
    provider, halves = _key_stores(cell)
    halves.destroy(of.read)  # once more, in case a copy was put back
    receipt = provider.destroy_root(of.read)
    code = _refused(cell, _row(cell, of.read), _row(cell, of.write))
    gone = {"version": receipt.version, "what": receipt.what}
    if receipt.final_at is not None:
        gone["final_at"] = format_time(receipt.final_at)
    yield from _commit(work, Ended(work, _row(cell, of.read), refused=code, root_destroyed=gone))


def _refused(cell: Cell, old: StoredEpoch, new: StoredEpoch) -> str:
    """The code with which the same bytes no longer open.

    The new epoch is opened beside it: a key store that is only out of reach proves nothing.

    Raises:
        Unavailable: `key_unavailable`: the new epoch does not open either.
        IntegrityError: `integrity_failed`: the old one still opens.
    """
    provider, halves = _key_stores(cell)
    open_epoch(cell.region, new, provider, halves)
    try:
        open_epoch(cell.region, old, provider, halves)
    except CoatcheckError as refusal:
        if len(halves.missing(old.number)) == len(halves.folders):
            return refusal.code
    raise IntegrityError("integrity_failed", epoch=old.number)


def _row(cell: Cell, epoch: int) -> StoredEpoch:
    return next(row for row in stored_epochs(cell.store) if row.number == epoch)


def _layer(cell: Cell, epoch: int) -> FieldKeyRow:
    """An epoch's index layer, as it is stored."""
    params = {"tenant": CELL, "field": CELL, "purpose": Purpose.INDEX_LAYER.value}
    rows = [FieldKeyRow(*row) for row in cell.store.read(cell.store.custody.field_keys, params)]
    for row in rows:
        if row.version == epoch:
            return row._replace(id=bytes(row.id))
    raise IntegrityError("integrity_failed", epoch=epoch)


def _counts(cell: Cell, epoch: int) -> dict[str, int]:
    """The rows of an epoch, by table."""
    found = cell.store.read(cell.store.turning.counted, {"epoch": epoch})[0]
    return dict(zip(COUNTED, found, strict=True))


def _to_do(cell: Cell, epoch: int) -> int:
    """About how many keys and rows the turn will write: keys in pages are counted as the pages say."""
    found = _counts(cell, epoch)
    paged = cell.store.read(cell.store.turning.keys_paged, {"epoch": epoch})[0][0] or 0
    field_keys = found["field_keys"] - 1  # all but the epoch's own layer, which ends with it
    carried = found["blind_index"] + found["subject_refs"] + found["suppressions"]
    return int(found["data_keys"] + paged + field_keys + carried)


def _since(work: Work, began: float) -> float:
    """Seconds since the last piece of this worker, or since this one began."""
    before, work.moved_at = work.moved_at, time.monotonic()
    return max(work.moved_at - (before or began), 1e-6)


def _key_stores(cell: Cell) -> tuple[Provider, HalfStores]:
    if cell.keys is None:
        raise Unavailable("key_unavailable")
    return cell.keys()


def _look(cell: Cell) -> None:
    if cell.attendant is not None:
        cell.attendant.look()


STEPS: Final[dict[str, Callable[[Cell, Work], Pieces]]] = {
    "create": _create,
    "open": _open,
    "flip": _flip,
    "reseal": _reseal,
    "carry": _carry,
    "count": _count,
    "backup": _backup,
    "settle": _settle,
    "close": _close,
    "drop": _drop,
    "sweep": _sweep,
    "prove": _prove,
    "destroy": _destroy,
    "root": _root,
}
