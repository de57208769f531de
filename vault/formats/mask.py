"""Masks: what of a value may be shown, e.g. `***-**-{last:4}`.

Any value has these places, N from 1 to 8; separators do not count, so the last four of `123-45-6789` are
`6789`:

- `{first:N}`, `{last:N}`: its first and last letters and digits, such as the prefix of a postal code.

These are parts that values of some templates have:

- `{local:N}`, `{domain}`: of an e-mail address, the first letters and digits before the `@`, and the domain;
- `{country}`: `+` and country calling code of a telephone number, the country of an IBAN;
- `{year}`, `{month}`: of a date, or a date and time;
- `{zip3}`: the first three digits of a US ZIP code, `000` for areas of 20,000 people or fewer;
- `{network}`: the first three numbers of an IPv4 address, the first three groups of an IPv6 one (or those
  before its `::`);
- `{initials}`: the first letter or digit of each word of a text, of eight words at most.

These show no character of the value, but something that is computed from it (`View`):

- `{age:N}`: of a date as well, the age today in bands of N years, 5, 10 or 20: `30-39`, and `90+` from 90 on;
- `{hash:N}`: N hexadecimal digits, 4 to 16, of a keyed hash: equal values of a field have equal ones.

Each place stands at most once in a mask. All else is shown as it stands: a mask without places is a fixed
text. Asterisks, as many for every value, stand where a value lacks a part, where a place would show all of
its part, and in every place where the places together would show all letters and digits of the value.

Ages and ZIP codes are cut as 45 CFR 164.514(b)(2)(i)(B) and (C) have it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

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
OLD: Final = 90  # years; from here on all are one band

_DATED: Final[tuple[Template, ...]] = (Date(), Timestamp("nanosecond"))
_ZIP: Final = re.compile(r"([0-9]{3})[0-9]{2}(?:[- ]?[0-9]{4})?")
# Three-digit areas of 20,000 people or fewer in the census of 2000. Source: HHS, guidance on
# de-identification, 26 November 2012, on 45 CFR 164.514(b)(2)(i)(B).
_SPARSE: Final = re.compile("036|059|063|102|203|556|692|790|821|823|830|831|878|879|884|890|893")

Positions = list[int]
"""Which characters of a value a place shows, in order; empty where it shows none."""


@dataclass(frozen=True, slots=True)
class View:
    """What masks are shown by beside the value.

    Attributes:
        today: the day that ages are counted to; None hides them.
        digest: the keyed hash of a value of the field, at least 16 hexadecimal digits; None hides them.
    """

    today: datetime.date | None = None
    digest: Callable[[str], str] | None = None


NOTHING_ELSE: Final = View()


class Seen(NamedTuple):
    """What a place shows of a value.

    Attributes:
        positions: of the characters that it tells.
        text: in place of those characters; None: they themselves.
    """

    positions: Positions
    text: str | None = None


class Kind(NamedTuple):
    """A kind of place.

    Attributes:
        see: what it shows of a value, for a count.
        counts: those that it may have; none: it has no count.
        hidden: how many asterisks stand for it; 0: as many as its count.
    """

    see: Callable[[str, int, View], Seen]
    counts: tuple[int, ...] = ()
    hidden: int = 0


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
        if any(kind not in _OF_ANY and kind not in template.parts for kind, _ in self.places):
            raise BadInput("template_invalid")

    @property
    def first(self) -> int:
        """Letters and digits shown from the start; 0: none."""
        return dict(self.places).get("first", 0)

    @property
    def last(self) -> int:
        """Letters and digits shown from the end; 0: none."""
        return dict(self.places).get("last", 0)

    @property
    def hashes(self) -> bool:
        """Whether it shows a keyed hash."""
        return "hash" in dict(self.places)

    def apply(self, value: str, view: View = NOTHING_ELSE) -> str:
        """The masked value: what its places say at most, and never all letters and digits of the value."""
        shown = {kind: _KINDS[kind].see(value, count, view) for kind, count in self.places}
        if set(_visible(value)) <= {position for seen in shown.values() for position in seen.positions}:
            shown = {}

        def fill(place: re.Match[str]) -> str:
            kind, count = _read(place)
            seen = shown.get(kind, _UNSEEN)
            text = "".join(value[at] for at in seen.positions) if seen.text is None else seen.text
            return text or HIDDEN * (_KINDS[kind].hidden or count)

        return _PLACE.sub(fill, self.pattern)


def place_of(part: str) -> str:
    """A place for a part, with the first count that it may have: `{local:1}`, `{domain}`."""
    counts = _KINDS[part].counts
    return f"{{{part}:{counts[0]}}}" if counts else f"{{{part}}}"


def _read(place: re.Match[str]) -> tuple[str, int]:
    kind, _, count = place[1].partition(":")
    return kind, int(count or 0)


_UNSEEN: Final = Seen([])


def _visible(value: str, start: int = 0, end: int | None = None) -> Positions:
    """The letters and digits of a part of a value."""
    stop = len(value) if end is None else end
    return [position for position in range(start, stop) if value[position].isalnum()]


def _first(value: str, count: int, _: View) -> Seen:
    return Seen(_visible(value)[:count])


def _last(value: str, count: int, _: View) -> Seen:
    return Seen(_visible(value)[-count:])


def _local(value: str, count: int, _: View) -> Seen:
    whole = _visible(value, 0, max(0, value.rfind("@")))
    return Seen(whole[:count] if len(whole) > count else [])


def _domain(value: str, _: int, __: View) -> Seen:
    return Seen(list(range(value.rfind("@") + 1, len(value))) if "@" in value else [])


def _country(value: str, _: int, __: View) -> Seen:
    visible = _visible(value)
    try:
        if not value.startswith("+"):
            Iban().parse(value)
            return Seen(visible[:2])
        E164().parse(value)
    except ValueRefused:
        return _UNSEEN
    return Seen([0, *visible[: len(country_code("".join(value[position] for position in visible)))]])


def _year(value: str, _: int, __: View) -> Seen:
    return Seen([0, 1, 2, 3]) if _day(value) is not None else _UNSEEN


def _month(value: str, _: int, __: View) -> Seen:
    return Seen([5, 6]) if _day(value) is not None else _UNSEEN


def _age(value: str, band: int, view: View) -> Seen:
    day, today = _day(value), view.today
    if day is None or today is None or day > today:
        return _UNSEEN
    years = today.year - day.year - ((today.month, today.day) < (day.month, day.day))
    low = years - years % band
    return Seen([], f"{OLD}+" if years >= OLD else f"{low}-{min(low + band, OLD) - 1}")


def _day(value: str) -> datetime.date | None:
    for template in _DATED:
        try:
            template.parse(value)
        except ValueRefused:
            continue
        return datetime.date.fromisoformat(value[:10])
    return None


def _network(value: str, _: int, __: View) -> Seen:
    template: Template = Ipv6() if ":" in value else Ipv4()
    try:
        template.parse(value)
    except ValueRefused:
        return _UNSEEN
    separator = ":" if ":" in value else "."
    groups = value.partition("::")[0].split(separator)[:3]
    return Seen(list(range(len(separator.join(groups)))))


def _zip3(value: str, _: int, __: View) -> Seen:
    match = _ZIP.fullmatch(value)
    if match is None:
        return _UNSEEN
    return Seen([0, 1, 2], "000" if _SPARSE.fullmatch(match[1]) else None)


def _initials(value: str, _: int, __: View) -> Seen:
    words = (_visible(value, *word.span())[:1] for word in re.finditer(r"\S+", value))
    return Seen([position for initial in words for position in initial][:MAX_INITIALS])


def _hash(value: str, count: int, view: View) -> Seen:
    return _UNSEEN if view.digest is None else Seen([], view.digest(value)[:count])


_ENDS: Final = tuple(range(1, 9))
_KINDS: Final[Mapping[str, Kind]] = {
    "first": Kind(_first, _ENDS),
    "last": Kind(_last, _ENDS),
    "hash": Kind(_hash, tuple(range(4, 17))),
    "local": Kind(_local, _ENDS),
    "domain": Kind(_domain, hidden=3),
    "country": Kind(_country, hidden=2),
    "year": Kind(_year, hidden=4),
    "month": Kind(_month, hidden=2),
    "age": Kind(_age, (5, 10, 20), hidden=5),
    "zip3": Kind(_zip3, hidden=3),
    "network": Kind(_network, hidden=3),
    "initials": Kind(_initials, hidden=1),
}
_OF_ANY: Final = ("first", "last", "hash")  # whatever the template
_PLACE: Final = re.compile(
    r"\{("
    + "|".join(
        f"{name}:(?:{'|'.join(map(str, sorted(kind.counts, reverse=True)))})" if kind.counts else name
        for name, kind in _KINDS.items()
    )
    + r")\}"
)
