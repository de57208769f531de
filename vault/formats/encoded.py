"""Templates of a schema's own with an output format: values of several layouts, tokens of one.

A value is read by the pattern. What its groups hold is written into the format, `$1-$2-$3`, and that is what
is transformed: equal numbers have equal tokens, however they were written, and what comes back is in the
format, since a token cannot say how its value was. The format with the groups' patterns in it is a pattern
of its own, read by the same rules, so a token is read back in one way or the template is refused.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from vault.errors import ValueRefused
from vault.formats.custom import Custom, custom, digest_of
from vault.formats.pattern import MAX_PATTERN, PatternRefused
from vault.formats.template import Domain, Reversible, Shape

_PLACE: Final = re.compile(r"\$(?:([0-9]{1,2})|(\$))")


@dataclass(frozen=True, slots=True)
class Encoded(Reversible):
    """A template with an output format. Make it with `encoded`.

    Attributes:
        encode: the format.
        spec: the name and a digest of the definition.
    """

    encode: str = field(repr=False)
    spec: str
    _source: Custom = field(repr=False, compare=False)
    _target: Custom = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """The template's."""
        return self._source.name

    @property
    def pattern(self) -> str:
        """That of values."""
        return self._source.pattern

    @property
    def alphabet(self) -> str:
        """That of the groups."""
        return self._source.alphabet

    def parse(self, value: str) -> Shape:
        """Takes a value apart, as if it were written in the format. See `Template.parse`."""
        return self._target.parse(self.canonical(value))

    def parse_token(self, token: str) -> Shape:
        """Takes a token apart: it is written in the format."""
        return self._target.parse(token)

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the format."""
        return self._target.render_token(shape, text)

    def render_value(self, shape: Shape, text: str) -> str:
        """The value, in the format."""
        return self._target.render_token(shape, text)

    def canonical(self, value: str) -> str:
        """The value in the format.

        Raises:
            ValueRefused: what the pattern refuses; `value_format`: a group is missing.
        """
        groups = self._source.groups(value)

        def fill(place: re.Match[str]) -> str:
            text = "$" if place[2] else groups[int(place[1]) - 1]
            if text is None:
                raise ValueRefused("value_format")
            return text

        return _PLACE.sub(fill, self.encode)

    def domain(self, length: int | None = None) -> Domain:
        """The fewest that look like one of so many characters in the format."""
        return self._target.domain(length)

    def smallest(self) -> Domain:
        """That of the length which has the smallest."""
        return self._target.smallest()

    def sample(self, rng: random.Random) -> str:
        """A value with all groups, in any layout."""
        value = self._source.sample(rng)
        while None in self._source.groups(value):
            value = self._source.sample(rng)
        return value


@lru_cache(maxsize=256)
def encoded(name: str, pattern: str, alphabet: str, encode: str) -> Encoded:
    """The template of a definition.

    Args:
        name, pattern, alphabet: as `custom` takes them.
        encode: each group of the pattern once, `$1` for the first; `$$` is a dollar sign.

    Raises:
        PatternRefused: why it is none, in words.
        Misconfigured: `extra_missing`, RE2 is not installed (`coatcheck[re2]`).
    """
    source = custom(name, pattern, alphabet)
    if not encode.isprintable() or len(encode) > MAX_PATTERN:
        raise PatternRefused(f"the format has at most {MAX_PATTERN} printable characters")
    groups = _groups(pattern)
    used = [int(place[1]) for place in _PLACE.finditer(encode) if place[1]]
    if sorted(used) != list(range(1, len(groups) + 1)) or "$" in _PLACE.sub("", encode):
        raise PatternRefused("the format has each group once: $1, $2 and so on, and $$ for a dollar sign")
    parts: list[str] = []
    end = 0
    for place in _PLACE.finditer(encode):
        parts.append(_literal(encode[end : place.start()]))
        parts.append("\\$" if place[2] else f"({groups[int(place[1]) - 1]})")
        end = place.end()
    parts.append(_literal(encode[end:]))
    try:
        target = custom(name, "".join(parts), alphabet)
    except PatternRefused as refused:
        raise PatternRefused(f"tokens in the format: {refused}") from None
    made = digest_of({"alphabet": alphabet, "encode": encode, "pattern": pattern})
    return Encoded(encode, f"custom({name}, {made})", source, target)


def _literal(text: str) -> str:
    """A text as a pattern that matches it alone."""
    return "".join(
        one if one.isalnum() or one in " -_" else f"\\{one}" if one.isascii() else one for one in text
    )


def _groups(pattern: str) -> list[str]:
    """What stands between the parentheses of each capturing group; the pattern is one that RE2 takes."""
    found: list[str] = []
    starts: list[int | None] = []  # of the open parentheses; None for those that do not capture
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 1
        elif character == "[":
            at = _end_of_class(pattern, at)
        elif character == "(":
            named = re.compile(r"\(\?P?<\w+>").match(pattern, at)
            if named:
                starts.append(named.end())
            else:
                starts.append(None if pattern.startswith("(?", at) else at + 1)
        elif character == ")":
            start = starts.pop()
            if start is not None:
                found.append(pattern[start:at])
        at += 1
    return found


def _end_of_class(pattern: str, at: int) -> int:
    """Where the `]` is that ends a class; one that comes first in it does not."""
    at += 2 if pattern.startswith("[^", at) else 1
    first = at
    while at < len(pattern) and (pattern[at] != "]" or at == first):
        if pattern[at] == "\\":
            at += 1
        at += 1
    return at
