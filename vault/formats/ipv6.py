"""IPv6 addresses in the one spelling that RFC 5952 recommends, section 4.

That is: lower case, no zeros in front, the longest run of two or more zero groups (the first of equals) as
`::`. Other spellings of an address are refused, as one text could not stand for all of them; write them anew
first. So are zones (`%eth0`) and ports. Addresses that hold an IPv4 one are addresses like others, in
hexadecimal: `::ffff:c000:201`; `::ffff:192.0.2.1` is refused, and belongs to `ipv4`.

A token is any address under the prefix that is kept. An interface part made from a MAC address says
nothing any more. Source: RFC 4291, 2.2; RFC 5952, 4.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import ClassVar, Final

from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS, Alphabet
from vault.formats.spelling import Entry, Parameter
from vault.formats.template import (
    Domain,
    Reversible,
    Shape,
    Template,
    ranked,
    require_characters,
    require_length,
    spell,
)

BITS: Final = 128
MOST_KEPT: Final = 108  # bits; 20 are left, just over 1,000,000 addresses
GROUPS: Final = 8

_WRITTEN: Final = Alphabet("hexadecimal digits and colons", DIGITS.characters + "abcdefABCDEF:")
_SHORTEST: Final = 2  # characters
_LONGEST: Final = 39
_ZEROS: Final = re.compile(r"(?:^|:)0(?::0)+(?=:|$)")  # two or more groups


@dataclass(frozen=True, slots=True)
class Ipv6(Reversible):
    """Keeps the first bits of an address and transforms the others.

    Args:
        keep: bits of the prefix that stay; they are the token's style.
    """

    keep: int = 64

    parts: ClassVar[frozenset[str]] = frozenset(("network",))
    keeps_layout: ClassVar[bool] = False

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("ipv6", keep=self.keep)

    def parse(self, value: str) -> Shape:
        """Takes an address apart. See `Template.parse`; other spellings are `value_format`."""
        require_length(value, _SHORTEST, _LONGEST)
        require_characters(value, _WRITTEN)
        address = _address(value)
        if spelled(address) != value:
            raise ValueRefused("value_format")
        hosts = 1 << (BITS - self.keep)
        style = f"{address // hosts:x}" if self.keep else ""
        return ranked(address % hosts, hosts, len(value), style=style)

    def render_token(self, shape: Shape, text: str) -> str:
        """An address under the same prefix."""
        return spelled(int(shape.style or "0", 16) << (BITS - self.keep) | int(text, 2))

    def domain(self, length: int | None = None) -> Domain:
        """The addresses under a prefix."""
        if length is not None:
            require_length("0" * length, 1, 4 * GROUPS)
        left = BITS - self.keep
        return Domain(2, left, 1 << left, f"{BITS} bits, {self.keep} kept")

    def smallest(self) -> Domain:
        """The only one there is."""
        return self.domain()

    def sample(self, rng: random.Random) -> str:
        """An address, mostly global; with zeros in it, or an interface part of any bits."""
        prefix = rng.choice((0x20010DB8, 0x2A020000, 0xFE800000, rng.getrandbits(32), 0)) << 96
        subnet = rng.choice((0, rng.getrandbits(16), rng.getrandbits(32))) << 64
        interface = rng.choice((rng.getrandbits(64), rng.getrandbits(64), rng.getrandbits(16), 1))
        return spelled(prefix | subnet | interface)


def spelled(address: int) -> str:
    """An address as RFC 5952 has it.

    Args:
        address: 128 bits.
    """
    text = ":".join([f"{address >> shift & 0xFFFF:x}" for shift in range(BITS - 16, -1, -16)])
    runs = [match.span() for match in _ZEROS.finditer(text)]
    if not runs:
        return text
    start, end = max(runs, key=_width)  # the first of equals
    return f"{text[:start]}::{text[end:].removeprefix(':')}"


def _width(run: tuple[int, int]) -> int:
    """A longer run is wider, also where the first lacks the colon in front."""
    return run[1] - run[0] + (run[0] == 0)


def _address(text: str) -> int:
    """The bits of groups of at most four digits, with one `::` at most.

    Raises:
        ValueRefused: `value_format`.
    """
    head, gap, tail = text.partition("::")
    front = head.split(":") if head else []
    back = tail.split(":") if tail else []
    missing = GROUPS - len(front) - len(back)
    groups = [*front, *["0"] * missing, *back]
    if (missing < 1 if gap else missing) or not all(0 < len(group) <= 4 for group in groups):
        raise ValueRefused("value_format")
    return int("".join([group.rjust(4, "0") for group in groups]), 16)


ENTRY: Final[Entry[Template]] = Entry(
    "ipv6",
    "IPv6 address in the spelling of RFC 5952; the first bits can be kept.",
    (Parameter("keep", 64, "bits kept at the start", highest=MOST_KEPT),),
    lambda given: Ipv6(int(given["keep"])),
    ("{network}:***",),
    ("ipv6(keep=0)", "ipv6(keep=108)"),
)
