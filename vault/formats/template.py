"""What a template is: it takes a value apart and puts a token together, and knows how many there are.

A value consists of characters that are transformed (`Shape.text`) and characters that stay
(`Shape.kept`). Of those that stay, letters and digits are data and go into the tweak of FF1; separators
are layout and do not, so a token whose hyphens were added or dropped on its way still opens as the same
value, in the layout of the token.

Where a value is not a text over one alphabet (a number in a range, an address, letters among digits), its
rank among all values of its shape is transformed instead: `Shape.text` is the rank in bits, and what FF1
makes of it is walked on until it is a rank again (`Shape.takes`).

No error of this room quotes a value: positions and bounds at most.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vault.crypto.ff1 import MIN_DOMAIN
from vault.crypto.texts import Bytes
from vault.errors import BadInput, ValueRefused
from vault.formats.alphabet import BITS, Alphabet
from vault.formats.column import CharRows, Column

MAX_LENGTH: Final = 256  # characters that a template hands to FF1; bounds its quadratic conversions
MAX_SPEC: Final = 64  # characters of a canonical spelling
MAX_KEPT_BYTES: Final = 33  # of `Shape.kept_bytes`: a form byte and a SHA-256, or less

_LISTED: Final = b"\x00"
_DIGEST: Final = b"\x01"
_STYLED: Final = b"\x02"

Kinds = NDArray[np.int8]
InColumns = Literal["", "ascii", "unicode"]


class Shape(NamedTuple):
    """A value or a token taken apart. Holds plaintext, so it has no repr to speak of.

    Characters that a check digit determines are in neither `text` nor `kept`.

    Attributes:
        text: the characters that are transformed, in order; or the rank, in bits.
        kept: (position in the whole value, character), ascending.
        length: of the whole value, in characters.
        style: what else of the value its token shows and no character stands for, such as where capitals
            are; read off value and token alike.
        ranks: how many ranks there are; 0 where characters are transformed.
    """

    alphabet: Alphabet
    text: str
    kept: tuple[tuple[int, str], ...]
    length: int
    style: str = ""
    ranks: int = 0

    def __repr__(self) -> str:
        return f"<Shape of {self.length} characters>"

    @property
    def size(self) -> int:
        """How many values FF1 can turn this one into: the ranks, or radix^n of the transformed characters."""
        size: int = self.ranks or self.alphabet.radix ** len(self.text)
        return size

    @property
    def rank(self) -> int:
        """The rank, of a shape that has one."""
        return int(self.text, 2)

    def takes(self, text: str) -> bool:
        """Whether `text` may stand in place of this one's; ranks end somewhere between powers of two."""
        return not self.ranks or int(text, 2) < self.ranks

    def kept_bytes(self) -> bytes:
        """The kept letters and digits by position, and the style: canonical, at most `MAX_KEPT_BYTES`.

        Byte format: `0x00` and for each `position u16 | character UTF-8`, positions counted without
        separators; if that is longer than 33 bytes, `0x01` and its SHA-256. With a style: `0x02` and the
        SHA-256 of `length u16 | style UTF-8` and the list. Nothing kept and no style: no bytes.
        """
        out = bytearray()
        separators = 0
        for position, character in self.kept:
            if character.isalnum():
                out += (position - separators).to_bytes(2, "big") + character.encode()
            else:
                separators += 1
        return kept_form(self.style.encode(), bytes(out))

    def fill(self, text: str) -> str:
        """The whole value with `text` in the places that are not kept.

        Raises:
            ValueError: `text` has another length than those places.
        """
        if len(text) + len(self.kept) != self.length:
            raise ValueError("the text does not fit the shape")
        if not self.kept:
            return text
        parts: list[str] = []
        taken = end = 0
        for position, character in self.kept:
            gap = position - end
            parts += (text[taken : taken + gap], character)
            taken, end = taken + gap, position + 1
        return "".join(parts) + text[taken:]


def kept_form(style: bytes, listed: bytes) -> bytes:
    """`Shape.kept_bytes` of a style and the list of what is kept."""
    if style:
        return _STYLED + sha256(len(style).to_bytes(2, "big") + style + listed).digest()
    if not listed:
        return b""
    return _LISTED + listed if len(listed) < MAX_KEPT_BYTES else _DIGEST + sha256(listed).digest()


@dataclass(frozen=True, slots=True)
class Domain:
    """How many values share a shape, after check digits and kept characters."""

    radix: int  # 0: not one that FF1 can use
    length: int  # transformed characters
    size: int  # effective number of values; 0 where radix is
    note: str  # how it comes about, for `explain`


class Template(Protocol):
    """A pattern that says which characters of a value are transformed and which are kept."""

    @property
    def spec(self) -> str:
        """The canonical spelling, e.g. `card(keep_last=4, luhn='break')`; at most 64 characters."""

    @property
    def version(self) -> int:
        """Of the template's rules. A change that moves a single token is a new version."""

    @property
    def reversible_by_ff1(self) -> bool:
        """Whether FF1 can transform its values; False leaves only protections that keep a row."""

    @property
    def parts(self) -> frozenset[str]:
        """What masks may show of a value beside its first and last characters; see `mask`."""

    def parse(self, value: str) -> Shape:
        """Takes a value apart. Smallness is no reason to refuse here; see `require_domain`.

        Raises:
            ValueRefused: `value_empty`, `value_length`, `value_alphabet`, `value_format`,
                `value_checksum`, `value_calendar`, `value_script`.
        """

    def parse_token(self, token: str) -> Shape:
        """Takes a token apart, by the token's own rule where that differs from the value's.

        Raises:
            ValueRefused: as `parse`.
            BadInput: `operation_unsupported`, where tokens do not have the shape of values.
        """

    def render_token(self, shape: Shape, text: str) -> str:
        """The token that has `text` for the transformed characters."""

    def render_value(self, shape: Shape, text: str) -> str:
        """The value that has `text` for the transformed characters."""

    def canonical(self, value: str) -> str:
        """The one spelling of all those that mean the same: what blind indexes are made of.

        Itself a value that the template takes, and its own canonical spelling.

        Args:
            value: one that `parse` takes; of another the answer means nothing.
        """

    def domain(self, length: int | None = None) -> Domain:
        """The effective domain of values of a length, counted without separators.

        Args:
            length: in characters; None for the one a template calls typical.

        Raises:
            ValueRefused: `value_length`, the template takes no such length.
        """

    def smallest(self) -> Domain:
        """The smallest domain that an accepted value can have."""

    def sample(self, rng: random.Random) -> str:
        """An accepted value, lengths and layouts mixed; for property tests and `explain`."""


