"""The first event of a cell: its tenant, its own keys, and the event that says so."""

from __future__ import annotations

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.errors import Stale
from vault.identifiers import new_id
from vault.keyring.epoch import EpochRow
from vault.keyring.hierarchy import CELL, Epoch, Purpose, new_field_key
from vault.ledger.command import Command, Needs, State, Writes
from vault.services.cell import Cell
from vault.store.cell import Store
from vault.store.custody import FieldKeyRow

MAIN_TENANT = "main"


class FirstEvent(Command):
    """Inserts the main tenant with its keys."""

    alone = True

    def __init__(self, caller: Caller, keys: list[FieldKeyRow]) -> None:
        self._caller = caller
        self._keys = keys

    def needs(self, needs: Needs) -> None:
        """Touches no row but the head."""

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts everything, as the first event and never again."""
        if state.head.next != 0 or any(key.epoch != state.head.write_epoch for key in self._keys):
            raise Stale
        writes.insert("tenant", id=new_id("tn"), name=MAIN_TENANT, state="active", created_at=state.now)
        for key in self._keys:
            writes.insert("field_key", **key._asdict(), created_at=state.now)
        facts = {"epoch": state.head.write_epoch, "keys": len(self._keys)}
        writes.event(Event("cell.init", MAIN_TENANT, self._caller.actor, facts))


def tenant_keys(epoch: Epoch, tenant: str) -> list[FieldKeyRow]:
    """The keys that a tenant has from the beginning, sealed; not yet in the database."""
    return [new_field_key(epoch, tenant, CELL, Purpose.SUBJECT_REFERENCE, 1)]


def write_epoch(store: Store, region: str, row: EpochRow) -> None:
    """Writes the head and the first epoch, in one transaction. Nothing is sealed under it before."""
    session = store.session()
    try:
        session.begin()
        now = session.now(last=0)
        session.run(
            store.custody.insert_epoch,
            {
                "epoch": row.number,
                "id": row.id,
                "state": "active",
                "sealed_half": row.sealed_half,
                "created_at": now,
                "sealed_canary": row.canary,
                "activated_at": now,
                "destroy_at": None,
            },
        )
        session.run(
            store.record.insert_head,
            {
                "id": 1,
                "region": region,
                "next": 0,
                "write_epoch": row.number,
                "read_epoch": row.number,
                "fence": 0,
                "schema_version": 0,
                "last_at": now,
            },
        )
        session.commit()
    finally:
        session.close()


def has_head(store: Store) -> bool:
    """Whether the cell has its head row."""
    return bool(store.read(store.record.head))


def finish(cell: Cell, caller: Caller) -> bool:
    """Makes the first event if it is not there yet; whether it was made now."""
    if cell.store.read(cell.store.record.head)[0][1] > 0:
        return False
    epoch = cell.keyring.epoch(cell.keyring.write_epoch)
    keys = [
        new_field_key(epoch, CELL, CELL, Purpose.INDEX_LAYER, epoch.number),
        *tenant_keys(epoch, MAIN_TENANT),
    ]
    cell.committer.execute(FirstEvent(caller, keys))
    return True
