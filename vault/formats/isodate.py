"""Dates of the calendar: `YYYY-MM-DD`, 0001-01-01 to 9999-12-31.

One spelling only. `03/04/1975` is two different days, and a week date or a day of the year is hardly what
a form meant. Times and zones are no part of a date. There are about 36,500 days in a century, far too few
for FF1 to hide one among them. Source: ISO 8601-1:2019, 5.2.2.1, extended format; proleptic Gregorian.
"""

from __future__ import annotations

import datetime
import random
import re
from dataclasses import dataclass
from typing import ClassVar, Final

from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS, Alphabet
from vault.formats.spelling import Entry
from vault.formats.stored import Stored, no_domain, whole
from vault.formats.template import Domain, Shape, Template, require_characters, require_length, spell

LENGTH: Final = 10  # characters
DAYS: Final = datetime.date.max.toordinal()  # 3,652,059

_WRITTEN: Final = Alphabet("digits and hyphens", DIGITS.characters + "-")
_FORMAT: Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")


@dataclass(frozen=True, slots=True)
class Date(Stored):
    """A day. FF1 cannot transform it: the calendar is no alphabet, and it is too short."""

    parts: ClassVar[frozenset[str]] = frozenset(("age", "month", "year"))

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("date")

    def parse(self, value: str) -> Shape:
        """Takes a value as it is. See `Template.parse`; a day that never was is `value_calendar`."""
        require_length(value, LENGTH, LENGTH)
        require_characters(value, _WRITTEN)
        match = _FORMAT.fullmatch(value)
        if match is None:
            raise ValueRefused("value_format")
        try:
            datetime.date(int(match[1]), int(match[2]), int(match[3]))
        except ValueError:
            raise ValueRefused("value_calendar") from None
        return whole(value)

    def domain(self, length: int | None = None) -> Domain:
        """Size 0: there is none that FF1 could use."""
        if length not in (None, LENGTH):
            raise ValueRefused("value_length", minimum=LENGTH, maximum=LENGTH)
        return no_domain(LENGTH, "a calendar is no alphabet; format-preserving encryption has no use for it")

    def smallest(self) -> Domain:
        """Size 0."""
        return self.domain()

    def sample(self, rng: random.Random) -> str:
        """A day, mostly of the last hundred years or so."""
        if rng.random() < 0.1:
            return datetime.date.fromordinal(rng.randint(1, DAYS)).isoformat()
        return datetime.date.fromordinal(
            rng.randint(datetime.date(1920, 1, 1).toordinal(), datetime.date(2030, 12, 31).toordinal())
        ).isoformat()


ENTRY: Final[Entry[Template]] = Entry(
    "date",
    "Date of the calendar: YYYY-MM-DD.",
    (),
    lambda _: Date(),
    ("{year}-**-**",),
)
