"""Numeral strings of many values as columns of numpy words, and back.

Source: NIST SP 800-38G, Algorithms 1 (NUM_radix) and 3 (STR_radix). Values lie as a matrix of code points, a
row each. Digits are brought together by halves, so that most of the arithmetic is done in words of one or two
bytes, and taken apart the same way. Everything is exact: callers keep radix^k under 2^62.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vault.crypto.numerals import check_alphabet
from vault.errors import ValueRefused

Matrix = NDArray[Any]  # (values, characters): code points, u1 or u4
Words = NDArray[np.uint64]

_NARROW_POINTS: Final = 256
_CACHED: Final = 16
_PAD: Final = (
    64  # bytes between rows of places; rows a power of two apart would share the same few cache lines
)
_NONE: Final = np.iinfo(np.uint32).max  # what a character that is none has for a numeral, in wide alphabets
_SIZES: Final = ((1 << 8, np.uint8), (1 << 16, np.uint16), (1 << 32, np.uint32), (1 << 64, np.uint64))


class Columns:
    """Conversions over one alphabet.

    Args:
        alphabet: the characters, the numeral of each being its place.

    Attributes:
        is_narrow: whether all characters, and one more that ends a value, have code points under 256.

    Raises:
        ValueError: not an alphabet.
    """

    __slots__ = (
        "_end",
        "_first",
        "_from_numerals",
        "_numerals",
        "_points",
        "_to_numerals",
        "is_narrow",
        "radix",
    )

    def __init__(self, alphabet: str) -> None:
        check_alphabet(alphabet)
        points = [ord(character) for character in alphabet]
        self.radix = len(points)
        self.is_narrow = max(points) < _NARROW_POINTS and len(points) < _NARROW_POINTS
        self._points = np.array(points, np.uint8 if self.is_narrow else np.uint32)
        # A run of code points needs no table: a subtraction gives the numeral.
        self._first = points[0] if points == list(range(points[0], points[0] + len(points))) else None
        members = set(points)
        self._end = next(point for point in (10, *range(0x110000)) if point not in members)
        # `bytes.translate` takes a third of the time of numpy's look-up
        if self.is_narrow:
            self._numerals = np.full(_NARROW_POINTS + 1, _NARROW_POINTS - 1, np.uint8)
        else:
            self._numerals = np.full(max(points) + 2, _NONE, np.uint32)
        self._numerals[self._points] = np.arange(self.radix)
        self._to_numerals = self._numerals[:_NARROW_POINTS].tobytes() if self.is_narrow else b""
        self._from_numerals = bytes(points).ljust(_NARROW_POINTS, b"\0") if self.is_narrow else b""

    def matrix(self, values: Sequence[str]) -> Matrix | None:
        """Values of one length as a matrix; None if they have several, or none has a character.

        Raises:
            ValueRefused: `value_alphabet`, with `item` and `position`.
        """
        end = chr(self._end)
        text = end.join(values) + end
        try:
            encoded = text.encode("latin-1") if self.is_narrow else text.encode("utf-32-le", "surrogatepass")
        except UnicodeEncodeError:
            for item, value in enumerate(values):
                for position, character in enumerate(value):
                    if ord(character) >= _NARROW_POINTS:
                        raise ValueRefused("value_alphabet", position=position, item=item) from None
            raise
        flat = np.frombuffer(encoded, self._points.dtype)
        row = len(values[0]) + 1
        if row == 1 or len(flat) != len(values) * row:
            return None
        whole = flat.reshape(len(values), row)
        if (whole[:, -1] != self._end).any():
            return None
        return whole[:, :-1]

    def like(self, matrix: Matrix) -> Matrix:
        """A matrix of the same shape and type, to be filled, whose rows `strings` takes as they lie."""
        count, n = matrix.shape
        ended = np.empty((count, n + 1), matrix.dtype)
        ended[:, n] = self._end
        return ended[:, :n]

    def strings(self, matrix: Matrix) -> list[str]:
        """The rows of a matrix that `like` made as texts. It holds characters of the alphabet only."""
        count, n = matrix.shape
        ended = np.lib.stride_tricks.as_strided(matrix, (count * (n + 1) - 1,), (matrix.itemsize,))
        encoding = "latin-1" if matrix.dtype == np.uint8 else "utf-32-le"
        return str(ended.data, encoding, "surrogatepass").split(chr(self._end))

    def digits(self, matrix: Matrix) -> NDArray[Any]:
        """The numerals of a matrix, a row for each place: (characters, values).

        Raises:
            ValueRefused: `value_alphabet`, with `item` and `position`, of the first row that has one.
        """
        digits = _across(matrix.shape, matrix.dtype)[:, : len(matrix)]
        if self._first is not None:
            np.subtract(matrix.T, np.asarray(self._first, matrix.dtype), out=digits)
        elif matrix.dtype == np.uint8 and self.is_narrow:
            found = np.frombuffer(matrix.tobytes().translate(self._to_numerals), np.uint8)
            digits[:] = found.reshape(matrix.shape).T
        else:
            digits[:] = self._numerals[np.minimum(matrix.T, np.uint32(len(self._numerals) - 1))]
        if digits.size and digits.max() >= self.radix:
            item, position = np.argwhere(self.radix <= digits.T)[0]
            raise ValueRefused("value_alphabet", position=int(position), item=int(item))
        return digits

    def numbers(self, digits: NDArray[Any]) -> Words:
        """NUM_radix of each column of numerals, most significant first."""
        return self._joined(digits).astype(np.uint64, copy=False)

    def fill(self, matrix: Matrix, high: Words, low: Words, places: int) -> None:
        """Two numbers a row, the first of so many places (STR_radix), as characters.

        Args:
            places: of `high`; `low` has the rest.
        """
        count = len(matrix)
        across = _across(matrix.shape, matrix.dtype)
        self._write(high, across[:places, :count])
        self._write(low, across[places:, :count])
        if self._first is None and self._from_numerals and matrix.dtype == np.uint8:
            found = np.frombuffer(across.tobytes().translate(self._from_numerals), np.uint8)
            across = found.reshape(across.shape)
        matrix[:] = across[:, :count].T

    def _write(self, numbers: Words, out: Matrix) -> None:
        """STR_radix of each number into the rows of `out`, most significant first.

        Characters, where their code points are a run or wide; else numerals.
        """
        places = len(out)
        if places == 1:
            if self._first is not None:
                np.add(numbers, self._first, out=out[0], dtype=out.dtype, casting="unsafe")
            elif self._from_numerals and out.dtype == np.uint8:
                out[0] = numbers
            elif out.dtype != self._points.dtype:
                out[0] = self._points[numbers.astype(np.intp, copy=False)]
            else:
                np.take(self._points, numbers.astype(np.intp, copy=False), out=out[0], mode="clip")
            return
        lower = places // 2
        by = self.radix**lower
        high = numbers // numbers.dtype.type(by)
        low = numbers - high * numbers.dtype.type(by)
        self._write(high.astype(_word(self.radix ** (places - lower)), copy=False), out[: places - lower])
        self._write(low.astype(_word(by), copy=False), out[places - lower :])

    def _joined(self, digits: NDArray[Any]) -> NDArray[Any]:
        places = len(digits)
        if places == 1:
            only: NDArray[Any] = digits[0]
            return only
        lower = places // 2
        joined = self._joined(digits[: places - lower]).astype(_word(self.radix**places))
        joined *= joined.dtype.type(self.radix**lower)
        joined += self._joined(digits[places - lower :])
        return joined


def _across(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An empty matrix with a row for each place of so many values, and a few columns more."""
    count, n = shape
    return np.empty((n, count + _PAD), dtype)


@lru_cache(maxsize=_CACHED)
def columns_of(alphabet: str) -> Columns:
    """The `Columns` of an alphabet; made once, since alphabets come from templates."""
    return Columns(alphabet)


@lru_cache(maxsize=256)
def _word(bound: int) -> Any:
    """The smallest word for numbers under a bound."""
    return next(word for most, word in _SIZES if bound <= most)
