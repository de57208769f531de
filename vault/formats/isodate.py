"""Dates of the calendar: `YYYY-MM-DD`, 0001-01-01 to 9999-12-31, or a range of it.

One spelling only. `03/04/1975` is two different days, and a week date or a day of the year is hardly what
a form meant. Times and zones are no part of a date. A token is a day of the same range; neither order nor
distance is kept. There are about 36,500 days in a century, far too few for FF1 to hide one among them, so
a range for it spans most of three thousand years, and tokens look like days of them.
Source: ISO 8601-1:2019, 5.2.2.1, extended format; proleptic Gregorian.
"""

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from vault.crypto.pairs import Pair
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS, Alphabet
from vault.formats.column import CharRows, Column, Mask, Ranked, are_digits, number_of, write_number
from vault.formats.spelling import Entry, Parameter, Value
from vault.formats.template import (
    Domain,
    InColumns,
    Reversible,
    Shape,
    Template,
    bits_for,
    parameter_invalid,
    ranked,
    require_characters,
    require_length,
    spell,
)

LENGTH: Final = 10  # characters
DAYS: Final = datetime.date.max.toordinal()  # 3,652,059

_HYPHENS: Final = [4, 7]
_DIGITS: Final = [place for place in range(LENGTH) if place not in _HYPHENS]
_EPOCH: Final = datetime.date(1970, 1, 1).toordinal()  # numpy counts from there
_WRITTEN: Final = Alphabet("digits and hyphens", DIGITS.characters + "-")
_FORMAT: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")


@dataclass(frozen=True, slots=True)
class Date(Reversible):
    """A day is transformed as its place in the range.

    Args:
        first: the first day, counted from 0001-01-01, which is 1.
        last: the last day, likewise.

    Raises:
        BadInput: `template_invalid`, first is after last.
    """

    first: int = 1
    last: int = DAYS

    parts: ClassVar[frozenset[str]] = frozenset(("age", "month", "year"))
    in_columns: ClassVar[InColumns] = "ascii"

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise parameter_invalid("date", "first")

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        if (self.first, self.last) == (1, DAYS):
            return spell("date")
        return spell("date", first=_spelled(self.first), last=_spelled(self.last))

    def parse(self, value: str) -> Shape:
        """Takes a day. See `Template.parse`; one that never was is `value_calendar`."""
        day = _day(value)
        if not self.first <= day <= self.last:
            raise ValueRefused("value_format")
        return ranked(day - self.first, self._ranks, LENGTH)

    def render_token(self, shape: Shape, text: str) -> str:
        """The day of a rank."""
        return _spelled(self.first + int(text, 2))

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """All days together."""
        if rows.shape[1] < LENGTH:
            return
        days, good = days_of(rows)
        good &= (days >= self.first) & (days <= self.last) & ~rows[:, LENGTH:].any(axis=1)
        at = np.flatnonzero(good)

        def write(rank: Pair) -> CharRows:
            out = np.empty((len(at), LENGTH), np.uint8)
            write_days(rank.low.astype(np.int64) + self.first, out)
            return out

        if len(at):
            yield Ranked(at, Pair.of(days[at] - self.first), self._ranks, b"", write)

    def domain(self, length: int | None = None) -> Domain:
        """The days of the range."""
        if length is not None and length not in (LENGTH, LENGTH - 2):
            raise ValueRefused("value_length", minimum=LENGTH, maximum=LENGTH)
        note = f"days from {_spelled(self.first)} to {_spelled(self.last)}"
        return Domain(2, bits_for(self._ranks), self._ranks, note)

    def smallest(self) -> Domain:
        """The only one there is."""
        return self.domain()

    def sample(self, rng: random.Random) -> str:
        """A day, mostly of the last hundred years or so."""
        day = rng.randint(*_USUAL)
        if rng.random() < 0.1 or not self.first <= day <= self.last:
            day = rng.randint(self.first, self.last)
        return _spelled(day)

    @property
    def _ranks(self) -> int:
        return self.last - self.first + 1


def days_of(rows: CharRows) -> tuple[NDArray[np.int64], Mask]:
    """The days that the first ten characters of rows spell, counted from 0001-01-01, and which are days."""
    good = are_digits(rows[:, _DIGITS]).all(axis=1) & (rows[:, _HYPHENS] == ord("-")).all(axis=1)
    year, month, day = (number_of(rows[:, place]) for place in (slice(4), slice(5, 7), slice(8, LENGTH)))
    good &= (year > 0) & (month > 0) & (month <= 12) & (day > 0)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    first, behind = months.astype("M8[D]"), (months + 1).astype("M8[D]")
    good &= day <= (behind - first).astype(np.int64)
    return first.astype(np.int64) + day + (_EPOCH - 1), good


def write_days(days: NDArray[np.int64], out: CharRows) -> None:
    """Writes days to the first ten columns: the inverse of `days_of`."""
    dates = (days - _EPOCH).astype("M8[D]")
    months = dates.astype("M8[M]")
    count = months.astype(np.int64) + 1970 * 12
    write_number(count // 12, out[:, :4])
    write_number(count % 12 + 1, out[:, 5:7])
    write_number((dates - months.astype("M8[D]")).astype(np.int64) + 1, out[:, 8:LENGTH])
    out[:, _HYPHENS] = ord("-")


def _spelled(day: int) -> str:
    return datetime.date.fromordinal(day).isoformat()


def _day(value: str) -> int:
    """The day of a text, counted from 0001-01-01, which is 1.

    Raises:
        ValueRefused: `value_empty`, `value_length`, `value_alphabet`, `value_format`, `value_calendar`.
    """
    require_length(value, LENGTH, LENGTH)
    require_characters(value, _WRITTEN)
    match = _FORMAT.fullmatch(value)
    if match is None:
        raise ValueRefused("value_format")
    try:
        return datetime.date(int(match[1]), int(match[2]), int(match[3])).toordinal()
    except ValueError:
        raise ValueRefused("value_calendar") from None


_USUAL: Final = (_day("1920-01-01"), _day("2030-12-31"))  # what samples are mostly of


def _build(given: Mapping[str, Value]) -> Date:
    days = {}
    for name in ("first", "last"):
        try:
            days[name] = _day(str(given[name]))
        except ValueRefused:
            raise parameter_invalid("date", name) from None
    return Date(days["first"], days["last"])


ENTRY: Final[Entry[Template]] = Entry(
    "date",
    "Date of the calendar: YYYY-MM-DD.",
    (
        Parameter("first", "0001-01-01", "the first day", form=_FORMAT),
        Parameter("last", "9999-12-31", "the last day", form=_FORMAT),
    ),
    _build,
    ("{year}-**-**",),
    ("date(first='0600-01-01', last='3399-12-31')", "date(last='2999-12-31')"),
)
