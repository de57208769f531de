"""The work of an erasure: the keys that it selects are removed, unless a legal hold keeps them.

Asked anew whenever it is taken up: what is gone stays gone, and what is left is selected again, so that
whoever is killed goes on. That it is done is said when no key is left and every half-store knows.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Final

from vault.audit.event import Event
from vault.errors import Conflict
from vault.identifiers import format_id
from vault.ledger.command import Command, Committed, State, Writes
from vault.services.cell import Cell
from vault.services.erasure_kinds import PERSON
from vault.services.expiring import remove_due
from vault.services.holding import check_holds
from vault.services.jobs import DONE, WAITING, Piece, Release, Work
from vault.services.remove_keys import remove_keys
from vault.services.selecting import holds_of, select, stored
from vault.store.forgetting import ErasureRow

LONG_WAIT_S: Final = 60.0  # a hold that is released wakes the job
HOLD: Final = "hold"  # what a job waits for that a hold keeps

Pieces = Generator[Command, Committed, None]


class Removed(Piece):
    """Says that nothing of it is left. Alone: its event's number is how many events the log had."""

    alone = True

    def __init__(self, work: Work, row: ErasureRow, *, keys: int, counts: str) -> None:
        super().__init__(work, replace(work.progress, state=DONE, done=keys, total=keys))
        self._row = row
        self._keys = keys
        self._counts = counts

    def effect(self, state: State, writes: Writes) -> None:
        """Notes how many events the log has: a turn that flips later closes it."""
        row = self._row
        end = {
            "of_erasure": row.id,
            "removed": self._keys,
            "what": self._counts,
            "at": state.now,
            "had": state.head.next,
        }
        writes.change("end_erasure", [end])
        facts = {"erasure": row.id, "keys": self._keys, "job": self.work.id}
        items = {} if row.subject is None else {"subjects": {"ids": [format_id("sub", row.subject)]}}
        writes.event(Event("erasure.removed", row.tenant, self.work.actor, facts, items))


def advance(cell: Cell, work: Work) -> Pieces:
    """Removes what an erasure selects, and says so.

    Raises:
        Unavailable: the half-stores, the key store or the database are out of reach; it is tried again.
        IntegrityError: a page or `erased.log` is not what was written; a person must look.
    """
    row = stored(cell, work.params["erasure"])
    if row.removed_at:  # killed between the two
        then = replace(work.progress, state=DONE)
        yield Piece(work, then)
        work.progress = then
        return
    removing = _person(cell, work, row) if row.kind == PERSON else remove_due(cell, work, row)
    try:
        keys = yield from removing
    except Conflict as refusal:
        if refusal.code != "hold_active":
            raise
        then = replace(work.progress, state=WAITING, waits_for=HOLD, error="")
        yield Release(work, then, LONG_WAIT_S)
        work.progress = then
        return
    if keys is not None:
        ended = Removed(work, row, keys=keys, counts=row.counts)
        yield ended
        work.progress = ended.then


def _person(cell: Cell, work: Work, row: ErasureRow) -> Generator[Command, Committed, int]:
    """Removes the keys of a person; how many there were.

    Raises:
        Conflict: `hold_active`.
    """
    selection = select(cell, row.tenant, row.subject)
    # Whatever has no key yet is held as well: a hold on the person says so without any.
    check_holds(holds_of(cell, row.tenant), row.subject, selection.classes)
    yield from remove_keys(
        cell,
        work.actor,
        selection.keys,
        listed=False,  # the request told the directory, while the identifier could be read
        unless=lambda state: check_holds(state.holds[row.tenant], row.subject, selection.classes),
        erasure=row.id,
    )
    return row.keys  # as they were counted when it was asked for: none is made since
