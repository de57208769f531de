"""Payment card numbers: 12 to 19 digits with a Luhn check digit, single spaces or hyphens in place.

One digit of the middle, the last before the kept ones, is determined by the Luhn formula. It carries
nothing, is not transformed, and is what makes a token right (`luhn='keep'`), wrong (`luhn='break'`: one
more than right, modulo 10) or no number at all (`luhn='mark'`: a letter, A for 0 to J for 9, in its place).
So a number of L digits has 10^(L - keep_first - keep_last - 1) tokens.
Source: ISO/IEC 7812-1 (length, check digit).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, cast

import numpy as np

from vault.crypto.ff1 import MIN_DOMAIN
from vault.crypto.texts import Bytes, Places
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGIT_CLASSES, DIGITS, Alphabet
from vault.formats.checksum import luhn_digit_at, luhn_digits_at, luhn_valid
from vault.formats.columnar import digit_places, digit_values
from vault.formats.spelling import Entry, Parameter, Value
from vault.formats.template import (
    Domain,
    Kinds,
    Reversible,
    Shape,
    Template,
    parameter_invalid,
    require_characters,
    require_length,
    spell,
)

SHORTEST: Final = 12  # digits
LONGEST: Final = 19  # digits, ISO/IEC 7812-1
TYPICAL: Final = 16  # digits

_WRITTEN: Final = Alphabet("digits, spaces and hyphens", DIGITS.characters + " -")
_LAYOUT: Final = re.compile(r"[0-9](?:[ -]?[0-9])*")
_SEPARATORS: Final = {ord(" "): None, ord("-"): None}
_MARKS: Final = "ABCDEFGHIJ"  # in place of 0 to 9
_MARKED: Final = Alphabet("digits, A to J, spaces and hyphens", DIGITS.characters + _MARKS + " -")

Luhn = Literal["keep", "break", "mark"]


@dataclass(frozen=True, slots=True)
class Card(Reversible):
    """Transforms the middle of a card number.

    Args:
        keep_first: digits kept at the start.
        keep_last: digits kept at the end.
        luhn: whether the Luhn check of a token is right; wrong, always in the same way; or replaced by a
            letter, so that a token is no number.

    Raises:
        BadInput: `template_invalid`, so many digits are kept that no length has 1,000,000 tokens.
    """

    keep_first: int = 0
    keep_last: int = 4
    luhn: Luhn = "keep"

    classes: ClassVar[bytes | None] = DIGIT_CLASSES

    def __post_init__(self) -> None:
        if self.domain(LONGEST).size < MIN_DOMAIN:
            raise parameter_invalid(
                "card", "keep_last" if self.keep_last >= self.keep_first else "keep_first"
            )

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("card", keep_first=self.keep_first or None, keep_last=self.keep_last, luhn=self.luhn)

    @property
    def _offset(self) -> int:
        """How far the determined digit of a token is from the right one."""
        return 1 if self.luhn == "break" else 0

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`; a wrong check digit is `value_checksum`."""
        digits = compact(value)
        if not luhn_valid(digits):
            raise ValueRefused("value_checksum")
        return self._shape(value, digits)

    def parse_token(self, token: str) -> Shape:
        """Takes a token apart: its check digit is right or wrong exactly as this template makes it.

        Raises:
            ValueRefused: as `parse`; `domain_too_small` where nothing is left to transform.
        """
        if self.luhn == "mark":
            return self._unmarked(token)
        digits = compact(token)
        place = len(digits) - self.keep_last - 1
        if place < self.keep_first:
            raise ValueRefused("domain_too_small", minimum=MIN_DOMAIN)
        if digits[place] != _determined(digits, place, self._offset):
            raise ValueRefused("value_checksum")
        return self._shape(token, digits)

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value.

        Raises:
            ValueRefused: `domain_too_small`, everything is kept: the token would be the value.
        """
        if shape.length == len(shape.kept):
            raise ValueRefused("domain_too_small", minimum=MIN_DOMAIN)
        token = self._render(shape, text, self._offset)
        return token if self.luhn != "mark" else self._marked(shape, token)

    def render_value(self, shape: Shape, text: str) -> str:
        """The value, in the layout of the token."""
        return self._render(shape, text, 0)

    def kinds(self, rows: Bytes, *, token: bool) -> Kinds | None:
        """Those whose check digit, or the letter in its place, is as it should be."""
        marked = token and self.luhn == "mark"
        columns = _columns(rows[0]) if marked else digit_places(rows[0])
        place = len(columns) - self.keep_last - 1
        if place < self.keep_first:
            return None
        digits = np.ascontiguousarray(rows.T[columns]) - np.uint8(ord("0"))
        if marked:
            digits[place] -= np.uint8(ord(_MARKS[0]) - ord("0"))
            if (np.delete(digits[:, 0], place) >= DIGITS.radix).any():
                return None  # a letter elsewhere, in all of them: `parse` refuses
        right = (
            luhn_digits_at(np.minimum(digits, DIGITS.radix - 1), place) + (self._offset if token else 0)
        ) % 10
        return np.where(digits[place] == right, 0, -1).astype(np.int8)

    def complete(self, rows: Bytes, shape: Shape, *, token: bool) -> None:
        """Sets the determined digit, or the letter in its place."""
        columns = _columns(rows[0])
        place = len(columns) - self.keep_last - 1
        rows[:, columns[place]] = ord("0")
        right = (luhn_digits_at(digit_values(rows), place) + (self._offset if token else 0)) % 10
        rows[:, columns[place]] = right + ord(_MARKS[0] if token and self.luhn == "mark" else "0")

    def canonical(self, value: str) -> str:
        """The digits."""
        return value.translate(_SEPARATORS)

    def domain(self, length: int | None = None) -> Domain:
        """10^(length - kept - 1): kept digits and the one the check determines do not count."""
        count = TYPICAL if length is None else length
        if not SHORTEST <= count <= LONGEST:
            raise ValueRefused("value_length", minimum=SHORTEST, maximum=LONGEST)
        kept = self.keep_first + self.keep_last
        free = max(0, count - kept - 1)
        note = f"{count} digits, {kept} kept, 1 determined by the check digit"
        return Domain(DIGITS.radix, free, DIGITS.radix**free, note)

    def smallest(self) -> Domain:
        """That of the shortest number."""
        return self.domain(SHORTEST)

    def sample(self, rng: random.Random) -> str:
        """A number with a right check digit, of any length, plain or in groups of four."""
        count = rng.choice((TYPICAL, rng.randint(SHORTEST, LONGEST)))
        digits = "".join(rng.choices(DIGITS.characters, k=count - 1)) + "0"
        digits = digits[:-1] + luhn_digit_at(digits, count - 1)
        separator = rng.choice(("", "", " ", "-"))
        return separator.join(digits[start : start + 4] for start in range(0, count, 4))

    def _shape(self, value: str, digits: str) -> Shape:
        tail = len(digits) - self.keep_last
        kept = []
        index = 0  # among the digits
        for position, character in enumerate(value):
            if character not in DIGITS:
                kept.append((position, character))
                continue
            if index < self.keep_first or index >= tail:
                kept.append((position, character))
            index += 1
        text = digits[self.keep_first : max(self.keep_first, tail - 1)]
        return Shape(DIGITS, text, tuple(kept), len(value))

    def _marked(self, shape: Shape, token: str) -> str:
        """A token whose determined digit became a letter."""
        at = self.text_places(shape._replace(text=shape.text + "0"))[-1]
        return token[:at] + _MARKS[int(token[at])] + token[at + 1 :]

    def _unmarked(self, token: str) -> Shape:
        """Takes a token apart that has a letter in the determined place."""
        require_length(token, SHORTEST, 2 * LONGEST - 1)
        require_characters(token, _MARKED)
        plain = token.translate(_SEPARATORS)
        require_length(plain, SHORTEST, LONGEST)
        place = len(plain) - self.keep_last - 1
        if place < self.keep_first:
            raise ValueRefused("domain_too_small", minimum=MIN_DOMAIN)
        at = [index for index, character in enumerate(token) if character not in " -"][place]
        if token[at] not in _MARKS:
            raise ValueRefused("value_format")
        return self.parse(token[:at] + str(_MARKS.index(token[at])) + token[at + 1 :])

    def _render(self, shape: Shape, text: str, offset: int) -> str:
        if shape.length == len(shape.kept):
            return shape.fill(text)
        digits = shape.fill(text + "0").translate(_SEPARATORS)
        return shape.fill(text + _determined(digits, len(digits) - self.keep_last - 1, offset))


def compact(value: str) -> str:
    """The digits of a number, its length and layout checked.

    Raises:
        ValueRefused: `value_empty`, `value_length`, `value_alphabet`, `value_format`.
    """
    require_length(value, SHORTEST, 2 * LONGEST - 1)
    require_characters(value, _WRITTEN)
    if _LAYOUT.fullmatch(value) is None:
        raise ValueRefused("value_format")
    digits = value.translate(_SEPARATORS)
    require_length(digits, SHORTEST, LONGEST)
    return digits


def _columns(row: Bytes) -> Places:
    """The positions of all but separators."""
    return np.flatnonzero((row != ord(" ")) & (row != ord("-")))


def _determined(digits: str, place: int, offset: int) -> str:
    """The digit at `place`: the one that makes the check right, moved on by `offset`."""
    return str((int(luhn_digit_at(digits, place)) + offset) % 10)


def _build(given: Mapping[str, Value]) -> Card:
    return Card(int(given["keep_first"]), int(given["keep_last"]), cast("Luhn", given["luhn"]))


ENTRY: Final[Entry[Template]] = Entry(
    "card",
    "Payment card number: 12 to 19 digits, Luhn checked; single spaces and hyphens stay in place.",
    (
        Parameter("keep_first", 0, "digits kept at the start", highest=LONGEST),
        Parameter("keep_last", 4, "digits kept at the end", highest=LONGEST),
        Parameter(
            "luhn",
            "keep",
            "tokens pass the Luhn check, always fail it, or have a letter (A to J) in its place",
            ("keep", "break", "mark"),
        ),
    ),
    _build,
    ("**** **** **** {last:4}", "{first:6}******{last:4}"),
    (
        "card(luhn='break')",
        "card(luhn='mark')",
        "card(keep_first=6, keep_last=4)",
        "card(keep_first=6, keep_last=4, luhn='break')",
        "card(keep_first=8, keep_last=4, luhn='break')",
        "card(keep_last=0)",
        "card(keep_first=5, keep_last=0, luhn='break')",
        "card(keep_first=6, keep_last=0, luhn='mark')",
    ),
)
