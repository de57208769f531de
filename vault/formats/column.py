"""What a template makes of many values at once: rows of characters become numbers or texts, and rows again.

Rows are characters of values, zeros behind each to the width of the longest. A template finds those rows that
it is sure to take as `Template.parse` would, says what FF1 is to turn of each, and how to write what that
becomes; all others are for `parse`. In rows that are written, a zero is no character, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vault.crypto.pairs import Pair
from vault.crypto.texts import Places
from vault.formats.alphabet import Alphabet

CharRows = NDArray[Any]  # (values, characters): code points, uint8 or uint32
Kept = bytes | list[bytes]  # `Shape.kept_bytes`: of all rows, or of each
Mask = NDArray[np.bool_]

WIDEST: Final = 122  # bits of ranks that words can hold halves of, under 2^62
ZERO: Final = ord("0")


class Ranked(NamedTuple):
    """Rows whose ranks are transformed.

    Attributes:
        at: which rows, at least one.
        ranks: how many ranks there are, of all or of each, at most 2^122 (`WIDEST`).
        write: the rows that have other ranks.
    """

    at: Places
    rank: Pair
    ranks: int | Pair
    kept: Kept
    write: Callable[[Pair], CharRows]


class Lettered(NamedTuple):
    """Rows whose characters are transformed: as many in each, all of one alphabet.

    Attributes:
        at: which rows, at least one.
        text: these characters.
        write: the rows that have others in these places.
    """

    at: Places
    alphabet: Alphabet
    text: CharRows
    kept: Kept
    write: Callable[[CharRows], CharRows]


Column = Ranked | Lettered


def each(keys: Iterable[Hashable], make: Callable[[Any], bytes]) -> list[bytes]:
    """What is made of each key, made once for equal ones."""
    made: dict[Hashable, bytes] = {}
    out = []
    for key in keys:
        found = made.get(key)
        if found is None:
            found = made[key] = make(key)
        out.append(found)
    return out


def are_digits(rows: CharRows) -> Mask:
    """Which characters are ASCII digits."""
    return np.asarray((rows >= ZERO) & (rows <= ord("9")))


def lengths_of(rows: CharRows) -> Places:
    """How many characters each row has."""
    return np.count_nonzero(rows, axis=1)


def number_of(digits: CharRows) -> NDArray[np.int64]:
    """The number that rows of at most 18 digits say."""
    number = np.zeros(len(digits), np.int64)
    for digit in np.ascontiguousarray(digits.T):
        number *= 10
        number += digit
        number -= ZERO
    return number


def write_number(number: NDArray[Any], out: CharRows) -> None:
    """Writes numbers in decimal to all columns, zeros in front."""
    left = number
    for place in range(out.shape[1] - 1, -1, -1):
        rest = left // 10
        out[:, place] = left - rest * 10 + ZERO
        left = rest


def squeezed(rows: CharRows, mask: Mask) -> CharRows:
    """The characters of a mask of each row, from the left, zeros behind them."""
    counts = np.count_nonzero(mask, axis=1)
    width = int(counts.max()) if len(counts) else 0
    out = np.zeros((len(rows), width), rows.dtype)
    out[np.arange(width) < counts[:, None]] = rows[mask]
    return out
