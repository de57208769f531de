"""The hours in which a grant is valid, by the clock on a wall of some place. Pure, but for the zones' data.

A window begins on the days that it names and ends when `until` comes next, on the day after if that is not
later than `from`. It is a stretch of real time from one instant to another, half-open. Where clocks are put
back, a time that comes twice means its first; where they are put forward, one that never comes means the
instant of the change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from vault.clock import Micros
from vault.errors import BadInput

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_WINDOWS: Final = 16

_FROM: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_UNTIL: Final = re.compile(r"(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)")
# Names of places only: the database also has files that are none (`localtime`, `posix/...`).
_ZONE: Final = re.compile(r"UTC|[A-Z][A-Za-z]{1,31}(?:/[A-Z0-9][A-Za-z0-9_+-]{0,31}){1,2}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from"}):
    """One window, as a grant's `valid.windows` lists it.

    Attributes:
        days: `mon` to `sun`, on which it begins.
        start: `from`, HH:MM.
        until: HH:MM, exclusive; `24:00` is the end of the day.
        zone: of the IANA time zone database, `Europe/Berlin`.
    """

    days: tuple[str, ...]
    start: str
    until: str
    zone: str


def check_windows(windows: Sequence[Window]) -> None:
    """Returns if these are windows.

    Raises:
        BadInput: `validity_invalid`: none or more than 16, a day, a time or a zone that is none, a day twice,
            or an end that is the beginning.
    """
    if not 1 <= len(windows) <= MAX_WINDOWS:
        raise BadInput("validity_invalid", member="windows", most=MAX_WINDOWS)
    for index, window in enumerate(windows):
        days = set(window.days)
        well_formed = (
            0 < len(days) == len(window.days)
            and days <= set(DAYS)
            and _FROM.fullmatch(window.start) is not None
            and _UNTIL.fullmatch(window.until) is not None
            and window.start != window.until
            and _zone(window.zone) is not None
        )
        if not well_formed:
            raise BadInput("validity_invalid", member="windows", index=index)


def inside(windows: Sequence[Window], now: Micros) -> bool:
    """Whether an instant lies in one of some windows, which `check_windows` took; in none of none."""
    return any(_holds(window, now) for window in windows)


def _holds(window: Window, now: Micros) -> bool:
    zone = _zone(window.zone)
    if zone is None:  # the zone was there when the grant was made; without it no hour is known
        return False
    today = (_EPOCH + now * _MICRO).astimezone(zone).date()
    # The day after too: where clocks go back over midnight, its first hour comes before this day's last.
    for day in (today - _DAY, today, today + _DAY):
        if DAYS[day.weekday()] not in window.days:
            continue
        last = day if window.start < window.until else day + _DAY
        if _instant(day, window.start, zone) <= now < _instant(last, window.until, zone):
            return True
    return False


def _instant(day: date, time: str, zone: ZoneInfo) -> Micros:
    """When a wall's clock first shows a time, or is put forward over it."""
    hours, minutes = int(time[:2]), int(time[3:])
    if hours == 24:
        day, hours = day + _DAY, 0
    wall = datetime(day.year, day.month, day.day, hours, minutes, tzinfo=zone)
    first = wall.astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) != wall.replace(tzinfo=None):
        first = _change(wall, zone)
    return (first - _EPOCH) // _MICRO


def _change(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which clocks are put forward over a time that they never show."""
    before, after = wall.utcoffset(), wall.replace(fold=1).utcoffset()
    late = wall.astimezone(UTC)  # by the offset before the change; so it lies after it
    early = wall.replace(fold=1).astimezone(UTC)
    if before is None or after is None:  # of no zone in the database
        return late
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) // 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo | None:
    if _ZONE.fullmatch(name) is None:
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None
