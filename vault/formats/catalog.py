"""The catalogue of templates and the one way to name them: `name` or `name(key=value, ...)`.

Values are whole numbers, 'words' in single quotes, `true` and `false`. Names and keys are lower-case
words. Whatever is unknown, repeated or out of range is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast

from vault.errors import BadInput
from vault.formats import card, freetext
from vault.formats.card import Card
from vault.formats.freetext import Text
from vault.formats.run import Alphanumeric, Digits
from vault.formats.ssn import Ssn
from vault.formats.template import MAX_LENGTH, MAX_SPEC, Template

Value = int | bool | str

MAX_WRITTEN: Final = 4 * MAX_SPEC  # characters; a written spelling may be wider than the canonical one

_SPEC: Final = re.compile(r"([a-z][a-z0-9_]{0,31})(?:\(([^()]*)\))?")
_ARGUMENT: Final = re.compile(
    r" *([a-z][a-z0-9_]{0,31}) *= *(?:(0|[1-9][0-9]{0,5})|(true|false)|'([a-z][a-z0-9_-]{0,31})') *",
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a template: its default gives the type, `choices` or the bounds what it may be."""

    name: str
    default: Value
    description: str
    choices: tuple[str, ...] = ()
    lowest: int = 0
    highest: int = 0

    def takes(self, value: Value) -> bool:
        """Whether the parameter may have this value; 1 is not true and true is not 1."""
        if type(value) is not type(self.default):
            return False
        if isinstance(value, str):
            return value in self.choices
        return isinstance(value, bool) or self.lowest <= value <= self.highest


@dataclass(frozen=True, slots=True)
class Entry:
    """A template of the catalogue, described well enough to generate its page from."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    build: Callable[[Mapping[str, Value]], Template]


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


_ENTRIES: Final = (
    Entry(
        "ssn",
        "US social security number: ddd-dd-dddd or nine digits; hyphens stay in place.",
        (Parameter("strict", False, "refuse numbers that the SSA never issues (ITINs among them)"),),
        lambda given: Ssn(bool(given["strict"])),
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
    ),
    Entry(
        "digits",
        "ASCII digits and nothing else.",
        _lengths(6),
        lambda given: Digits(int(given["min"]), int(given["max"])),
    ),
    Entry(
        "alphanumeric",
        "ASCII digits and letters and nothing else.",
        (
            Parameter("case", "mixed", "which letters: both, lower, upper", ("mixed", "lower", "upper")),
            *_lengths(4),
        ),
        _alphanumeric,
    ),
    Entry(
        "text",
        "Unicode text without control characters; for protections that keep a row.",
        (Parameter("max", 200, "the longest value, in characters", lowest=1, highest=freetext.LONGEST),),
        lambda given: Text(int(given["max"])),
    ),
)

CATALOG: Final[Mapping[str, Entry]] = {entry.name: entry for entry in _ENTRIES}


def parse_template(spec: str) -> Template:
    """The template that a spelling names.

    Args:
        spec: `name` or `name(key=value, ...)`.

    Raises:
        BadInput: `template_invalid`, with the names of template and parameter once they are known ones.
    """
    match = _SPEC.fullmatch(spec) if len(spec) <= MAX_WRITTEN else None
    entry = None if match is None else CATALOG.get(match[1])
    if match is None or entry is None:
        raise BadInput("template_invalid")
    given = {parameter.name: parameter.default for parameter in entry.parameters}
    if match[2] is not None:
        given.update(_arguments(entry, match[2]))
    return entry.build(given)


def _arguments(entry: Entry, written: str) -> dict[str, Value]:
    """The arguments between the parentheses, each known, of the right kind and given once."""
    parameters = {parameter.name: parameter for parameter in entry.parameters}
    given: dict[str, Value] = {}
    for part in written.split(","):
        match = _ARGUMENT.fullmatch(part)
        if match is None or match[1] not in parameters:
            raise BadInput("template_invalid", template=entry.name)
        key, number, flag, word = match.groups()
        value: Value = int(number) if number else flag == "true" if flag else word
        if key in given or not parameters[key].takes(value):
            raise BadInput("template_invalid", template=entry.name, parameter=key)
        given[key] = value
    return given
