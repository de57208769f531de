"""Alphabets: which characters a template transforms, and their order.

Membership is the whole rule. Full-width digits, NUL, accented letters and the like are refused because
they are not members; nothing here asks Python whether a character "is a digit".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Alphabet:
    """A named, ordered set of characters; the numeral of each is its place.

    Args:
        name: how documentation and errors call it.
        characters: distinct characters, in order.

    Raises:
        ValueError: a character stands twice.
    """

    name: str
    characters: str = field(repr=False)
    radix: int = field(init=False, compare=False)
    index: Mapping[str, int] = field(init=False, repr=False, compare=False)
    _members: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {character: place for place, character in enumerate(self.characters)}
        if len(index) != len(self.characters):
            raise ValueError("the characters of an alphabet are distinct")
        object.__setattr__(self, "radix", len(index))
        object.__setattr__(self, "index", MappingProxyType(index))
        object.__setattr__(self, "_members", frozenset(index))

    def __contains__(self, character: str) -> bool:
        return character in self._members

    def foreign(self, text: str) -> int | None:
        """The position of the first character outside the alphabet; None if there is none."""
        if self._members.issuperset(text):
            return None
        return next(place for place, character in enumerate(text) if character not in self._members)


_0_9: Final = "0123456789"
_A_Z: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_a_z: Final = "abcdefghijklmnopqrstuvwxyz"

DIGITS: Final = Alphabet("digits", _0_9)
LOWER: Final = Alphabet("lower-case letters", _a_z)
UPPER: Final = Alphabet("upper-case letters", _A_Z)
HEX_LOWER: Final = Alphabet("hexadecimal digits, lower case", _0_9 + _a_z[:6])
HEX_UPPER: Final = Alphabet("hexadecimal digits, upper case", _0_9 + _A_Z[:6])
HEX_MIXED: Final = Alphabet("hexadecimal digits", _0_9 + _A_Z[:6] + _a_z[:6])
ALNUM_LOWER: Final = Alphabet("digits and lower-case letters", _0_9 + _a_z)
ALNUM_UPPER: Final = Alphabet("digits and upper-case letters", _0_9 + _A_Z)
ALPHANUMERIC: Final = Alphabet("digits and letters", _0_9 + _A_Z + _a_z)

BITS: Final = Alphabet("bits", "01")
"""What ranks are written in."""

ANY: Final = Alphabet("any character", "")
"""Stands where a template takes whatever characters; its radix is 0, so FF1 has no use for it."""

NAMED: Final = (DIGITS, LOWER, UPPER, ALNUM_LOWER, ALNUM_UPPER, ALPHANUMERIC)

DIGIT_CLASSES: Final = bytes(
    1 if chr(byte) in _0_9 else byte if chr(byte) in " +-./()" else 0 for byte in range(256)
)
"""For `Reversible.classes`: digits are alike, and each separator is itself."""
