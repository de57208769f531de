"""Masks: what of a value may be shown, e.g. `***-**-{last:4}`.

Any value has these places, N from 1 to 8; separators do not count, so the last four of `123-45-6789` are
`6789`:

- `{first:N}`, `{last:N}`: its first and last letters and digits.

These are parts that values of some templates have:

- `{local:N}`, `{domain}`: of an e-mail address, the first letters and digits before the `@`, and the domain;
- `{country}`: `+` and country calling code of a telephone number, the country of an IBAN;
- `{year}`: of a date, or a date and time;
- `{network}`: the first three numbers of an IPv4 address, the first three groups of an IPv6 one (or those
  before its `::`);
- `{initials}`: the first letter or digit of each word of a text, of eight words at most.

Each place stands at most once in a mask. All else is shown as it stands. Asterisks, as many for every
value, stand where a value lacks a part, where a place would show all of its part, and in every place where
the places together would show all letters and digits of the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from vault.errors import BadInput, ValueRefused
from vault.formats.calling import country_code
from vault.formats.iban import Iban
from vault.formats.ipv4 import Ipv4
from vault.formats.ipv6 import Ipv6
from vault.formats.isodate import Date
from vault.formats.phone import E164
from vault.formats.template import Template
from vault.formats.timestamp import Timestamp

MAX_PATTERN: Final = 64  # characters
MAX_INITIALS: Final = 8
HIDDEN: Final = "*"

_DATED: Final[tuple[Template, ...]] = (Date(), Timestamp("nanosecond"))
_PLACE: Final = re.compile(r"\{(?:(first|last|local):([1-8])|(domain|country|year|network|initials))\}")

Positions = list[int]
"""Which characters of a value a place shows, in order; empty where it shows none."""


@dataclass(frozen=True, slots=True)
class Mask:
    """A parsed mask; make it with `Mask.parse`."""

    pattern: str
    places: tuple[tuple[str, int], ...]  # kind and count; 0 for those without

    @classmethod
    def parse(cls, pattern: str) -> Mask:
        """The mask that a pattern describes.

        Raises:
            BadInput: `template_invalid`: empty, over 64 characters, unprintable, a brace outside a place,
                or a place given twice.
        """
        written = pattern[:MAX_PATTERN]
        places = tuple(map(_read, _PLACE.finditer(written)))
        literal = _PLACE.sub("", written)
        well_formed = (
            0 < len(pattern) <= MAX_PATTERN
            and pattern.isprintable()
            and "{" not in literal
            and "}" not in literal
            and len({kind for kind, _ in places}) == len(places)
        )
        if not well_formed:
            raise BadInput("template_invalid")
        return cls(pattern, places)

    def check(self, template: Template) -> None:
        """Refuses a mask of parts that values of a template do not have.

        Raises:
            BadInput: `template_invalid`.
        """
        if any(kind in _PARTS and kind not in template.parts for kind, _ in self.places):
            raise BadInput("template_invalid")

    @property
    def first(self) -> int:
        """Letters and digits shown from the start; 0: none."""
        return dict(self.places).get("first", 0)

    @property
    def last(self) -> int:
        """Letters and digits shown from the end; 0: none."""
        return dict(self.places).get("last", 0)

    def apply(self, value: str) -> str:
        """The masked value: what its places say at most, and never all letters and digits of the value."""
        shown = {kind: _FINDERS[kind](value, count) for kind, count in self.places}
        if set(_visible(value)) <= {position for positions in shown.values() for position in positions}:
            shown = {}

        def fill(place: re.Match[str]) -> str:
            kind, count = _read(place)
            text = "".join(value[position] for position in shown.get(kind, ()))
            return text or HIDDEN * (count or _PARTS[kind])

        return _PLACE.sub(fill, self.pattern)


def _read(place: re.Match[str]) -> tuple[str, int]:
    return (place[3], 0) if place[3] else (place[1], int(place[2]))


def _visible(value: str, start: int = 0, end: int | None = None) -> Positions:
    """The letters and digits of a part of a value."""
    stop = len(value) if end is None else end
    return [position for position in range(start, stop) if value[position].isalnum()]


def _first(value: str, count: int) -> Positions:
    return _visible(value)[:count]


def _last(value: str, count: int) -> Positions:
    return _visible(value)[-count:]


def _local(value: str, count: int) -> Positions:
    whole = _visible(value, 0, max(0, value.rfind("@")))
    return whole[:count] if len(whole) > count else []


def _domain(value: str, _: int) -> Positions:
    return list(range(value.rfind("@") + 1, len(value))) if "@" in value else []


def _country(value: str, _: int) -> Positions:
    visible = _visible(value)
    try:
        if not value.startswith("+"):
            Iban().parse(value)
            return visible[:2]
        E164().parse(value)
    except ValueRefused:
        return []
    return [0, *visible[: len(country_code("".join(value[position] for position in visible)))]]


def _year(value: str, _: int) -> Positions:
    for template in _DATED:
        try:
            template.parse(value)
        except ValueRefused:
            continue
        return [0, 1, 2, 3]
    return []


def _network(value: str, _: int) -> Positions:
    template: Template = Ipv6() if ":" in value else Ipv4()
    try:
        template.parse(value)
    except ValueRefused:
        return []
    separator = ":" if ":" in value else "."
    groups = value.partition("::")[0].split(separator)[:3]
    return list(range(len(separator.join(groups))))


def _initials(value: str, _: int) -> Positions:
    words = (_visible(value, *word.span())[:1] for word in re.finditer(r"\S+", value))
    return [position for initial in words for position in initial][:MAX_INITIALS]


_FINDERS: Final[Mapping[str, Callable[[str, int], Positions]]] = {
    "first": _first,
    "last": _last,
    "local": _local,
    "domain": _domain,
    "country": _country,
    "year": _year,
    "network": _network,
    "initials": _initials,
}
_PARTS: Final = {
    "local": 1,
    "domain": 3,
    "country": 2,
    "year": 4,
    "network": 3,
    "initials": 1,
}  # asterisks if hidden
