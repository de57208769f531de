"""Whole numbers of a range, in decimal.

A number has one spelling: no zeros in front, no `+`, no `-0`; or, with a width, zeros in front up to exactly
that width. What else is written (`007`, `1,000`, `1e3`) may mean the number, and could not come back as it
was, so it is refused. A token is a number of the same range. Order is not kept: tokens of 1 and 2 are as far
apart as any, and a sum or a mean of tokens means nothing.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from vault.crypto.pairs import Pair
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS, Alphabet
from vault.formats.column import ZERO, CharRows, Column, Mask, Ranked, are_digits, lengths_of, write_number
from vault.formats.spelling import Entry, Parameter
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

MAX_DIGITS: Final = 18  # a spelling's numbers have no more, and 64 bits hold them
MOST: Final = 10**MAX_DIGITS - 1

MINUS: Final = ord("-")

_WRITTEN: Final = Alphabet("digits, plus and minus", DIGITS.characters + "+-")
_FORMAT: Final = re.compile(r"0|-?[1-9][0-9]*")
_PADDED: Final = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Integer(Reversible):
    """A number is transformed as its place in the range.

    Args:
        least: the smallest (`min`).
        most: the largest (`max`).
        width: digits of every number, with zeros in front; 0: none in front.

    Raises:
        BadInput: `template_invalid`, min is above max, or a number of the range has no place in the width.
    """

    least: int = 0
    most: int = 999_999_999
    width: int = 0

    in_columns: ClassVar[InColumns] = "ascii"
    keeps_layout: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise parameter_invalid("integer", "min")
        if self.width and (self.least < 0 or len(str(self.most)) > self.width):
            raise parameter_invalid("integer", "width")
        if self.width == len(str(self.least)):  # no zeros in front; the spelling has no room for a width then
            object.__setattr__(self, "width", 0)

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("integer", min=self.least, max=self.most, width=self.width or None)

    def parse(self, value: str) -> Shape:
        """Takes a number. See `Template.parse`; one outside the range is `value_length` or `value_format`."""
        require_length(value, self._shortest, self._longest)
        require_characters(value, _WRITTEN)
        if (_PADDED if self.width else _FORMAT).fullmatch(value) is None:
            raise ValueRefused("value_format")
        number = int(value)
        if not self.least <= number <= self.most:
            raise ValueRefused("value_format")
        return ranked(number - self.least, self._ranks, len(value))

    def render_token(self, shape: Shape, text: str) -> str:
        """The number of a rank."""
        return f"{self.least + int(text, 2):0{self.width}d}"

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """All numbers together."""
        number, count, good = whole_numbers(rows)
        if self.width:
            good &= (count == self.width) & (rows[:, 0] != MINUS)
        else:
            good &= is_usual(rows, number)
        at = np.flatnonzero(good & (number >= self.least) & (number <= self.most))

        def write(rank: Pair) -> CharRows:
            return spelled(rank.low.astype(np.int64) + self.least, self._longest, self.width or 1)

        if len(at):
            yield Ranked(at, Pair.of(number[at] - self.least), self._ranks, b"", write)

    def domain(self, length: int | None = None) -> Domain:
        """All numbers of the range, whatever the length."""
        if length is not None:
            require_length("0" * length, self._shortest, self._longest)
        note = f"numbers from {self.least} to {self.most}"
        return Domain(2, bits_for(self._ranks), self._ranks, note)

    def smallest(self) -> Domain:
        """The only one there is."""
        return self.domain()

    def sample(self, rng: random.Random) -> str:
        """A number of the range; small ones are as likely as large ones."""
        if rng.random() < 0.1:
            number = rng.choice((self.least, self.most))
        else:
            number = rng.randint(self.least, self.most) // 10 ** rng.choice((0, 0, 1, 2, 3))
        return f"{min(max(number, self.least), self.most):0{self.width}d}"

    @property
    def _ranks(self) -> int:
        return self.most - self.least + 1

    @property
    def _shortest(self) -> int:
        return self.width or len(str(min(max(0, self.least), self.most)))

    @property
    def _longest(self) -> int:
        return self.width or max(len(str(self.least)), len(str(self.most)))


def whole_numbers(rows: CharRows) -> tuple[NDArray[np.int64], NDArray[np.int64], Mask]:
    """(the numbers that rows say, how many digits each has, which are one): at most 18, perhaps a minus."""
    length = lengths_of(rows)
    negative = rows[:, 0] == MINUS
    count = length - negative
    digits = are_digits(rows)
    good = (np.count_nonzero(digits, axis=1) == count) & (count > 0) & (count <= MAX_DIGITS)
    number = np.zeros(len(rows), np.int64)
    for column, here in zip(rows.T[: MAX_DIGITS + 1], digits.T, strict=False):
        np.multiply(number, 10, out=number, where=here)
        np.add(number, column.astype(np.int64) - ZERO, out=number, where=here)
    np.negative(number, out=number, where=negative)
    return number, count, good


def is_usual(rows: CharRows, number: NDArray[np.int64]) -> Mask:
    """Which have no zeros in front, and no minus before 0."""
    negative = rows[:, 0] == MINUS
    if rows.shape[1] == 1:
        return np.asarray(~negative)
    first = np.where(negative, rows[:, 1], rows[:, 0])
    return np.asarray((first != ZERO) | ((number == 0) & (rows[:, 1] == 0)))


def spelled(number: NDArray[np.int64], width: int, fewest: int) -> CharRows:
    """Numbers in decimal, at the right of a column for a minus and `width` others, zeros of no use left out.

    Args:
        fewest: digits that each has.
    """
    out = np.zeros((len(number), width + 1), np.uint8)
    size = np.abs(number)
    write_number(size, out[:, 1:])
    least = 10**fewest
    for place in range(width - fewest, 0, -1):
        out[size < least, place] = 0
        least *= 10
    out[number < 0, 0] = MINUS
    return out


ENTRY: Final[Entry[Template]] = Entry(
    "integer",
    "Whole number of a range, in decimal: no zeros in front, unless every number has the same width.",
    (
        Parameter("min", 0, "the smallest number", lowest=-MOST, highest=MOST),
        Parameter("max", 999_999_999, "the largest number", lowest=-MOST, highest=MOST),
        Parameter("width", 0, "digits of every number, zeros in front; 0 for none", highest=MAX_DIGITS),
    ),
    lambda given: Integer(int(given["min"]), int(given["max"]), int(given["width"])),
    ("****{last:1}",),
    (
        "integer(min=-500000, max=500000)",
        "integer(max=99999999, width=8)",
        f"integer(min={-MOST}, max={MOST})",
    ),
)
