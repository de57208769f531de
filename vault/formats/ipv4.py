"""IPv4 addresses: four numbers from 0 to 255 with dots between them.

One spelling only: no zeros in front (`010` is 8 to some programs and 10 to others), no shorter forms, no
mask and no port. A token is any address of the network that is kept, broadcast, multicast and reserved ones
among them, so it may be in use: do not connect to tokens. Neighbours do not stay neighbours beyond the bits
that are kept. Source: RFC 791; RFC 6943, 3.1.1 (why loose forms are dangerous).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from vault.crypto.pairs import Pair
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS, Alphabet
from vault.formats.column import ZERO, CharRows, Column, Kept, Mask, Ranked, are_digits, each
from vault.formats.spelling import Entry, Parameter
from vault.formats.template import (
    Domain,
    InColumns,
    Reversible,
    Shape,
    Template,
    kept_form,
    ranked,
    require_characters,
    require_length,
    spell,
)

BITS: Final = 32
MOST_KEPT: Final = 12  # bits; 20 are left, just over 1,000,000 addresses

_WRITTEN: Final = Alphabet("digits and dots", DIGITS.characters + ".")
_NUMBER: Final = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_FORMAT: Final = re.compile(r"\.".join([_NUMBER] * 4))
_SHORTEST: Final = 7  # characters
_LONGEST: Final = 15
_ZERO: Final = "\0"
_NUMBERS: Final = np.array([list(f"{number}".ljust(3, "\0").encode()) for number in range(256)], np.uint8)


@dataclass(frozen=True, slots=True)
class Ipv4(Reversible):
    """Keeps the first bits of an address and transforms the others.

    Args:
        keep: bits of the network that stay; they are the token's style.
    """

    keep: int = 0

    parts: ClassVar[frozenset[str]] = frozenset(("network",))
    in_columns: ClassVar[InColumns] = "ascii"
    columns_from: ClassVar[int] = 64
    keeps_layout: ClassVar[bool] = False

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("ipv4", keep=self.keep or None)

    def parse(self, value: str) -> Shape:
        """Takes an address apart. See `Template.parse`."""
        require_length(value, _SHORTEST, _LONGEST)
        require_characters(value, _WRITTEN)
        match = _FORMAT.fullmatch(value)
        if match is None:
            raise ValueRefused("value_format")
        first, second, third, fourth = map(int, match.groups())
        address = (first << 24) | (second << 16) | (third << 8) | fourth
        hosts = 1 << (BITS - self.keep)
        style = f"{address // hosts:x}" if self.keep else ""
        return ranked(address % hosts, hosts, len(value), style=style)

    def render_token(self, shape: Shape, text: str) -> str:
        """An address of the same network."""
        address = int(shape.style or "0", 16) << (BITS - self.keep) | int(text, 2)
        return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """All addresses together, their networks beside them."""
        address, good = _addresses(rows[:, :_LONGEST])
        at = np.flatnonzero(good & ~rows[:, _LONGEST:].any(axis=1))
        if not len(at):
            return
        address, bits = address[at], BITS - self.keep
        networks = address >> bits
        kept: Kept = b""
        if self.keep:
            spelled = networks.astype(np.uint8 if self.keep <= 8 else np.uint32)[:, None]
            kept = each(spelled, lambda one: kept_form(f"{ord(one or _ZERO):x}".encode(), b""))

        def write(rank: Pair) -> CharRows:
            return _spelled(networks << bits | rank.low.astype(np.int64))

        yield Ranked(at, Pair.of(address & (1 << bits) - 1), 1 << bits, kept, write)

    def domain(self, length: int | None = None) -> Domain:
        """The addresses of a network."""
        if length is not None:
            require_length("0" * length, _SHORTEST - 3, _LONGEST - 3)
        left = BITS - self.keep
        return Domain(2, left, 1 << left, f"{BITS} bits, {self.keep} kept")

    def smallest(self) -> Domain:
        """The only one there is."""
        return self.domain()

    def sample(self, rng: random.Random) -> str:
        """An address of a private network, or any."""
        first = rng.choice(((10, rng.randrange(256)), (192, 168), (172, rng.randint(16, 31)), None, None))
        start = first or (rng.randrange(256), rng.randrange(256))
        return ".".join(map(str, (*start, rng.randrange(256), rng.randrange(256))))


def _addresses(rows: CharRows) -> tuple[NDArray[np.int64], Mask]:
    """(the addresses that rows spell, which are one)."""
    address, number, count, dots = (np.zeros(len(rows), np.int64) for _ in range(4))
    good = np.ones(len(rows), bool)
    for column in [*rows.T, np.zeros(len(rows), np.uint8)]:
        digit, dot = are_digits(column), column == ord(".")
        ended = ~digit & (count > 0)
        good &= digit | ended & (number < 256) & (dot | (column == 0)) | (count < 0)
        good &= ~(digit & (count > 0) & (number == 0))  # no zeros in front
        address[ended] = address[ended] << 8 | number[ended]
        dots += dot
        number = np.where(digit, number * 10 + column - ZERO, 0)
        count = np.where(digit, count + 1, np.where(dot, 0, -1))
    return address, good & (dots == 3)


def _spelled(address: NDArray[np.int64]) -> CharRows:
    out = np.empty((len(address), _LONGEST), np.uint8)
    out[:, 3::4] = ord(".")
    for place, shift in zip(range(0, _LONGEST, 4), (24, 16, 8, 0), strict=True):
        out[:, place : place + 3] = _NUMBERS[address >> shift & 255]
    return out


ENTRY: Final[Entry[Template]] = Entry(
    "ipv4",
    "IPv4 address: four numbers from 0 to 255 with dots; the first bits can be kept.",
    (Parameter("keep", 0, "bits kept at the start", highest=MOST_KEPT),),
    lambda given: Ipv4(int(given["keep"])),
    ("{network}.***",),
    ("ipv4(keep=8)", "ipv4(keep=12)"),
)
