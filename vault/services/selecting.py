"""What an erasure selects: a person, the data keys of what is kept of them, and what lies under those."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from vault.errors import Unknown
from vault.identifiers import format_id, parse_id
from vault.keyring.hierarchy import CELL
from vault.retention.certificate import MAX_LISTED
from vault.retention.period import IDENTIFIER_CLASS
from vault.services.cell import Cell
from vault.services.erasure_kinds import PERIOD, PERSON, decode_target, encode_target
from vault.services.hidden import Hidden
from vault.services.holding import SUBJECT, holding
from vault.services.subjects import find, suppressed_as, suppressing_versions
from vault.store.forgetting import ErasureRow, HoldRow, erasure_row, hold_row
from vault.store.rows import EpochsInUse


class Person(Hidden, frozen=True, gc=False):
    """A person as the cell knows them, or does not.

    Attributes:
        row: None: nobody is known by that name.
        known_as: the references that an erasure may have left.
        refs: (epoch, key version, reference) of a suppression.
    """

    row: bytes | None
    known_as: frozenset[bytes]
    refs: tuple[tuple[int, int, bytes], ...]


def stored(cell: Cell, erasure: str, tenant: str | None = None) -> ErasureRow:
    """An erasure's row.

    Raises:
        Unknown: `not_found`.
    """
    try:
        parse_id("er", erasure)
    except ValueError:
        raise Unknown("not_found") from None
    for found in cell.store.read_keys(cell.store.forgetting.erasures, [erasure]):
        row = erasure_row(found)
        if tenant in (None, row.tenant):
            return row
    raise Unknown("not_found")


class Selection(NamedTuple):
    """What an erasure selects.

    Attributes:
        keys: the data keys that are still there.
        values: how many values of rows lie under them, by field.
        shared: tokens that stay because other people have values under them too.
        classes: the retention classes of the keys.
    """

    keys: list[bytes]
    values: dict[str, int]
    shared: int
    classes: frozenset[str]

    @property
    def counts(self) -> str:
        """The counts, as an erasure's row says them."""
        ids = sorted(format_id("key", key) for key in self.keys)
        counts = {
            "classes": sorted(self.classes),
            "key_ids": ids if len(ids) <= MAX_LISTED else [],
            "key_ids_sha256": hashlib.sha256("".join(f"{id_}\n" for id_ in ids).encode()).hexdigest(),
            "shared": self.shared,
            "values": self.values,
        }
        return encode_target(counts)


def person_of(cell: Cell, tenant: str, subject: str) -> tuple[Person, EpochsInUse]:
    """A person as an erasure needs them, and the epochs that this was read under."""
    epochs = cell.keyring.in_use
    known = suppressed_as(cell, tenant, epochs, subject, suppressing_versions(cell, tenant))
    versions = cell.keyring.index_versions(tenant, CELL)
    refs = tuple(
        (epoch, version, cell.keyring.references(tenant, epoch, version).of(subject))
        for epoch in epochs.each
        for version in versions.write
    )
    return Person(find(cell, tenant, [subject], epochs).get(subject), known, refs), epochs


def erased_as(cell: Cell, person: Person, epochs: EpochsInUse) -> ErasureRow | None:
    """The erasure that keeps a person from being entered."""
    found = cell.store.read_keys(
        cell.store.forgetting.suppressions, sorted(person.known_as), epoch=epochs.read
    )
    return stored(cell, found[0][1]) if found else None


def holds_of(cell: Cell, tenant: str) -> list[HoldRow]:
    """The legal holds that are in force in a tenant."""
    return [
        hold_row(row) for row in cell.store.read(cell.store.forgetting.holds_in_force, {"tenant": tenant})
    ]


def held_by(cell: Cell, row: ErasureRow) -> list[str]:
    """The holds that keep an erasure from going on."""
    if row.removed_at:
        return []
    holds = holds_of(cell, row.tenant)
    if row.kind == PERSON:
        return holding(holds, row.subject, select(cell, row.tenant, row.subject).classes)
    target = decode_target(row.target)
    standing = set(holding(holds, None, [target["class"]]))
    standing.update(hold.id for hold in holds if _holds_one(cell, row, hold))
    return [hold.id for hold in holds if hold.id in standing]


def _holds_one(cell: Cell, row: ErasureRow, hold: HoldRow) -> bool:
    return hold.kind == SUBJECT and hold.subject is not None and has_key(cell, row, hold.subject)


def has_key(cell: Cell, row: ErasureRow, person: bytes) -> bool:
    """Whether somebody has a key of those that fall due."""
    target = decode_target(row.target)
    of = {"tenant": row.tenant, "of_subject": person}
    due = target["due"] if row.kind == PERIOD else ""
    keys = cell.store.read(cell.store.forgetting.keys_of_subject, of)
    return any((class_, of_period) == (target["class"], due) for _, class_, of_period in keys)


def select(cell: Cell, tenant: str, subject: bytes | None) -> Selection:
    """What the erasure of a person selects by now; nothing of somebody whom nobody knows."""
    if subject is None:
        return Selection([], {}, 0, frozenset())
    of = {"tenant": tenant, "of_subject": subject}
    read, forgetting = cell.store.read, cell.store.forgetting
    keys = read(forgetting.keys_of_subject, of)
    return Selection(
        keys=[bytes(row[0]) for row in keys],
        values={field: int(count) for field, count in read(forgetting.claims_of_subject, of)},
        shared=int(read(forgetting.shared_tokens_of_subject, of)[0][0]),
        classes=frozenset(row[1] for row in keys if row[1] != IDENTIFIER_CLASS),
    )
