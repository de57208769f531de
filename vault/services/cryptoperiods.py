"""Cryptoperiods: until when each kind of key is meant to protect, and which keys have done so for longer.

Source of the term: NIST SP 800-57 part 1 Rev. 5, 5.3. Where the ends come from:

epoch, index layer    `cell.REGION.rotation`; the layer is its epoch's
ff1, blind-index      the field's `rotation` in the schema
subject-reference     `cell.REGION.reference_rotation`
access-tokens         `oauth.rotation`
data                  the end of its due period: it is removed then
api                   its expiry
row-id, mask          none: the one lasts as long as its rows, the other is never opened
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from vault.clock import Micros, Period
from vault.keyring.epoch import stored_epochs
from vault.keyring.hierarchy import CELL, Purpose
from vault.retention.period import NO_DUE, falls_due
from vault.schema.document import EMPTY, Schema, parse_document
from vault.services.cell import Working
from vault.services.turn import period_end as epoch_end
from vault.store.cell import Store

MESSAGES: Final = (Purpose.DELIVERY, Purpose.INTAKE)
SCHEDULED: Final = (
    Purpose.FF1,
    Purpose.BLIND_INDEX,
    Purpose.SUBJECT_REFERENCE,
    Purpose.ACCESS_TOKENS,
    *MESSAGES,
)
"""Purposes whose keys are rotated when they are due."""


@dataclass(frozen=True, slots=True, repr=False)
class Terms:
    """Where the ends of cryptoperiods are looked up.

    Attributes:
        schemas: by tenant.
        references: of keys of references to people; None: until somebody rotates them.
        epochs: when the cryptoperiod of each epoch ends that has one.
        signing: of keys that sign access tokens; None: they have no end.
        messages: of keys that sign sealed answers and open sealed requests; None: they have no end.
    """

    schemas: Mapping[str, Schema]
    references: Period | None
    epochs: Mapping[int, Micros]
    signing: Period | None = None
    messages: Period | None = None

    def end(self, tenant: str, purpose: str, field: str, version: int, created_at: Micros) -> Micros | None:
        """When a field key's cryptoperiod ends; None if it has none."""
        if purpose == Purpose.INDEX_LAYER:
            return self.epochs.get(version)
        rotation = self._rotation(tenant, purpose, field)
        return None if rotation is None else rotation.after(created_at)

    def _rotation(self, tenant: str, purpose: str, field: str) -> Period | None:
        if purpose == Purpose.SUBJECT_REFERENCE:
            return self.references
        if purpose == Purpose.ACCESS_TOKENS:
            return self.signing
        if purpose in MESSAGES:
            return self.messages
        rule = self.schemas.get(tenant, EMPTY).fields.get(field)
        if rule is None or purpose not in (Purpose.FF1, Purpose.BLIND_INDEX):
            return None
        return rule.rotation


def terms_of(store: Store, working: Working) -> Terms:
    """The terms as they stand in the database and in a cell's settings."""
    rows = store.read(store.record.latest_schemas)
    ends = {row.number: epoch_end(row, working.rotation) for row in stored_epochs(store)}
    return Terms(
        {row[0]: parse_document(msgspec.json.decode(row[2])) for row in rows},
        working.references,
        {number: end for number, end in ends.items() if end is not None},
        working.signing,
        working.messages,
    )


def data_key_end(due: str) -> Micros | None:
    """When a data key is removed; None if that is an event, or a date that moves."""
    return None if due == NO_DUE else falls_due(due)


@dataclass(frozen=True, slots=True)
class Due:
    """A field key that has protected for longer than its cryptoperiod; empty field: the tenant's own."""

    tenant: str
    field: str
    purpose: Purpose
    end: Micros


def due_rotations(store: Store, terms: Terms, now: Micros) -> list[Due]:
    """The newest keys of those fields, and tenants, whose cryptoperiods are over."""
    found = []
    for purpose in SCHEDULED:
        newest = store.read(store.custody.newest_field_keys, {"purpose": purpose.value})
        for tenant, field, version, created_at in newest:
            end = terms.end(tenant, purpose, field, version, created_at)
            if end is not None and end <= now:
                found.append(Due(tenant, field, purpose, end))
    return found


__all__ = ["CELL", "Due", "Terms", "data_key_end", "due_rotations", "terms_of"]
