"""IBANs: country, two check digits, and the account number in the structure that the country registered.

Single spaces between characters are layout (on paper an IBAN stands in groups of four), lower case is
taken for upper case; both come back as they were given. The check digits are those of ISO 7064 MOD 97-10.
National check digits inside the account number are not looked at.
Source: ISO 13616-1:2020; SWIFT, IBAN Registry, release 101.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from vault.errors import ValueRefused
from vault.formats.alphabet import ALNUM_UPPER, ALPHANUMERIC, DIGITS, UPPER, Alphabet
from vault.formats.spelling import Entry
from vault.formats.stored import Stored, no_domain, whole
from vault.formats.template import Domain, Shape, Template, require_characters, require_length, spell

# Country and BBAN structure: so many digits (n), letters (a), digits or letters (c).
_REGISTRY: Final = """
    AD 8n12c, AE 19n, AL 8n16c, AT 16n, AZ 4a20c, BA 16n, BE 12n, BG 4a6n8c, BH 4a14c, BI 23n,
    BR 23n1a1c, BY 4c4n16c, CH 5n12c, CR 18n, CY 8n16c, CZ 20n, DE 18n, DJ 23n, DK 14n, DO 4c20n,
    EE 16n, EG 25n, ES 20n, FI 14n, FK 2a12n, FO 14n, FR 10n11c2n, GB 4a14n, GE 2a16n, GI 4a15c,
    GL 14n, GR 7n16c, GT 24c, HN 4a20n, HR 17n, HU 24n, IE 4a14n, IL 19n, IQ 4a15n, IS 22n,
    IT 1a10n12c, JO 4a4n18c, KW 4a22c, KZ 3n13c, LB 4n20c, LC 4a24c, LI 5n12c, LT 16n, LU 3n13c,
    LV 4a13c, LY 21n, MC 10n11c2n, MD 20c, ME 18n, MK 3n10c2n, MN 16n, MR 23n, MT 4a5n18c,
    MU 4a19n3a, NI 4a20n, NL 4a10n, NO 11n, OM 3n16c, PK 4a16c, PL 24n, PS 4a21c, PT 21n, QA 4a21c,
    RO 4a16c, RS 18n, RU 14n15c, SA 2n18c, SC 4a20n3a, SD 14n, SE 20n, SI 15n, SK 20n, SM 1a10n12c,
    SO 19n, ST 21n, SV 4a20n, TL 19n, TN 20n, TR 6n16c, UA 6n19c, VA 18n, VG 4a16n, XK 16n, YE 4a4n18c
"""
_CLASSES: Final = {"n": DIGITS, "a": UPPER, "c": ALNUM_UPPER}
_RUN: Final = re.compile(r"([0-9]+)([nac])")


def _structure(written: str) -> Iterator[Alphabet]:
    for count, kind in _RUN.findall(written):
        yield from [_CLASSES[kind]] * int(count)


STRUCTURES: Final = {
    country: tuple(_structure(written)) for country, written in map(str.split, _REGISTRY.split(","))
}
"""Country: the alphabet of each character of its account numbers (BBAN)."""

HEAD: Final = 4  # characters: country and check digits
LOWEST_CHECK: Final = 2  # check digits run from 02 to 98
SHORTEST: Final = HEAD + min(map(len, STRUCTURES.values()))
LONGEST: Final = HEAD + max(map(len, STRUCTURES.values()))

_WRITTEN: Final = Alphabet("digits, letters and spaces", ALPHANUMERIC.characters + " ")
_LAYOUT: Final = re.compile(r"[A-Za-z0-9](?: ?[A-Za-z0-9])*")
_GROUP: Final = 4  # characters


@dataclass(frozen=True, slots=True)
class Iban(Stored):
    """An IBAN. FF1 cannot transform it: its parts have alphabets of their own."""

    parts: ClassVar[frozenset[str]] = frozenset(("country",))

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("iban")

    def parse(self, value: str) -> Shape:
        """Takes a value as it is. See `Template.parse`; wrong check digits are `value_checksum`."""
        plain = compact(value)
        structure = STRUCTURES.get(plain[:2])
        if structure is None:
            raise ValueRefused("value_format")
        require_length(plain, HEAD + len(structure), HEAD + len(structure))
        for place, character in zip((DIGITS, DIGITS, *structure), plain[2:], strict=True):
            if character not in place:
                raise ValueRefused("value_format")
        if plain[2:HEAD] != check_digits(plain[:2], plain[HEAD:]):
            raise ValueRefused("value_checksum")
        return whole(value)

    def canonical(self, value: str) -> str:
        """Upper case, no spaces."""
        return value.replace(" ", "").upper()

    def domain(self, length: int | None = None) -> Domain:
        """Size 0: there is none that FF1 could use."""
        count = LONGEST if length is None else length
        if not SHORTEST <= count <= LONGEST:
            raise ValueRefused("value_length", minimum=SHORTEST, maximum=LONGEST)
        return no_domain(count, "an alphabet for each place; format-preserving encryption has no use for it")

    def smallest(self) -> Domain:
        """Size 0, as all of them."""
        return self.domain(SHORTEST)

    def sample(self, rng: random.Random) -> str:
        """An account of any country, plain or in groups of four."""
        country = rng.choice(tuple(STRUCTURES))
        account = "".join(rng.choice(place.characters) for place in STRUCTURES[country])
        plain = country + check_digits(country, account) + account
        separator = rng.choice(("", " "))
        text = separator.join(plain[start : start + _GROUP] for start in range(0, len(plain), _GROUP))
        return text.lower() if rng.random() < 0.1 else text


def compact(value: str) -> str:
    """An IBAN in upper case without spaces, its length and layout checked; country and check are not.

    Raises:
        ValueRefused: `value_empty`, `value_length`, `value_alphabet`, `value_format`.
    """
    require_length(value, SHORTEST, 2 * LONGEST - 1)
    require_characters(value, _WRITTEN)
    if _LAYOUT.fullmatch(value) is None:
        raise ValueRefused("value_format")
    plain = value.replace(" ", "").upper()
    require_length(plain, SHORTEST, LONGEST)
    return plain


def check_digits(country: str, account: str) -> str:
    """The two check digits, 02 to 98. Source: ISO 7064, MOD 97-10; letters count 10 to 35.

    Args:
        country: two upper-case letters.
        account: digits and upper-case letters.
    """
    number = "".join(str(ALNUM_UPPER.index[character]) for character in account + country)
    return f"{96 + LOWEST_CHECK - int(number + '00') % 97:02d}"


ENTRY: Final[Entry[Template]] = Entry(
    "iban",
    "IBAN: registered country, structure and check digits; single spaces and lower case are taken.",
    (),
    lambda _: Iban(),
    ("{country}** **** {last:4}", "{country}"),
)