class Reversible:
    """What templates share whose values FF1 transforms and whose tokens look like values.

    Attributes:
        classes: what makes values alike in layout, for columns of them (`columnar`): None: nothing simple;
            b"": their length; else a class for each byte, 0 for those that no value has.
        in_columns: which values `columns` may take: none, those of ASCII, or others as well.
        columns_from: how many values make that worth its while.
        keeps_layout: whether a token has the length of its value, with letters and digits in the same places.
    """

    __slots__ = ()

    version: ClassVar[int] = 1
    reversible_by_ff1: ClassVar[bool] = True
    parts: ClassVar[frozenset[str]] = frozenset()
    classes: ClassVar[bytes | None] = None
    in_columns: ClassVar[InColumns] = ""
    columns_from: ClassVar[int] = 40
    keeps_layout: ClassVar[bool] = True

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`."""
        raise NotImplementedError

    def parse_token(self, token: str) -> Shape:
        """Takes a token apart: tokens look like values."""
        return self.parse(token)

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value."""
        return shape.fill(text)

    def render_value(self, shape: Shape, text: str) -> str:
        """The value, in the layout of the token."""
        return self.render_token(shape, text)

    def canonical(self, value: str) -> str:
        """The value itself; a template with several spellings of one value says which is the one."""
        return value

    def kinds(self, rows: Bytes, *, token: bool) -> Kinds | None:
        """Of values with the same classes: which have the same layout, and which only `parse` can tell about.

        Args:
            rows: their bytes, one a row; their classes may be ones that no value has.
            token: whether they are tokens.

        Returns:
            A number a row, the same for the same layout, -1 for "ask `parse`"; None: all are alike.
        """
        return None

    def columns(self, rows: CharRows, *, token: bool) -> Iterable[Column]:
        """What is transformed of rows, as `parse` has it, several columns if they differ too much for one.

        Args:
            rows: characters, zeros behind them; not to be changed.
            token: whether they are tokens.

        Returns:
            Columns that have no row in common; a row in none is for `parse`, and so may be any that is rare.
        """
        return ()

    def text_places(self, shape: Shape) -> list[int]:
        """The positions of the text: those that are not kept, without check digits, which come last here."""
        kept = {position for position, _ in shape.kept}
        return [place for place in range(shape.length) if place not in kept][: len(shape.text)]

    def complete(self, rows: Bytes, shape: Shape, *, token: bool) -> None:
        """Sets what the other characters determine (check digits), in place.

        Args:
            rows: tokens (`token`) or values of the layout of `shape`.
        """
        return


def ranked(
    rank: int, ranks: int, length: int, kept: tuple[tuple[int, str], ...] = (), style: str = ""
) -> Shape:
    """The shape of a value that is one of `ranks`, counted from 0."""
    return Shape(BITS, f"{rank:0{bits_for(ranks)}b}", kept, length, style, ranks)


def bits_for(ranks: int) -> int:
    """How many bits so many ranks take; two at least, as FF1 has it."""
    return max(2, (ranks - 1).bit_length())


def require_domain(shape: Shape) -> None:
    """Refuses a value with fewer than 1,000,000 others of its shape: FF1 could not hide it among them.

    Raises:
        ValueRefused: `domain_too_small`.
    """
    if shape.size < MIN_DOMAIN:
        raise ValueRefused("domain_too_small", minimum=MIN_DOMAIN)


def require_length(value: str, shortest: int, longest: int) -> None:
    """The first check of every template, before anything looks at the characters.

    Raises:
        ValueRefused: `value_empty`, `value_length`.
    """
    if not value:
        raise ValueRefused("value_empty")
    if not shortest <= len(value) <= longest:
        raise ValueRefused("value_length", minimum=shortest, maximum=longest)


def require_characters(value: str, alphabet: Alphabet) -> None:
    """Refuses a value with a character outside the alphabet.

    Raises:
        ValueRefused: `value_alphabet`, with the position of the first.
    """
    position = alphabet.foreign(value)
    if position is not None:
        raise ValueRefused("value_alphabet", position=position)


def spell(name: str, **parameters: int | bool | str | None) -> str:
    """The canonical spelling: parameters in the order given, without those that are None.

    A parameter that is off by default (0, false) and stays off is left out; all others are spelled, so
    that a spelling keeps its meaning if a default ever changes.
    """
    written = [f"{key}={_word(value)}" for key, value in parameters.items() if value is not None]
    return f"{name}({', '.join(written)})" if written else name


def _word(value: int | bool | str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}'" if isinstance(value, str) else str(value)


def parameter_invalid(template: str, parameter: str) -> BadInput:
    """The error for a parameter that does not go with the others."""
    return BadInput("template_invalid", template=template, parameter=parameter)
