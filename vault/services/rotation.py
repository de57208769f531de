"""Field keys that are due by the schema's `rotation`: each gets a new version, in the schedule's name."""

from __future__ import annotations

from typing import Final

from vault.identifiers import new_id
from vault.keyring.hierarchy import Purpose, new_field_key
from vault.keystate.states import KeyState
from vault.ledger.command import Verb
from vault.services.cell import Cell, Origin
from vault.services.field_keys import ChangeKey
from vault.services.gate import without_credential
from vault.store.custody import FieldKeyRow

SCHEDULE: Final = "schedule"


def due_rotations(cell: Cell) -> list[tuple[str, str]]:
    """(tenant, field) of vaultless fields whose newest key is older than the field's cryptoperiod.

    Source of the term: NIST SP 800-57 part 1, 5.3.
    """
    found = []
    now = cell.clock.now()
    for tenant, name, _, created_at in cell.store.read(
        cell.store.custody.newest_field_keys, {"purpose": Purpose.FF1.value}
    ):
        rule = cell.schemas.of(tenant, fresh=True).schema.fields.get(name)
        if rule is not None and rule.rotation is not None and rule.rotation.after(created_at) <= now:
            found.append((tenant, name))
    return found


def rotate_due(cell: Cell) -> Verb[int]:
    """Rotates what is due; how many fields got a new version.

    Raises:
        Unavailable: `key_unavailable`.
    """
    rotated = 0
    for tenant, name in due_rotations(cell):
        head = cell.schemas.of(tenant, fresh=True).head
        params = {"tenant": tenant, "field": name, "purpose": Purpose.FF1.value}
        rows = [FieldKeyRow(*row) for row in cell.store.read(cell.store.custody.field_keys, params)]
        newest = max(rows, key=lambda row: row.version)
        if newest.state != KeyState.ACTIVE:
            continue
        epoch = cell.keyring.epoch(cell.keyring.write_epoch)
        new = new_field_key(epoch, tenant, name, Purpose.FF1, newest.version + 1)
        caller, origin = without_credential(SCHEDULE, tenant), Origin(SCHEDULE, new_id("req"))
        yield ChangeKey(caller, origin, "key.rotate", head, newest, None, new, {}, {})
        cell.forget()
        rotated += 1
    return rotated
