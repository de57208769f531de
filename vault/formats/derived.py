"""What may be told of a value without showing it: a part, or whether it passes a test.

- `age_at_least`, with `arg` years: whether somebody born on that date is as old today.
- `year`, `domain`, `country`, `last4`: a part, as the mask of that name shows it (`vault.formats.mask`).
- `equals`: of two tokens, whether they stand for one value, as the field compares its values.
"""

from __future__ import annotations

import datetime
from typing import Final

from vault.errors import BadInput, ValueRefused
from vault.formats.mask import NOTHING_ELSE, Mask
from vault.formats.template import Template

AGE: Final = "age_at_least"
PARTS: Final = {
    "country": Mask.parse("{country}"),
    "domain": Mask.parse("{domain}"),
    "last4": Mask.parse("{last:4}"),
    "year": Mask.parse("{year}"),
}
"""Functions that show a part of a value, and the mask that does."""

EQUALS: Final = "equals"
FUNCTIONS: Final = (AGE, EQUALS, *PARTS)
MAX_AGE: Final = 150
_DATED: Final = "year"  # the part that all values with a date have
_ALWAYS: Final = frozenset({EQUALS, "last4"})


def check_derived(function: str, arg: int | None, template: Template | None) -> None:
    """Whether a function can be asked of the values of a template.

    Args:
        template: None for values that may look like anything.

    Raises:
        BadInput: `operation_unsupported`: no such function, or of other values; `limit_invalid`.
    """
    if function not in FUNCTIONS:
        raise BadInput("operation_unsupported", member="derive")
    if (function == AGE) != (arg is not None):
        raise BadInput("limit_invalid", member="arg")
    if arg is not None and not 1 <= arg <= MAX_AGE:
        raise BadInput("limit_invalid", member="arg", most=MAX_AGE)
    part = _DATED if function == AGE else function
    parts = frozenset[str]() if template is None else template.parts
    if part not in parts | _ALWAYS:
        raise BadInput("operation_unsupported", member="derive")


def derive(function: str, arg: int | None, value: str, today: datetime.date) -> str | bool:
    """What a function tells of a value; not `equals`, which is asked of two.

    Raises:
        ValueRefused: `value_calendar`: the value has no date.
    """
    if function != AGE:
        return PARTS[function].apply(value, NOTHING_ELSE)
    try:
        born = datetime.date.fromisoformat(value[:10])
    except ValueError:
        raise ValueRefused("value_calendar") from None
    had = (today.month, today.day) >= (born.month, born.day)
    return today.year - born.year - (not had) >= (arg or 0)
