"""Vehicle identification numbers: 17 digits and capitals without I, O and Q.

In North America the ninth character is a check digit, 0 to 9 or X. With `check='require'` it is checked,
determined and right in tokens; elsewhere it means whatever the maker wants, and is transformed like the
others. Small letters are refused: a token may have no letter at all, which could not say what case the
letters of its value had. The model year and the plant are not looked at.
Source: ISO 3779:2009, 5; 49 CFR 565.15(c) (check digit).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from vault.crypto.texts import Bytes
from vault.errors import ValueRefused
from vault.formats.alphabet import Alphabet
from vault.formats.spelling import Entry, Parameter, Value
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

LENGTH: Final = 17  # characters
WMI: Final = 3  # characters of the maker

CHARACTERS: Final = Alphabet("digits and capitals without I, O, Q", "0123456789ABCDEFGHJKLMNPRSTUVWXYZ")

_CHECK: Final = 8  # the place of the check digit
_CHECKS: Final = "0123456789X"
# 49 CFR 565.15(c)(4), tables V and VI
_VALUES: Final = dict(zip(CHARACTERS.characters, map(int, "012345678912345678123457923456789"), strict=True))
_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_VALUE_TABLE: Final = np.zeros(256, np.uint16)
for _character, _value in _VALUES.items():
    _VALUE_TABLE[ord(_character)] = _value
_CHECK_TABLE: Final = np.frombuffer(_CHECKS.encode(), np.uint8)

Check = Literal["ignore", "require"]
Keep = Literal["none", "wmi"]


@dataclass(frozen=True, slots=True)
class Vin(Reversible):
    """Transforms all characters, or all but the maker's.

    Args:
        check: whether the ninth character is a check digit.
        keep: characters that tokens show: none, or the three of the maker.
    """

    check: Check = "ignore"
    keep: Keep = "none"

    classes: ClassVar[bytes | None] = b""

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("vin", check=self.check, keep=self.keep)

    @property
    def _first(self) -> int:
        return WMI if self.keep == "wmi" else 0

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`; a wrong check digit is `value_checksum`."""
        require_length(value, LENGTH, LENGTH)
        require_characters(value, CHARACTERS)
        kept = tuple(enumerate(value[: self._first]))
        if self.check == "ignore":
            return Shape(CHARACTERS, value[self._first :], kept, LENGTH)
        if value[_CHECK] != check_digit(value):
            raise ValueRefused("value_checksum")
        return Shape(CHARACTERS, value[self._first : _CHECK] + value[_CHECK + 1 :], kept, LENGTH)

    def render_token(self, shape: Shape, text: str) -> str:
        """The token; its check digit is right where there is one."""
        if self.check == "ignore":
            return shape.fill(text)
        before = _CHECK - self._first
        plain = shape.fill(f"{text[:before]}0{text[before:]}")
        return plain[:_CHECK] + check_digit(plain) + plain[_CHECK + 1 :]

    def text_places(self, shape: Shape) -> list[int]:
        """All that are not kept, without the check digit."""
        return [place for place in range(self._first, LENGTH) if self.check == "ignore" or place != _CHECK]

    def kinds(self, rows: Bytes, *, token: bool) -> Kinds | None:
        """Those whose check digit is right."""
        if self.check == "ignore" or rows.shape[1] != LENGTH:
            return None
        return np.where(rows[:, _CHECK] == _check_digits(rows), 0, -1).astype(np.int8)

    def complete(self, rows: Bytes, shape: Shape, *, token: bool) -> None:
        """Sets the check digit."""
        if self.check == "require":
            rows[:, _CHECK] = _check_digits(rows)

    def domain(self, length: int | None = None) -> Domain:
        """33^17, with fewer places where some are kept or determined."""
        if length not in (None, LENGTH):
            raise ValueRefused("value_length", minimum=LENGTH, maximum=LENGTH)
        free = LENGTH - self._first - (self.check == "require")
        check = ", 1 check digit" if self.check == "require" else ""
        radix = CHARACTERS.radix
        return Domain(radix, free, radix**free, f"{LENGTH} characters, {self._first} kept{check}")

    def smallest(self) -> Domain:
        """The only one there is."""
        return self.domain()

    def sample(self, rng: random.Random) -> str:
        """A number of some maker, its check digit right."""
        plain = rng.choice(("1HG", "5YJ", "WVW", "VF1", "JTD", "KMH"))
        plain += "".join(rng.choices(CHARACTERS.characters, k=LENGTH - len(plain)))
        return plain[:_CHECK] + check_digit(plain) + plain[_CHECK + 1 :]


def check_digit(plain: str) -> str:
    """What stands in the ninth place of a number, in North America; what stands there is ignored."""
    return _CHECKS[sum(_VALUES[one] * weight for one, weight in zip(plain, _WEIGHTS, strict=True)) % 11]


def _check_digits(rows: Bytes) -> NDArray[np.uint8]:
    return _CHECK_TABLE[_VALUE_TABLE[rows] @ np.array(_WEIGHTS, np.uint16) % 11]


def _build(given: Mapping[str, Value]) -> Vin:
    return Vin(cast("Check", given["check"]), cast("Keep", given["keep"]))


ENTRY: Final[Entry[Template]] = Entry(
    "vin",
    "Vehicle identification number: 17 digits and capitals without I, O, Q.",
    (
        Parameter(
            "check",
            "ignore",
            "whether the ninth character is a check digit, as in North America",
            ("ignore", "require"),
        ),
        Parameter("keep", "none", "what tokens show: nothing, or the 3 of the maker", ("none", "wmi")),
    ),
    _build,
    ("{first:3}**************", "*************{last:4}"),
    ("vin(check='require')", "vin(keep='wmi')", "vin(check='require', keep='wmi')"),
)
