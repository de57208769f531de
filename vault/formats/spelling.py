"""Spellings: `name` or `name(key=value, ...)`, the one way to name a template or a surrogate.

Values are whole numbers, 'words' in single quotes, `true` and `false`. Names and keys are lower-case
words. Whatever is unknown, repeated, missing or out of range is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from vault.errors import BadInput
from vault.formats.template import MAX_SPEC

Value = int | bool | str
Built = TypeVar("Built")

MAX_WRITTEN: Final = 4 * MAX_SPEC  # characters; a written spelling may be wider than the canonical one

_SPEC: Final = re.compile(r"([a-z][a-z0-9_]{0,31})(?:\(([^()]*)\))?")
_ARGUMENT: Final = re.compile(
    r" *([a-z][a-z0-9_]{0,31}) *= *(?:(0|-?[1-9][0-9]{0,17})|(true|false)|'([a-z0-9][a-z0-9_.:-]{0,62})') *",
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter: its default gives the type; `choices`, `form` or the bounds what it may be."""

    name: str
    default: Value
    description: str
    choices: tuple[str, ...] = ()
    lowest: int = 0
    highest: int = 0
    form: re.Pattern[str] | None = None  # of a word that is free within bounds
    required: bool = False  # the default only gives the type

    def takes(self, value: Value) -> bool:
        """Whether the parameter may have this value; 1 is not true and true is not 1."""
        if type(value) is not type(self.default):
            return False
        if isinstance(value, str):
            return self.form.fullmatch(value) is not None if self.form else value in self.choices
        return isinstance(value, bool) or self.lowest <= value <= self.highest


@dataclass(frozen=True, slots=True)
class Entry(Generic[Built]):
    """What a name stands for, described well enough to generate its page from."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    build: Callable[[Mapping[str, Value]], Built]
    masks: tuple[str, ...] = ()  # of a template: patterns that suit its values
    examples: tuple[str, ...] = ()  # spellings with parameters, one for each way to use it


def build(entries: Mapping[str, Entry[Built]], spec: str) -> Built:
    """What a spelling names.

    Args:
        entries: by name.
        spec: `name` or `name(key=value, ...)`.

    Raises:
        BadInput: `template_invalid`, with the names of entry and parameter once they are known ones.
    """
    match = _SPEC.fullmatch(spec) if len(spec) <= MAX_WRITTEN else None
    entry = None if match is None else entries.get(match[1])
    if match is None or entry is None:
        raise BadInput("template_invalid")
    given = {} if match[2] is None else _arguments(entry, match[2])
    for parameter in entry.parameters:
        if parameter.required and parameter.name not in given:
            raise BadInput("template_invalid", template=entry.name, parameter=parameter.name)
    return entry.build({parameter.name: parameter.default for parameter in entry.parameters} | given)


def _arguments(entry: Entry[Built], written: str) -> dict[str, Value]:
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
