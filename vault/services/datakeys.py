"""Data keys: one a slot, made when first needed, read back before anything is sealed under them."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from vault.audit.event import Event, listed
from vault.authn.identities import Caller
from vault.errors import Stale
from vault.identifiers import NIL, format_id
from vault.keyring.hierarchy import new_data_key
from vault.ledger.command import ROWS_A_WEIGHT, Command, Committed, Needs, State, Writes
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, trace
from vault.services.subjects import insert_data_key
from vault.store.custody import KeyRow, Slot
from vault.store.rows import EpochsInUse


class MakeDataKeys(CallerCommand):
    """Inserts keys for slots that have none. Returns from `decide`: the row that stands in each slot.

    Stale when one of the people is being erased, or was: whoever asks finds nobody by that name then.
    """

    def __init__(self, caller: Caller, origin: Origin, epochs: EpochsInUse, keys: list[KeyRow]) -> None:
        super().__init__(caller)
        self.prepared_on = epochs
        self._origin = origin
        self._epoch = epochs.write
        self._keys = keys
        self.weight = 1 + len(keys) // ROWS_A_WEIGHT

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the slots."""
        super().needs(needs)
        needs.slots.update(key.slot for key in self._keys)
        needs.subjects.update(key.subject for key in self._keys if key.subject != NIL)

    def decide(self, state: State, writes: Writes) -> dict[Slot, KeyRow]:
        """Inserts what is missing."""
        self.check(state)
        made = [key for key in self._keys if key.slot not in state.slots]
        if any(key.subject != NIL and key.subject not in state.subjects for key in made):
            raise Stale
        for key in made:
            state.slots[key.slot] = key
            insert_data_key(writes, key, state.now)
        if made:
            ids = [format_id("key", key.id) for key in made]
            writes.event(
                Event(
                    "key.create",
                    self.caller.principal.tenant,
                    self.caller.actor,
                    {"count": len(made), "epoch": self._epoch, **trace(self._origin)},
                    {"keys": listed(ids)},
                )
            )
        return {key.slot: state.slots[key.slot] for key in self._keys}


def obtain(
    cell: Cell, caller: Caller, origin: Origin, slots: Iterable[Slot]
) -> Generator[Command, Committed, dict[Slot, KeyRow]]:
    """The key row of each slot, made if there was none."""
    rows: dict[Slot, KeyRow] = {}
    missing: list[Slot] = []
    for slot in dict.fromkeys(slots):
        row = cell.keyring.slot(slot)
        if row is None:
            missing.append(slot)
        else:
            rows[slot] = row
    if missing:
        epochs = cell.keyring.in_use
        epoch = cell.keyring.epoch(epochs.write)
        keys = [new_data_key(epoch, slot) for slot in missing]
        done = yield MakeDataKeys(caller, origin, epochs, keys)
        for slot, row in done.value.items():
            cell.keyring.remember(row)
            rows[slot] = row
    return rows
