"""Keys as they are shown: what they are for and in which state, never what they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge
from typing import Any, Final

import msgspec

from vault.clock import Micros, format_time
from vault.errors import BadInput, Unknown
from vault.identifiers import format_id, parse_id
from vault.keyring.hierarchy import CELL, Purpose
from vault.keystate.states import KeyState
from vault.ledger.command import Verb
from vault.services.audit import MAX_SCANS, SCAN_ROWS
from vault.services.cell import Cell
from vault.services.cryptoperiods import Terms, data_key_end, terms_of
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.initialise import MAIN_TENANT
from vault.services.key_terms import key_state
from vault.services.listing import Listing, Page, check_cursor
from vault.store.session import Row

DATA: Final = "data"
API: Final = "api"
KINDS: Final = (DATA, API, *(purpose.value for purpose in Purpose))
_ABOVE_ALL: Final = b"\xff" * 16


class StoredKeyAnswer(Hidden, frozen=True, omit_defaults=True):
    """A key of the hierarchy, or a service key.

    Attributes:
        kind: `data`, what a field key is for, or `api`: a service key.
        field: of a field key, if it is one field's.
        retention: the retention class of a data key.
        due: the due period of a data key.
        epoch: the epoch that it is sealed under; 0: its page says, or it is a service key.
        created: when it was made, RFC 3339.
        period_end: until when it is meant to protect, while it does: of a field key by the schema's
            `rotation`, of the index layer, which stands for its epoch, by `cell.REGION.rotation`, of the key
            of references by `cell.REGION.reference_rotation`, of those of messages by
            `cell.REGION.delivery_rotation`, of access tokens by `oauth.rotation`; of a data key, when it is
            removed; of a service key, when it expires.
        principal: of a service key, whose it is.
        filling: of an index key: nothing is looked up by it yet, a job writes the rows that it is to find.
    """

    id: str
    kind: str
    version: int
    state: str
    epoch: int
    created: str
    period_end: str | None = None
    field: str | None = None
    retention: str | None = None
    due: str | None = None
    principal: str | None = None
    filling: bool = False


class KeyFilter(msgspec.Struct, frozen=True):
    """Which keys a list shows."""

    kind: str | None = None
    state: str | None = None


def list_stored_keys(cell: Cell, request: Request, page: Page, only: KeyFilter) -> Verb[Listing]:
    """The tenant's keys, newest first; to the tenant main those of the cell too."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "key.list", "key:read")
    below = check_cursor(page, "key", _ABOVE_ALL)
    if only.kind is not None and only.kind not in KINDS:
        raise BadInput("parameter_invalid", parameter="kind")
    if only.state is not None and only.state not in {state.value for state in KeyState}:
        raise BadInput("parameter_invalid", parameter="state")
    found: list[StoredKeyAnswer] = []
    terms = terms_of(cell.store, cell.working)
    for _ in range(MAX_SCANS):
        rows = list(_newest(cell, caller.principal.tenant, below, only.kind))
        for row in rows:
            if only.state in (None, row[4]):
                if len(found) == page.limit:
                    return Listing(list(found), format_id("key", below))
                found.append(_shown(row, terms))
            below = bytes(row[0])
        if len(rows) < SCAN_ROWS:
            return Listing(list(found), None)
    # A rare state among many keys: this page may be short, even empty, and `next` goes on from here.
    return Listing(list(found), format_id("key", below))


def read_stored_key(cell: Cell, request: Request, key: str) -> Verb[StoredKeyAnswer]:
    """One key."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "key.read", "key:read")
    custody = cell.store.custody
    terms = terms_of(cell.store, cell.working)
    for row in cell.store.read(cell.store.record.service_key_shown, {"key_id": key}):
        if row[-1] == caller.principal.tenant:
            return _shown(_service_key(row, cell.clock.now()), terms)
    try:
        id_ = parse_id("key", key)
    except ValueError:
        raise Unknown("not_found") from None
    for statement in (custody.field_key_shown, custody.data_key_shown):
        for row in cell.store.read(statement, {"key_id": id_}):
            if row[-1] in _tenants(caller.principal.tenant):
                return _shown(row, terms)
    raise Unknown("not_found")


def _tenants(tenant: str) -> tuple[str, ...]:
    return (tenant, CELL) if tenant == MAIN_TENANT else (tenant,)


def _newest(cell: Cell, tenant: str, below: bytes, kind: str | None) -> Iterator[Row]:
    """Up to `SCAN_ROWS` keys of a kind below an id, newest first."""
    custody, record = cell.store.custody, cell.store.record
    params: dict[str, Any] = {"below": below, "most": SCAN_ROWS}
    lists: list[list[Row]] = []
    for of in _tenants(tenant):
        if kind not in (DATA, API):
            lists.append(cell.store.read(custody.field_keys_page, {**params, "tenant": of}))
        if kind in (None, DATA) and of != CELL:
            lists.append(cell.store.read(custody.data_keys_page, {**params, "tenant": of}))
        if kind in (None, API) and of != CELL:
            under = {"tenant": of, "below": format_id("ck", below), "most": SCAN_ROWS}
            now = cell.clock.now()
            lists.append([_service_key(row, now) for row in cell.store.read(record.keys_page, under)])
    ordered = merge(*lists, key=lambda row: bytes(row[0]), reverse=True)
    for row, _ in zip(ordered, range(SCAN_ROWS), strict=False):
        if kind in (None, row[1]):
            yield row


def _service_key(row: Row, now: Micros) -> Row:
    """A service key in the columns of the others, with its expiry and its principal behind them."""
    id_, principal, expires_at, revoked_at, created_at, tenant = row
    state = key_state(expires_at, revoked_at, now)
    return (
        parse_id("ck", id_),
        API,
        "",
        1,
        state.value,
        0,
        created_at,
        "",
        "",
        0,
        tenant,
        expires_at,
        principal,
    )


def _end(row: Row, terms: Terms) -> Micros | None:
    """When the cryptoperiod of a key ends that protects."""
    if row[4] != KeyState.ACTIVE:
        return None
    if row[1] == API:
        return row[11] or None
    if row[1] == DATA:
        return data_key_end(row[8])
    return terms.end(row[10], row[1], row[2], row[3], row[6])


def _shown(row: Row, terms: Terms) -> StoredKeyAnswer:
    """A key from its columns (`CustodyStatements.field_keys_page`)."""
    end = _end(row, terms)
    return StoredKeyAnswer(
        id=format_id("ck" if row[1] == API else "key", bytes(row[0])),
        kind=row[1],
        version=row[3],
        state=row[4],
        epoch=row[5],
        created=format_time(row[6]),
        field=row[2] or None,
        retention=row[7] or None,
        due=row[8] or None,
        filling=bool(row[9]),
        period_end=None if end is None else format_time(end),
        principal=row[12] if row[1] == API else None,
    )
