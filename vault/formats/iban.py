"""IBANs: country, two check digits, and the account number in the structure that the country registered.

Single spaces between characters are layout (on paper an IBAN stands in groups of four); letters are all
capitals or all small. The country is kept, the check digits (ISO 7064 MOD 97-10) are determined, and the
account number is transformed as its rank among all of that structure. National check digits inside the
account number are not looked at: a token is right as an IBAN, and mostly wrong as an account of its country.
Source: ISO 13616-1:2020; SWIFT, IBAN Registry, release 101.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from vault.errors import ValueRefused
from vault.formats.alphabet import ALNUM_UPPER, DIGITS, UPPER, Alphabet
from vault.formats.column import CharRows, Column, lengths_of, write_number
from vault.formats.layout import Layout, kept, write
from vault.formats.mixed import Mixed, Signs, mixed
from vault.formats.spelling import Entry
from vault.formats.template import (
    Domain,
    InColumns,
    Reversible,
    Shape,
    Template,
    bits_for,
    require_length,
    spell,
)

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

TYPICAL: Final = 22  # characters: Germany, Great Britain

_VALUES: Final = {character: str(value) for character, value in ALNUM_UPPER.index.items()}
_LAYOUT: Final = Layout(" ", "both")
_PLACES: Final = {country: mixed(structure) for country, structure in STRUCTURES.items()}
_NOT_A_LETTER: Final = 26
_COUNTRIES: Final = np.full((_NOT_A_LETTER + 1) ** 2, -1)  # by the numbers of their letters
_KINDS: Final = np.zeros((len(STRUCTURES), LONGEST - HEAD), np.uint8)  # what stands in the places of each
_LENGTHS: Final = np.array([HEAD + len(structure) for structure in STRUCTURES.values()])
for _number, (_country, _places) in enumerate(STRUCTURES.items()):
    _COUNTRIES[(ord(_country[0]) - 65) * (_NOT_A_LETTER + 1) + ord(_country[1]) - 65] = _number
    _KINDS[_number, : len(_places)] = [(DIGITS, UPPER, ALNUM_UPPER).index(one) + 1 for one in _places]
_TOGETHER: Final = 8  # characters; 97 * 100^8 is less than 2^63
_FACTORS: Final = np.ones(256, np.int64)  # what each does to the number that comes before it, and adds
_ADDED: Final = np.zeros(256, np.int64)
for _character, _value in ALNUM_UPPER.index.items():
    _FACTORS[ord(_character)], _ADDED[ord(_character)] = 100 if _value > 9 else 10, _value
_GROUP: Final = 4  # characters


@dataclass(frozen=True, slots=True)
class Iban(Reversible):
    """Keeps the country, transforms the account number; the check digits of a token are right."""

    parts: ClassVar[frozenset[str]] = frozenset(("country",))
    in_columns: ClassVar[InColumns] = "ascii"

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("iban")

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`; wrong check digits are `value_checksum`."""
        written = _LAYOUT.read(value, SHORTEST, LONGEST)
        plain = written.plain
        places = _PLACES.get(plain[:2])
        if places is None:
            raise ValueRefused("value_format")
        whole = HEAD + len(places.alphabets)
        require_length(plain, whole, whole)
        account = plain[HEAD:]
        if not places.takes(account) or plain[2] not in DIGITS or plain[3] not in DIGITS:
            raise ValueRefused("value_format")
        if plain[2:HEAD] != check_digits(plain[:2], account):
            raise ValueRefused("value_checksum")
        return places.shape(account, len(value), kept(value, written, 2), written.style)

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value."""
        country = "".join([character for _, character in shape.kept if character != " "]).upper()
        account = _PLACES[country].of_bits(text)
        return write(country + check_digits(country, account) + account, shape)

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """All countries together."""
        written = _LAYOUT.read_rows(rows)
        if not len(written.at) or written.plain.shape[1] <= HEAD:
            return
        length, plain = lengths_of(written.plain), written.plain[:, :LONGEST]
        head = np.minimum(plain[:, :2] - np.uint8(ord("A")), _NOT_A_LETTER).astype(np.int64)
        country = _COUNTRIES[head[:, 0] * (_NOT_A_LETTER + 1) + head[:, 1]]
        kinds = np.zeros(plain.shape, np.uint8)
        kinds[:, HEAD:] = _KINDS[country, : plain.shape[1] - HEAD]
        signs = Signs(plain, kinds)
        good = signs.good & (country >= 0) & (length == _LENGTHS[country])
        good &= (check_columns(plain) == plain[:, 2:HEAD]).all(axis=1)
        some = np.flatnonzero(good)
        if not len(some):
            return
        taken = written.some(some)

        def write(made: CharRows) -> CharRows:
            made[:, 2:HEAD] = check_columns(made)
            return taken.write(made)

        yield signs.ranked(some, taken.at, taken.kept(2), write)

    def canonical(self, value: str) -> str:
        """Upper case, no spaces."""
        return _LAYOUT.bare(value)

    def domain(self, length: int | None = None) -> Domain:
        """That of the country with the fewest account numbers among those whose IBANs are as long."""
        count = TYPICAL if length is None else length
        sized = [places for places in _PLACES.values() if HEAD + len(places.alphabets) == count]
        if not sized:
            raise ValueRefused("value_length", minimum=SHORTEST, maximum=LONGEST)
        return _domain(min(sized, key=_ranks))

    def smallest(self) -> Domain:
        """That of the country with the fewest account numbers."""
        return _domain(min(_PLACES.values(), key=_ranks))

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
    return _LAYOUT.read(value, SHORTEST, LONGEST).plain


def check_digits(country: str, account: str) -> str:
    """The two check digits, 02 to 98. Source: ISO 7064, MOD 97-10; letters count 10 to 35.

    Args:
        country: two upper-case letters.
        account: digits and upper-case letters.
    """
    number = "".join([_VALUES[character] for character in account + country])
    return f"{96 + LOWEST_CHECK - int(number + '00') % 97:02d}"


def check_columns(plain: CharRows) -> CharRows:
    """The two check digits of each row of capitals and digits; what stands in their place is ignored."""
    rest = np.zeros(len(plain), np.int64)
    for at, column in enumerate((*plain.T[HEAD:], *plain.T[:2]), 1):
        rest = rest * _FACTORS[column] + _ADDED[column]
        if at % _TOGETHER == 0:
            rest %= 97
    out = np.empty((len(plain), 2), np.uint8)
    write_number(96 + LOWEST_CHECK - rest % 97 * 100 % 97, out)
    return out


def _ranks(places: Mixed) -> int:
    return places.ranks


def _domain(places: Mixed) -> Domain:
    note = f"{HEAD + len(places.alphabets)} characters, 2 kept, 2 check digits; more in some countries"
    return Domain(2, bits_for(places.ranks), places.ranks, note)


ENTRY: Final[Entry[Template]] = Entry(
    "iban",
    "IBAN: registered country, structure and check digits; the country is kept, single spaces stay in place, "
    "letters are all capitals or all small.",
    (),
    lambda _: Iban(),
    ("{country}** **** {last:4}", "{country}"),
)
