"""How identifiers are written: single separators between their characters, and one case of letters.

Separators are layout, they stay where they are. Case is style: a value all of whose letters are small is
taken for the same in capitals, and its token is small as well. Two cases in one value are refused, since a
token has its letters in other places than the value and could not say which of them were small.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from vault.errors import ValueRefused
from vault.formats.alphabet import ALNUM_UPPER, ALPHANUMERIC, DIGITS, Alphabet
from vault.formats.template import Shape, require_characters, require_length

SMALL: Final = "lower"  # the style of values with small letters

_LETTERS: Final = {"both": ALPHANUMERIC, "upper": ALNUM_UPPER, "none": DIGITS}


class Written(NamedTuple):
    """What a value says and how it is written. Holds plaintext, so it has no repr to speak of."""

    plain: str  # capitals, no separators
    separators: tuple[tuple[int, str], ...]  # as in `Shape.kept`
    style: str

    def __repr__(self) -> str:
        return f"<Written, {len(self.plain)} characters>"


@dataclass(frozen=True, slots=True)
class Layout:
    """What may stand in a value.

    Args:
        separators: the characters that may stand singly between others.
        letters: none; capitals; or capitals or small ones, for values that always have a letter, whose
            tokens then show the case.
    """

    separators: str
    letters: Literal["none", "upper", "both"] = "none"
    _written: Alphabet = field(init=False, repr=False, compare=False)
    _form: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _without: dict[int, None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        signs = _LETTERS[self.letters].characters
        between = f"[{re.escape(self.separators)}]?" if self.separators else ""
        object.__setattr__(self, "_written", Alphabet("letters, digits, separators", signs + self.separators))
        object.__setattr__(self, "_form", re.compile(f"[{signs}](?:{between}[{signs}])*"))
        object.__setattr__(self, "_without", dict.fromkeys(map(ord, self.separators)))

    def read(self, value: str, shortest: int, longest: int) -> Written:
        """Takes a value off its layout.

        Args:
            shortest: characters without separators.
            longest: likewise.

        Raises:
            ValueRefused: `value_empty`, `value_length`, `value_alphabet`, `value_format`.
        """
        require_length(value, shortest, 2 * longest - 1 if self.separators else longest)
        require_characters(value, self._written)
        if self._form.fullmatch(value) is None:
            raise ValueRefused("value_format")
        bare = value.translate(self._without)
        require_length(bare, shortest, longest)
        separators = () if len(bare) == len(value) else self.places(value)
        if self.letters != "both" or (plain := bare.upper()) == bare:
            return Written(bare, separators, "")
        if bare != bare.lower():
            raise ValueRefused("value_format")
        return Written(plain, separators, SMALL)

    def places(self, value: str) -> tuple[tuple[int, str], ...]:
        """The separators of a value by position."""
        return tuple((at, character) for at, character in enumerate(value) if character in self.separators)

    def bare(self, value: str) -> str:
        """A value in capitals without separators: its canonical spelling."""
        return value.translate(self._without).upper()


def write(plain: str, shape: Shape) -> str:
    """A text in capitals in the layout and the case of a shape."""
    if shape.style == SMALL:
        plain = plain.lower()
    if len(plain) == shape.length:
        return plain
    parts: list[str] = []
    taken = end = 0
    for position, character in shape.kept:
        if character.isalnum():
            continue
        gap = position - end
        parts += (plain[taken : taken + gap], character)
        taken, end = taken + gap, position + 1
    return "".join(parts) + plain[taken:]


def kept(value: str, written: Written, first: int) -> tuple[tuple[int, str], ...]:
    """The separators, and the first letters and digits of a value: `Shape.kept`."""
    if not written.separators:
        return tuple(enumerate(value[:first]))
    places = dict(written.separators)
    for position, character in enumerate(value):
        if first and position not in places:
            places[position] = character
            first -= 1
    return tuple(sorted(places.items()))
