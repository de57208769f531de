"""Whole numbers of up to 128 bits, a column of them as two columns of 64-bit words.

Numbers of mixed radix come together and apart in chunks of places whose radices multiply to less than 2^32,
so that no product needs more than a word. Everything is exact: callers keep numbers under 2^128.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_U64 = np.uint64
_HALF = _U64(32)
_LOW = _U64(0xFFFF_FFFF)
_CHUNK = 1 << 32  # what the radices of a chunk multiply to is less


class Pair(NamedTuple):
    """A column of numbers: `high` * 2^64 + `low`."""

    high: Words
    low: Words

    @classmethod
    def of(cls, words: NDArray[Any]) -> Pair:
        """Numbers that fit a word."""
        low = words.astype(_U64, copy=False)
        return cls(np.zeros_like(low), low)

    @classmethod
    def filled(cls, number: int, count: int) -> Pair:
        """One number, so many times."""
        return cls(np.full(count, number >> 64, _U64), np.full(count, number & (1 << 64) - 1, _U64))

    def at(self, places: NDArray[Any] | slice) -> Pair:
        """Some of the column."""
        return Pair(self.high[places], self.low[places])

    def put(self, places: NDArray[Any] | slice, other: Pair) -> None:
        """Sets some of the column."""
        self.high[places], self.low[places] = other

    def is_under(self, other: Pair) -> NDArray[np.bool_]:
        """Which are less than those of another column."""
        under: NDArray[np.bool_] = (self.high < other.high) | (self.high == other.high) & (
            self.low < other.low
        )
        return under

    def plus(self, other: Pair) -> Pair:
        """The sums."""
        low = self.low + other.low
        return Pair(self.high + other.high + (low < self.low), low)

    def minus(self, other: Pair) -> Pair:
        """The differences, of numbers that are no less."""
        return Pair(self.high - other.high - (self.low < other.low), self.low - other.low)

    def times(self, by: Any, plus: Any) -> Pair:
        """self * by + plus, both less than 2^32: numbers, or columns."""
        first = (self.low & _LOW) * by + plus
        second = (self.low >> _HALF) * by + (first >> _HALF)
        return Pair(self.high * by + (second >> _HALF), (second << _HALF) | (first & _LOW))

    def divided(self, by: Any) -> tuple[Pair, Words]:
        """Quotients and rests by a number or a column of numbers less than 2^32."""
        high = self.high // by
        upper = ((self.high - high * by) << _HALF) | (self.low >> _HALF)
        second = upper // by
        lower = ((upper - second * by) << _HALF) | (self.low & _LOW)
        first = lower // by
        return Pair(high, (second << _HALF) | first), lower - first * by

    def bits(self) -> NDArray[np.int64]:
        """How many bits each takes; none for 0."""
        bits = np.zeros(len(self.low), np.int64)
        for word, before in ((self.high, 64), (self.low, 0)):
            for part, below in ((word >> _HALF, before + 32), (word & _LOW, before)):
                found = (bits == 0) & (part > 0)
                bits[found] = np.frexp(part[found].astype(np.float64))[1] + below
        return bits

    def split(self, bits: int) -> tuple[Words, Words]:
        """What is above so many lower bits, 1 to 63, and these; both fit a word."""
        cut = _U64(bits)
        return (self.high << (_U64(64) - cut)) | (self.low >> cut), self.low & _U64((1 << bits) - 1)

    @classmethod
    def joined(cls, above: Words, below: Words, bits: int) -> Pair:
        """The inverse of `split`."""
        cut = _U64(bits)
        return cls(above >> (_U64(64) - cut), (above << cut) | below)


class Radices:
    """The radices of places, from the left: of all numbers, or a column of its own for each place.

    Args:
        radices: 1 to 65,536 each, or columns of these.
    """

    def __init__(self, radices: Sequence[int] | Sequence[Words]) -> None:
        self._places = [_U64(one) if isinstance(one, int) else one for one in radices]
        self._chunks: list[tuple[int, int]] = []
        start, product = 0, 1
        for at, radix in enumerate(self._places):
            largest = max(1, int(np.max(radix)))
            if product * largest >= _CHUNK:
                self._chunks.append((start, at))
                start, product = at, 1
            product *= largest
        self._chunks.append((start, len(self._places)))
        self._products = [self._product(start, end) for start, end in self._chunks]

    def ranks(self, count: int) -> Pair:
        """What the radices of each number multiply to."""
        ranks = Pair.filled(1, count)
        for product in self._products:
            ranks = ranks.times(product, _U64(0))
        return ranks

    def number(self, digits: Sequence[Any]) -> Pair:
        """The numbers that have these digits.

        Args:
            digits: a column of words for each place.
        """
        number = Pair.filled(0, len(digits[0]))
        for (start, end), product in zip(self._chunks, self._products, strict=True):
            part = digits[start].astype(_U64)
            for at in range(start + 1, end):
                part = part * self._places[at] + digits[at]
            number = number.times(product, part)
        return number

    def digits(self, number: Pair) -> list[Words]:
        """The inverse of `number`."""
        digits: list[Words] = []
        for (start, end), product in zip(reversed(self._chunks), reversed(self._products), strict=True):
            number, part = number.divided(product)
            for at in range(end - 1, start, -1):
                rest = part // self._places[at]
                digits.append(part - rest * self._places[at])
                part = rest
            digits.append(part)
        return digits[::-1]

    def _product(self, start: int, end: int) -> Any:
        product = self._places[start]
        for radix in self._places[start + 1 : end]:
            product = product * radix
        return product
