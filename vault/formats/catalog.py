"""The catalogue of templates: what each is called, takes and shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, cast

from vault.formats import card, freetext, spelling
from vault.formats.card import Card
from vault.formats.freetext import Text
from vault.formats.iban import Iban
from vault.formats.isodate import Date
from vault.formats.mail import Email
from vault.formats.phone import E164
from vault.formats.run import Alphanumeric, Digits
from vault.formats.spelling import Entry, Parameter, Value, build
from vault.formats.ssn import Ssn
from vault.formats.template import MAX_LENGTH, Template

MAX_WRITTEN: Final = spelling.MAX_WRITTEN  # characters of a spelling


def _card(given: Mapping[str, Value]) -> Template:
    luhn = cast("Literal['keep', 'break']", given["luhn"])
    return Card(int(given["keep_first"]), int(given["keep_last"]), luhn)


def _alphanumeric(given: Mapping[str, Value]) -> Template:
    case = cast("Literal['mixed', 'lower', 'upper']", given["case"])
    return Alphanumeric(case, int(given["min"]), int(given["max"]))


def _lengths(shortest: int) -> tuple[Parameter, Parameter]:
    return (
        Parameter("min", shortest, "the shortest value, in characters", lowest=1, highest=MAX_LENGTH),
        Parameter("max", MAX_LENGTH, "the longest value, in characters", lowest=1, highest=MAX_LENGTH),
    )


_ENTRIES: Final[tuple[Entry[Template], ...]] = (
    Entry(
        "ssn",
        "US social security number: ddd-dd-dddd or nine digits; hyphens stay in place.",
        (Parameter("strict", False, "refuse numbers that the SSA never issues (ITINs among them)"),),
        lambda given: Ssn(bool(given["strict"])),
        ("***-**-{last:4}",),
    ),
    Entry(
        "card",
        "Payment card number: 12 to 19 digits, Luhn checked; single spaces and hyphens stay in place.",
        (
            Parameter("keep_first", 0, "digits kept at the start", highest=card.LONGEST),
            Parameter("keep_last", 4, "digits kept at the end", highest=card.LONGEST),
            Parameter("luhn", "keep", "tokens pass the Luhn check, or always fail it", ("keep", "break")),
        ),
        _card,
        ("**** **** **** {last:4}", "{first:6}******{last:4}"),
    ),
    Entry(
        "digits",
        "ASCII digits and nothing else.",
        _lengths(6),
        lambda given: Digits(int(given["min"]), int(given["max"])),
        ("****{last:2}",),
    ),
    Entry(
        "alphanumeric",
        "ASCII digits and letters and nothing else.",
        (
            Parameter("case", "mixed", "which letters: both, lower, upper", ("mixed", "lower", "upper")),
            *_lengths(4),
        ),
        _alphanumeric,
        ("****{last:2}",),
    ),
    Entry(
        "e164",
        "Telephone number: `+`, country calling code, 8 to 15 digits in all; single spaces, hyphens and dots "
        "stay in place.",
        (),
        lambda _: E164(),
        ("{country} *** {last:2}", "{country}"),
    ),
    Entry(
        "iban",
        "IBAN: registered country, structure and check digits; single spaces and lower case are taken.",
        (),
        lambda _: Iban(),
        ("{country}** **** {last:4}", "{country}"),
    ),
    Entry(
        "email",
        "E-mail address: a dot-atom, `@`, a host name; letters of any script, one script between dots.",
        (),
        lambda _: Email(),
        ("{local:1}***@{domain}", "***@{domain}"),
    ),
    Entry(
        "date",
        "Date of the calendar: YYYY-MM-DD.",
        (),
        lambda _: Date(),
        ("{year}-**-**",),
    ),
    Entry(
        "text",
        "Unicode text without control characters; for protections that keep a row.",
        (Parameter("max", 200, "the longest value, in characters", lowest=1, highest=freetext.LONGEST),),
        lambda given: Text(int(given["max"])),
        ("{initials}", "{first:1}***"),
    ),
)

CATALOG: Final[Mapping[str, Entry[Template]]] = {entry.name: entry for entry in _ENTRIES}


def parse_template(spec: str) -> Template:
    """The template that a spelling names.

    Args:
        spec: `name` or `name(key=value, ...)`.

    Raises:
        BadInput: `template_invalid`, with the names of template and parameter once they are known ones.
    """
    return build(CATALOG, spec)
