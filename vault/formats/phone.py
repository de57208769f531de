"""Telephone numbers in their international form: `+`, 8 to 15 digits, a country calling code first.

Single spaces, hyphens and dots between digits are layout: taken, kept in place, no part of the number.
Parentheses are refused: `+44 (0)20 ...` writes a digit that is not dialled, and a vault that took it for
one would keep another number than the one meant. So are national forms (no `+`): whose they are depends on
who reads them. Whether a number is in use is not asked. Source: ITU-T E.164 (15 digits at most),
E.123 (`+` and spaces in writing).
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from vault.crypto.texts import Bytes
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGIT_CLASSES, DIGITS, Alphabet
from vault.formats.calling import LONGEST_CODE, USUAL_LENGTH, country_code
from vault.formats.columnar import digit_values
from vault.formats.spelling import Entry
from vault.formats.template import (
    Domain,
    Kinds,
    Reversible,
    Shape,
    Template,
    require_characters,
    require_length,
    spell,
)

SHORTEST: Final = 8  # digits; shorter ones are of islands with a few hundred lines, or typing errors
LONGEST: Final = 15  # digits, E.164
TYPICAL: Final = 12  # digits

_WRITTEN: Final = Alphabet("digits, plus, spaces, hyphens and dots", DIGITS.characters + "+ -.")
_LAYOUT: Final = re.compile(r"\+[0-9](?:[ .-]?[0-9])*")
_SEPARATORS: Final = str.maketrans("", "", " -.")
# By the first three digits: how many of them are the country's; -1: there is no such country
_CODE_LENGTHS: Final = np.full(1000, -1, np.int8)
for _code in USUAL_LENGTH:
    _step = 10 ** (LONGEST_CODE - len(_code))
    _CODE_LENGTHS[int(_code) * _step : (int(_code) + 1) * _step] = len(_code)


@dataclass(frozen=True, slots=True)
class E164(Reversible):
    """Keeps `+` and the country calling code, transforms the national digits."""

    classes: ClassVar[bytes | None] = DIGIT_CLASSES
    parts: ClassVar[frozenset[str]] = frozenset(("country",))

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("e164")

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`; a country that is none is `value_format`."""
        digits = compact(value)[1:]
        code = len(country_code(digits))
        kept = []
        index = 0  # among the digits
        for position, character in enumerate(value):
            if character not in DIGITS or index < code:
                kept.append((position, character))
            index += character in DIGITS
        return Shape(DIGITS, digits[code:], tuple(kept), len(value))

    def kinds(self, rows: Bytes, *, token: bool) -> Kinds | None:
        """By how many digits the country's code has."""
        digits = digit_values(rows)
        if len(digits) < LONGEST_CODE:
            return None
        first = digits[:LONGEST_CODE].astype(np.int32)
        lengths: Kinds = _CODE_LENGTHS[first[0] * 100 + first[1] * 10 + first[2]]
        return lengths

    def canonical(self, value: str) -> str:
        """`+` and the digits."""
        return value.translate(_SEPARATORS)

    def domain(self, length: int | None = None) -> Domain:
        """10^(length - 3): as if the country's code had three digits; shorter codes leave more."""
        count = TYPICAL if length is None else length
        if not SHORTEST <= count <= LONGEST:
            raise ValueRefused("value_length", minimum=SHORTEST, maximum=LONGEST)
        free = count - LONGEST_CODE
        note = f"{count} digits, 3 kept as the country's; more where its code is shorter"
        return Domain(DIGITS.radix, free, DIGITS.radix**free, note)

    def smallest(self) -> Domain:
        """That of the shortest number."""
        return self.domain(SHORTEST)

    def sample(self, rng: random.Random) -> str:
        """A number of any country, mostly of the usual length, plain or with separators."""
        code = rng.choice(tuple(USUAL_LENGTH))
        usual = min(max(USUAL_LENGTH[code], SHORTEST - len(code)), LONGEST - len(code))
        count = usual if rng.random() < 0.9 else rng.randint(SHORTEST - len(code), LONGEST - len(code))
        national = str(rng.randint(1, 9)) + "".join(rng.choices(DIGITS.characters, k=count - 1))
        separator = rng.choice(("", "", " ", "-", "."))
        return f"+{separator.join((code, national[:3], national[3:]))}"


def compact(value: str) -> str:
    """A number as `+` and digits, its length and layout checked; the country is not.

    Raises:
        ValueRefused: `value_empty`, `value_length`, `value_alphabet`, `value_format`.
    """
    require_length(value, 1 + SHORTEST, 2 * LONGEST)
    require_characters(value, _WRITTEN)
    if _LAYOUT.fullmatch(value) is None:
        raise ValueRefused("value_format")
    plain = value.translate(_SEPARATORS)
    require_length(plain[1:], SHORTEST, LONGEST)
    return plain


ENTRY: Final[Entry[Template]] = Entry(
    "e164",
    "Telephone number: `+`, country calling code, 8 to 15 digits in all; single spaces, hyphens and dots "
    "stay in place.",
    (),
    lambda _: E164(),
    ("{country} *** {last:2}", "{country}"),
)
