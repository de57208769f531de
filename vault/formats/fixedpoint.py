"""Decimal numbers with as many decimals each, such as amounts of money: `12.34`.

A number has one spelling: a point, exactly `scale` decimals, no zeros in front of the whole part but a
single one, no `+`, no `-0.00`. The range is given in whole numbers and both ends belong to it: up to 100
means up to 100.00. A token is a number of the same range. Order is not kept, and neither are sums.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from vault.crypto.pairs import Pair
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS, Alphabet
from vault.formats.column import ZERO, CharRows, Column, Ranked, lengths_of, squeezed
from vault.formats.integer import MINUS, spelled, whole_numbers
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

MOST: Final = 10**15 - 1  # so that the spelling stays in its bounds, whatever the scale
MAX_SCALE: Final = 18
WORD: Final = 59  # bits; any 17 digits, so that a number and what it is counted from both fit a word

_WRITTEN: Final = Alphabet("digits, point, plus and minus", DIGITS.characters + ".+-")
_FORMAT: Final = re.compile(r"-?(?:0|[1-9][0-9]*)\.([0-9]+)")


@dataclass(frozen=True, slots=True)
class Decimal(Reversible):
    """A number is transformed as its place in the range, counted in units of the last decimal.

    Args:
        least: the smallest (`min`), a whole number.
        most: the largest (`max`), a whole number.
        scale: decimals.

    Raises:
        BadInput: `template_invalid`, min is above max.
    """

    least: int = 0
    most: int = 10_000_000
    scale: int = 2

    in_columns: ClassVar[InColumns] = "ascii"
    keeps_layout: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise parameter_invalid("decimal", "min")

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("decimal", min=self.least, max=self.most, scale=self.scale)

    def parse(self, value: str) -> Shape:
        """Takes a number. See `Template.parse`; one outside the range is `value_length` or `value_format`."""
        require_length(value, self._shortest, self._longest)
        require_characters(value, _WRITTEN)
        match = _FORMAT.fullmatch(value)
        if match is None or len(match[1]) != self.scale:
            raise ValueRefused("value_format")
        units = int(value.replace(".", ""))
        rank = units - self.least * 10**self.scale
        if not 0 <= rank < self._ranks or (units == 0 and value[0] == "-"):
            raise ValueRefused("value_format")
        return ranked(rank, self._ranks, len(value))

    def render_token(self, shape: Shape, text: str) -> str:
        """The number of a rank."""
        return self._spelled(int(text, 2))

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """All numbers together, as whole ones without the point; not those that no word holds."""
        length, start = lengths_of(rows), self.least * 10**self.scale
        if self._ranks > 1 << WORD or abs(start) > 1 << WORD or rows.shape[1] < 2 + self.scale:
            return
        point = (np.arange(rows.shape[1]) == (length - self.scale - 1)[:, None]) & (rows == ord("."))
        good = point.any(axis=1)
        whole = squeezed(rows, ~point)
        number, count, are = whole_numbers(whole)
        good &= are & (count > self.scale)
        front = np.where(whole[:, 0] == MINUS, 1, 0)
        leading = np.take_along_axis(whole, front[:, None], axis=1)[:, 0] == ZERO
        good &= ~(leading & (count > self.scale + 1)) & ~((number == 0) & (front == 1))
        number -= start
        at = np.flatnonzero(good & (number >= 0) & (number < self._ranks))

        def write(rank: Pair) -> CharRows:
            digits = spelled(rank.low.astype(np.int64) + start, self._longest - 1, self.scale + 1)
            return np.insert(digits, digits.shape[1] - self.scale, ord("."), axis=1)

        if len(at):
            yield Ranked(at, Pair.of(number[at]), self._ranks, b"", write)

    def domain(self, length: int | None = None) -> Domain:
        """All numbers of the range, whatever the length."""
        if length is not None:
            require_length("0" * length, self._shortest - 1, self._longest - 1)
        note = f"numbers from {self.least} to {self.most} with {self.scale} decimals"
        return Domain(2, bits_for(self._ranks), self._ranks, note)

    def smallest(self) -> Domain:
        """The only one there is."""
        return self.domain()

    def sample(self, rng: random.Random) -> str:
        """A number of the range, small ones more often, sometimes an end of it."""
        if rng.random() < 0.1:
            return self._spelled(rng.choice((0, self._ranks - 1)))
        start = self.least * 10**self.scale
        units = (start + rng.randrange(self._ranks)) // 10 ** rng.choice((0, 0, 1, 2, 3))
        return self._spelled(min(max(units - start, 0), self._ranks - 1))

    def _spelled(self, rank: int) -> str:
        units = rank + self.least * 10**self.scale
        whole, part = divmod(abs(units), 10**self.scale)
        return f"{'-' if units < 0 else ''}{whole}.{part:0{self.scale}d}"

    @property
    def _ranks(self) -> int:
        return (self.most - self.least) * int(10**self.scale) + 1

    @property
    def _shortest(self) -> int:
        return len(str(min(max(0, self.least), self.most))) + 1 + self.scale

    @property
    def _longest(self) -> int:
        return max(len(str(self.least)), len(str(self.most))) + 1 + self.scale


ENTRY: Final[Entry[Template]] = Entry(
    "decimal",
    "Decimal number of a range, such as an amount of money: a point, the same number of decimals each.",
    (
        Parameter("min", 0, "the smallest number, whole", lowest=-MOST, highest=MOST),
        Parameter("max", 10_000_000, "the largest number, whole", lowest=-MOST, highest=MOST),
        Parameter("scale", 2, "decimals", lowest=1, highest=MAX_SCALE),
    ),
    lambda given: Decimal(int(given["min"]), int(given["max"]), int(given["scale"])),
    ("****.{last:2}",),
    (
        "decimal(min=-1000000, max=1000000)",
        "decimal(min=-90, max=90, scale=6)",
        f"decimal(min={-MOST}, max={MOST}, scale=18)",
    ),
)
