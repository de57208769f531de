"""Time: microseconds since the epoch inside, RFC 3339 and ISO 8601 at the doors."""

from __future__ import annotations

import calendar
import re
import time
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Protocol

Micros = int
"""An instant: microseconds since 1970-01-01T00:00:00Z."""

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
_END: Final = 253_402_300_800 * SECOND  # 10000-01-01T00:00:00Z, the first instant RFC 3339 cannot write

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# RFC 3339, section 5.6; ASCII digits only, upper-case T and Z as this service writes them
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})",
)
_PERIOD = re.compile(
    r"P(?:([0-9]{1,4})Y)?(?:([0-9]{1,4})M)?(?:([0-9]{1,4})W)?(?:([0-9]{1,5})D)?"
    r"(?:T(?:([0-9]{1,5})H)?(?:([0-9]{1,6})M)?(?:([0-9]{1,7})S)?)?",
)


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> Micros:
        """The present instant."""


class SystemClock:
    """The host's clock."""

    def now(self) -> Micros:
        """The present instant, from the operating system."""
        return time.time_ns() // 1000


class FixedClock:
    """A clock that stands where it is put; for tests and for what must not depend on the hour."""

    def __init__(self, at: Micros) -> None:
        self.at = at

    def now(self) -> Micros:
        """The instant it was set to."""
        return self.at

    def advance(self, micros: Micros) -> None:
        """Moves the clock; negative values move it back."""
        self.at += micros


def _moment(at: Micros) -> datetime:
    if not 0 <= at < _END:
        raise ValueError("out of range")
    return _EPOCH + timedelta(microseconds=at)


def format_time(at: Micros) -> str:
    """RFC 3339 in UTC with microseconds, e.g. `2026-11-23T14:00:00.000000Z`.

    Raises:
        ValueError: outside the years 1970 to 9999.
    """
    seconds, micros = divmod(at, SECOND)
    return f"{_whole_seconds(seconds)}.{micros:06d}Z"


@lru_cache(maxsize=64)
def _whole_seconds(seconds: int) -> str:
    """The part of a time that many events share."""
    return _moment(seconds * SECOND).strftime("%Y-%m-%dT%H:%M:%S")


def parse_time(text: str) -> Micros:
    """The instant that an RFC 3339 text names.

    Raises:
        ValueError: not RFC 3339, not a date of the calendar, or outside the years 1970 to 9999.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("not RFC 3339")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    micros = int((match[7] or "").ljust(6, "0"))
    moment = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
    at = (moment - _EPOCH) // timedelta(microseconds=1)
    if match[8] != "Z":
        sign = -1 if match[8][0] == "+" else 1
        hours, minutes = int(match[8][1:3]), int(match[8][4:6])
        if hours > 23 or minutes > 59:
            raise ValueError("not an offset")
        at += sign * (hours * 3600 + minutes * 60) * SECOND
    if not 0 <= at < _END:
        raise ValueError("out of range")
    return at


@dataclass(frozen=True, slots=True)
class Period:
    """An ISO 8601 duration: calendar months and exact seconds, kept apart because months vary."""

    months: int
    seconds: int

    def after(self, at: Micros) -> Micros:
        """The instant one period after `at`; a day that the month lacks becomes its last.

        Raises:
            ValueError: `at` or the answer lies outside the years 1970 to 9999.
        """
        moment = _moment(at)
        if self.months:
            index = moment.year * 12 + moment.month - 1 + self.months
            year, month = divmod(index, 12)
            if year > MAXYEAR:
                raise ValueError("out of range")
            last = calendar.monthrange(year, month + 1)[1]
            moment = moment.replace(year=year, month=month + 1, day=min(moment.day, last))
        then = (moment - _EPOCH) // timedelta(microseconds=1) + self.seconds * SECOND
        if not 0 <= then < _END:
            raise ValueError("out of range")
        return then

    @property
    def shortest_seconds(self) -> int:
        """A lower bound in seconds, counting a month as 28 days; to compare with caps."""
        return self.months * 28 * 86_400 + self.seconds


def parse_period(text: str) -> Period:
    """The period that an ISO 8601 duration names, e.g. `P2Y`, `P30D`, `PT15M`.

    Raises:
        ValueError: not such a duration, or nothing at all.
    """
    match = _PERIOD.fullmatch(text)
    if match is None or not any(match.groups()) or text.endswith("T"):
        raise ValueError("not an ISO 8601 duration")
    years, months, weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return Period(
        months=years * 12 + months,
        seconds=((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + seconds,
    )


def day_of(at: Micros) -> str:
    """The UTC day of an instant, `YYYY-MM-DD`: the unit of daily budgets."""
    return _moment(at).strftime("%Y-%m-%d")


def utc_date(at: Micros) -> date:
    """The UTC date of an instant."""
    return _moment(at).date()


def start_of(day: date) -> Micros:
    """The first instant of a UTC day."""
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
