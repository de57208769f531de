"""Reading a retention class: how long values are kept, and from when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vault.clock import Period
from vault.schema.refusals import Refusals, is_label
from vault.schema.rules import CREATION, EVENT, LAST_USE, RetentionRule

MAX_KEEP_S: Final = 200 * 366 * 86_400  # seconds
_PREFIX: Final = "event:"


def read_class(refusals: Refusals, place: str, name: str, value: object) -> RetentionRule:
    """The retention class of a table."""
    table = refusals.table(place, value, ("keep", "from", "max", "period"))
    if table.get("keep") == "key":
        for key in ("from", "max", "period"):
            if key in table:
                refusals.add(f"{place}.{key}", "goes with a period, not with keep = 'key'")
        return RetentionRule(name, None)
    if "keep" not in table:
        refusals.add(f"{place}.keep", "is missing: an ISO 8601 duration, or 'key'")
    start, event = _start(refusals, place, table)
    keep = _days(refusals, place, table, "keep")
    longest = _longest(refusals, place, table, start, keep)
    period = refusals.choice(place, table, "period", ("month", "day"), default="month")
    return RetentionRule(name, keep, start, event, longest, period)


def _start(refusals: Refusals, place: str, table: Mapping[str, Any]) -> tuple[str, str | None]:
    """When the time begins, and the event's name if it is one."""
    start = table.get("from", CREATION)
    if start in (CREATION, LAST_USE):
        return str(start), None
    if isinstance(start, str) and start.startswith(_PREFIX) and is_label(start.removeprefix(_PREFIX)):
        return EVENT, start.removeprefix(_PREFIX)
    refusals.add(f"{place}.from", "is not one of creation, last_use, event:NAME")
    return CREATION, None


def _days(refusals: Refusals, place: str, table: Mapping[str, Any], key: str) -> Period:
    """A time to keep values."""
    period = refusals.period(place, table, key, "P1Y")
    if period.seconds % 86_400:
        refusals.add(f"{place}.{key}", "is a whole number of days, months or years")
    if not 0 < period.shortest_seconds <= MAX_KEEP_S:
        refusals.add(f"{place}.{key}", "is more than nothing and at most 200 years")
    return period


def _longest(
    refusals: Refusals, place: str, table: Mapping[str, Any], start: str, keep: Period
) -> Period | None:
    """How long values are kept whose clock nothing starts."""
    if "max" not in table:
        return None
    longest = _days(refusals, place, table, "max")
    if start == CREATION:
        # Not after a refusal of `from`, which made this a guess.
        if table.get("from", CREATION) == CREATION:
            refusals.add(f"{place}.max", "goes with last_use or an event; from creation, keep says it all")
    elif _shorter(longest, keep):
        refusals.add(f"{place}.max", "is shorter than keep")
    return longest


def _shorter(one: Period, other: Period) -> bool:
    """Whether a period ends before another that begins with it, on 1970-01-01."""
    try:
        return one.after(0) < other.after(0)
    except ValueError:  # beyond the calendar, which has been refused
        return False
