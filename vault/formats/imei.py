"""IMEIs: the numbers of mobile telephones, 14 to 16 digits.

15 digits are the usual form: 8 of the type (TAC), 6 of the set, a Luhn check digit, which is determined and
right in tokens. 14 are the same without the check digit, as networks report it, 16 an IMEISV, which has two
digits of the software in its place. Each length has tokens of its own. With `keep='tac'` a token shows the
type, and 6 digits are transformed: 1,000,000 numbers, the fewest that are taken.
Source: 3GPP TS 23.003, 6.2 and annex B.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, cast

import numpy as np

from vault.crypto.texts import Bytes
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGIT_CLASSES, DIGITS
from vault.formats.checksum import luhn_digit_at, luhn_digits_at, luhn_valid
from vault.formats.columnar import digit_places, digit_values
from vault.formats.layout import Layout, kept
from vault.formats.spelling import Entry, Parameter, Value
from vault.formats.template import Domain, Kinds, Reversible, Shape, Template, spell

SHORTEST: Final = 14  # digits
CHECKED: Final = 15  # digits, the last of them a check digit
LONGEST: Final = 16  # digits
TAC: Final = 8  # digits of the type

_LAYOUT: Final = Layout(" -/.")

Keep = Literal["none", "tac"]


@dataclass(frozen=True, slots=True)
class Imei(Reversible):
    """Transforms all digits but the check digit; separators stay where they are.

    Args:
        keep: digits that tokens show: none, or those of the type.
    """

    keep: Keep = "none"

    classes: ClassVar[bytes | None] = DIGIT_CLASSES

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("imei", keep=self.keep)

    @property
    def _first(self) -> int:
        return TAC if self.keep == "tac" else 0

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`; a wrong check digit is `value_checksum`."""
        written = _LAYOUT.read(value, SHORTEST, LONGEST)
        digits = written.plain
        if len(digits) == CHECKED:
            if not luhn_valid(digits):
                raise ValueRefused("value_checksum")
            digits = digits[:-1]
        return Shape(DIGITS, digits[self._first :], kept(value, written, self._first), len(value))

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value."""
        if shape.length == len(text) + len(shape.kept):
            return shape.fill(text)
        digits = _LAYOUT.bare(shape.fill(text + "0"))
        return shape.fill(text + luhn_digit_at(digits, len(digits) - 1))

    def kinds(self, rows: Bytes, *, token: bool) -> Kinds | None:
        """Those whose check digit is right."""
        digits = digit_values(rows)
        if len(digits) != CHECKED:
            return None
        return np.where(digits[-1] == luhn_digits_at(digits, CHECKED - 1), 0, -1).astype(np.int8)

    def complete(self, rows: Bytes, shape: Shape, *, token: bool) -> None:
        """Sets the check digit."""
        digits = digit_values(rows)
        if len(digits) == CHECKED:
            rows[:, digit_places(rows[0])[-1]] = luhn_digits_at(digits, CHECKED - 1) + ord("0")

    def canonical(self, value: str) -> str:
        """The digits."""
        return _LAYOUT.bare(value)

    def domain(self, length: int | None = None) -> Domain:
        """10^(digits that are neither kept nor a check digit)."""
        count = CHECKED if length is None else length
        if not SHORTEST <= count <= LONGEST:
            raise ValueRefused("value_length", minimum=SHORTEST, maximum=LONGEST)
        free = (count if count == LONGEST else SHORTEST) - self._first
        check = ", 1 check digit" if count == CHECKED else ""
        return Domain(DIGITS.radix, free, DIGITS.radix**free, f"{count} digits, {self._first} kept{check}")

    def smallest(self) -> Domain:
        """That of 14 digits, and of 15."""
        return self.domain(SHORTEST)

    def sample(self, rng: random.Random) -> str:
        """A number, mostly of 15 digits."""
        digits = "".join(rng.choices(DIGITS.characters, k=SHORTEST))
        count = rng.choice((SHORTEST, CHECKED, CHECKED, LONGEST))
        if count == CHECKED:
            digits += luhn_digit_at(digits + "0", SHORTEST)
        elif count == LONGEST:
            digits += f"{rng.randrange(100):02d}"
        separator = rng.choice(("", "", " ", "-"))
        return separator.join(filter(None, (digits[:2], digits[2:8], digits[8:14], digits[14:])))


def _build(given: Mapping[str, Value]) -> Imei:
    return Imei(cast("Keep", given["keep"]))


ENTRY: Final[Entry[Template]] = Entry(
    "imei",
    "Number of a mobile telephone: 15 digits with a Luhn check digit, 14 without it, 16 of an IMEISV; single "
    "separators stay in place.",
    (Parameter("keep", "none", "what tokens show: nothing, or the 8 digits of the type", ("none", "tac")),),
    _build,
    ("{first:8}******",),
    ("imei(keep='tac')",),
)
