"""FF1 of the columns that templates make of many values (`formats.column`).

Source: NIST SP 800-38G, cycle walking as `Vaultless` has it for one value: what is no rank goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vault.crypto.ff1 import MIN_DOMAIN
from vault.crypto.ff1_batch import SCALAR_BELOW, FF1Batch
from vault.crypto.pairs import Pair
from vault.crypto.texts import Bytes, Places
from vault.formats.alphabet import BITS
from vault.formats.column import FEWEST, WIDEST, CharRows, Column, Kept, Ranked

_MOST_BITS: Final = 1 << 10  # more than a rank has; tells groups apart


class Turning(NamedTuple):
    """One way of FF1 under one key.

    Attributes:
        cipher: by the characters of an alphabet.
        tweak_of: the tweak of what is kept, behind `prefix`.
    """

    cipher: Callable[[str], FF1Batch]
    tweak_of: Callable[[bytes], bytes]
    prefix: bytes
    decrypt: bool

    def rows(self, column: Column) -> tuple[Places, CharRows]:
        """(which rows of the column could be turned, what they turn into)."""
        if isinstance(column, Ranked):
            return self._ranked(column)
        characters = column.alphabet.characters
        cipher = self.cipher(characters)
        if column.alphabet.radix ** column.text.shape[1] < MIN_DOMAIN:
            return column.at[:0], column.text[:0]
        turn = cipher.decrypt_matrix if self.decrypt else cipher.encrypt_matrix
        made = np.empty_like(column.text)
        for some, tweak in self._by_tweak(column.kept, np.zeros(len(column.at), np.int64)):
            made[some] = turn(column.text[some], tweak, self.prefix)
        return column.at, column.write(made)

    def _ranked(self, column: Ranked) -> tuple[Places, CharRows]:
        ranks, count = column.ranks, len(column.at)
        if isinstance(ranks, int):
            if ranks < MIN_DOMAIN:
                return column.at[:0], np.zeros((0, 1), np.uint8)
            sizes = np.full(count, (ranks - 1).bit_length())
            ranks = Pair.filled(ranks, count)
        else:
            sizes = ranks.minus(Pair.filled(1, count)).bits()
            _, of, counts = np.unique(sizes, return_inverse=True, return_counts=True)
            sizes[counts[of] < FEWEST] = WIDEST + 1
        made = Pair.filled(0, count)
        enough = ~ranks.is_under(Pair.filled(MIN_DOMAIN, count)) & (sizes <= WIDEST)
        for some, tweak in self._by_tweak(column.kept, np.where(enough, sizes, -1)):
            n = int(sizes[some][0]) if isinstance(some, np.ndarray) else int(sizes[0])
            turned = self._walked(n, column.rank.at(some), ranks.at(some), tweak)
            made.put(some, turned)
        written = column.write(made)
        return (column.at, written) if enough.all() else (column.at[enough], written[enough])

    def _walked(self, n: int, rank: Pair, ranks: Pair, tweak: bytes | Bytes) -> Pair:
        """FF1 over n bits of each rank, on and on until it is a rank again."""
        cipher, low = self.cipher(BITS.characters), n - n // 2
        a, b = rank.split(low)
        most_a, most_b = ranks.split(low)
        cipher.turn_halves(a, b, n, tweak, self.prefix, decrypt=self.decrypt)
        walking = np.flatnonzero((a > most_a) | ((a == most_a) & (b >= most_b)))
        while len(walking) >= SCALAR_BELOW:
            some_a, some_b = a[walking], b[walking]
            own = tweak if isinstance(tweak, bytes) else tweak[walking]
            cipher.turn_halves(some_a, some_b, n, own, self.prefix, decrypt=self.decrypt)
            a[walking], b[walking] = some_a, some_b
            over_a, over_b = most_a[walking], most_b[walking]
            walking = walking[(some_a > over_a) | ((some_a == over_a) & (some_b >= over_b))]
        for place in walking.tolist():
            own = self.prefix + (tweak if isinstance(tweak, bytes) else tweak[place].tobytes())
            number, most = (
                (int(a[place]) << low) | int(b[place]),
                (int(most_a[place]) << low) + int(most_b[place]),
            )
            while number >= most:
                number = cipher.one.turn_number(number, n, own, decrypt=self.decrypt)
            a[place], b[place] = number >> low, number & (1 << low) - 1
        return Pair.joined(a, b, low)

    def _by_tweak(
        self, kept: Kept, sizes: NDArray[np.int64]
    ) -> Iterator[tuple[Places | slice, bytes | Bytes]]:
        """(which rows, their tweak or tweaks of one length) of each size; a negative one is of none."""
        if isinstance(kept, bytes):
            tweak = self.tweak_of(kept)
            if (sizes == sizes[0]).all() and sizes[0] >= 0:
                yield slice(None), tweak
                return
            for size in np.unique(sizes):
                if size >= 0:
                    yield np.flatnonzero(sizes == size), tweak
            return
        groups = np.where(sizes < 0, -1, kept.lengths[kept.which] * _MOST_BITS + sizes)
        order = np.argsort(groups, kind="stable")
        found, first = np.unique(groups[order], return_index=True)
        for group, start, end in zip(found, first, [*first[1:], len(order)], strict=True):
            if group < 0:
                continue
            some, length = order[start:end], int(group) // _MOST_BITS
            which = kept.which[some]
            if (which == which[0]).all():
                yield some, self.tweak_of(kept.forms[which[0]])
                continue
            head = self.tweak_of(bytes(length))[:-length]  # what is kept comes last
            tweaks = np.empty((len(some), len(head) + length), np.uint8)
            tweaks[:, : len(head)] = np.frombuffer(head, np.uint8)
            forms = b"".join([kept.forms[place] for place in which.tolist()])
            tweaks[:, len(head) :] = np.frombuffer(forms, np.uint8).reshape(len(some), length)
            yield some, tweaks
