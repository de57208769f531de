"""Due periods: all values of a class that fall due together lie under one data key a person.

A period is named by its own last moment's day or month, so a key is dropped when its period is over and
nothing in it can still be wanted: a value is kept at least its class's time, and at most that and one
period.

Classes that count from the last use or from an event have one key a person instead, with a due instant
that moves: the latest of what the values under it were each promised, rounded up to the end of a due
period. None stands for an instant that is not set: the event has not come, and nothing bounds the wait.
Making a value counts as its first use. An event ends the wait of everything made before it was told; a
value made later waits for the next one. A value without a person meets no event: it is kept for the
class's `max` from creation, under keys by due period.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from vault.clock import Micros, Period, start_of, utc_date
from vault.schema.rules import CREATION, EVENT, LAST_USE, RetentionRule

IDENTIFIER_CLASS: Final = ":identifier"
"""Reserved: the class of the key over a data subject's own identifier. No schema can name it."""

NO_DUE: Final = ""
"""A key without a due date of its own: its end is an event, not a day, or an instant that moves."""

_NAME: Final = re.compile(r"([0-9]{4})-([0-9]{2})(?:-([0-9]{2}))?")


class Unit(StrEnum):
    """How wide a due period is."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class RetentionClass:
    """When a value must become unreadable.

    Attributes:
        name: the class's name in the schema.
        keep: how long from its start; None for as long as the field key.
        unit: how wide a due period is.
        start: what its time begins with: `creation`, `last_use`, `event`.
        max: how long a value is kept if its event never comes.
    """

    name: str
    keep: Period | None
    unit: Unit = Unit.MONTH
    start: str = CREATION
    max: Period | None = None

    @property
    def mutable(self) -> bool:
        """Whether a person's values lie under one key whose due instant moves."""
        return self.start != CREATION

    def due(self, created: Micros, *, person: bool = True) -> str:
        """The due period of a value made at `created`: `YYYY-MM`, `YYYY-MM-DD`, or `NO_DUE`.

        Args:
            created: when the value is made.
            person: whether a data subject is named.

        Raises:
            ValueError: nothing bounds the value's time: no person, no `max`. The schema refuses that.
        """
        if self.keep is None or (self.mutable and person):
            return NO_DUE
        kept = self.max if self.mutable else self.keep
        if kept is None:
            raise ValueError("a value without a person needs a class with a max")
        return self.period_of(kept.after(created))

    def period_of(self, at: Micros) -> str:
        """The due period that an instant lies in."""
        return utc_date(at).strftime("%Y-%m" if self.unit is Unit.MONTH else "%Y-%m-%d")


def retention_class(rule: RetentionRule) -> RetentionClass:
    """The retention class that a schema's rule describes."""
    return RetentionClass(rule.name, rule.keep, Unit(rule.period), rule.start, rule.max)


def due_within(kept: RetentionClass, keep: Period, created: Micros, *, person: bool = True) -> str:
    """The due period of a value that is kept for a time of its own, to the end of a day; never for longer
    than its class says.

    Args:
        keep: the value's own time, from its creation.

    Raises:
        ValueError: as of `RetentionClass.due`.
    """
    own = kept.due(created, person=person)
    sooner = RetentionClass(kept.name, keep, Unit.DAY).due(created)
    end = falls_due(own) if own != NO_DUE else due_at_on_seal(kept, created, None) if kept.mutable else None
    return own if end is not None and end <= falls_due(sooner) else sooner


def falls_due(period: str) -> Micros:
    """The instant at which a due period is over and its keys must go.

    Raises:
        ValueError: not the name of a period.
    """
    match = _NAME.fullmatch(period)
    if match is None:
        raise ValueError("not the name of a period")
    if match[3] is not None:
        day = date.fromisoformat(period)
        if day == date.max:
            raise ValueError("out of range")
        return start_of(day + timedelta(days=1))
    first = date(int(match[1]), int(match[2]), 1)
    return start_of(date(first.year + first.month // 12, first.month % 12 + 1, 1))


def due_at_on_seal(kept: RetentionClass, now: Micros, due_at_now: Micros | None) -> Micros | None:
    """The due instant after a value was sealed under a key, new or there already.

    Args:
        kept: the class.
        now: when the value is made.
        due_at_now: the key's due instant before; None for a new key too.

    Raises:
        ValueError: the class counts from creation: its keys have due periods.
    """
    if kept.start == LAST_USE:
        return due_at_on_use(kept, now, due_at_now)
    _require(kept, EVENT)
    if kept.max is None:
        return None  # also after an event: this value waits for one
    return max(_end(kept, kept.max, now), due_at_now or 0)


def due_at_on_use(kept: RetentionClass, now: Micros, due_at_now: Micros | None) -> Micros | None:
    """The due instant after a value was used: later if the class counts from the last use.

    Raises:
        ValueError: the class counts from creation.
    """
    if kept.start != LAST_USE:
        _require(kept, EVENT)
        return due_at_now
    return max(_end(kept, kept.keep, now), due_at_now or 0)


def due_at_on_event(kept: RetentionClass, at: Micros, previous: Micros | None = None) -> Micros:
    """The due instant after the class's event came; it may be earlier than the one that stood.

    Args:
        kept: the class.
        at: when the event took place.
        previous: when it took place before, if it did; the later one counts, in whatever order they are
            told.

    Raises:
        ValueError: the class does not count from an event.
    """
    _require(kept, EVENT)
    return _end(kept, kept.keep, max(at, previous or 0))


def _require(kept: RetentionClass, start: str) -> None:
    if kept.start != start:
        raise ValueError(f"the class does not count from {start}")


def _end(kept: RetentionClass, time: Period | None, start: Micros) -> Micros:
    """The end of the due period that a time from `start` ends in."""
    if time is None:
        raise ValueError("the class has no time to keep")
    return falls_due(kept.period_of(time.after(start)))
