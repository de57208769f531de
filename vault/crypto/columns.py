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

    __slots__ = ("_end", "_first", "_numerals", "_points", "is_narrow", "radix")

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
        if self.is_narrow:
            self._numerals = np.full(_NARROW_POINTS + 1, _NARROW_POINTS - 1, np.uint8)
        else:
            self._numerals = np.full(max(points) + 2, _NONE, np.uint32)
        self._numerals[self._points] = np.arange(self.radix)

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

    def strings(self, matrix: Matrix) -> list[str]:
        """The rows of a matrix as texts. The matrix holds characters of the alphabet only."""
        count, n = matrix.shape
        ended = np.empty((count, n + 1), matrix.dtype)
        ended[:, :n] = matrix
        ended[:, n] = self._end
        encoding = "latin-1" if matrix.dtype == np.uint8 else "utf-32-le"
        return str(ended.reshape(-1)[:-1].data, encoding, "surrogatepass").split(chr(self._end))

    def digits(self, matrix: Matrix) -> NDArray[Any]:
        """The numerals of a matrix, a row for each place: (characters, values).

        Raises:
            ValueRefused: `value_alphabet`, with `item` and `position`, of the first row that has one.
        """
        across = matrix.T
        if self._first is not None:
            digits = np.subtract(across, np.asarray(self._first, matrix.dtype), order="C")
        elif matrix.dtype == np.uint8 and self.is_narrow:
            digits = self._numerals[across]
        else:
            digits = self._numerals[np.minimum(across, np.uint32(len(self._numerals) - 1))]
        digits = np.ascontiguousarray(digits)
        if digits.size and digits.max() >= self.radix:
            item, position = np.argwhere(self.radix <= digits.T)[0]
            raise ValueRefused("value_alphabet", position=int(position), item=int(item))
        return digits

    def numbers(self, digits: NDArray[Any]) -> Words:
        """NUM_radix of each column of numerals, most significant first."""
        return self._joined(digits).astype(np.uint64, copy=False)

    def write(self, numbers: Words, out: Matrix) -> None:
        """STR_radix of each number: code points into the rows of `out`, most significant first."""
        places = len(out)
        if places == 1:
            if self._first is not None:
                np.add(numbers, self._first, out=out[0], dtype=out.dtype, casting="unsafe")
            else:
                np.take(self._points, numbers.astype(np.intp, copy=False), out=out[0], mode="clip")
            return
        lower = places // 2
        by = self.radix**lower
        high = numbers // numbers.dtype.type(by)
        low = numbers - high * numbers.dtype.type(by)
        self.write(high.astype(_word(self.radix ** (places - lower)), copy=False), out[: places - lower])
        self.write(low.astype(_word(by), copy=False), out[places - lower :])

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


@lru_cache(maxsize=_CACHED)
def columns_of(alphabet: str) -> Columns:
    """The `Columns` of an alphabet; made once, since alphabets come from templates."""
    return Columns(alphabet)


@lru_cache(maxsize=256)
def _word(bound: int) -> Any:
    """The smallest word for numbers under a bound."""
    return next(word for most, word in _SIZES if bound <= most)
