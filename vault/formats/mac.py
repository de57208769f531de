"""MAC addresses (EUI-48): twelve hexadecimal digits, plain or in pairs or fours as devices write them.

`00:1b:44:11:3a:b7`, `00-1B-44-11-3A-B7`, `001b.4411.3ab7` and `001b44113ab7` are one address. Separators
and case stay as they are; letters of both cases in one address are refused. The first half, which says who
made the device, is kept, or else only the two bits of it that say whether the address is for a group and
whether it is given locally: a token of a device's address is none of a group. Tokens may be somebody's.

With the first half kept and no letter in the whole address, exactly 1,000,000 addresses look alike, as the
token must have no letters (see `hexes`); with a letter in its second half only, a few more than 15,000,000.
Source: IEEE 802-2014, 8.2; RFC 9542, 2.1.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, cast

import numpy as np

from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS, Alphabet
from vault.formats.column import CharRows, Column, lengths_of
from vault.formats.hexes import HEX, Hexes, are_hex, hexes
from vault.formats.spelling import Entry, Parameter
from vault.formats.template import (
    Domain,
    InColumns,
    Reversible,
    Shape,
    Template,
    bits_for,
    require_characters,
    require_length,
    spell,
)

COUNT: Final = 12  # digits
_OUI: Final = 6  # digits
_LONGEST: Final = 17  # characters

_WRITTEN: Final = Alphabet(
    "hexadecimal digits, colons, hyphens and dots", DIGITS.characters + "abcdefABCDEF:-."
)
_X: Final = "[0-9A-Fa-f]"
_FORMAT: Final = re.compile(rf"{_X}{{2}}([:-]?)(?:{_X}{{2}}\1){{4}}{_X}{{2}}|{_X}{{4}}\.{_X}{{4}}\.{_X}{{4}}")
_PLAIN: Final = str.maketrans("", "", ":-.")
_SECOND_HALF: Final = hexes((HEX,) * (COUNT - _OUI))
_WHOLE: Final[dict[str, Hexes]] = {
    bits: hexes((HEX, HEX[int(bits) :: 4], *(HEX,) * (COUNT - 2))) for bits in "0123"
}
"""By the last two bits of the first byte: local (2) and group (1)."""


@dataclass(frozen=True, slots=True)
class Mac(Reversible):
    """Transforms the second half of an address, or all of it but two bits.

    Args:
        keep: `oui`, the first half stays; `none`, only the bits for groups and local addresses stay.
    """

    keep: Literal["oui", "none"] = "oui"

    in_columns: ClassVar[InColumns] = "ascii"

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("mac", keep=self.keep)

    def parse(self, value: str) -> Shape:
        """Takes an address apart. See `Template.parse`."""
        require_length(value, COUNT, _LONGEST)
        require_characters(value, _WRITTEN)
        if _FORMAT.fullmatch(value) is None:
            raise ValueRefused("value_format")
        keep = _OUI if self.keep == "oui" else 0
        kept = []
        index = 0  # among the digits
        for position, character in enumerate(value):
            digit = character.isalnum()
            if not digit or index < keep:
                kept.append((position, character))
            index += digit
        plain = value.translate(_PLAIN)
        if keep:
            return _SECOND_HALF.shape(plain[keep:], len(value), tuple(kept))
        bits = str(int(plain[1], 16) % 4)
        return _WHOLE[bits].shape(plain, len(value), tuple(kept), bits)

    def render_token(self, shape: Shape, text: str) -> str:
        """The address, in the layout and case of the value."""
        places = _SECOND_HALF if self.keep == "oui" else _WHOLE[shape.style[0]]
        return shape.fill(places.text(shape, text))

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """Those of one length together, and without the first half kept, of one kind of address."""
        length = lengths_of(rows)
        for longest, step in ((_LONGEST, 2), (COUNT + 2, 4), (COUNT, COUNT)):
            digits = [place + place // step for place in range(COUNT)]
            between = [place for place in range(longest) if place not in digits]
            at = np.flatnonzero(length == longest)
            some = rows[at]
            good = are_hex(some[:, digits]) if len(at) else np.zeros(0, bool)
            if between and len(at):
                first = some[:, between[0]]
                good &= (first == ord(".")) if step == 4 else (first == ord(":")) | (first == ord("-"))
                good &= (some[:, between] == first[:, None]).all(axis=1)
            at, some = at[good], some[good]
            if not len(at):
                continue
            if self.keep == "oui":
                kept = {position: place for place, position in enumerate(digits[:_OUI])}
                yield from _SECOND_HALF.columns(at, some, digits[_OUI:], kept)
                continue
            second = some[:, digits[1]]
            low = np.where(second > ord("9"), second + 1, second) & 3  # A is 10, and 0x41
            for bits, places in _WHOLE.items():
                own = np.flatnonzero(low == int(bits))
                yield from places.columns(at[own], some[own], digits, {}, bits)

    def canonical(self, value: str) -> str:
        """Small letters, pairs with colons."""
        plain = value.translate(_PLAIN).lower()
        return ":".join([plain[start : start + 2] for start in range(0, COUNT, 2)])

    def domain(self, length: int | None = None) -> Domain:
        """The addresses with the same first half, where that has a letter; else those with a letter."""
        if length not in (None, COUNT):
            raise ValueRefused("value_length", minimum=COUNT, maximum=COUNT)
        if self.keep == "oui":
            size = _SECOND_HALF.ranks
            return Domain(2, bits_for(size), size, "12 digits, 6 kept; fewer where these have no letter")
        size = _WHOLE["0"].ranks - _WHOLE["0"].bare
        return Domain(2, bits_for(size), size, "48 bits, 2 kept, with a letter among the digits")

    def smallest(self) -> Domain:
        """Those without letters."""
        size = _SECOND_HALF.bare if self.keep == "oui" else min(places.bare for places in _WHOLE.values())
        return Domain(2, bits_for(size), size, "addresses without letters")

    def sample(self, rng: random.Random) -> str:
        """An address, in one of the usual layouts and cases, some without letters."""
        digits = DIGITS.characters if rng.random() < 0.1 else HEX
        oui = rng.choice(("001b44", "3c5ab4", "000012", "".join(rng.choices(digits, k=_OUI))))
        plain = oui + "".join(rng.choices(digits, k=COUNT - _OUI))
        step, separator = rng.choice(((2, ":"), (2, ":"), (2, "-"), (4, "."), (COUNT, "")))
        text = separator.join(plain[start : start + step] for start in range(0, COUNT, step))
        return rng.choice((text, text.upper()))


ENTRY: Final[Entry[Template]] = Entry(
    "mac",
    "MAC address: twelve hexadecimal digits, in pairs with colons or hyphens, in fours with dots, or plain.",
    (Parameter("keep", "oui", "what stays: the maker's half, or none of it", ("oui", "none")),),
    lambda given: Mac(cast("Literal['oui', 'none']", given["keep"])),
    ("{first:6}******",),
    ("mac(keep='none')",),
)
