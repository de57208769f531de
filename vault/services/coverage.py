"""What needs a key: exact counts where rows exist; where callers keep the surrogates, what was issued,
rekeyed and last used, and never a difference of these, since callers have copies.
"""

from __future__ import annotations

from dataclasses import dataclass

from vault.clock import Micros, format_time
from vault.errors import Unknown
from vault.identifiers import format_id, parse_id
from vault.keyring.hierarchy import Purpose
from vault.ledger.command import Verb
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.reindex import rows_of
from vault.store.custody import FieldKeyRow
from vault.store.session import Row


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is known of the surrogates of a key version.

    Attributes:
        issued: how many were made, those that replaced older ones among them.
        rekeyed: how many were turned into tokens of a newer version.
        issued_at, used_at: when that last happened and when one was last opened; 0: never. The latter to the
            minute.
    """

    issued: int = 0
    rekeyed: int = 0
    issued_at: Micros = 0
    used_at: Micros = 0


class CoverageAnswer(Hidden, frozen=True, omit_defaults=True):
    """What needs a key.

    Attributes:
        held_by: `rows`: all that needs it is in the cell, and counted; `callers`: they keep its tokens, and
            only they know how many.
        live: with `rows`: how many values lie under it, tokens are in its field, or rows are found by it.
        issued, rekeyed: with `callers`: tokens ever made under it, and those turned into newer ones. Their
            difference says nothing: there are copies.
        last_issued, last_used: when a token was last made, and last opened (to the minute).
    """

    id: str
    kind: str
    state: str
    version: int
    held_by: str
    field: str | None = None
    live: int | None = None
    issued: int | None = None
    rekeyed: int | None = None
    last_issued: str | None = None
    last_used: str | None = None


def coverage_of(cell: Cell, row: FieldKeyRow) -> Coverage:
    """What is known of a version of a field key that callers keep tokens of."""
    if row.purpose != Purpose.FF1:
        return Coverage()
    custody, of = cell.store.custody, {"tenant": row.tenant, "field": row.field}
    issued = {made[0]: made for made in cell.store.read(custody.issued, of)}.get(row.version)
    used = {one[0]: one for one in cell.store.read(custody.key_uses, of)}.get(row.version)
    return Coverage(
        issued=0 if issued is None else issued[1],
        rekeyed=0 if used is None else used[1],
        issued_at=0 if issued is None else issued[2],
        used_at=0 if used is None else used[2],
    )


def read_coverage(cell: Cell, request: Request, key_id: str) -> Verb[CoverageAnswer]:
    """What needs one of the tenant's keys.

    Raises:
        Unknown: `not_found`.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "key.coverage", "key:read")
    try:
        id_ = parse_id("key", key_id)
    except ValueError:
        raise Unknown("not_found") from None
    tenant = caller.principal.tenant
    custody = cell.store.custody
    for row in cell.store.read(custody.field_key_shown, {"key_id": id_}):
        if row[-1] == tenant:
            return _of_field(cell, tenant, row)
    for row in cell.store.read(custody.data_key_shown, {"key_id": id_}):
        if row[-1] == tenant:
            live = cell.store.read(custody.claims_of_key, {"data_key": id_})[0][0]
            return CoverageAnswer(format_id("key", id_), row[1], row[4], row[3], "rows", live=int(live))
    raise Unknown("not_found")


def _of_field(cell: Cell, tenant: str, row: Row) -> CoverageAnswer:
    id_, purpose, name, version, state = bytes(row[0]), row[1], row[2], row[3], row[4]
    answer = CoverageAnswer(format_id("key", id_), purpose, state, version, "rows", field=name or None)
    if purpose == Purpose.FF1:
        key = FieldKeyRow(id_, tenant, name, purpose, version, state, row[5], b"")
        used = coverage_of(cell, key)
        return CoverageAnswer(
            answer.id,
            purpose,
            state,
            version,
            "callers",
            field=name,
            issued=used.issued,
            rekeyed=used.rekeyed,
            last_issued=format_time(used.issued_at) if used.issued_at else None,
            last_used=format_time(used.used_at) if used.used_at else None,
        )
    if purpose in (Purpose.BLIND_INDEX, Purpose.SUBJECT_REFERENCE):
        live = rows_of(cell, tenant, name, version)
        return CoverageAnswer(answer.id, purpose, state, version, "rows", field=name or None, live=live)
    if purpose == Purpose.ROW_ID:
        params = {"tenant": tenant, "field": name}
        live = int(cell.store.read(cell.store.custody.living_tokens, params)[0][0])
        return CoverageAnswer(answer.id, purpose, state, version, "rows", field=name, live=live)
    return answer
