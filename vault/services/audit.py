"""The audit log: pages of events, and a check of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from vault.audit.event import KINDS, check_event
from vault.clock import Micros, parse_time
from vault.errors import BadInput, IntegrityError
from vault.ledger.command import Verb
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.initialise import MAIN_TENANT
from vault.services.listing import MAX_LIMIT, Listing
from vault.store.cell import Store

VERIFY_STEP = 5_000
SCAN_ROWS = 500
MAX_SCANS = 4  # what one request may look through for a page of a filtered list
RESTORED = "cell.restore"  # whose event says how many events the restored record had
WHAT_IT_SHOWS = (
    "numbering and leaf hashes only: without checkpoints this does not detect a log rewritten as a whole"
)


class AuditQuery(msgspec.Struct, frozen=True):
    """Which events: from (included) and to (excluded), each a number or an RFC 3339 instant, and a kind."""

    first: int | str | None = None
    end: int | str | None = None
    kind: str | None = None
    limit: int = 100
    cursor: int | None = None


class EventAnswer(Hidden, frozen=True, omit_defaults=True):
    """One event: its number, leaf hash (hex), canonical body, and its items while they are kept."""

    number: int
    leaf: str
    event: msgspec.Raw
    items: msgspec.Raw | None = None


class Verified(msgspec.Struct):
    """What a check found intact."""

    events: int
    with_items: int
    note: str


def read_audit(cell: Cell, request: Request, query: AuditQuery) -> Verb[Listing]:
    """Events of the tenant, newest first; to the tenant main those of the cell too."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "audit.read", "audit:read")
    if not 1 <= query.limit <= MAX_LIMIT:
        raise BadInput("parameter_invalid", parameter="limit")
    if query.kind is not None and query.kind not in KINDS:
        raise BadInput("parameter_invalid", parameter="kind")
    first = _number(cell.store, query.first, "from", 0)
    end = _number(cell.store, query.end, "to", 2**62)
    if query.cursor is not None:
        end = min(end, query.cursor)
    found: list[EventAnswer] = []
    for _ in range(MAX_SCANS):
        rows = cell.store.read(cell.store.record.audit_page, {"first": first, "end": end, "most": SCAN_ROWS})
        for row in rows:
            if _visible(row[2], caller.principal.tenant, query.kind):
                if len(found) == query.limit:
                    return Listing(list(found), str(end))
                found.append(event_answer(row))
            end = row[0]
        if len(rows) < SCAN_ROWS:
            return Listing(list(found), None)
    # A rare kind in a long log: this page may be short, even empty, and `next` goes on from here.
    return Listing(list(found), str(end))


def _number(store: Store, bound: int | str | None, parameter: str, default: int) -> int:
    """The event number that a bound stands for: that of the first event that is not before an instant."""
    if bound is None or isinstance(bound, int):
        return default if bound is None else max(0, bound)
    try:
        instant = parse_time(bound)
    except ValueError:
        raise BadInput("parameter_invalid", parameter=parameter) from None
    return number_at(store, instant)


def number_at(store: Store, instant: Micros) -> int:
    """The number of the first event that is not before an instant, or that the next one will have."""
    low, high = 0, _head(store)
    while low < high:  # times never go back along the log
        middle = (low + high) // 2
        # Numbers that a restore skipped are those of the event behind them.
        rows = store.read(store.record.event_from, {"first": middle})
        if rows and _at(rows[0][1]) < instant:
            low = max(middle, rows[0][0]) + 1
        else:
            high = middle
    return low


def _at(body: bytes) -> Micros:
    try:
        return parse_time(_decoded(body)["at"])
    except (KeyError, TypeError, ValueError):
        raise IntegrityError("integrity_failed") from None


def event_answer(row: Any) -> EventAnswer:
    """An event from its columns (`RecordStatements.audit_range`)."""
    _decoded(row[2])
    items = None if row[4] is None else msgspec.Raw(row[4])
    return EventAnswer(row[0], bytes(row[1]).hex(), msgspec.Raw(row[2]), items)


def find_events(
    store: Store, tenant: str, text: str, after: Micros, before: Micros, most: int
) -> list[dict[str, Any]]:
    """A tenant's events of a time whose bodies hold a text, oldest first.

    Args:
        text: as it stands in JSON.
        after, before: instants.
        most: events that are looked at.
    """
    first, end = number_at(store, max(0, after)), number_at(store, before)
    params = {"first": first, "end": end, "needle": text.encode(), "most": most}
    rows = store.read(store.oversight.events_with, params)
    return [_decoded(bytes(body)) for _, body in rows if _visible(bytes(body), tenant, None)]


