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
        """Inserts the key."""
        self.check(state)
        insert_own(state, writes, self._key)
        facts = {"purpose": self._key.purpose, "key": format_id("key", self._key.id), **trace(self._origin)}
        writes.event(Event("cell.key", self.caller.principal.tenant, self.caller.actor, facts))


def ensure(cell: Cell, caller: Caller, origin: Origin, purpose: Purpose) -> Steps:
    """Returns when the cell has a key of its own for a purpose."""
    key = missing(cell, purpose)
    if key is not None:
        yield MakeOwnKey(caller, origin, key)


def missing(cell: Cell, purpose: Purpose) -> FieldKeyRow | None:
    """A fresh key of the cell's own for a purpose, sealed, if it has none."""
    if cell.keyring.has_own(purpose):
        return None
    epoch = cell.keyring.epoch(cell.keyring.write_epoch)
    return new_field_key(epoch, CELL, CELL, purpose, 1)


def insert_own(state: State, writes: Writes, key: FieldKeyRow) -> None:
    """Notes the insert of a key.

    Raises:
        Stale: it is sealed under another epoch than the one that is written in.
    """
    if state.head.write_epoch != key.epoch:
        raise Stale
    writes.insert("field_key", **key._asdict(), created_at=state.now)
