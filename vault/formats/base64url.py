"""Bytes in base64url: letters of both cases, digits, `-` and `_`; padding as it was given.

What is transformed are the bytes, so that a token decodes to as many. A text whose last character has bits
that belong to no byte must have zeros there: others decode to the same bytes and are refused, as decoders do
that are strict. Padding is all of it or none. `+` and `/` are the other base64, and refused.
Source: RFC 4648, 3.5 (canonical encoding), 5.
"""

from __future__ import annotations

import base64
import random
import re
from dataclasses import dataclass
from typing import ClassVar, Final

from vault.errors import ValueRefused
from vault.formats.alphabet import ALPHANUMERIC, HEX_LOWER, Alphabet
from vault.formats.spelling import Entry, Parameter
from vault.formats.template import (
    MAX_LENGTH,
    Domain,
    Reversible,
    Shape,
    Template,
    parameter_invalid,
    require_characters,
    require_length,
    spell,
)

_WRITTEN: Final = Alphabet("letters, digits, hyphen, underscore and =", ALPHANUMERIC.characters + "-_=")
_FORMAT: Final = re.compile(r"([A-Za-z0-9_-]+)(={0,2})")
_PADDING: Final = 2  # characters at most
_GROUP: Final = 4  # characters, of three bytes


@dataclass(frozen=True, slots=True)
class Base64Url(Reversible):
    """All bytes are transformed, as hexadecimal digits.

    Args:
        shortest: characters without padding (`min`).
        longest: characters without padding (`max`).

    Raises:
        BadInput: `template_invalid`, no bytes have a text of such a length.
    """

    shortest: int = 4
    longest: int = MAX_LENGTH

    keeps_layout: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.shortest + _impossible(self.shortest) > self.longest:
            raise parameter_invalid("base64url", "min")

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("base64url", min=self.shortest, max=self.longest)

    def parse(self, value: str) -> Shape:
        """Takes a text apart. See `Template.parse`; bits that belong to no byte are `value_format`."""
        require_length(value, self.shortest, self.longest + _PADDING)
        require_characters(value, _WRITTEN)
        match = _FORMAT.fullmatch(value)
        if match is None:
            raise ValueRefused("value_format")
        plain, padding = match.groups()
        require_length(plain, self.shortest, self.longest)
        if _impossible(len(plain)) or (padding and len(value) % _GROUP):
            raise ValueRefused("value_format")
        data = base64.urlsafe_b64decode(plain + "=" * (-len(plain) % _GROUP))
        if _encoded(data) != plain:
            raise ValueRefused("value_format")
        kept = tuple((place, "=") for place in range(len(plain), len(value)))
        return Shape(HEX_LOWER, data.hex(), kept, len(value))

    def render_token(self, shape: Shape, text: str) -> str:
        """The text of those bytes, with padding where the value has it."""
        return _encoded(bytes.fromhex(text)) + "=" * len(shape.kept)

    def canonical(self, value: str) -> str:
        """Without padding."""
        return value.rstrip("=")

    def domain(self, length: int | None = None) -> Domain:
        """256^n for n bytes; the shortest length counts as typical, since it decides what is safe."""
        count = self.shortest + _impossible(self.shortest) if length is None else length
        if not self.shortest <= count <= self.longest or _impossible(count):
            raise ValueRefused("value_length", minimum=self.shortest, maximum=self.longest)
        data = count * 3 // _GROUP
        return Domain(HEX_LOWER.radix, 2 * data, 256**data, f"{data} bytes, all transformed")

    def smallest(self) -> Domain:
        """That of the shortest text."""
        return self.domain()

    def sample(self, rng: random.Random) -> str:
        """Random bytes, mostly few; sometimes with padding."""
        longest = self.longest if rng.random() < 0.1 else min(self.longest, self.shortest + 16)
        count = rng.choice([n for n in range(self.shortest, longest + 1) if not _impossible(n)])
        plain = _encoded(rng.randbytes(count * 3 // _GROUP))
        return plain + "=" * (-count % _GROUP) if rng.random() < 0.2 else plain


def _impossible(length: int) -> bool:
    """Whether no bytes have a text so long."""
    return length % _GROUP == 1


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


ENTRY: Final[Entry[Template]] = Entry(
    "base64url",
    "Bytes in base64url, with padding or without; tokens decode to as many bytes.",
    (
        Parameter(
            "min", 4, "the shortest value, in characters without padding", lowest=1, highest=MAX_LENGTH
        ),
        Parameter("max", MAX_LENGTH, "the longest value, likewise", lowest=1, highest=MAX_LENGTH),
    ),
    lambda given: Base64Url(int(given["min"]), int(given["max"])),
    ("****{last:2}",),
    ("base64url(min=2, max=64)", "base64url(min=22, max=22)"),
)
