"""What a template makes of many values at once: rows of characters become numbers or texts, and rows again.

Rows are characters of values, zeros behind each to the width of the longest. A template finds those rows that
it is sure to take as `Template.parse` would, says what FF1 is to turn of each, and how to write what that
becomes; all others are for `parse`. In rows that are written, a zero is no character, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vault.crypto.pairs import Pair
from vault.crypto.texts import Places
from vault.formats.alphabet import Alphabet

CharRows = NDArray[Any]  # (values, characters): code points, uint8 or uint32
Mask = NDArray[np.bool_]

WIDEST: Final = 122  # bits of ranks that words can hold halves of, under 2^62
FEWEST: Final = 8  # rows that are worth an FF1 of their own
ZERO: Final = ord("0")
_FACTOR: Final = np.uint64(0x9E37_79B9_7F4A_7C15)  # odd, far from powers of two


class Forms(NamedTuple):
    """`Shape.kept_bytes` of each row: some of `forms`."""

    which: Places
    forms: list[bytes]
    lengths: Places  # of each form

    def at(self, places: Places) -> Forms:
        """Those of some rows."""
        return self._replace(which=self.which[places])


Kept = bytes | Forms
"""Of all rows, or of each."""


def kept_at(kept: Kept, places: Places) -> Kept:
    """What is kept of some rows."""
    return kept if isinstance(kept, bytes) else kept.at(places)


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


def each(keys: CharRows, make: Callable[[str], bytes]) -> Kept:
    """What is made of the characters of each row, made once for equal ones."""
    firsts, which = alike(keys)
    forms = [make(text) for text in texts_of(keys[firsts])]
    return forms[0] if len(forms) == 1 else Forms(which, forms, np.array([*map(len, forms)]))


def alike(rows: CharRows) -> tuple[Places, Places]:
    """(one row of those that are equal, which of these each row is equal to)."""
    hashes = hashes_of(rows)
    _, firsts, which = np.unique(hashes, return_index=True, return_inverse=True)
    if (rows[firsts][which] == rows).all():
        return firsts, which
    known: dict[bytes, int] = {}  # two have the same hash by chance, or because somebody wanted that
    which = np.array([known.setdefault(row.tobytes(), len(known)) for row in np.ascontiguousarray(rows)])
    return np.unique(which, return_index=True)[1], which


def hashes_of(rows: CharRows) -> NDArray[np.uint64]:
    """A word for each row, the same for equal rows, hardly ever for others."""
    hashes = np.zeros(len(rows), np.uint64)
    for column in rows.T:
        hashes *= _FACTOR
        hashes += column
    return hashes


def texts_of(rows: CharRows) -> list[str]:
    """The characters of each row, without zeros at the end."""
    encoding = "latin-1" if rows.itemsize == 1 else "utf-32-le"
    whole = rows.tobytes().decode(encoding, "surrogatepass")
    width = rows.shape[1]
    return [whole[at * width : (at + 1) * width].rstrip("\0") for at in range(len(rows))]


def are_digits(rows: CharRows) -> Mask:
    """Which characters are ASCII digits."""
    return np.asarray((rows >= ZERO) & (rows <= ord("9")))


def lengths_of(rows: CharRows) -> Places:
    """How many characters each row has."""
    lengths: Places = np.count_nonzero(rows, axis=1)
    return lengths


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
