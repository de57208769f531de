"""Times of day on a date: `2024-02-29T23:59:59.123Z`, as RFC 3339, ISO 8601 and SQL write them.

Systems write the same time in many ways, and each value comes back in its own: `T` or a space; minutes,
seconds, or up to nine decimals of them; `Z`, an offset (`+01:00`, `+0100`, `+01`) or neither. A token has the
layout of its value, and the same zone. What is transformed is the time as written, not the one at Greenwich,
among all times of a range of years; neither order nor distance is kept.

Refused: letters in lower case, a comma for the point, names of zones, hour 24, and second 60 (no format of a
database keeps leap seconds). Source: RFC 3339, 5.6; ISO 8601-1:2019, 5.4.2, extended format.
"""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, cast

import numpy as np

from vault.crypto.ff1_batch import COLUMNS_FROM
from vault.crypto.pairs import Pair
from vault.crypto.texts import Places
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS, Alphabet
from vault.formats.column import CharRows, Column, Ranked, are_digits, each, kept_at, number_of, write_number
from vault.formats.isodate import days_of, write_days
from vault.formats.spelling import Entry, Parameter, Value
from vault.formats.template import (
    Domain,
    InColumns,
    Reversible,
    Shape,
    Template,
    bits_for,
    kept_form,
    parameter_invalid,
    ranked,
    require_characters,
    require_length,
    spell,
)

Granularity = Literal["minute", "second", "millisecond", "microsecond", "nanosecond"]

SHORTEST: Final = 16  # characters: to the minute, without a zone
LONGEST: Final = 35

