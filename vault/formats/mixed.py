"""Values whose places have alphabets of their own: letters here, digits there, as in an IBAN or a plate.

FF1 takes one radix for all numerals, so such a value goes through it as its rank: the places, from the
left, are the digits of a number of mixed radix, and there are as many ranks as the product of the radices.
Where all places happen to have one alphabet, the text itself is transformed (`shape_of`, `text_of`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from vault.crypto.ff1 import MAX_NUMERALS
from vault.errors import ValueRefused
from vault.formats.alphabet import Alphabet
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
