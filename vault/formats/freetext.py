"""Free text: names, notes, addresses. Kept as it is; only protections with a row can hold it.

A name or a note must come back exactly as it was given, so only what cannot be part of one is refused:

- C0 and C1 controls and DEL, except tab, newline and carriage return: they steer terminals and cut
  strings, they do not spell anything;
- lone surrogates: not characters, and not encodable as UTF-8;
- the 66 noncharacters (U+FDD0 to U+FDEF and the last two of each plane), reserved for internal use
  (The Unicode Standard, section 23.7).

Taken, on purpose: zero-width joiners and non-joiners (Persian, Hindi, emoji families), bidi marks,
embeddings, overrides and isolates (U+202A to U+202E, U+2066 to U+2069; Arabic and Hebrew notes quote Latin
text with them), the byte order mark, and code points that this Python's Unicode tables do not know yet.
Whoever displays a text guards against what it can do to a display; a vault that drops a character has
lost data. Nothing is normalised.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import ClassVar, Final

from vault.errors import ValueRefused
from vault.formats.spelling import Entry, Parameter
from vault.formats.stored import Stored, no_domain, whole
from vault.formats.template import Domain, Shape, Template, require_length, spell

LONGEST: Final = 10_000  # characters that `max` can be set to; longer texts are `encrypted` fields

_PLANE_ENDS: Final = "".join(chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_REFUSED: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef" + _PLANE_ENDS + "]",
)
_SAMPLES: Final = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 .,'-/()@",
    "áéíñöüßøłžğ e\u0301\u0308",
    "王小明山田太郎김영희",
    "محمد\u200cفاطمة\u200fשלום\u2067\u2069",  # noqa: RUF001 - Arabic and Hebrew are meant
    "\U0001f469\u200d\U0001f467\U0001f1ea\U0001f1fa\t\n\r",
)


@dataclass(frozen=True, slots=True)
class Text(Stored):
    """Unicode text. FF1 cannot transform it, so its tokens do not look like it.

    Args:
        longest: characters, that is code points (`max`).
    """

    longest: int = 200

    parts: ClassVar[frozenset[str]] = frozenset(("initials",))

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        return spell("text", max=self.longest)

    def parse(self, value: str) -> Shape:
        """Takes a value as it is. See `Template.parse`."""
        require_length(value, 1, self.longest)
        if value.isascii() and value.isprintable():  # as most are; four times as fast as the search
            return whole(value)
        refused = _REFUSED.search(value)
        if refused is not None:
            raise ValueRefused("value_alphabet", position=refused.start())
        return whole(value)

    def domain(self, length: int | None = None) -> Domain:
        """Size 0: there is none that FF1 could use."""
        count = self.longest if length is None else length
        if not 1 <= count <= self.longest:
            raise ValueRefused("value_length", minimum=1, maximum=self.longest)
        return no_domain(count, "any characters; format-preserving encryption has no use for it")

    def smallest(self) -> Domain:
        """Size 0, as all of them."""
        return self.domain(1)

    def sample(self, rng: random.Random) -> str:
        """Characters of one script, then perhaps of another."""
        length = rng.randint(1, self.longest if rng.random() < 0.1 else min(self.longest, 24))
        pool = rng.choice(_SAMPLES) + rng.choice(_SAMPLES)
        return "".join(rng.choices(pool, k=length))


ENTRY: Final[Entry[Template]] = Entry(
    "text",
    "Unicode text without control characters; for protections that keep a row.",
    (Parameter("max", 200, "the longest value, in characters", lowest=1, highest=LONGEST),),
    lambda given: Text(int(given["max"])),
    ("{initials}", "{first:1}***"),
    ("text(max=20)",),
)
