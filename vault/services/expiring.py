"""The work of an erasure by retention: a due period goes as one, keys with dates of their own in batches.

Where nobody in a period is held, its rows go by the thousand and its key pages whole: nothing is opened and
sealed again for keys that all go. Where somebody is, the others' keys are taken out of their pages, and the
job waits for the hold. A period is not noted in `erased.log`: whatever is restored has its date.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, Final

from vault.clock import parse_time
from vault.errors import Conflict, Stale
from vault.ledger.command import Command, Committed, Needs, State, Writes
from vault.services.cell import Cell
from vault.services.erasure_kinds import PERIOD, decode_target
from vault.services.holding import SUBJECT, check_holds
from vault.services.jobs import Piece, Progress, Work
from vault.services.remove_keys import AT_ONCE, remove_keys
from vault.services.selecting import has_key, holds_of
from vault.store.forgetting import ErasureRow, HoldRow

DROPPED: Final = 8_192  # keys of one transaction where a whole period goes

Pieces = Generator[Command, Committed, Any]


class DropKeys(Piece):
    """Drops keys of a period of which nobody is held, and at last its pages and the period."""

    def __init__(
        self,
        work: Work,
        then: Progress,
        row: ErasureRow,
        of: dict[str, Any],
        held: list[HoldRow],
        *,
        last: bool,
    ) -> None:
        super().__init__(work, then)
        self._row = row
        self._of = of
        self._held = held
        self._last = last
        self.weight = 8

    def needs(self, needs: Needs) -> None:
        """The job, and the tenant's holds."""
        super().needs(needs)
        needs.holds.add(self._row.tenant)
        needs.settled = True

    def effect(self, state: State, writes: Writes) -> None:
        """Notes the deletes. Stale if a hold has come or gone."""
        if state.holds[self._row.tenant] != self._held:
            raise Stale
        epochs = {"epoch": state.head.write_epoch, "before": state.head.read_epoch}
        if self._last:
            writes.update("drop_pages_of_period", **self._of)
            writes.change("end_period", [self._of])
            writes.fence_by += 1
        else:
            writes.update("drop_claims_of_period", **self._of, **epochs, most=DROPPED)
            writes.update("drop_keys_of_period", **self._of, **epochs, most=DROPPED)


def remove_due(cell: Cell, work: Work, row: ErasureRow) -> Pieces:
    """Removes what is due and not held, a batch each time; how many keys there were, once none is left.

    Returns: None while there is more to do.

    Raises:
        Conflict: `hold_active`: what is left is held.
    """
    target, holds = decode_target(row.target), holds_of(cell, row.tenant)
    check_holds(holds, None, [target["class"]])
    people = {hold.subject for hold in holds if hold.kind == SUBJECT and hold.subject is not None}
    total = work.progress.cursor.get("selected")
    if total is None:
        total = _count(cell, row, target)
        then = replace(work.progress, cursor={**work.progress.cursor, "selected": total}, total=total)
        yield Piece(work, then)
        work.progress = then
    if row.kind == PERIOD and not any(has_key(cell, row, one) for one in people):
        return (yield from _whole(cell, work, row, target, holds))
    return (yield from _some(cell, work, row, target, people))


def _whole(cell: Cell, work: Work, row: ErasureRow, target: dict[str, Any], holds: list[HoldRow]) -> Pieces:
    """All that is left of a period."""
    left, total = _count(cell, row, target), work.progress.cursor["selected"]
    last = left == 0
    then = replace(work.progress, done=max(0, total - left + min(left, DROPPED)))
    yield DropKeys(work, then, row, _of(row, target), holds, last=last)
    work.progress = then
    if last:
        cell.keyring.forget_data()
        cell.store.fold()
        return total
    return None


def _some(cell: Cell, work: Work, row: ErasureRow, target: dict[str, Any], people: set[bytes]) -> Pieces:
    """Keys of those who are not held; what is left is."""
    above, gone = b"", 0
    class_ = target["class"]
    while True:
        rows = _page(cell, row, target, above)
        if not rows:
            break
        above = bytes(rows[-1][0])
        free = [bytes(one[0]) for one in rows if bytes(one[1]) not in people]
        if not free:
            continue

        def unless(state: State) -> None:
            now = {h.subject for h in state.holds[row.tenant] if h.kind == SUBJECT and h.subject is not None}
            if not now <= people:
                raise Stale
            check_holds(state.holds[row.tenant], None, [class_])

        yield from remove_keys(cell, work.actor, free, listed=False, unless=unless, erasure=row.id)
        gone += len(free)
        then = replace(work.progress, done=min(work.progress.total, work.progress.done + len(free)))
        yield Piece(work, then)
        work.progress = then
        return None
    if _count(cell, row, target):
        raise Conflict("hold_active")
    if row.kind == PERIOD:
        yield DropKeys(work, work.progress, row, _of(row, target), holds_of(cell, row.tenant), last=True)
    return work.progress.cursor["selected"]


def _of(row: ErasureRow, target: dict[str, Any]) -> dict[str, Any]:
    of = {"of_tenant": row.tenant, "of_class": target["class"]}
    return {**of, "of_due": target["due"]} if row.kind == PERIOD else of


def _asked(cell: Cell, row: ErasureRow, target: dict[str, Any]) -> dict[str, Any]:
    if row.kind != PERIOD:
        return {**_of(row, target), "until": parse_time(target["until"])}
    epochs = cell.keyring.in_use
    return {**_of(row, target), "epoch": epochs.write, "before": epochs.read}


def _count(cell: Cell, row: ErasureRow, target: dict[str, Any]) -> int:
    statements = cell.store.expiring
    counted = statements.count_of_period if row.kind == PERIOD else statements.count_suspended
    return int(cell.store.read(counted, _asked(cell, row, target))[0][0])


def _page(cell: Cell, row: ErasureRow, target: dict[str, Any], above: bytes) -> list[Any]:
    statements = cell.store.expiring
    found = statements.keys_of_period if row.kind == PERIOD else statements.keys_suspended
    return cell.store.read(found, {**_asked(cell, row, target), "above": above, "most": AT_ONCE})
