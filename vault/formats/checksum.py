"""Check digits. Source: ISO/IEC 7812-1:2017, Annex B (the Luhn formula, modulus 10, double-add-double)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_DIGITS: Final = frozenset("0123456789")
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # the digit sum of twice the digit
_HALVED: Final = tuple(_DOUBLED.index(value) for value in range(10))
_DOUBLED_TABLE: Final = np.array(_DOUBLED, np.uint8)
_HALVED_TABLE: Final = np.array(_HALVED, np.uint8)

# Characters to summands, for bytes.translate: sums then run over bytes, not over ints of ours.
_SINGLE_TABLE: Final = bytes(code - 48 if 48 <= code < 58 else 0 for code in range(256))
_DOUBLE_TABLE: Final = bytes(_DOUBLED[code - 48] if 48 <= code < 58 else 0 for code in range(256))


def luhn_valid(digits: str) -> bool:
    """Whether the last digit is the check digit of those before it. The empty string has none.

    Raises:
        ValueError: a character that is not an ASCII digit.
    """
    return bool(digits) and _sum(digits) % 10 == 0


def luhn_digit_at(digits: str, position: int) -> str:
    """The digit that, put at `position`, makes the whole number valid; what stands there is ignored.

    Doubling permutes the digits, so there is exactly one at every position.

    Args:
        digits: the number, ASCII digits.
        position: from 0, counted from the left.

    Raises:
        ValueError: a character that is not an ASCII digit, or no such position.
    """
    if not 0 <= position < len(digits):
        raise ValueError("no such position")
    wanted = -_sum(digits[:position] + "0" + digits[position + 1 :]) % 10
    doubled = (len(digits) - position) % 2 == 0
    return str(_HALVED[wanted] if doubled else wanted)


def luhn_digits_at(digits: NDArray[np.uint8], position: int) -> NDArray[np.uint8]:
    """`luhn_digit_at` of many numbers.

    Args:
        digits: the numbers' digits, each 0 to 9: (digits, numbers).
        position: the same in all.
    """
    total = np.zeros(digits.shape[1], np.uint16)
    for place, digit in enumerate(digits):
        if place != position:
            total += _DOUBLED_TABLE[digit] if (len(digits) - place) % 2 == 0 else digit
    wanted = ((10 - total % 10) % 10).astype(np.uint8)
    return _HALVED_TABLE[wanted] if (len(digits) - position) % 2 == 0 else wanted


def _sum(digits: str) -> int:
    """The Luhn sum: every second digit from the right, the last excluded, is doubled."""
    if not _DIGITS.issuperset(digits):
        raise ValueError("digits are ASCII digits")
    data = digits.encode("ascii")
    return sum(data[::-2].translate(_SINGLE_TABLE)) + sum(data[-2::-2].translate(_DOUBLE_TABLE))
