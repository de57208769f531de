"""Templates of a schema's own: a pattern, whose groups are transformed, and perhaps an alphabet.

What stands in a group and may be another character is transformed within the characters that may stand there;
all else is kept. Values have one reading (`pattern`), so a token has the reading of its value: it matches the
pattern, in the same groups. RE2 reads every value and every token as well, and what the two read differently
is refused. RE2 takes time in proportion to a value, whatever the pattern. Source: RE2, syntax page.

The spelling is the template's name and a digest of its definition: pattern, characters of the alphabet,
version of these rules. It goes into every tweak, so a template that was changed is another one.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from vault.crypto.numerals import MAX_RADIX
from vault.errors import ValueRefused
from vault.extras import load
from vault.formats.alphabet import (
    ALNUM_LOWER,
    ALNUM_UPPER,
    ALPHANUMERIC,
    DIGITS,
    LOWER,
    UPPER,
    Alphabet,
)
from vault.formats.mixed import shape_of, text_of
from vault.formats.pattern import (
    Graph,
    Letter,
    PatternRefused,
    Ranges,
    characters,
    is_ambiguous,
    read_pattern,
    size,
    tidy,
)
from vault.formats.template import MAX_LENGTH, Domain, Reversible, Shape, bits_for, require_length

LONGEST_NAME: Final = 40  # characters, so that the spelling has at most 64
DIGEST: Final = 12  # hexadecimal digits
NAMED: Final[Mapping[str, Alphabet]] = {
    "digits": DIGITS,
    "lower": LOWER,
    "upper": UPPER,
    "alphanumeric-lower": ALNUM_LOWER,
    "alphanumeric-upper": ALNUM_UPPER,
    "alphanumeric": ALPHANUMERIC,
}
"""The alphabets that have a name."""

_RULES: Final = 1
_KEPT: Final = -1
_STYLE: Final = 0x100  # the first of the characters that stand for alphabets in a style
_RE2_MEMORY: Final = 1 << 20  # bytes
_SAMPLED: Final = 24  # characters, from where on a sample hurries to its end


@dataclass(frozen=True, slots=True)
class _Wide(Container[str]):
    """A set of very many characters."""

    ranges: Ranges

    def __contains__(self, character: object) -> bool:
        return isinstance(character, str) and any(low <= ord(character) <= high for low, high in self.ranges)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a pattern and an alphabet come to.

    Attributes:
        takes: the characters of each position.
        kinds: the number of each position's alphabet; `_KEPT` for those that are kept.
        alphabets: in the order in which the pattern has them.
        sizes: by length of a value, the fewest values that look like one.
        ahead: how many characters each position is from the nearest end.
    """

    graph: Graph
    takes: tuple[Container[str], ...]
    kinds: tuple[int, ...]
    alphabets: tuple[Alphabet, ...]
    sizes: Mapping[int, int]
    ahead: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Custom(Reversible):
    """A template of a schema. Make it with `custom`.

    Attributes:
        alphabet: the characters that are transformed, in order; empty: those that the pattern takes.
        spec: the name and a digest of the definition.
    """

    name: str
    pattern: str = field(repr=False)
    alphabet: str = field(repr=False)
    spec: str
    _reading: _Reading = field(repr=False, compare=False)
    _re2: Any = field(repr=False, compare=False)

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`."""
        require_length(value, 1, MAX_LENGTH)
        path = self._path(value)
        self._require_same(value, path)
        kinds = self._reading.kinds
        free = [
            (kinds[position], one) for position, one in zip(path, value, strict=True) if kinds[position] >= 0
        ]
        kept = [(place, value[place]) for place, position in enumerate(path) if kinds[position] == _KEPT]
        alphabets = self._reading.alphabets
        style = "".join([chr(_STYLE + kind) for kind, _ in free]) if len(alphabets) > 1 else ""
        text = "".join([one for _, one in free])
        return shape_of([alphabets[kind] for kind, _ in free], text, len(value), tuple(kept), style)

    def groups(self, value: str) -> tuple[str | None, ...]:
        """What each group holds of a value; None for one that is missing.

        Raises:
            ValueRefused: as `parse`.
        """
        self.parse(value)
        found: tuple[str | None, ...] = self._re2.fullmatch(value).groups()
        return found

    @property
    def encode(self) -> str:
        """The format of tokens: none, they keep the layout of their values."""
        return ""

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value.

        Raises:
            ValueRefused: `value_format`, it would not match the pattern.
        """
        alphabets = [self._reading.alphabets[ord(one) - _STYLE] for one in shape.style]
        token = shape.fill(text_of(alphabets, shape, text))
        if self._re2.fullmatch(token) is None:
            raise ValueRefused("value_format")
        return token

    def domain(self, length: int | None = None) -> Domain:
        """The fewest that look like one of so many characters, kept ones counted; the shortest is usual."""
        sizes = self._reading.sizes
        count = min(sizes) if length is None else length
        if count not in sizes:
            raise ValueRefused("value_length", minimum=min(sizes), maximum=max(sizes))
        note = f"{count} characters, kept ones among them"
        return Domain(2, bits_for(sizes[count]), sizes[count], note)

    def smallest(self) -> Domain:
        """That of the length which has the smallest."""
        sizes = self._reading.sizes
        return self.domain(min(sizes, key=lambda length: (sizes[length], length)))

    def sample(self, rng: random.Random) -> str:
        """A random path through the pattern, mostly a short one."""
        reading = self._reading
        graph = reading.graph
        out: list[str] = []
        front, may_end = graph.first, False
        while True:
            if may_end and (not front or len(out) >= _SAMPLED or rng.random() < 0.4):
                return "".join(out)
            positions = sorted(front)
            if len(out) >= _SAMPLED:
                positions = [min(positions, key=lambda position: reading.ahead[position])]
            position = rng.choice(positions)
            out.append(self._one(rng, position))
            front, may_end = graph.follow[position], position in graph.last

    def _one(self, rng: random.Random, position: int) -> str:
        kind = self._reading.kinds[position]
        if kind >= 0:
            return rng.choice(self._reading.alphabets[kind].characters)
        ranges = self._reading.graph.letters[position].ranges
        plain = [(max(low, 0x20), min(high, 0x7E)) for low, high in ranges if low <= 0x7E and high >= 0x20]
        return chr(rng.randint(*rng.choice(plain or ranges)))

    def _path(self, value: str) -> list[int]:
        """The position of each character; all paths have the same groups and alphabets.

        Raises:
            ValueRefused: `value_alphabet`, `value_format`.
        """
        graph, takes = self._reading.graph, self._reading.takes
        fronts: list[list[int]] = []
        front = graph.first
        for place, character in enumerate(value):
            here = [position for position in front if character in takes[position]]
            if not here:
                raise self._refusal(value, place)
            fronts.append(here)
            front = graph.follow[here[0]]
            if len(here) > 1:
                front = front.union(*(graph.follow[position] for position in here[1:]))
        ends = [position for position in fronts[-1] if position in graph.last]
        if not ends:
            raise ValueRefused("value_format")
        path = [min(ends)]
        for here in reversed(fronts[:-1]):
            path.append(next(position for position in here if path[-1] in graph.follow[position]))
        path.reverse()
        return path

    def _refusal(self, value: str, place: int) -> ValueRefused:
        """Why a value ends at a character: nothing takes it, or only the alphabet does not."""
        character = value[place]
        strange = not any(character in takes for takes in self._reading.takes)
        if not strange and self.alphabet:
            try:
                strange = self._re2.fullmatch(value) is not None
            except UnicodeEncodeError:
                strange = False
        return ValueRefused("value_alphabet", position=place) if strange else ValueRefused("value_format")

    def _require_same(self, value: str, path: list[int]) -> None:
        """RE2 finds the same groups.

        Raises:
            ValueRefused: `value_format`.
        """
        match = self._re2.fullmatch(value)
        letters = self._reading.graph.letters
        groups = [letters[position].group for position in path]
        for group in range(1, self._reading.graph.groups + 1):
            count = groups.count(group)
            start = groups.index(group) if count else -1
            if match is None or match.span(group) != (start, start + count if count else -1):
                raise ValueRefused("value_format")


@lru_cache(maxsize=256)
def custom(name: str, pattern: str, alphabet: str = "") -> Custom:
    """The template of a definition.

    Args:
        name: at most 40 characters.
        pattern: see `pattern`.
        alphabet: 2 to 65,536 distinct characters, in order; empty: those that the pattern takes.

    Raises:
        PatternRefused: why it is none, in words.
        Misconfigured: `extra_missing`, RE2 is not installed (`coatcheck[re2]`).
    """
    if len(name) > LONGEST_NAME:
        raise PatternRefused(f"a template's name has at most {LONGEST_NAME} characters")
    if alphabet and (not 2 <= len(alphabet) <= MAX_RADIX or len(set(alphabet)) != len(alphabet)):
        raise PatternRefused(f"an alphabet has 2 to {MAX_RADIX:,} distinct characters")
    compiled = _compiled(pattern)
    reading = _read(read_pattern(pattern), alphabet)
    digest = digest_of({"alphabet": alphabet, "pattern": pattern})
    return Custom(name, pattern, alphabet, f"custom({name}, {digest})", reading, compiled)


def digest_of(definition: dict[str, str]) -> str:
    """What a definition is told by in a spelling: of its members, and of the version of these rules."""
    written = json.dumps(
        {**definition, "rules": _RULES}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(written.encode()).hexdigest()[:DIGEST]


def _compiled(pattern: str) -> Any:
    re2 = load("re2", "re2")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _RE2_MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise PatternRefused("is not RE2, or too large for it") from None


def _read(graph: Graph, alphabet: str) -> _Reading:
    """What a graph comes to, with the characters of an alphabet in the groups.

    Raises:
        PatternRefused: it leaves nothing to transform, or values that have two readings.
    """
    alphabets: dict[str, Alphabet] = {}
    kinds: list[int] = []
    letters: list[Letter] = []
    takes: list[Container[str]] = []
    chosen_of: dict[Ranges, str] = {}
    tidied: dict[str, Ranges] = {}
    sets: dict[Ranges, Container[str]] = {}
    for letter in graph.letters:
        ranges, group = letter
        if group and size(ranges) > 1:
            if ranges not in chosen_of:
                chosen_of[ranges] = _chosen(ranges, alphabet)
            chosen = chosen_of[ranges]
            if chosen not in tidied:
                tidied[chosen] = tidy([(ord(one), ord(one)) for one in chosen])
            ranges = tidied[chosen]
        if group and size(ranges) > 1:
            if chosen not in alphabets:
                alphabets[chosen] = Alphabet(f"group {group}", chosen)
            kinds.append(list(alphabets).index(chosen))
        else:
            kinds.append(_KEPT)
        if ranges not in sets:
            sets[ranges] = frozenset(characters(ranges)) if size(ranges) <= MAX_RADIX else _Wide(ranges)
        letters.append(Letter(ranges, group))
        takes.append(sets[ranges])
    if not alphabets:
        raise PatternRefused("leaves nothing to transform: its groups take one character in each place")
    whole = Graph(tuple(letters), graph.first, graph.follow, graph.last, graph.groups)
    if is_ambiguous(whole, [(letter.group, kind) for letter, kind in zip(letters, kinds, strict=True)]):
        raise PatternRefused(
            "can be read in two ways: say with other characters where a group begins and ends"
        )
    ordered = tuple(alphabets.values())
    sizes = _sizes(whole, [1 if kind == _KEPT else ordered[kind].radix for kind in kinds])
    if not sizes:
        raise PatternRefused(f"has no value of at most {MAX_LENGTH} characters")
    return _Reading(whole, tuple(takes), tuple(kinds), ordered, sizes, _ahead(whole))


def _chosen(ranges: Ranges, alphabet: str) -> str:
    """The characters of a place of a group, in the order of the alphabet if there is one."""
    if alphabet:
        chosen = "".join([one for one in alphabet if any(low <= ord(one) <= high for low, high in ranges)])
        if not chosen:
            raise PatternRefused("a group takes no character of the alphabet")
        return chosen
    if size(ranges) > MAX_RADIX:
        raise PatternRefused(f"a group takes more than {MAX_RADIX:,} characters in a place: give an alphabet")
    return "".join(characters(ranges))


def _sizes(graph: Graph, radices: list[int]) -> dict[int, int]:
    """By length, the fewest values that share a path."""
    sizes: dict[int, int] = {}
    front = {position: radices[position] for position in graph.first}
    for length in range(1, MAX_LENGTH + 1):
        ends = [count for position, count in front.items() if position in graph.last]
        if ends:
            sizes[length] = min(ends)
        new: dict[int, int] = {}
        for position, count in front.items():
            for after in graph.follow[position]:
                made = count * radices[after]
                if made < new.get(after, made + 1):
                    new[after] = made
        front = new
    return sizes


def _ahead(graph: Graph) -> tuple[int, ...]:
    """How many characters each position is from the nearest end."""
    ahead = dict.fromkeys(graph.last, 0)
    changed = True
    while changed:
        changed = False
        for position, follow in enumerate(graph.follow):
            nearest = min((ahead[after] + 1 for after in follow if after in ahead), default=None)
            if nearest is not None and nearest < ahead.get(position, nearest + 1):
                ahead[position] = nearest
                changed = True
    return tuple(ahead.get(position, 0) for position in range(len(graph.follow)))
