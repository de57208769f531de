"""Surrogates: what shaped tokens of a vaulted field look like, e.g. `e164(country=1)`.

A surrogate says nothing about the value it stands for. It is drawn at random, each one with the same
chance, registered, and looked up: complete in itself, so values of any template can have it. Every
surrogate has a number from 0 up to `space`, and exactly one spelling; separators that are layout may be
added or dropped on its way and are taken off again.

Whoever invents one hits an issued one with the chance rows / space, so the space has to be much larger
than the number of rows; the schema sees to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from vault.errors import ValueRefused
from vault.formats import card, iban, mail, phone, ssn
from vault.formats.alphabet import ALNUM_LOWER, ALNUM_UPPER, ALPHANUMERIC, DIGITS, Alphabet
from vault.formats.calling import USUAL_LENGTH
from vault.formats.checksum import luhn_digit_at
from vault.formats.spelling import Entry, Parameter, Value, build
from vault.formats.template import parameter_invalid, spell

LONGEST_RUN: Final = 64  # characters of `digits` and `alphanumeric`
MAX_PRESENTED: Final = 256  # characters; a longer text is nobody's surrogate

_CASES: Final = {"mixed": ALPHANUMERIC, "lower": ALNUM_LOWER, "upper": ALNUM_UPPER}
_NONZERO: Final = Alphabet("digits from 1", "123456789")
_NANP: Final = "1"  # the country code of the North American numbering plan, NXX-NXX-XXXX
_N: Final = Alphabet("digits from 2", "23456789")  # what N stands for there
_NEVER: Final = Alphabet("zero and one", "01")  # and what no area code begins with


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A set of surrogates; make it with `parse_surrogate`.

    Attributes:
        spec: the canonical spelling.
        space: how many different surrogates there are.
    """

    spec: str
    space: int
    _places: tuple[_Place, ...] = field(repr=False, compare=False)
    _whole: Callable[[str], str] = field(repr=False, compare=False)  # from the free characters
    _plain: Callable[[str], str] = field(repr=False, compare=False)  # from a presented text: layout taken off
    _free: slice = field(repr=False, compare=False)  # the free characters of a whole one

    def nth(self, number: int) -> str:
        """The surrogate of a number.

        Args:
            number: from 0, below `space`.

        Raises:
            ValueError: there is no such number.
        """
        if not 0 <= number < self.space:
            raise ValueError("no such number")
        chosen = []
        for place in reversed(self._places):
            number, index = divmod(number, len(place.choices))
            chosen.append(place.choices[index])
        return self._whole("".join(reversed(chosen)))

    def draw(self, randbelow: Callable[[int], int]) -> str:
        """A surrogate; every one is as likely as any other if `randbelow(n)` is uniform over 0 to n - 1."""
        return self.nth(randbelow(self.space))

    def parse(self, text: str) -> str:
        """The one spelling of a presented surrogate: the one that `draw` gives.

        Raises:
            ValueRefused: `token_unknown`, no surrogate of this set is spelled like that.
        """
        try:
            plain = self._plain(text) if len(text) <= MAX_PRESENTED else ""
        except ValueRefused:
            raise ValueRefused("token_unknown") from None
        free = plain[self._free]
        start = 0
        for place in self._places:
            if free[start : start + place.width] not in place.members:
                raise ValueRefused("token_unknown")
            start += place.width
        if len(free) != start or self._whole(free) != plain:
            raise ValueRefused("token_unknown")
        return plain


class _Place:
    """What may stand in one place of a surrogate: texts of one length, each once."""

    __slots__ = ("choices", "members", "width")

    def __init__(self, choices: Sequence[str]) -> None:
        self.choices = choices
        self.members = frozenset(choices)
        self.width = len(choices[0])


@cache
def _place(alphabet: Alphabet) -> _Place:
    return _Place(alphabet.characters)


def _same(text: str) -> str:
    return text


def _surrogate(
    spec: str,
    places: Iterable[_Place],
    whole: Callable[[str], str] = _same,
    plain: Callable[[str], str] = _same,
    free: slice = slice(None),
) -> Surrogate:
    parts = tuple(places)
    return Surrogate(spec, math.prod(len(place.choices) for place in parts), parts, whole, plain, free)


def _digits(given: Mapping[str, Value]) -> Surrogate:
    length = int(given["length"])
    return _surrogate(spell("digits", length=length), [_place(DIGITS)] * length)


def _alphanumeric(given: Mapping[str, Value]) -> Surrogate:
    length, case = int(given["length"]), str(given["case"])
    return _surrogate(spell("alphanumeric", length=length, case=case), [_place(_CASES[case])] * length)


def _ssn(given: Mapping[str, Value]) -> Surrogate:
    never = given["range"] == "never"
    return _surrogate(spell("ssn", range=str(given["range"])), _ssn_places(never), plain=ssn.hyphenated)


@cache
def _ssn_places(never: bool) -> tuple[_Place, ...]:
    """Areas, groups and serials. Source: SSA POMS RM 10201.035; IRS, ITIN ranges (groups 50 to 99)."""
    if never:
        heads = [f"{area}-{group:02d}-" for area in ("000", "666") for group in range(100)]
        heads += [f"{area}-{group:02d}-" for area in range(900, 1000) for group in range(50)]
        return _Place(heads), *[_place(DIGITS)] * 4
    areas = [f"{area:03d}-" for area in range(1, 900) if area != 666]
    groups = [f"{group:02d}-" for group in range(1, 100)]
    return _Place(areas), _Place(groups), _Place([f"{serial:04d}" for serial in range(1, 10_000)])


