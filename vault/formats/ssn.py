"""US social security numbers: `ddd-dd-dddd` or nine digits.

The default takes every nine digits, also those that the Social Security Administration never issues:
files hold ITINs and ATINs (9xx), test data and typing errors, and a vault that refuses them loses what it
was given to keep. `strict=true` refuses them on the way in: area 000, 666 and 900 to 999, group 00,
serial 0000. Source: SSA POMS RM 10201.035 (invalid social security numbers). Tokens use all nine-digit
numbers either way, so about one token in nine looks like a number that is never issued.
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
from vault.formats.columnar import digit_values
from vault.formats.spelling import Entry, Parameter
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

_COUNT: Final = 9
_WRITTEN: Final = Alphabet("digits and hyphens", DIGITS.characters + "-")
_FORMAT: Final = re.compile(r"([0-9]{3})(-?)([0-9]{2})\2([0-9]{4})")
_HYPHENS: Final = ((3, "-"), (6, "-"))


@dataclass(frozen=True, slots=True)
class Ssn(Reversible):
    """All nine digits are transformed; hyphens stay where they are.

    Args:
        strict: refuse values that the SSA never issues. Tokens are not asked.
    """

    strict: bool = False

    classes: ClassVar[bytes | None] = DIGIT_CLASSES

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("ssn", strict=self.strict or None)

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`."""
        shape = self.parse_token(value)
        if self.strict and not _issuable(shape.text):
            raise ValueRefused("value_format")
        return shape

    def parse_token(self, token: str) -> Shape:
        """Takes a token apart: any nine digits."""
        area, group, serial = _parts(token)
        hyphens = _HYPHENS if len(token) > _COUNT else ()
        return Shape(DIGITS, area + group + serial, hyphens, len(token))

    def kinds(self, rows: Bytes, *, token: bool) -> Kinds | None:
        """Of strict values: those that the SSA could have issued."""
        digits = digit_values(rows).astype(np.int32)
        if token or not self.strict or len(digits) != _COUNT:
            return None
        area = digits[0] * 100 + digits[1] * 10 + digits[2]
        issuable = (area > 0) & (area != 666) & (area < 900) & digits[3:5].any(axis=0)
        return np.where(issuable & digits[5:].any(axis=0), 0, -1).astype(np.int8)

    def canonical(self, value: str) -> str:
        """The digits."""
        return value.replace("-", "")

    def domain(self, length: int | None = None) -> Domain:
        """10^9: nine digits, all transformed."""
        if length not in (None, _COUNT):
            raise ValueRefused("value_length", minimum=_COUNT, maximum=_COUNT)
        return Domain(DIGITS.radix, _COUNT, DIGITS.radix**_COUNT, "9 digits, all transformed")

    def smallest(self) -> Domain:
        """The only one there is."""
        return self.domain()

    def sample(self, rng: random.Random) -> str:
        """A number that the SSA could issue, with or without hyphens."""
        area = rng.choice((rng.randint(1, 665), rng.randint(667, 899)))
        hyphen = rng.choice(("-", ""))
        return hyphen.join((f"{area:03d}", f"{rng.randint(1, 99):02d}", f"{rng.randint(1, 9999):04d}"))


def hyphenated(text: str) -> str:
    """A number as `ddd-dd-dddd`.

    Raises:
        ValueRefused: `value_empty`, `value_length`, `value_alphabet`, `value_format`.
    """
    return "-".join(_parts(text))


def _parts(text: str) -> tuple[str, str, str]:
    """Area, group and serial number of nine digits, with both hyphens or without."""
    require_length(text, _COUNT, _COUNT + len(_HYPHENS))
    require_characters(text, _WRITTEN)
    match = _FORMAT.fullmatch(text)
    if match is None:
        raise ValueRefused("value_format")
    return match[1], match[3], match[4]


def _issuable(digits: str) -> bool:
    """Whether the SSA could have issued the number."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


ENTRY: Final[Entry[Template]] = Entry(
    "ssn",
    "US social security number: ddd-dd-dddd or nine digits; hyphens stay in place.",
    (Parameter("strict", False, "refuse numbers that the SSA never issues (ITINs among them)"),),
    lambda given: Ssn(bool(given["strict"])),
    ("***-**-{last:4}",),
    ("ssn(strict=true)",),
)
