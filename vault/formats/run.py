"""Runs of characters: one alphabet and nothing else, all transformed, within a shortest and a longest."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, cast

from vault.errors import ValueRefused
from vault.formats.alphabet import (
    ALNUM_LOWER,
    ALNUM_UPPER,
    ALPHANUMERIC,
    DIGITS,
    HEX_LOWER,
    HEX_MIXED,
    HEX_UPPER,
    Alphabet,
)
from vault.formats.spelling import Entry, Parameter, Value
from vault.formats.template import (
    MAX_LENGTH,
    Domain,
    Reversible,
    Shape,
    Template,
    parameter_invalid,
    require_characters,
    require_length,
    spell,
)

_CASES: Final = {"mixed": ALPHANUMERIC, "lower": ALNUM_LOWER, "upper": ALNUM_UPPER}
_HEX_CASES: Final = {"mixed": HEX_MIXED, "lower": HEX_LOWER, "upper": HEX_UPPER}


class _Run(Reversible):
    """What templates of runs share; a class of its own names the alphabet and the lengths."""

    __slots__ = ()

    classes: ClassVar[bytes | None] = b""

    shortest: int
    longest: int

    @property
    def alphabet(self) -> Alphabet:
        """The characters of a value."""
        raise NotImplementedError

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`."""
        require_length(value, self.shortest, self.longest)
        require_characters(value, self.alphabet)
        return Shape(self.alphabet, value, (), len(value))

    def domain(self, length: int | None = None) -> Domain:
        """radix^length; the shortest length counts as typical, since it decides what is safe."""
        count = self.shortest if length is None else length
        if not self.shortest <= count <= self.longest:
            raise ValueRefused("value_length", minimum=self.shortest, maximum=self.longest)
        radix = self.alphabet.radix
        return Domain(radix, count, radix**count, f"{count} characters, all transformed")

    def smallest(self) -> Domain:
        """That of the shortest value."""
        return self.domain(self.shortest)

    def sample(self, rng: random.Random) -> str:
        """Random characters; mostly short, sometimes of any length."""
        longest = self.longest if rng.random() < 0.1 else min(self.longest, self.shortest + 16)
        return "".join(rng.choices(self.alphabet.characters, k=rng.randint(self.shortest, longest)))


@dataclass(frozen=True, slots=True)
class Digits(_Run):
    """ASCII digits.

    Args:
        shortest: characters (`min`).
        longest: characters (`max`).

    Raises:
        BadInput: `template_invalid`, min is above max.
    """

    shortest: int = 6
    longest: int = 256

    def __post_init__(self) -> None:
        if self.shortest > self.longest:
            raise parameter_invalid("digits", "min")

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("digits", min=self.shortest, max=self.longest)

    @property
    def alphabet(self) -> Alphabet:
        """The ten digits."""
        return DIGITS


@dataclass(frozen=True, slots=True)
class Alphanumeric(_Run):
    """ASCII digits and letters of one case or of both. Case is data: nothing is folded.

    Args:
        case: which letters; the other case is refused.
        shortest: characters (`min`).
        longest: characters (`max`).

    Raises:
        BadInput: `template_invalid`, min is above max.
    """

    case: Literal["mixed", "lower", "upper"] = "mixed"
    shortest: int = 4
    longest: int = 256

    def __post_init__(self) -> None:
        if self.shortest > self.longest:
            raise parameter_invalid("alphanumeric", "min")

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("alphanumeric", case=self.case, min=self.shortest, max=self.longest)

    @property
    def alphabet(self) -> Alphabet:
        """Digits, and the letters of the case."""
        return _CASES[self.case]


@dataclass(frozen=True, slots=True)
class Hex(_Run):
    """Hexadecimal digits, an even number of them or an odd one. Case is data: nothing is folded.

    Args:
        case: of letters; the other case is refused. With both, the letters of tokens are of both.
        shortest: characters (`min`).
        longest: characters (`max`).

    Raises:
        BadInput: `template_invalid`, min is above max.
    """

    case: Literal["mixed", "lower", "upper"] = "lower"
    shortest: int = 6
    longest: int = 256

    def __post_init__(self) -> None:
        if self.shortest > self.longest:
            raise parameter_invalid("hex", "min")

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("hex", case=self.case, min=self.shortest, max=self.longest)

    @property
    def alphabet(self) -> Alphabet:
        """The digits, and the letters of the case."""
        return _HEX_CASES[self.case]


def _lengths(shortest: int) -> tuple[Parameter, Parameter]:
    return (
        Parameter("min", shortest, "the shortest value, in characters", lowest=1, highest=MAX_LENGTH),
        Parameter("max", MAX_LENGTH, "the longest value, in characters", lowest=1, highest=MAX_LENGTH),
    )


def _alphanumeric(given: Mapping[str, Value]) -> Alphanumeric:
    case = cast("Literal['mixed', 'lower', 'upper']", given["case"])
    return Alphanumeric(case, int(given["min"]), int(given["max"]))


def _hex(given: Mapping[str, Value]) -> Hex:
    case = cast("Literal['mixed', 'lower', 'upper']", given["case"])
    return Hex(case, int(given["min"]), int(given["max"]))


DIGITS_ENTRY: Final[Entry[Template]] = Entry(
    "digits",
    "ASCII digits and nothing else.",
    _lengths(6),
    lambda given: Digits(int(given["min"]), int(given["max"])),
    ("****{last:2}",),
    ("digits(min=1, max=24)",),
)

ALPHANUMERIC_ENTRY: Final[Entry[Template]] = Entry(
    "alphanumeric",
    "ASCII digits and letters and nothing else.",
    (
        Parameter("case", "mixed", "which letters: both, lower, upper", ("mixed", "lower", "upper")),
        *_lengths(4),
    ),
    _alphanumeric,
    ("****{last:2}",),
    ("alphanumeric(case='lower', min=1, max=30)", "alphanumeric(case='upper', min=4)"),
)

HEX_ENTRY: Final[Entry[Template]] = Entry(
    "hex",
    "Hexadecimal digits and nothing else.",
    (
        Parameter("case", "lower", "of letters: lower, upper, both", ("lower", "upper", "mixed")),
        *_lengths(6),
    ),
    _hex,
    ("****{last:2}",),
    ("hex(case='upper', min=1, max=40)", "hex(case='mixed')"),
)
