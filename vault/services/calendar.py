"""What falls due and when; and beginning what is due without waiting for the schedule."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.clock import DAY, Micros, format_time, parse_time, utc_date
from vault.errors import BadInput
from vault.keyring.hierarchy import Purpose
from vault.ledger.command import Verb
from vault.retention.period import falls_due
from vault.services.cell import Cell
from vault.services.expiry import BeginExpiry, due_now
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.holding import holding
from vault.services.own_keys import ensure
from vault.services.selecting import holds_of

AHEAD: Final[Micros] = 90 * DAY  # that a calendar shows if nobody says
MAX_ROWS: Final = 10_000


class RunBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Whether only to say what would be begun."""

    dry_run: bool = False


class CalendarRow(Hidden, frozen=True, omit_defaults=True, kw_only=True):
    """What falls due together.

    Attributes:
        due: the due period; absent for keys whose date moves.
        at: when it falls due; what is used, or told of, moves later or earlier.
        keys: data keys, most often one a person.
        values: of rows that lie under them; ciphertexts that callers keep are not counted.
        held_by: legal holds on the class or the tenant; those on people in it are not looked for.
    """

    class_: str = msgspec.field(name="class")
    at: str
    keys: int
    values: int
    due: str | None = None
    held_by: list[str] = msgspec.field(default_factory=list)


class CalendarAnswer(Hidden, frozen=True):
    """What falls due until then, the earliest first."""

    until: str
    items: list[CalendarRow]


class BegunRow(Hidden, frozen=True, omit_defaults=True, kw_only=True):
    """A period, or the keys of a class by their dates, and the erasure that it is now; none in a dry run."""

    kind: str
    class_: str = msgspec.field(name="class")
    due: str | None = None
    erasure: str | None = None


class RunAnswer(Hidden, frozen=True):
    """What was due."""

    items: list[BegunRow]


def read_calendar(cell: Cell, request: Request, until: str | None) -> Verb[CalendarAnswer]:
    """What falls due until an instant, of the tenant: a dry run of retention.

    Args:
        until: RFC 3339, or None for 90 days from now.

    Raises:
        BadInput: `parameter_invalid`.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "retention.calendar", "retention:read")
    tenant = caller.principal.tenant
    try:
        end = cell.clock.now() + AHEAD if until is None else parse_time(until)
        day = utc_date(end).isoformat()
    except (ValueError, OverflowError):
        raise BadInput("parameter_invalid", parameter="until") from None
    holds, read, statements = holds_of(cell, tenant), cell.store.read, cell.store.expiring
    epochs = cell.keyring.in_use
    rows: list[tuple[Micros, CalendarRow]] = []
    for class_, due, state in read(statements.periods_of, {"tenant": tenant, "until": day}):
        at = falls_due(due)
        if state != "active" or at > end:
            continue
        of: dict[str, Any] = {"of_tenant": tenant, "of_class": class_, "of_due": due}
        of |= {"epoch": epochs.write, "before": epochs.read}
        [[keys]] = read(statements.count_of_period, of)
        [[values]] = read(statements.values_of_period, of)
        held = holding(holds, None, [class_])
        row = CalendarRow(class_=class_, due=due, at=format_time(at), keys=keys, values=values, held_by=held)
        rows.append((at, row))
    for class_, at, keys, values in read(statements.dates_of, {"tenant": tenant, "until": end}):
        held = holding(holds, None, [class_])
        rows.append(
            (at, CalendarRow(class_=class_, at=format_time(at), keys=keys, values=values, held_by=held))
        )
    rows.sort(key=lambda pair: (pair[0], pair[1].class_))
    return CalendarAnswer(format_time(end), [row for _, row in rows[:MAX_ROWS]])


def run_retention(cell: Cell, request: Request, body: RunBody) -> Verb[RunAnswer]:
    """Begins what is due in the tenant, as the schedule does by itself."""
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "retention.run", "retention:run")
    items = []
    for one in due_now(cell, cell.clock.now(), caller.principal.tenant):
        erasure = None
        if not body.dry_run:
            yield from ensure(cell, caller, request.origin, Purpose.CERTIFICATES)
            done = yield BeginExpiry(caller, request.origin, one.kind, one.target)
            erasure = done.value
        due = one.target.get("due")
        items.append(BegunRow(kind=one.kind, class_=one.target["class"], due=due, erasure=erasure))
    if items and not body.dry_run:
        cell.keyring.forget_data()
    return RunAnswer(items)
