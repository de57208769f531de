"""Values whose places have alphabets of their own: letters here, digits there, as in an IBAN or a plate.

FF1 takes one radix for all numerals, so such a value goes through it as its rank: the places, from the
left, are the digits of a number of mixed radix, and there are as many ranks as the product of the radices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from vault.formats.alphabet import Alphabet
from vault.formats.template import Shape, ranked


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
