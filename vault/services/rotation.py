"""Field keys that are due: each gets a new version, in the schedule's name; index keys get it by a job."""

from __future__ import annotations

from typing import Final

from vault.errors import Conflict
from vault.identifiers import new_id
from vault.keyring.hierarchy import new_field_key
from vault.keystate.states import KeyState
from vault.ledger.command import Command, Verb
from vault.services.cell import Cell, Origin
from vault.services.cryptoperiods import Due, due_rotations, terms_of
from vault.services.field_keys import ChangeKey
from vault.services.gate import without_credential
from vault.services.index_keys import INDEXED, BeginReindex, reindex_job, unended_job
from vault.store.custody import FieldKeyRow

SCHEDULE: Final = "schedule"


def rotate_due(cell: Cell) -> Verb[int]:
    """Rotates what is due; how many keys got a new version.

    Raises:
        Unavailable: `key_unavailable`.
    """
    rotated = 0
    terms = terms_of(cell.store, cell.working)
    for due in due_rotations(cell.store, terms, cell.clock.now()):
        command = _rotation(cell, due)
        if command is None:
            continue
        try:
            yield command
        except Conflict:  # another process was first
            continue
        cell.forget()
        rotated += 1
    return rotated


def _rotation(cell: Cell, due: Due) -> Command | None:
    """What rotates a key; None if it protects no more, or its rotation has not ended."""
    head = cell.schemas.of(due.tenant, fresh=True).head
    params = {"tenant": due.tenant, "field": due.field, "purpose": due.purpose.value}
    rows = [FieldKeyRow(*row) for row in cell.store.read(cell.store.custody.field_keys, params)]
    newest = max(rows, key=lambda row: row.version)
    if newest.state != KeyState.ACTIVE or unended_job(cell, newest) is not None:
        return None
    epoch = cell.keyring.epoch(cell.keyring.write_epoch)
    new = new_field_key(epoch, due.tenant, due.field, due.purpose, newest.version + 1)
    caller, origin = without_credential(SCHEDULE, due.tenant), Origin(SCHEDULE, new_id("req"))
    if due.purpose in INDEXED:
        return BeginReindex(caller, origin, head, newest, new, reindex_job(cell, caller, new), {})
    return ChangeKey(caller, origin, "key.rotate", head, newest, None, new, {}, {})
