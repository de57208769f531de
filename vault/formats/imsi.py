"""IMSIs: numbers of mobile subscriptions, 14 or 15 digits, the country and the network first.

The country has 3 digits, the network 2, in North America and some other countries 3. Which it is depends on
the country and is not looked at: `keep` says how many digits are kept. There is no check digit.
Source: ITU-T E.212 (15 digits at most); 3GPP TS 23.003, 2.2.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar, Final

from vault.errors import ValueRefused
from vault.formats.alphabet import DIGIT_CLASSES, DIGITS
from vault.formats.layout import Layout, kept
from vault.formats.spelling import Entry, Parameter
from vault.formats.template import Domain, Reversible, Shape, Template, spell

SHORTEST: Final = 14  # digits
LONGEST: Final = 15  # digits
MAX_KEEP: Final = 6  # digits of country and network

_LAYOUT: Final = Layout(" -/.")


@dataclass(frozen=True, slots=True)
class Imsi(Reversible):
    """Keeps the country and the network, transforms the rest; separators stay where they are.

    Args:
        keep: digits kept at the start, 0 to 6.
    """

    keep: int = 5

    classes: ClassVar[bytes | None] = DIGIT_CLASSES

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("imsi", keep=self.keep)

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`."""
        written = _LAYOUT.read(value, SHORTEST, LONGEST)
        return Shape(DIGITS, written.plain[self.keep :], kept(value, written, self.keep), len(value))

    def canonical(self, value: str) -> str:
        """The digits."""
        return _LAYOUT.bare(value)

    def domain(self, length: int | None = None) -> Domain:
        """10^(length - keep)."""
        count = LONGEST if length is None else length
        if not SHORTEST <= count <= LONGEST:
            raise ValueRefused("value_length", minimum=SHORTEST, maximum=LONGEST)
        free = count - self.keep
        return Domain(DIGITS.radix, free, DIGITS.radix**free, f"{count} digits, {self.keep} kept")

    def smallest(self) -> Domain:
        """That of 14 digits."""
        return self.domain(SHORTEST)

    def sample(self, rng: random.Random) -> str:
        """A number of some networks, plain or with separators."""
        network = rng.choice(("26201", "23430", "20801", "310150", "46000", "40445"))
        count = rng.choice((LONGEST, LONGEST, SHORTEST))
        number = "".join(rng.choices(DIGITS.characters, k=count - len(network)))
        return rng.choice(("", "", " ", "-")).join((network[:3], network[3:], number))


ENTRY: Final[Entry[Template]] = Entry(
    "imsi",
    "Number of a mobile subscription: 14 or 15 digits, those of country and network kept; single separators "
    "stay in place.",
    (Parameter("keep", 5, "digits kept at the start: 5 or 6 are country and network", highest=MAX_KEEP),),
    lambda given: Imsi(int(given["keep"])),
    ("{first:5}********",),
    ("imsi(keep=6)", "imsi(keep=0)"),
)
