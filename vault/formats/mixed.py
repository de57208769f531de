"""Values whose places have alphabets of their own: letters here, digits there, as in an IBAN or a plate.

FF1 takes one radix for all numerals, so such a value goes through it as its rank: the places, from the
left, are the digits of a number of mixed radix, and there are as many ranks as the product of the radices.
Where all places happen to have one alphabet, the text itself is transformed (`shape_of`, `text_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vault.crypto.ff1 import MAX_NUMERALS
from vault.crypto.pairs import Pair, Radices
from vault.crypto.texts import Places
from vault.errors import ValueRefused
from vault.formats.alphabet import ALNUM_UPPER, Alphabet
from vault.formats.column import WIDEST, CharRows, Kept, Ranked
from vault.formats.template import Domain, Shape, bits_for, ranked


@dataclass(frozen=True, slots=True)
class Mixed:
    """The alphabets of the places that are transformed, from the left; make it with `mixed`.

    Attributes:
        ranks: how many texts there are.
    """

    alphabets: tuple[Alphabet, ...]
    ranks: int = field(init=False)

    def __post_init__(self) -> None:
        ranks = 1
        for alphabet in self.alphabets:
            ranks *= alphabet.radix
        object.__setattr__(self, "ranks", ranks)

    def takes(self, text: str) -> bool:
        """Whether a text has as many places, each with a character of its alphabet."""
        return len(text) == len(self.alphabets) and all(map(Alphabet.__contains__, self.alphabets, text))

    def rank(self, text: str) -> int:
        """Which of the texts one is, from 0.

        Raises:
            KeyError: a character is outside its alphabet.
        """
        rank = 0
        for alphabet, character in zip(self.alphabets, text, strict=True):
            rank = rank * alphabet.radix + alphabet.index[character]
        return rank

    def text(self, rank: int) -> str:
        """The text of a rank below `ranks`."""
        characters = []
        for alphabet in reversed(self.alphabets):
            rank, place = divmod(rank, alphabet.radix)
            characters.append(alphabet.characters[place])
        return "".join(reversed(characters))

    def shape(self, text: str, length: int, kept: tuple[tuple[int, str], ...] = (), style: str = "") -> Shape:
        """The shape of a value that has `text` in the places that are transformed.

        Args:
            length: of the whole value, in characters.
            kept: as in `Shape`.
        """
        return ranked(self.rank(text), self.ranks, length, kept, style)

    def of_bits(self, bits: str) -> str:
        """The text of a rank as `Shape.text` writes it."""
        return self.text(int(bits, 2))


DIGIT, LETTER, EITHER = 1, 2, 3
"""What stands in a place, for `Signs`; 0: nothing that is transformed."""

_KIND_RADICES = np.array([1, 10, 26, 36], np.uint64)
_VALUES = np.full(256, 255, np.uint8)
_VALUES[[*map(ord, ALNUM_UPPER.characters)]] = np.arange(36)
_CHARACTERS = np.frombuffer(ALNUM_UPPER.characters.encode(), np.uint8)


class Signs:
    """Rows of digits and capitals, each with places of its own.

    Args:
        plain: characters.
        kinds: what stands in each place.

    Attributes:
        good: which rows have in each place what belongs there, and not so many ranks that words cannot.
    """

    def __init__(self, plain: CharRows, kinds: NDArray[np.uint8]) -> None:
        values = _VALUES[plain]
        known = (values < 36) & ((kinds != DIGIT) | (values < 10)) & ((kinds != LETTER) | (values > 9))
        bits = np.log2(_KIND_RADICES.astype(np.float64))[kinds].sum(axis=1)
        self.good = (known | (kinds == 0)).all(axis=1) & (bits < WIDEST - 0.001)
        self._plain, self._kinds, self._values = plain, kinds, values

    def ranked(self, some: Places, at: Places, kept: Kept, write: Callable[[CharRows], CharRows]) -> Ranked:
        """The column of some of the rows, all good."""
        kinds, plain = self._kinds[some], self._plain[some]
        places = np.flatnonzero(kinds.any(axis=0)).tolist()
        letter = (kinds == LETTER) * np.uint8(10)
        radices = Radices([_KIND_RADICES[kinds[:, place]] for place in places])
        values = np.where(kinds > 0, self._values[some] - letter, 0).astype(np.uint64)

        def written(rank: Pair) -> CharRows:
            out = plain.copy()
            for place, digit in zip(places, radices.digits(rank), strict=True):
                made = _CHARACTERS[digit.astype(np.int64) + letter[:, place]]
                np.copyto(out[:, place], made, where=kinds[:, place] > 0)
            return write(out)

        rank = radices.number([values[:, place] for place in places])
        return Ranked(at, rank, radices.ranks(len(at)), kept, written)


def mixed(alphabets: Sequence[Alphabet]) -> Mixed:
    """The places of these alphabets."""
    return _mixed(tuple(alphabets))


@lru_cache(maxsize=1024)
def _mixed(alphabets: tuple[Alphabet, ...]) -> Mixed:
    return Mixed(alphabets)


def shape_of(
    alphabets: Sequence[Alphabet],
    text: str,
    length: int,
    kept: tuple[tuple[int, str], ...] = (),
    style: str = "",
) -> Shape:
    """The shape of a value with `text` in places of these alphabets: the text if they are one, else its rank.

    Which of both is decided by the alphabets alone, so a token has the same as its value.

    Args:
        length: of the whole value, in characters.
        kept, style: as in `Shape`.

    Raises:
        ValueRefused: `value_length`, the rank has more bits than FF1 takes numerals.
    """
    if alphabets and alphabets.count(alphabets[0]) == len(alphabets):
        return Shape(alphabets[0], text, kept, length, style)
    places = Mixed(tuple(alphabets))  # not remembered: there is no end of layouts of words
    if bits_for(places.ranks) > MAX_NUMERALS:
        raise ValueRefused("value_length", bits=MAX_NUMERALS)
    return places.shape(text, length, kept, style)


def text_of(alphabets: Sequence[Alphabet], shape: Shape, text: str) -> str:
    """The characters of those places that `text` of a shape by `shape_of` stands for."""
    return Mixed(tuple(alphabets)).of_bits(text) if shape.ranks else text


def at_least(radix: int, length: int, note: str) -> Domain:
    """The domain of so many places with at least so many characters each, as ranks."""
    size = radix**length
    return Domain(2, bits_for(size), size, note)
