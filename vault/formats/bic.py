"""BICs: four letters of the party, two of its country, two letters or digits of the place, three of a branch.

The country is kept, all else is transformed, the branch too where there is one. The standard has allowed
digits in the party's code since 2014; none has been issued, and software that reads BICs refuses them, so
they are refused here. Whether country and party exist is not looked at, nor what single characters of the
place mean. `XXX` is the branch of a head office, so a BIC means the same with it and without: that is
one canonical spelling, but two tokens, since their lengths differ. Source: ISO 9362:2022, 5.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from vault.errors import ValueRefused
from vault.formats.alphabet import ALNUM_UPPER, UPPER
from vault.formats.layout import Layout, write
from vault.formats.mixed import mixed
from vault.formats.spelling import Entry
from vault.formats.template import Domain, Reversible, Shape, Template, bits_for, spell

SHORT: Final = 8  # characters
LONG: Final = 11  # characters, with a branch

_COUNTRY: Final = slice(4, 6)
_HEAD_OFFICE: Final = "XXX"
_LAYOUT: Final = Layout(" ", "both")
_PLACES: Final = {
    SHORT: mixed([UPPER] * 4 + [ALNUM_UPPER] * 2),
    LONG: mixed([UPPER] * 4 + [ALNUM_UPPER] * 5),
}


@dataclass(frozen=True, slots=True)
class Bic(Reversible):
    """Keeps the country, transforms the rest; single spaces and the case of letters stay."""

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("bic")

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`."""
        written = _LAYOUT.read(value, SHORT, LONG)
        plain = written.plain
        places = _PLACES.get(len(plain))
        if places is None:
            raise ValueRefused("value_length", minimum=SHORT, maximum=LONG)
        country, rest = plain[_COUNTRY], plain[:4] + plain[6:]
        if not country.isalpha() or not places.takes(rest):
            raise ValueRefused("value_format")
        spaces = dict(written.separators)
        signs = [(at, one) for at, one in enumerate(value) if at not in spaces]
        kept = tuple(sorted((*written.separators, *signs[_COUNTRY])))
        return places.shape(rest, len(value), kept, written.style)

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value."""
        country = "".join([character for _, character in shape.kept if character != " "]).upper()
        long = shape.ranks == _PLACES[LONG].ranks
        rest = _PLACES[LONG if long else SHORT].of_bits(text)
        return write(rest[:4] + country + rest[4:], shape)

    def canonical(self, value: str) -> str:
        """Capitals, no spaces, no branch that is a head office."""
        plain = _LAYOUT.bare(value)
        return plain[:SHORT] if plain[SHORT:] == _HEAD_OFFICE else plain

    def domain(self, length: int | None = None) -> Domain:
        """26^4 * 36^2, or 26^4 * 36^5 with a branch."""
        count = SHORT if length is None else length
        if count not in _PLACES:
            raise ValueRefused("value_length", minimum=SHORT, maximum=LONG)
        ranks = _PLACES[count].ranks
        return Domain(2, bits_for(ranks), ranks, f"{count} characters, 2 kept")

    def smallest(self) -> Domain:
        """That of a BIC without a branch."""
        return self.domain(SHORT)

    def sample(self, rng: random.Random) -> str:
        """A BIC, mostly in capitals, half of them with a branch."""
        rest = "".join(rng.choice(place.characters) for place in _PLACES[LONG].alphabets)
        country = rng.choice(("DE", "US", "GB", "FR", "JP", "CH"))
        branch = rng.choice(("", "", _HEAD_OFFICE, rest[6:]))
        text = rng.choice(("", "", "", " ")).join((rest[:4], country, rest[4:6]))
        written = f"{text} {branch}" if " " in text and branch else text + branch
        return written.lower() if rng.random() < 0.1 else written


ENTRY: Final[Entry[Template]] = Entry(
    "bic",
    "BIC (SWIFT code) of 8 or 11 characters; the country is kept, single spaces stay in place, letters are "
    "all capitals or all small.",
    (),
    lambda _: Bic(),
    ("{first:4}****",),
)
