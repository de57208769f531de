"""Masks: what of a value may be shown, e.g. `***-**-{last:4}`.

`{first:N}` and `{last:N}`, N from 1 to 8 and each at most once, stand for the first and last letters and
digits of the value; separators do not count, so the last four of `123-45-6789` are `6789`. All else is
shown as it stands. A value so short that a mask would show all of it shows none of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vault.errors import BadInput

MAX_PATTERN: Final = 64  # characters
HIDDEN: Final = "*"

_PLACE: Final = re.compile(r"\{(first|last):([1-8])\}")


@dataclass(frozen=True, slots=True)
class Mask:
    """A parsed mask; make it with `Mask.parse`."""

    pattern: str
    first: int  # letters and digits shown from the start; 0: none
    last: int  # and from the end

    @classmethod
    def parse(cls, pattern: str) -> Mask:
        """The mask that a pattern describes.

        Raises:
            BadInput: `template_invalid`: empty, over 64 characters, unprintable, a brace outside
                `{first:N}` and `{last:N}`, or one of these given twice.
        """
        places = _PLACE.findall(pattern[:MAX_PATTERN])
        counts = {kind: int(count) for kind, count in places}
        literal = _PLACE.sub("", pattern[:MAX_PATTERN])
        well_formed = (
            0 < len(pattern) <= MAX_PATTERN
            and pattern.isprintable()
            and "{" not in literal
            and "}" not in literal
            and len(counts) == len(places)
        )
        if not well_formed:
            raise BadInput("template_invalid")
        return cls(pattern, counts.get("first", 0), counts.get("last", 0))

    def apply(self, value: str) -> str:
        """The masked value: at most `first + last` of its letters and digits, and never all of them."""
        shown = [character for character in value if character.isalnum()]
        if len(shown) <= self.first + self.last:
            shown = [HIDDEN] * (self.first + self.last)
        parts = {"first": "".join(shown[: self.first]), "last": "".join(shown[len(shown) - self.last :])}
        return _PLACE.sub(lambda place: parts[place[1]], self.pattern)
