"""Codes: letters and digits with punctuation between them, such as `AB-1234-xy` and `QD-8831-ke`.

Digits become digits, capitals capitals, small letters small letters. Printable ASCII beside them stays where
it is and is layout, so a token that lost its hyphens still opens. What kind of character stands where is in
the token for everyone to see; it goes into the tweak, so codes of different kinds are transformed
differently. A token whose case was changed on its way therefore opens as another code. The letters and
digits that `keep_first` and `keep_last` count stay too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from vault.crypto.ff1 import MIN_DOMAIN
from vault.errors import ValueRefused
from vault.formats.alphabet import ALPHANUMERIC, DIGITS, LOWER, UPPER, Alphabet
from vault.formats.column import CharRows, Column, each, squeezed
from vault.formats.letters import Letters
from vault.formats.mixed import at_least, shape_of, text_of
from vault.formats.spelling import Entry, Parameter, Value
from vault.formats.template import (
    MAX_LENGTH,
    Domain,
    InColumns,
    Reversible,
    Shape,
    Template,
    kept_form,
    parameter_invalid,
    require_characters,
    require_length,
    spell,
)

LONGEST: Final = 100  # letters and digits; 108 letters are the most that 512 bits can count

_WRITTEN: Final = Alphabet("printable ASCII", "".join(map(chr, range(0x20, 0x7F))))
_KINDS: Final = {"0": DIGITS, "a": LOWER, "A": UPPER}
_LETTERS: Final = Letters([*_KINDS.values()])
_SHOWN: Final = np.frombuffer(("\0" + "".join(_KINDS)).encode(), np.uint8)
_KIND: Final = {ord(character): kind for kind, place in _KINDS.items() for character in place.characters}


@dataclass(frozen=True, slots=True)
class Code(Reversible):
    """Transforms letters and digits, each within its kind.

    Args:
        shortest: letters and digits (`min`).
        longest: letters and digits (`max`).
        keep_first: letters and digits kept at the start.
        keep_last: letters and digits kept at the end.

    Raises:
        BadInput: `template_invalid`, min is above max, or so many are kept that no code has 1,000,000 tokens.
    """

    shortest: int = 6
    longest: int = 64
    keep_first: int = 0
    keep_last: int = 0

    in_columns: ClassVar[InColumns] = "ascii"
    columns_from: ClassVar[int] = 300  # they may be of many kinds

    def __post_init__(self) -> None:
        if self.shortest > self.longest:
            raise parameter_invalid("code", "min")
        if UPPER.radix ** self._free(self.longest) < MIN_DOMAIN:
            kept = "keep_last" if self.keep_last >= self.keep_first else "keep_first"
            raise parameter_invalid("code", kept if self.keep_first or self.keep_last else "max")

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell(
            "code",
            min=self.shortest,
            max=self.longest,
            keep_first=self.keep_first or None,
            keep_last=self.keep_last or None,
        )

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`."""
        require_length(value, self.shortest, MAX_LENGTH)
        require_characters(value, _WRITTEN)
        places = [place for place, character in enumerate(value) if character in ALPHANUMERIC]
        if not self.shortest <= len(places) <= self.longest:
            raise ValueRefused("value_length", minimum=self.shortest, maximum=self.longest)
        last = max(self.keep_first, len(places) - self.keep_last)
        free = places[self.keep_first : last]
        text = "".join([value[place] for place in free])
        gone = set(free)
        kept = tuple([(place, character) for place, character in enumerate(value) if place not in gone])
        style = text.translate(_KIND)
        return shape_of([_KINDS[kind] for kind in style], text, len(value), kept, style)

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value."""
        return shape.fill(text_of([_KINDS[kind] for kind in shape.style], shape, text))

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """All codes together, whatever stands where in them."""
        kinds = _LETTERS.which[rows]
        signs = kinds > 0
        count = np.count_nonzero(signs, axis=1)
        good = ((rows == 0) | (rows >= ord(" ")) & (rows <= ord("~"))).all(axis=1)
        good &= (count >= max(self.shortest, self.keep_first + self.keep_last + 1)) & (count <= self.longest)
        at = np.flatnonzero(good)
        rows, kinds, signs, count = rows[at], kinds[at], signs[at], count[at]
        if self.keep_first or self.keep_last:
            index = np.cumsum(signs, axis=1)
            kinds *= (index > self.keep_first) & (index <= (count - self.keep_last)[:, None])
        shown = squeezed(np.where(kinds > 0, _SHOWN[kinds], rows), signs)
        yield from _LETTERS.columns(at, rows, kinds, each(shown, self._kept))

    def _kept(self, shown: str) -> bytes:
        """What is kept, by the kinds of letters and digits, where these stay themselves."""
        last = len(shown) - self.keep_last
        places = [*range(self.keep_first), *range(last, len(shown))]
        listed = b"".join([place.to_bytes(2) + shown[place].encode() for place in places])
        return kept_form(shown[self.keep_first : last].encode(), listed)

    def domain(self, length: int | None = None) -> Domain:
        """10^(length - kept): as if all were digits; letters have more. The shortest counts as typical."""
        count = self.shortest if length is None else length
        if not self.shortest <= count <= self.longest:
            raise ValueRefused("value_length", minimum=self.shortest, maximum=self.longest)
        kept = min(count, self.keep_first + self.keep_last)
        note = f"{count} letters and digits{f', {kept} kept' if kept else ''}; more than that with letters"
        return at_least(DIGITS.radix, self._free(count), note)

    def smallest(self) -> Domain:
        """That of the shortest code, if it has digits only."""
        return self.domain(self.shortest)

    def sample(self, rng: random.Random) -> str:
        """Groups of one kind or of several, with punctuation or without."""
        longest = self.longest if rng.random() < 0.1 else min(self.longest, self.shortest + 10)
        count = rng.randint(self.shortest, longest)
        kinds = rng.choice((("0",), ("0", "A"), ("0", "A"), ("0", "a", "A")))
        separator = rng.choice(("", "-", "-", " ", "/", "."))
        groups = []
        while count:
            size = min(count, rng.randint(1, 5))
            groups.append("".join(rng.choices(_KINDS[rng.choice(kinds)].characters, k=size)))
            count -= size
        return separator.join(groups)

    def _free(self, count: int) -> int:
        return max(0, count - self.keep_first - self.keep_last)


def _build(given: Mapping[str, Value]) -> Code:
    return Code(int(given["min"]), int(given["max"]), int(given["keep_first"]), int(given["keep_last"]))


ENTRY: Final[Entry[Template]] = Entry(
    "code",
    "Letters and digits that each stay of their kind (digit, small letter, capital); other printable ASCII "
    "stays in place.",
    (
        Parameter("min", 6, "the shortest value, in letters and digits", lowest=1, highest=LONGEST),
        Parameter("max", 64, "the longest value, in letters and digits", lowest=1, highest=LONGEST),
        Parameter("keep_first", 0, "letters and digits kept at the start", highest=LONGEST),
        Parameter("keep_last", 0, "letters and digits kept at the end", highest=LONGEST),
    ),
    _build,
    ("****{last:2}",),
    (
        "code(keep_first=2)",
        "code(min=1, max=20, keep_last=4)",
        "code(min=10, max=10, keep_first=1, keep_last=2)",
    ),
)