def tail(store: Store, count: int, tenant: str | None = None) -> list[EventAnswer]:
    """The newest events, of one tenant or of all, oldest of them first; for the host."""
    found: list[EventAnswer] = []
    end = 2**62
    while len(found) < count:
        rows = store.read(store.record.audit_page, {"first": 0, "end": end, "most": SCAN_ROWS})
        mine = [row for row in rows if tenant is None or _visible(row[2], tenant, None)]
        found += [event_answer(row) for row in mine[: count - len(found)]]
        if len(rows) < SCAN_ROWS:
            break
        end = rows[-1][0]
    return found[::-1]


def verify(store: Store) -> Verified:
    """Checks the whole log.

    Raises:
        IntegrityError: `audit_broken` with `number` and `reason`: a gap, a leaf that is not its body's,
            items that are not the ones digested, or a head that counts differently.
    """
    # Beside a running service: what is checked is what there was when the head was read.
    head = _head(store)
    events = with_items = 0
    for row in _checked(store, head):
        events += 1
        with_items += row[4] is not None
    _check_outside(store, head)
    return Verified(events, with_items, WHAT_IT_SHOWS)


def verify_newest(store: Store, count: int) -> Verified:
    """Checks the newest events; what stands before them is not looked at.

    Raises:
        IntegrityError: `audit_broken`, as `verify`.
    """
    head = _head(store)
    first = max(0, head - count)
    rows = [row[4] is not None for row in _checked(store, head, first, partly=True)]
    _check_outside(store, head)
    return Verified(len(rows), sum(rows), WHAT_IT_SHOWS)


def _head(store: Store) -> int:
    """The number that the next event will have."""
    return int(store.read(store.record.head)[0][1])


def _checked(store: Store, head: int, first: int = 0, *, partly: bool = False) -> Iterator[Any]:
    """The rows from a number to the head, each checked.

    Args:
        partly: whether there may be numbers before the first that a restore skipped.
    """
    expected = first
    while expected < head:
        params = {"first": expected, "end": min(expected + VERIFY_STEP, head)}
        rows = store.read(store.record.audit_range, params)
        if not rows:
            # A restore may have skipped more numbers than are read at once.
            [[number, _]] = store.read(store.record.event_from, {"first": expected}) or [[head, b""]]
            rows = store.read(store.record.audit_range, {"first": number, "end": number + 1})
        for row in rows:
            if row[0] >= head:
                raise IntegrityError("audit_broken", number=expected, reason="head")
            if row[0] != expected:
                _check_skip(row, expected, partly=partly and expected == first)
                expected = row[0]
            try:
                _check_types(row)
                check_event(row[2], bytes(row[1]), row[4], row[3])
            except IntegrityError as broken:
                raise IntegrityError(
                    "audit_broken", number=expected, reason=str(broken.facts["reason"])
                ) from None
            expected += 1
            yield row
        if not rows:
            raise IntegrityError("audit_broken", number=expected, reason="head")


def _check_skip(row: Any, expected: int, *, partly: bool) -> None:
    """Returns if the numbers before an event were skipped by the restore that it tells of.

    Raises:
        IntegrityError: `audit_broken`.
    """
    try:
        event = _decoded(row[2])
    except IntegrityError:
        event = {}
    if event.get("kind") == RESTORED and (event.get("events") == expected or partly):
        return
    raise IntegrityError("audit_broken", number=expected, reason="gap")


def _check_types(row: Any) -> None:
    """SQLite keeps what it is given, so a row that was changed may hold anything."""
    for value, reason in ((row[1], "leaf"), (row[2], "leaf"), (row[3], "items"), (row[4], "items")):
        if not isinstance(value, bytes | memoryview) and not (reason == "items" and value is None):
            raise IntegrityError("audit_broken", reason=reason)


def _check_outside(store: Store, head: int) -> None:
    """No row has a number that was never handed out."""
    page = store.record.audit_page
    below = store.read(page, {"first": -(2**62), "end": 0, "most": 1})
    beyond = store.read(page, {"first": head, "end": 2**62, "most": 1})
    if below or (beyond and beyond[0][0] >= _head(store)):
        raise IntegrityError("audit_broken", number=(below or beyond)[0][0], reason="head")


def _visible(body: bytes, tenant: str, kind: str | None) -> bool:
    """Whether an event is one's own. Those of the cell, which count over all tenants, are main's."""
    event = _decoded(body)
    own = (tenant, "") if tenant == MAIN_TENANT else (tenant,)
    return event.get("tenant") in own and kind in (None, event.get("kind"))


def _decoded(body: bytes) -> dict[str, Any]:
    """A body, decoded.

    Raises:
        IntegrityError: `integrity_failed`: it is none.
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, TypeError, UnicodeDecodeError):
        raise IntegrityError("integrity_failed") from None
