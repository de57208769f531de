"""What lives under a tenant's schema: values, keys and grants, counted as far as a plan must know.

Counting values reads every token of a field, so it is done before the ledger's lock is taken. What was
handed out by then is noted too (`Counted.issued`): while that number stands, no value has come to life
since, and under the lock it is all that has to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vault.clock import Micros
from vault.schema.document import Protection, Schema, Small
from vault.schema.plan import Bound, Living, LivingGrant
from vault.services.cell import Cell
from vault.services.issue import NO_VERSION
from vault.store.rows import decode_scope


@dataclass(frozen=True, slots=True)
class Counted:
    """What lives, and what was handed out before it was counted.

    Attributes:
        living: for the plan.
        issued: surrogates ever handed out, by field.
    """

    living: Living
    issued: Mapping[str, int]


def count(cell: Cell, tenant: str, schema: Schema, bound: Bound) -> Counted:
    """Counts what a plan asks for."""
    issued = {name: _issued(cell, tenant, name) for name in sorted(bound.fields)}  # first: see above
    values = {
        name: _living(cell, tenant, name)
        if schema.fields[name].protection is Protection.VAULTED
        else made - _rekeyed(cell, tenant, name)
        for name, made in issued.items()
        if made
    }
    small = {name: _small(cell, tenant, name, schema.fields[name].small) for name in issued}
    keys = {name: _keys(cell, tenant, name) for name in sorted(bound.classes)}
    grants = _grants(cell, tenant, cell.clock.now()) if bound.grants else ()
    return Counted(Living(values, keys, grants, small), issued)


def living_grants(rows: Iterable[tuple[str, str]]) -> tuple[LivingGrant, ...]:
    """What grants are for, from the columns purpose and scope."""
    found = []
    for purpose, scope in rows:
        entries = decode_scope(scope)
        found.append(
            LivingGrant(
                purpose,
                frozenset(name for entry in entries for name in entry.fields),
                frozenset(
                    (name, entry.mask or "")
                    for entry in entries
                    if "mask" in entry.operations
                    for name in entry.fields
                ),
            )
        )
    return tuple(found)


def _issued(cell: Cell, tenant: str, name: str) -> int:
    rows = cell.store.read(cell.store.custody.issued, {"tenant": tenant, "field": name})
    return sum(row[1] for row in rows)


def _rekeyed(cell: Cell, tenant: str, name: str) -> int:
    """How many of the tokens that were made replaced one of an older key version."""
    rows = cell.store.read(cell.store.custody.key_uses, {"tenant": tenant, "field": name})
    return sum(row[1] for row in rows)


def _small(cell: Cell, tenant: str, name: str, small: Small) -> int:
    """The values of a field that were too few for FF1: vaulted ones that open, or all that were passed."""
    if small is Small.VAULTED:
        return _living(cell, tenant, name)
    if small is Small.REFUSE:
        return 0
    rows = cell.store.read(cell.store.custody.issued, {"tenant": tenant, "field": name})
    return sum(row[1] for row in rows if row[0] == NO_VERSION)


def _living(cell: Cell, tenant: str, name: str) -> int:
    """The tokens of a vaulted field that still open."""
    return int(cell.store.read(cell.store.custody.living_tokens, {"tenant": tenant, "field": name})[0][0])


def _keys(cell: Cell, tenant: str, name: str) -> int:
    """The data keys of a retention class that still open something."""
    return int(cell.store.read(cell.store.custody.living_keys, {"tenant": tenant, "class": name})[0][0])


def _grants(cell: Cell, tenant: str, now: Micros) -> tuple[LivingGrant, ...]:
    rows = cell.store.read(cell.store.record.living_grants, {"tenant": tenant, "at": now})
    return living_grants((row[0], row[1]) for row in rows)
