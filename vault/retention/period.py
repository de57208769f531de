"""Due periods: all values of a class that fall due together lie under one data key a person.

A period is named by its own last moment's day or month, so a key is dropped when its period is over and
nothing in it can still be wanted: a value is kept at least its class's time, and at most that and one
period.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final

from vault.clock import Micros, Period, start_of, utc_date

IDENTIFIER_CLASS: Final = ":identifier"
"""Reserved: the class of the key over a data subject's own identifier. No schema can name it."""

NO_DUE: Final = ""
"""A key without a due date: its end is an event, not a day."""

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
        keep: how long from creation; None for as long as the field key.
        unit: how wide a due period is.
    """

    name: str
    keep: Period | None
    unit: Unit = Unit.MONTH

    def due(self, created: Micros) -> str:
        """The due period of a value made at `created`: `YYYY-MM`, `YYYY-MM-DD`, or `NO_DUE`."""
        if self.keep is None:
            return NO_DUE
        day = utc_date(self.keep.after(created))
        return day.strftime("%Y-%m" if self.unit is Unit.MONTH else "%Y-%m-%d")


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
