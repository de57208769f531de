"""UUIDs: 32 hexadecimal digits, 8-4-4-4-12 with hyphens or without, capitals or small letters.

Version and variant are kept, so that a token of a version 4 is one; everything else is transformed, as one
number. That includes the time in versions 1, 6 and 7: the time in a token means nothing, and tokens do not
sort as their values were made. The nil and the max UUID are transformed like others. Braces, `urn:uuid:`
and letters of both cases in one UUID are refused. Source: RFC 9562, 4.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS, Alphabet
from vault.formats.column import CharRows, Column, lengths_of
from vault.formats.hexes import HEX, Hexes, are_hex, hexes
from vault.formats.spelling import Entry
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

COUNT: Final = 32  # digits
_LONGEST: Final = 36  # characters
_VERSION: Final = 12  # its place among the digits
_VARIANT: Final = 16

_WRITTEN: Final = Alphabet("hexadecimal digits and hyphens", DIGITS.characters + "abcdefABCDEF-")
_X: Final = "[0-9A-Fa-f]"
_FORMAT: Final = re.compile(rf"{_X}{{8}}(-?){_X}{{4}}\1{_X}{{4}}\1{_X}{{4}}\1{_X}{{12}}")
_HYPHENS: Final = (8, 13, 18, 23)


def _places(variant: str) -> Hexes:
    return hexes((*(HEX,) * (_VARIANT - 1), variant, *(HEX,) * (COUNT - _VARIANT - 1)))


_BY_FIRST: Final = {variant[0]: _places(variant) for variant in ("01234567", "89ab", "cd", "ef")}
"""The digits that are transformed, by the least digit of the variant."""
_VARIANTS: Final = {digit: first for first in _BY_FIRST for digit in HEX if digit >= first}
_FIRSTS: Final = np.zeros(256, np.uint8)
for _digit, _first in _VARIANTS.items():
    _FIRSTS[[ord(_digit), ord(_digit.upper())]] = ord(_first)


@dataclass(frozen=True, slots=True)
class Uuid(Reversible):
    """Keeps version and variant, transforms the other 122 bits."""

    in_columns: ClassVar[InColumns] = "ascii"
    columns_from: ClassVar[int] = 64

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("uuid")

    def parse(self, value: str) -> Shape:
        """Takes a UUID apart. See `Template.parse`; versions and variants are not judged."""
        require_length(value, COUNT, _LONGEST)
        require_characters(value, _WRITTEN)
        if _FORMAT.fullmatch(value) is None:
            raise ValueRefused("value_format")
        plain = value.replace("-", "")
        version = plain[_VERSION]
        kept: tuple[tuple[int, str], ...] = ((_VERSION, version),)
        if len(value) == _LONGEST:
            kept = ((8, "-"), (13, "-"), (14, version), (18, "-"), (23, "-"))
        first = _VARIANTS[plain[_VARIANT].lower()]
        text = plain[:_VERSION] + plain[_VERSION + 1 :]
        return _BY_FIRST[first].shape(text, len(value), kept, first)

    def render_token(self, shape: Shape, text: str) -> str:
        """The UUID, in the layout and case of the value."""
        return shape.fill(_BY_FIRST[shape.style[0]].text(shape, text))

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """Those of one length and variant together."""
        length = lengths_of(rows)
        for longest, hyphens in ((_LONGEST, _HYPHENS), (COUNT, ())):
            at = np.flatnonzero(length == longest)
            if not len(at):
                continue
            some = rows[at]
            digits = [place for place in range(longest) if place not in hyphens]
            good = are_hex(some[:, digits]) & (some[:, hyphens] == ord("-")).all(axis=1)
            at, some = at[good], some[good]
            free = digits[:_VERSION] + digits[_VERSION + 1 :]
            variants = _FIRSTS[some[:, digits[_VARIANT]]]
            for first, places in _BY_FIRST.items():
                own = np.flatnonzero(variants == ord(first))
                yield from places.columns(at[own], some[own], free, {digits[_VERSION]: _VERSION}, first)

    def canonical(self, value: str) -> str:
        """Small letters, with hyphens."""
        plain = value.replace("-", "").lower()
        return f"{plain[:8]}-{plain[8:12]}-{plain[12:16]}-{plain[16:20]}-{plain[20:]}"

    def domain(self, length: int | None = None) -> Domain:
        """Those of the usual variant that have a letter, close to 2^122."""
        if length not in (None, COUNT):
            raise ValueRefused("value_length", minimum=COUNT, maximum=COUNT)
        size = _BY_FIRST["8"].ranks - _BY_FIRST["8"].bare
        return Domain(2, bits_for(size), size, "128 bits, 6 kept, with a letter among the digits")

    def smallest(self) -> Domain:
        """Those of the usual variant without letters."""
        size = _BY_FIRST["8"].bare
        return Domain(2, bits_for(size), size, "those without letters")

    def sample(self, rng: random.Random) -> str:
        """One of version 4 or 7 mostly; with or without hyphens and capitals, rarely without letters."""
        digits = HEX if rng.random() < 0.95 else DIGITS.characters
        plain = "".join(rng.choices(digits, k=COUNT))
        if rng.random() < 0.9:
            variant = rng.choice("89ab" if digits == HEX else "89")
            plain = plain[:_VERSION] + rng.choice("44417") + plain[_VERSION + 1 : _VARIANT] + variant
            plain += "".join(rng.choices(digits, k=COUNT - _VARIANT - 1))
        text = self.canonical(plain) if rng.random() < 0.8 else plain
        return text.upper() if rng.random() < 0.2 else text


ENTRY: Final[Entry[Template]] = Entry(
    "uuid",
    "UUID: 32 hexadecimal digits, with hyphens (8-4-4-4-12) or without; version and variant are kept.",
    (),
    lambda _: Uuid(),
    ("{first:4}****-****",),
)