_WRITTEN: Final = Alphabet("digits and signs of times", DIGITS.characters + "TZ :.+-")
_OFFSET: Final = r"(Z|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?"
_FORMAT: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})([T ])([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    + _OFFSET
)
_ZONE: Final = re.compile(_OFFSET)
_NO_ZONE: Final = b"\xff"  # no form of what is kept
_MINUTES: Final = -1  # where others have the number of decimals of a second
_FINEST: Final = {"minute": _MINUTES, "second": 0, "millisecond": 3, "microsecond": 6, "nanosecond": 9}
_A_DAY: Final = 1440  # minutes
_FARTHEST: Final = _A_DAY - 1  # minutes from Greenwich that an offset can say
_ZONES: Final = ("Z", "Z", "", "+00:00", "-05:00", "+0530", "+01")


@dataclass(frozen=True, slots=True)
class Timestamp(Reversible):
    """A time is transformed as its place among those of the range that are written as finely; the zone stays.

    Args:
        granularity: the finest that is taken.
        first: the first year, 1 to 9999, of the times as written.
        last: the last year.

    Raises:
        BadInput: `template_invalid`, first is after last.
    """

    granularity: Granularity = "second"
    first: int = datetime.MINYEAR
    last: int = datetime.MAXYEAR

    parts: ClassVar[frozenset[str]] = frozenset(("year",))
    in_columns: ClassVar[InColumns] = "ascii"

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise parameter_invalid("timestamp", "first")

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("timestamp", granularity=self.granularity, first=self.first, last=self.last)

    def parse(self, value: str) -> Shape:
        """Takes a time apart. See `Template.parse`; one that never was is `value_calendar`."""
        match = _read(value)
        second, part, zone = match[7], match[8] or "", match[9] or ""
        decimals = len(part) if second else _MINUTES
        if decimals > _FINEST[self.granularity]:
            raise ValueRefused("value_format")
        try:
            day = datetime.date(int(match[1]), int(match[2]), int(match[3])).toordinal()
            datetime.time(int(match[5]), int(match[6]), int(second or 0))
        except ValueError:
            raise ValueRefused("value_calendar") from None
        start, end = self._days
        if not start <= day < end:
            raise ValueRefused("value_format")
        count = ((day - start) * 24 + int(match[5])) * 60 + int(match[6])
        if second:
            count = (count * 60 + int(second)) * 10**decimals + int(part or 0)
        space = ((10, " "),) if match[4] == " " else ()
        return ranked(count, (end - start) * _per_day(decimals), len(value), space, zone)

    def render_token(self, shape: Shape, text: str) -> str:
        """The time of a rank, in the layout of the value."""
        decimals = shape.length - len(shape.style) - SHORTEST - 4  # what is left of `:ss.` and decimals
        written = "T" if not shape.kept else " "
        count, tail = int(text, 2), ""
        if decimals < _MINUTES:
            return _spelled(self._days[0] * _A_DAY + count, written) + shape.style
        if decimals > 0:
            count, part = divmod(count, 10**decimals)
            tail = f".{part:0{decimals}d}"
        count, second = divmod(count, 60)
        return f"{_spelled(self._days[0] * _A_DAY + count, written)}:{second:02d}{tail}{shape.style}"

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """Those written as finely together, whatever their zones."""
        if rows.shape[1] < SHORTEST:
            return
        behind = rows[:, SHORTEST:]
        zoned = (behind == ord("Z")) | (behind == ord("+")) | (behind == ord("-"))
        first = np.where(
            zoned.any(axis=1), zoned.argmax(axis=1) if behind.size else 0, np.count_nonzero(behind, axis=1)
        )
        for count in np.unique(first):
            at = np.flatnonzero(first == count)
            decimals = int(count) - len(":ss.") if count > len(":ss") else 0 if count else _MINUTES
            if len(at) >= COLUMNS_FROM and decimals <= _FINEST[self.granularity]:
                yield from self._column(at, rows[at], decimals)

    def _column(self, at: Places, rows: CharRows, decimals: int) -> Iterator[Column]:
        """The column of some rows, all with so many decimals of seconds."""
        form = f"0000-00-00T00:00:00.{'0' * decimals}"[
            : SHORTEST if decimals < 0 else SHORTEST + 3 if not decimals else None
        ]
        end, seconds = len(form), decimals >= 0
        start, after = self._days
        days, good = days_of(rows)
        for place, sign in enumerate(form[10:], 10):
            column = rows[:, place]
            right = are_digits(column) if sign == "0" else column == ord(sign)
            good &= right | (column == ord(" ")) if sign == "T" else right
        hour, minute = number_of(rows[:, 11:13]), number_of(rows[:, 14:16])
        good &= (days >= start) & (days < after) & (hour < 24) & (minute < 60)
        count = ((days - start) * 24 + hour) * 60 + minute
        if seconds:
            second = number_of(rows[:, 17:19])
            good &= second < 60
            count = count * 60 + second
        kept = each(rows[:, end:], _kept_zone)
        good &= (
            kept != _NO_ZONE
            if isinstance(kept, bytes)
            else np.array([one != _NO_ZONE for one in kept.forms])[kept.which]
        )
        some = np.flatnonzero(good)
        if not len(some):
            return
        part = number_of(rows[some, 20:end]) if decimals > 0 else np.zeros(len(some), np.int64)
        unit = np.uint64(10 ** max(0, decimals))
        template = rows[some]

        def write(rank: Pair) -> CharRows:
            out = template.copy()
            left, rest = rank.divided(unit)
            if decimals > 0:
                write_number(rest, out[:, 20:end])
            minutes = left.low.astype(np.int64)
            if seconds:
                write_number(minutes % 60, out[:, 17:19])
                minutes //= 60
            write_number(minutes % 60, out[:, 14:16])
            write_number(minutes // 60 % 24, out[:, 11:13])
            write_days(minutes // _A_DAY + start, out)
            return out

        rank = Pair.of(count[some]).times(unit, part.astype(np.uint64))
        yield Ranked(at[some], rank, (after - start) * _per_day(decimals), kept_at(kept, some), write)

    def canonical(self, value: str) -> str:
        """With `T`, seconds, no zeros at the end of the decimals, and where it has a zone, at Greenwich.

        Where that time lies outside the range, at an offset of 23:59, which brings it back.
        """
        match = _read(value)
        part = (match[8] or "").rstrip("0")
        seconds = "" if self.granularity == "minute" else f":{match[7] or '00'}{'.' if part else ''}{part}"
        if not match[9]:
            return f"{value[:10]}T{value[11:16]}{seconds}"
        day = datetime.date(int(match[1]), int(match[2]), int(match[3])).toordinal()
        minutes = (day * 24 + int(match[5])) * 60 + int(match[6]) - _offset(match[9])
        start, end = self._days
        if minutes < start * _A_DAY:
            return f"{_spelled(minutes + _FARTHEST)}{seconds}+23:59"
        if minutes >= end * _A_DAY:
            return f"{_spelled(minutes - _FARTHEST)}{seconds}-23:59"
        return f"{_spelled(minutes)}{seconds}Z"

    def domain(self, length: int | None = None) -> Domain:
        """All times of the range that are written as finely as can be."""
        if length is not None and not 12 <= length <= 28:
            raise ValueRefused("value_length", minimum=SHORTEST, maximum=LONGEST)
        return self._domain(_FINEST[self.granularity], self.granularity)

    def smallest(self) -> Domain:
        """That of times to the minute."""
        return self._domain(_MINUTES, "minute")

    def sample(self, rng: random.Random) -> str:
        """A time, mostly of the last decades, in one of many layouts."""
        start, end = self._days
        usual = max(start, _USUAL[0]), min(end, _USUAL[1])
        if rng.random() < 0.1 or usual[0] >= usual[1]:
            usual = start, end
        minutes = rng.randrange(usual[0] * _A_DAY, usual[1] * _A_DAY)
        text = _spelled(minutes, rng.choice("TT "))
        finest = _FINEST[self.granularity]
        if finest >= 0 and rng.random() < 0.9:
            decimals = rng.choice((0, finest, rng.randint(0, finest)))
            part = "".join(rng.choices(DIGITS.characters, k=decimals))
            text += f":{rng.randrange(60):02d}{'.' if part else ''}{part}"
        return text + rng.choice(_ZONES)

    @property
    def _days(self) -> tuple[int, int]:
        """The first day and the one after the last, counted from 0001-01-01, which is 1."""
        start = datetime.date(self.first, 1, 1).toordinal()
        return start, datetime.date(self.last, 12, 31).toordinal() + 1

    def _domain(self, decimals: int, unit: str) -> Domain:
        start, end = self._days
        ranks = (end - start) * _per_day(decimals)
        note = f"times of the years {self.first} to {self.last}, to the {unit}"
        return Domain(2, bits_for(ranks), ranks, note)


_USUAL: Final = (datetime.date(1970, 1, 1).toordinal(), datetime.date(2038, 1, 1).toordinal())


def _read(value: str) -> re.Match[str]:
    """A text that has the form of a time; whether there is such a day is not looked at.

    Raises:
        ValueRefused: `value_empty`, `value_length`, `value_alphabet`, `value_format`.
    """
    require_length(value, SHORTEST, LONGEST)
    require_characters(value, _WRITTEN)
    match = _FORMAT.fullmatch(value)
    if match is None:
        raise ValueRefused("value_format")
    return match


def _kept_zone(zone: str) -> bytes:
    """What is kept of a zone as it is written; `_NO_ZONE` of one that is none."""
    return _NO_ZONE if _ZONE.fullmatch(zone) is None else kept_form(zone.encode(), b"")


def _per_day(decimals: int) -> int:
    """How many times a day has, by the decimals of a second."""
    return _A_DAY if decimals == _MINUTES else _A_DAY * 60 * int(10**decimals)


def _spelled(minutes: int, separator: str = "T") -> str:
    """Date, hour and minute of a time in minutes; the first of 0001-01-01 is 1440."""
    day, rest = divmod(minutes, _A_DAY)
    return f"{datetime.date.fromordinal(day).isoformat()}{separator}{rest // 60:02d}:{rest % 60:02d}"


def _offset(zone: str) -> int:
    """Minutes east of Greenwich."""
    if zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return -minutes if zone[0] == "-" else minutes


def _build(given: Mapping[str, Value]) -> Timestamp:
    granularity = cast("Granularity", given["granularity"])
    return Timestamp(granularity, int(given["first"]), int(given["last"]))


def _year(name: str, default: int, description: str) -> Parameter:
    return Parameter(name, default, description, lowest=datetime.MINYEAR, highest=datetime.MAXYEAR)


ENTRY: Final[Entry[Template]] = Entry(
    "timestamp",
    "Date and time: YYYY-MM-DD, `T` or a space, hh:mm, seconds and decimals if any; `Z` or an offset stays.",
    (
        Parameter("granularity", "second", "the finest that is taken; less is taken too", tuple(_FINEST)),
        _year("first", datetime.MINYEAR, "the first year, of times as written"),
        _year("last", datetime.MAXYEAR, "the last year"),
    ),
    _build,
    ("{year}-**-**",),
    (
        "timestamp(granularity='microsecond', first=1900, last=2099)",
        "timestamp(granularity='minute')",
        "timestamp(granularity='nanosecond', first=2024, last=2024)",
    ),
)
