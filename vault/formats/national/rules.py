"""Steps of numberings for national numbers: sums of weighted digits, and days of the calendar.

A day is one of the calendar in some year that the number can mean; the clock has no say.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

from vault.formats.numbering import Step

NEVER: Final = 0  # the year 00 is no leap year
ALWAYS: Final = 1
OPEN: Final = 2  # it depends on what follows

DATE: Final = 6  # characters of a day with two digits of the year
_DAYS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def free(place: int, state: Any, character: str) -> Hashable | None:
    """Whatever may stand there."""
    return 0


def total(digits: str, weights: Sequence[int]) -> int:
    """The sum of digits times weights, as far as both go."""
    return sum(weight * int(digit) for weight, digit in zip(weights, digits, strict=False))


def without(remainder: int, weights: Sequence[int]) -> Step:
    """Digits whose weighted sum modulo 11 is another than this one: no check digit goes with that.

    It starts with (0, whether all may be zero).
    """
    last = len(weights) - 1

    def step(place: int, state: Any, character: str) -> Hashable | None:
        sums, some_before = state
        after = (sums + weights[place] * int(character)) % 11
        some_now = some_before or character != "0"
        if place == last and (after == remainder or not some_now):
            return None
        return after, some_now

    return step


def year_month_day(place: int, state: Any, character: str) -> Hashable | None:
    """A day as YYMMDD.

    Args:
        place: from 0 to 5, within the day.
        state: at first what the year 00 is: `NEVER`, `ALWAYS` or `OPEN`.

    Returns:
        After the last place: `OPEN` if the day exists only where 00 is a leap year and that is open; else 0.
    """
    digit = int(character)
    if place == 0:
        return state, digit
    if place == 3:
        return _month(state[0], state[1] * 10 + digit)
    if place == 5:
        days, tens, is_open = state
        day = tens * 10 + digit
        if not 1 <= day <= days:
            return None
        return OPEN if is_open and day == _DAYS[1] else 0
    if place == 1:
        year = state[1] * 10 + digit
        return (state[0] if year == 0 else ALWAYS if year % 4 == 0 else NEVER,)
    if place == 2:
        return state[0], digit
    days, is_open = state
    return days, digit, is_open


def _month(leap: int, month: int) -> Hashable | None:
    if not 1 <= month <= len(_DAYS):
        return None
    return last_day(leap, month), leap == OPEN and month == 2


def last_day(leap: int, month: int) -> int:
    """The last day of a month, 1 to 12."""
    return 28 if month == 2 and leap == NEVER else _DAYS[month - 1]


def dated(order: Step, then: Step = free) -> Step:
    """A day of six characters, and `then` behind it.

    Args:
        order: `year_month_day`, or one like it.
        then: takes places of the whole number, and begins with the state after the day.
    """

    def step(place: int, state: Any, character: str) -> Hashable | None:
        return order(place, state, character) if place < DATE else then(place, state, character)

    return step
