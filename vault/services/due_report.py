"""What is kept under each retention class and until when; what falls due, what was erased, what is held."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

import msgspec

from vault.clock import Micros, format_time, parse_time
from vault.errors import BadInput
from vault.ledger.command import Verb
from vault.retention.period import NO_DUE, falls_due
from vault.schema.refusals import is_label
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.holding import CLASS, TENANT
from vault.services.listing import MAX_LIMIT
from vault.services.report_parts import (
    MAX_GROUPS,
    ClassLine,
    ErasedLine,
    HoldLine,
    LevelLine,
    class_lines,
    counted,
    erased_lines,
    hold_lines,
    level_lines,
)
from vault.services.selecting import holds_of

MAX_ROWS: Final = MAX_LIMIT  # of a page
_CURSOR: Final = re.compile(r"([^:]{1,64}):([0-9-]{0,10}):([0-9]{1,18})")


class DueQuery(Hidden, frozen=True):
    """Until when something is to fall due, RFC 3339 (default: now), and which part of the list is wanted.

    Attributes:
        limit: 1 to 5,000 rows.
        cursor: the `next` of the page before.
    """

    until: str | None = None
    limit: int = MAX_ROWS
    cursor: str | None = None


class DueLine(Hidden, frozen=True, omit_defaults=True, kw_only=True):
    """What is kept of a class and falls due together.

    Attributes:
        period: the due period's name; absent where the date moves, or is not a day but an event.
        due_at: when it falls due; absent: as long as no event comes, and nothing bounds the wait.
        falls_due: whether that is until the time asked for.
        keys: data keys; `suspended`: those that open nothing any more, and are being removed.
        values: how many values of rows lie under them. Ciphertexts that callers keep are not counted.
        held: whether a hold on the class or the tenant keeps it; holds on people are not looked at here.
    """

    class_: str = msgspec.field(name="class")
    period: str | None = None
    due_at: str | None = None
    falls_due: bool
    keys: int
    suspended: int
    values: int
    held: bool


class RetentionReport(Hidden, frozen=True, kw_only=True):
    """What is kept and until when, in a tenant.

    Attributes:
        due_keys, due_values: what falls due until `until`, of this page.
        periods: by class, then by due.
        complete: whether all values and erasures were counted; if not, there are at least so many.
        next: where the following page begins; None: this was the last.
    """

    as_of: str
    region: str
    tenant: str
    until: str
    due_keys: int
    due_values: int
    holds_in_force: int
    complete: bool
    next: str | None
    periods: list[DueLine]
    classes: list[ClassLine]
    holds: list[HoldLine]
    erasures: list[ErasedLine]
    levels: list[LevelLine]


def retention_report(cell: Cell, request: Request, query: DueQuery) -> Verb[RetentionReport]:
    """What the caller's tenant keeps, by class and due period.

    Raises:
        BadInput: `parameter_invalid`.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "report.retention", "report:read")
    tenant, now = caller.principal.tenant, cell.clock.now()
    until = _until(query.until, now)
    if not 1 <= query.limit <= MAX_ROWS:
        raise BadInput("parameter_invalid", parameter="limit")
    params = {"tenant": tenant, "most": query.limit + 1, **_above(query.cursor)}
    rows = cell.store.read(cell.store.reporting.kept_by_period, params)
    values: Counter[tuple[str, str, int]] = Counter()
    all_values = True
    for groups in counted(cell, cell.store.reporting.values_by_period, tenant):
        all_values = all_values and len(groups) < MAX_GROUPS
        values.update({(class_, due, at): count for class_, due, at, count in groups})
    held = [hold for hold in holds_of(cell, tenant) if hold.kind in (TENANT, CLASS)]
    names = {hold.name for hold in held if hold.kind == CLASS}
    everything = any(hold.kind == TENANT for hold in held)
    lines = [
        _line(row, values[row[0], row[1], row[2]], until, held=everything or row[0] in names)
        for row in rows[: query.limit]
    ]
    holds, in_force = hold_lines(cell, tenant)
    erased, complete = erased_lines(cell, tenant, periods=True)
    last = rows[query.limit - 1] if len(rows) > query.limit else None
    return RetentionReport(
        as_of=format_time(now),
        region=cell.region,
        tenant=tenant,
        until=format_time(until),
        due_keys=sum(line.keys for line in lines if line.falls_due),
        due_values=sum(line.values for line in lines if line.falls_due),
        holds_in_force=in_force,
        complete=complete and all_values,
        next=None if last is None else f"{last[0]}:{last[1]}:{last[2]}",
        periods=lines,
        classes=class_lines(cell.schemas.of(tenant, fresh=True).schema),
        holds=holds,
        erasures=erased,
        levels=level_lines(cell, tenant, erased, now),
    )


def _until(text: str | None, now: Micros) -> Micros:
    try:
        return now if text is None else parse_time(text)
    except ValueError:
        raise BadInput("parameter_invalid", parameter="until") from None


def _above(cursor: str | None) -> dict[str, Any]:
    """The place that all rows of the page are behind."""
    if cursor is None:
        return {"above": "", "above_due": "", "above_at": 0}
    match = _CURSOR.fullmatch(cursor)
    if match is None or not is_label(match[1]) or not cursor.isascii():
        raise BadInput("parameter_invalid", parameter="cursor")
    return {"above": match[1], "above_due": match[2], "above_at": int(match[3])}


def _line(row: Any, values: int, until: Micros, *, held: bool) -> DueLine:
    class_, period, moved, keys, suspended = row
    due: Micros | None = moved or None
    if period != NO_DUE:
        due = falls_due(period)
    return DueLine(
        class_=class_,
        period=period or None,
        due_at=None if due is None else format_time(due),
        falls_due=due is not None and due <= until,
        keys=keys,
        suspended=int(suspended),
        values=values,
        held=held,
    )
