"""Rows whose characters are transformed each within an alphabet of its own, all rows together.

It is what `mixed.shape_of` says of one value: a row whose alphabets are all the same goes as a text, any
other as the number of mixed radix that its places are, whatever their alphabets are in the next row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vault.crypto.ff1_columns import MAX_HALF
from vault.crypto.pairs import Pair, Radices
from vault.crypto.texts import Bytes, Places
from vault.formats.alphabet import Alphabet
from vault.formats.column import FEWEST, WIDEST, CharRows, Column, Kept, Lettered, Mask, Ranked, kept_at

_CLOSE: Final = 2.0**-20  # of sums of logarithms; what is so near the bound is for `parse`
_MANY: Final = 1 << 10  # more characters than a row has


class Letters:
    """Alphabets, by number from 1; 0 is a character that stays.

    Args:
        alphabets: of characters that are in one only, but for alphabets that never stand beside others in a
            row, which come last.

    Attributes:
        which: by code point, the number of its alphabet; the last is for all that are beyond.
    """

    def __init__(self, alphabets: Sequence[Alphabet]) -> None:
        self._alphabets = alphabets
        points = [ord(one) for alphabet in alphabets for one in alphabet.characters]
        self._points = np.array([0, *points], np.uint8 if max(points) < 0x80 else np.uint32)
        self._radices = np.array([1, *(alphabet.radix for alphabet in alphabets)], np.uint64)
        self._starts = np.array([0, 1, *np.cumsum(self._radices[1:])[:-1] + np.uint64(1)], np.int64)
        self.which: Bytes = np.zeros(max(*points, 0x80) + 2, np.uint8)
        self._numerals = np.zeros(len(self.which), np.uint64)
        for number in range(len(alphabets), 0, -1):
            own = [ord(one) for one in alphabets[number - 1].characters]
            self.which[own], self._numerals[own] = number, np.arange(len(own))

    def find(self, rows: CharRows) -> CharRows:
        """Characters as places in tables like `which`."""
        last = len(self.which) - 1
        return np.minimum(rows, rows.dtype.type(last)) if last < np.iinfo(rows.dtype).max else rows

    def columns(self, at: Places, rows: CharRows, which: Bytes, kept: Kept) -> Iterator[Column]:
        """The columns of rows whose characters are known.

        Args:
            at: which rows they are.
            rows: characters.
            which: the number of each one's alphabet, 0 where it stays.
            kept: what is kept of each.
        """
        if not len(at):
            return
        rows = rows.astype(np.promote_types(rows.dtype, self._points.dtype), copy=False)
        free = which > 0
        largest = which.max(axis=1)
        alike = (np.where(free, which, largest[:, None]) == largest[:, None]).all(axis=1)
        groups = np.where(alike, largest.astype(np.int64) * _MANY + np.count_nonzero(free, axis=1), 0)
        found, counts = np.unique(groups[groups > 0], return_counts=True)
        for group in found[counts >= FEWEST].tolist():
            alphabet, count = self._alphabets[group // _MANY - 1], group % _MANY
            if count > 1 and alphabet.radix ** (count - count // 2) < MAX_HALF:
                some = np.flatnonzero(groups == group)
                yield _lettered(at[some], rows[some], free[some], alphabet, count, kept_at(kept, some))
        bits = np.log2(self._radices.astype(np.float64))[which].sum(axis=1)
        some = np.flatnonzero(~alike & (bits < WIDEST - _CLOSE))
        if len(some):
            yield self._ranked(at[some], rows[some], which[some], kept_at(kept, some))

    def _ranked(self, at: Places, rows: CharRows, which: Bytes, kept: Kept) -> Ranked:
        places = np.flatnonzero(which.any(axis=0)).tolist()
        alphabets = [which[:, place] for place in places]
        radices = Radices([self._radices[own] for own in alphabets])
        digits: list[NDArray[np.uint64]] = []
        for place, own in zip(places, alphabets, strict=True):
            digits.append(np.where(own > 0, self._numerals[self.find(rows[:, place])], np.uint64(0)))

        def write(rank: Pair) -> CharRows:
            out = rows.copy()
            for place, own, digit in zip(places, alphabets, radices.digits(rank), strict=True):
                made = self._points[self._starts[own] + digit.astype(np.int64)]
                np.copyto(out[:, place], made, where=own > 0)
            return out

        return Ranked(at, radices.number(digits), radices.ranks(len(at)), kept, write)


def _lettered(at: Places, rows: CharRows, free: Mask, alphabet: Alphabet, count: int, kept: Kept) -> Lettered:
    def write(text: CharRows) -> CharRows:
        out = rows.copy()
        out[free] = text.reshape(-1)
        return out

    return Lettered(at, alphabet, rows[free].reshape(len(at), count), kept, write)
