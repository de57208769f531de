"""Telephone numbers as they are written inside a country: 6 to 15 digits, no `+`.

The digit that is dialled before an area code (0 in much of Europe, 1 in North America) is kept where it is
written, and no number behind it begins with it, in values and tokens alike. All else is transformed, without
the first `keep` digits. Whether area codes exist and how long numbers are is not looked at.
One pair of parentheses, and single spaces, hyphens, dots and slashes are layout.
Source: ITU-T E.164 (15 digits at most), E.123, 6 (national form); national numbering plans.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vault.crypto.ff1 import MIN_DOMAIN
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS, Alphabet
from vault.formats.mixed import Mixed, mixed
from vault.formats.spelling import Entry, Parameter, Value
from vault.formats.template import (
    Domain,
    Reversible,
    Shape,
    Template,
    bits_for,
    require_characters,
    require_length,
    spell,
)

SHORTEST: Final = 6  # digits
LONGEST: Final = 15  # digits
TYPICAL: Final = 10  # digits
MAX_KEEP: Final = 6  # digits
MAX_WRITTEN: Final = 2 * LONGEST + 3  # characters

_WRITTEN: Final = Alphabet("digits and separators", DIGITS.characters + " ()-./")
_RUN: Final = r"[0-9](?:[ ./-]?[0-9])*"
_LAYOUT: Final = re.compile(rf"(?:(?:{_RUN}[ ./-]?)?\({_RUN}\)[ ./-]?)?{_RUN}")
_SEPARATORS: Final = str.maketrans("", "", " ()-./")

_FROM_1: Final = Alphabet("digits from 1", "123456789")
_FROM_2: Final = Alphabet("digits from 2", "23456789")

# Country: what is dialled before an area code, and what numbers behind it begin with.
_PLANS: Final[Mapping[str, tuple[str, Alphabet]]] = {
    **dict.fromkeys(("us", "ca"), ("1", _FROM_2)),
    **dict.fromkeys(
        (
            "at",
            "au",
            "be",
            "ch",
            "de",
            "fi",
            "fr",
            "gb",
            "ie",
            "il",
            "in",
            "jp",
            "kr",
            "nl",
            "nz",
            "se",
            "za",
        ),
        ("0", _FROM_1),
    ),
    **dict.fromkeys(("dk", "es", "it", "mx", "no", "pl", "pt", "sg"), ("", DIGITS)),
}


@dataclass(frozen=True, slots=True)
class NationalPhone(Reversible):
    """Keeps the digit that is dialled first, and the first `keep` behind it; transforms the rest.

    Args:
        country: as ISO 3166-1 has it, in small letters.
        keep: digits kept, the one that is dialled first not counted.
    """

    country: str = "us"
    keep: int = 0

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("phone", country=self.country, keep=self.keep or None)

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`."""
        require_length(value, SHORTEST, MAX_WRITTEN)
        require_characters(value, _WRITTEN)
        if _LAYOUT.fullmatch(value) is None:
            raise ValueRefused("value_format")
        digits = value.translate(_SEPARATORS)
        require_length(digits, SHORTEST, LONGEST)
        trunk, first = _PLANS[self.country]
        before = 1 if trunk and digits[0] == trunk else 0
        if digits[before] not in first:
            raise ValueRefused("value_format")
        keep = before + self.keep
        kept = []
        index = 0  # among the digits
        for position, character in enumerate(value):
            if character not in DIGITS or index < keep:
                kept.append((position, character))
            index += character in DIGITS
        text = digits[keep:]
        if not text:
            raise ValueRefused("domain_too_small", minimum=MIN_DOMAIN)
        return self._places(len(text)).shape(text, len(value), tuple(kept))

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value."""
        return shape.fill(self._places(shape.length - len(shape.kept)).of_bits(text))

    def canonical(self, value: str) -> str:
        """The digits, without the one that is dialled first."""
        digits = value.translate(_SEPARATORS)
        trunk, _ = _PLANS[self.country]
        short = digits[1:] if trunk and digits[:1] == trunk else digits
        return short if len(short) >= SHORTEST else digits

    def domain(self, length: int | None = None) -> Domain:
        """As if the digit that is dialled first were written; without it there are more."""
        count = TYPICAL if length is None else length
        if not SHORTEST <= count <= LONGEST:
            raise ValueRefused("value_length", minimum=SHORTEST, maximum=LONGEST)
        trunk = len(_PLANS[self.country][0])
        ranks = self._places(max(0, count - trunk - self.keep)).ranks
        note = f"{count} digits, {trunk + self.keep} kept"
        return Domain(2, bits_for(ranks), ranks, note)

    def smallest(self) -> Domain:
        """That of the shortest number."""
        return self.domain(SHORTEST)

    def sample(self, rng: random.Random) -> str:
        """A number, mostly of ten digits, with the digit that is dialled first or without."""
        trunk, first = _PLANS[self.country]
        count = TYPICAL if rng.random() < 0.8 else rng.randint(SHORTEST, LONGEST - 1)
        digits = rng.choice(first.characters) + "".join(rng.choices(DIGITS.characters, k=count - 1))
        trunk = trunk if rng.random() < 0.5 else ""
        area, rest = digits[:3], digits[3:]
        return rng.choice(
            (
                trunk + digits,
                f"{trunk}({area}) {rest[:3]}-{rest[3:]}" if rest[3:] else f"{trunk}({area}) {rest}",
                f"{trunk}{area} {rest}",
                f"{trunk}{area}/{rest}",
                f"{trunk}{area}.{rest}",
            )
        )

    def _places(self, count: int) -> Mixed:
        """The digits that are transformed; the first of a number is not any digit."""
        if count and not self.keep:
            return mixed((_PLANS[self.country][1], *[DIGITS] * (count - 1)))
        return mixed([DIGITS] * count)


def _build(given: Mapping[str, Value]) -> NationalPhone:
    return NationalPhone(str(given["country"]), int(given["keep"]))


ENTRY: Final[Entry[Template]] = Entry(
    "phone",
    "Telephone number as it is written inside a country, 6 to 15 digits, no `+`; parentheses, single spaces, "
    "hyphens, dots and slashes stay in place, and so does the digit that is dialled before an area code.",
    (
        Parameter("country", "us", "where", tuple(sorted(_PLANS))),
        Parameter("keep", 0, "digits kept, the one dialled first not counted", highest=MAX_KEEP),
    ),
    _build,
    ("*** {last:2}",),
    ("phone(country='de')", "phone(country='es')", "phone(country='us', keep=3)"),
)
