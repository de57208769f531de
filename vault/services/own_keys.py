"""Keys of the cell's own that not every cell needs: made when something first asks for one."""

from __future__ import annotations

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.errors import Stale
from vault.identifiers import format_id
from vault.keyring.hierarchy import CELL, Purpose, new_field_key
from vault.ledger.command import State, Writes
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Steps, trace
from vault.store.custody import FieldKeyRow


class MakeOwnKey(CallerCommand):
    """Inserts a key. If another process was first, its row is there, and the command comes back stale."""

    def __init__(self, caller: Caller, origin: Origin, key: FieldKeyRow) -> None:
        super().__init__(caller)
        self._origin = origin
        self._key = key

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts the key, sealed under the epoch that is written in."""
        self.check(state)
        if state.head.write_epoch != self._key.epoch:
            raise Stale
        writes.insert("field_key", **self._key._asdict(), created_at=state.now)
        facts = {"purpose": self._key.purpose, "key": format_id("key", self._key.id), **trace(self._origin)}
        writes.event(Event("cell.key", self.caller.principal.tenant, self.caller.actor, facts))


def ensure(cell: Cell, caller: Caller, origin: Origin, purpose: Purpose) -> Steps:
    """Returns when the cell has a key of its own for a purpose."""
    if not cell.keyring.has_own(purpose):
        epoch = cell.keyring.epoch(cell.keyring.write_epoch)
        yield MakeOwnKey(caller, origin, new_field_key(epoch, CELL, CELL, purpose, 1))