def _card(given: Mapping[str, Value]) -> Surrogate:
    length, luhn = int(given["length"]), str(given["luhn"])
    prefix = str(given["prefix"] or "")
    offset = 1 if luhn == "break" else 0

    def whole(free: str) -> str:
        right = luhn_digit_at(f"{prefix}{free}0", length - 1)
        return f"{prefix}{free}{(int(right) + offset) % 10}"

    spec = spell("card", length=length, prefix=int(prefix) if prefix else None, luhn=luhn)
    free = slice(len(prefix), -1)
    return _surrogate(spec, [_place(DIGITS)] * (length - len(prefix) - 1), whole, card.compact, free)


def _e164(given: Mapping[str, Value]) -> Surrogate:
    country, dialable = str(given["country"]), bool(given["dialable"])
    if country not in USUAL_LENGTH:
        raise parameter_invalid("e164", "country")
    usual = max(USUAL_LENGTH[country], phone.SHORTEST - len(country))
    length = int(given["length"]) or usual
    if not phone.SHORTEST <= len(country) + length <= phone.LONGEST or (country == _NANP and length != usual):
        raise parameter_invalid("e164", "length")
    if not dialable and country != _NANP:
        raise parameter_invalid("e164", "dialable")
    if country == _NANP:
        area = _N if dialable else _NEVER
        places = [area, DIGITS, DIGITS, _N, *[DIGITS] * 6]
    else:
        places = [_NONZERO, *[DIGITS] * (length - 1)]
    head = f"+{country}"
    return _surrogate(
        spell(
            "e164",
            country=int(country),
            length=None if country == _NANP else length,
            dialable=None if dialable else False,
        ),
        map(_place, places),
        lambda free: head + free,
        phone.compact,
        slice(len(head), None),
    )


def _iban(given: Mapping[str, Value]) -> Surrogate:
    country, check = str(given["country"]), str(given["check"])
    code = country.upper()
    offset = 1 if check == "break" else 0

    def whole(free: str) -> str:
        right = int(iban.check_digits(code, free)) - iban.LOWEST_CHECK
        return f"{code}{(right + offset) % 97 + iban.LOWEST_CHECK:02d}{free}"

    places = map(_place, iban.STRUCTURES[code])
    spec = spell("iban", country=country, check=check)
    return _surrogate(spec, places, whole, iban.compact, slice(iban.HEAD, None))


def _email(given: Mapping[str, Value]) -> Surrogate:
    length, domain = int(given["length"]), str(given["domain"])
    try:
        mail.Email().parse(f"{'a' * length}@{domain}")
    except ValueRefused:
        raise parameter_invalid("email", "domain") from None
    return _surrogate(
        spell("email", domain=domain, length=length),
        [_place(ALNUM_LOWER)] * length,
        lambda free: f"{free}@{domain}",
        lambda text: text.lower() if text.isascii() else "",
        slice(length),
    )


_ENTRIES: Final = (
    Entry(
        "digits",
        "ASCII digits.",
        (Parameter("length", 0, "digits", lowest=1, highest=LONGEST_RUN, required=True),),
        _digits,
    ),
    Entry(
        "alphanumeric",
        "ASCII digits and letters of one case or of both.",
        (
            Parameter("length", 0, "characters", lowest=1, highest=LONGEST_RUN, required=True),
            Parameter("case", "mixed", "which letters: both, lower, upper", ("mixed", "lower", "upper")),
        ),
        _alphanumeric,
    ),
    Entry(
        "ssn",
        "US social security number, `ddd-dd-dddd`; presented with its hyphens or without.",
        (
            Parameter(
                "range",
                "issued",
                "numbers as the SSA issues them, or such as neither SSA nor IRS ever issue",
                ("issued", "never"),
            ),
        ),
        _ssn,
    ),
    Entry(
        "card",
        "Payment card number without separators; presented with single spaces and hyphens or without.",
        (
            Parameter("length", card.TYPICAL, "digits", lowest=card.SHORTEST, highest=card.LONGEST),
            Parameter("prefix", 0, "first digits of all of them; 0: none", highest=999_999),
            Parameter("luhn", "keep", "they pass the Luhn check, or always fail it", ("keep", "break")),
        ),
        _card,
    ),
    Entry(
        "e164",
        "Telephone number, `+` and digits; presented with single spaces, hyphens and dots or without.",
        (
            Parameter("country", 0, "country calling code", lowest=1, highest=999, required=True),
            Parameter("length", 0, "national digits; 0: as many as usual there", highest=phone.LONGEST),
            Parameter("dialable", True, "country 1: `false` takes area codes that are never assigned"),
        ),
        _e164,
    ),
    Entry(
        "iban",
        "IBAN of a country, upper case without spaces; presented in groups or not, in either case.",
        (
            Parameter(
                "country",
                "de",
                "as its IBANs begin",
                tuple(country.lower() for country in iban.STRUCTURES),
                required=True,
            ),
            Parameter("check", "keep", "check digits are right, or always wrong", ("keep", "break")),
        ),
        _iban,
    ),
    Entry(
        "email",
        "E-mail address of random digits and lower-case letters; presented in any case.",
        (
            Parameter(
                "domain",
                "example.invalid",
                "behind the `@`: one of yours; the default is nobody's",
                form=re.compile(r"[a-z0-9.-]+"),
            ),
            Parameter("length", 12, "characters before the `@`", lowest=1, highest=mail.LONGEST_LOCAL),
        ),
        _email,
    ),
)

SURROGATES: Final[Mapping[str, Entry[Surrogate]]] = {entry.name: entry for entry in _ENTRIES}


def parse_surrogate(spec: str) -> Surrogate:
    """The surrogates that a spelling names.

    Args:
        spec: `name` or `name(key=value, ...)`.

    Raises:
        BadInput: `template_invalid`, with the names of template and parameter once they are known ones.
    """
    return build(SURROGATES, spec)
