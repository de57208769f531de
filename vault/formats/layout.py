"""How identifiers are written: single separators between their characters, and one case of letters.

Separators are layout, they stay where they are. Case is style: a value all of whose letters are small is
taken for the same in capitals, and its token is small as well. Two cases in one value are refused, since a
token has its letters in other places than the value and could not say which of them were small.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import numpy as np

from vault.crypto.texts import Places
from vault.errors import ValueRefused
from vault.formats.alphabet import ALNUM_UPPER, ALPHANUMERIC, DIGITS, Alphabet
from vault.formats.column import CharRows, Kept, Mask, each, squeezed
from vault.formats.template import Shape, kept_form, require_characters, require_length

_CASE: Final = np.uint8(0x20)  # the difference of a small letter from its capital
SMALL: Final = "lower"  # the style of values with small letters

_LETTERS: Final = {"both": ALPHANUMERIC, "upper": ALNUM_UPPER, "none": DIGITS}


class Written(NamedTuple):
    """What a value says and how it is written. Holds plaintext, so it has no repr to speak of."""

    plain: str  # capitals, no separators
    separators: tuple[tuple[int, str], ...]  # as in `Shape.kept`
    style: str

    def __repr__(self) -> str:
        return f"<Written, {len(self.plain)} characters>"


class WrittenRows(NamedTuple):
    """Many of them.

    Attributes:
        at: which rows they are.
        plain: what they say: capitals, no separators, zeros behind.
        rows: as they are written.
        signs: which of these are no separators.
        small: which have small letters.
    """

    at: Places
    plain: CharRows
    rows: CharRows
    signs: Mask
    small: Mask

    def __repr__(self) -> str:
        return f"<WrittenRows, {len(self.at)}>"

    def some(self, places: Places) -> WrittenRows:
        """Some of them."""
        return WrittenRows(
            self.at[places], self.plain[places], self.rows[places], self.signs[places], self.small[places]
        )

    def write(self, plain: CharRows) -> CharRows:
        """Others of the same lengths in the same layouts and cases."""
        lowered = plain + ((plain >= ord("A")) & self.small[:, None]) * _CASE
        out = self.rows.copy()
        out[self.signs] = lowered[plain > 0]
        return out

    def kept(self, shown: int = 0) -> Kept:
        """`Shape.kept_bytes`, with the first characters kept, and the case as style."""

        def keep(key: str) -> bytes:
            listed = b"".join([at.to_bytes(2) + one.encode() for at, one in enumerate(key[1:])])
            return kept_form(b"" if key[0] == " " else SMALL.encode(), listed)

        case = self.small[:, None] * _CASE
        return each(np.column_stack((ord(" ") + case, self.plain[:, :shown] + case)), keep)


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
    _signs: Mask = field(init=False, repr=False, compare=False)
    _separators: Mask = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        signs = _LETTERS[self.letters].characters
        between = f"[{re.escape(self.separators)}]?" if self.separators else ""
        object.__setattr__(self, "_written", Alphabet("letters, digits, separators", signs + self.separators))
        object.__setattr__(self, "_form", re.compile(f"[{signs}](?:{between}[{signs}])*"))
        object.__setattr__(self, "_signs", _table(signs))
        object.__setattr__(self, "_separators", _table(self.separators))
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

    def read_rows(self, rows: CharRows) -> WrittenRows:
        """Takes those rows off their layout that `read` takes, whatever their lengths."""
        signs, separators = self._signs[rows], self._separators[rows]
        good = (signs | separators | (rows == 0)).all(axis=1) & signs[:, 0]
        good &= ~(separators[:, :-1] & ~signs[:, 1:]).any(axis=1) & ~separators[:, -1]
        small: Mask = rows >= ord("a")
        capital = (rows >= ord("A")) & (rows <= ord("Z"))
        good &= ~(small.any(axis=1) & capital.any(axis=1))
        at = np.flatnonzero(good)
        rows, signs, small = rows[at], signs[at], small[at]
        plain = squeezed(rows - small * _CASE, signs)
        return WrittenRows(at, plain, rows, signs, np.asarray(small.any(axis=1)))

    def places(self, value: str) -> tuple[tuple[int, str], ...]:
        """The separators of a value by position."""
        return tuple((at, character) for at, character in enumerate(value) if character in self.separators)

    def bare(self, value: str) -> str:
        """A value in capitals without separators: its canonical spelling."""
        return value.translate(self._without).upper()


def _table(characters: str) -> Mask:
    return np.array([chr(byte) in characters for byte in range(256)])


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
