"""Patterns of custom templates: which characters of a value may stand where, and in which group.

A pattern is a subset of RE2's syntax that stands for the whole value: characters, classes, escapes, the dot,
groups, alternatives and counts. It becomes a graph of positions, each with the characters that it takes and
its capturing group; a value is a path through them. Every value shall have one reading: if two paths for one
text put a character into different groups or alphabets, the pattern is refused. So a character that becomes
another of its alphabet leaves all others where they are, and that is why tokens match again.

Source: V. M. Glushkov, The abstract theory of automata (1961), for the graph; RE2's syntax page for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, NamedTuple

MAX_PATTERN: Final = 256  # characters
MAX_POSITIONS: Final = 512
MAX_STEPS: Final = 8192  # from one position to the next, over the whole pattern
MAX_PAIRS: Final = 200_000  # steps of two readings at once
MAX_DEPTH: Final = 20
LARGEST_COUNT: Final = 256  # in braces; values have no more characters
LAST_POINT: Final = 0x10FFFF

Ranges = tuple[tuple[int, int], ...]
"""Characters as sorted, disjoint ranges of code points, both ends in."""

_CLASSES: Final[dict[str, Ranges]] = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20)),
}
_CONTROLS: Final = {"t": 0x09, "n": 0x0A, "f": 0x0C, "r": 0x0D, "v": 0x0B, "a": 0x07}
_COUNT: Final = re.compile(r"\{([0-9]{1,4})(,?)([0-9]{0,4})\}")
_HEX: Final = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")
_NAMED: Final = re.compile(r"\?P?<[A-Za-z_][A-Za-z0-9_]*>")


class PatternRefused(Exception):
    """Why a pattern is no template: a line for whoever wrote it."""


class Letter(NamedTuple):
    """One character of a value: what it may be, and in which group; 0: in none."""

    ranges: Ranges
    group: int


class Several(NamedTuple):
    """Parts one after the other, or one of them."""

    parts: tuple[Node, ...]
    one: bool


class Repeated(NamedTuple):
    """A part so many times; None: without end."""

    part: Node
    least: int
    most: int | None


class Group(NamedTuple):
    """A capturing group."""

    part: Node


Node = Letter | Several | Repeated | Group


class _Ends(NamedTuple):
    empty: bool
    first: frozenset[int]
    last: frozenset[int]


@dataclass(frozen=True, slots=True)
class Graph:
    """Positions, numbered from 0, and which may come first, next and last."""

    letters: tuple[Letter, ...]
    first: frozenset[int]
    follow: tuple[frozenset[int], ...]
    last: frozenset[int]
    groups: int


def overlap(one: Ranges, other: Ranges) -> bool:
    """Whether two sets of characters have one in common."""
    here = there = 0
    while here < len(one) and there < len(other):
        if one[here][1] < other[there][0]:
            here += 1
        elif other[there][1] < one[here][0]:
            there += 1
        else:
            return True
    return False


def size(ranges: Ranges) -> int:
    """How many characters there are."""
    return sum(high - low + 1 for low, high in ranges)


def characters(ranges: Ranges) -> Iterator[str]:
    """All of them, in order."""
    return (chr(point) for low, high in ranges for point in range(low, high + 1))


def tidy(ranges: Iterator[tuple[int, int]] | Sequence[tuple[int, int]]) -> Ranges:
    """Sorted, joined, without surrogates, which are no characters."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    cut = []
    for low, high in out:
        cut += [(low, min(high, 0xD7FF)), (max(low, 0xE000), high)]
    return tuple((low, high) for low, high in cut if low <= high)


def _others(ranges: Ranges) -> Ranges:
    out, start = [], 0
    for low, high in ranges:
        out.append((start, low - 1))
        start = high + 1
    return tidy([(low, high) for low, high in [*out, (start, LAST_POINT)] if low <= high])


class _Reader:
    """Reads a pattern into nodes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.groups = 0
        self.group = 0  # the one that is open

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, text: str) -> bool:
        found = self.text.startswith(text, self.at)
        self.at += len(text) * found
        return found

    def pattern(self) -> Node:
        self.take("^")
        whole = self.choice(0)
        if self.at < len(self.text):
            raise PatternRefused("a parenthesis is closed that was not opened")
        return whole

    def choice(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise PatternRefused("parentheses are nested too deep")
        parts = [self.sequence(depth)]
        while self.take("|"):
            parts.append(self.sequence(depth))
        return parts[0] if len(parts) == 1 else Several(tuple(parts), one=True)

    def sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.at < len(self.text) and self.peek() not in "|)":
            if self.text[self.at :] == "$" and not depth:
                self.at += 1
                break
            parts.append(self.counted(self.item(depth)))
        return Several(tuple(parts), one=False)

    def item(self, depth: int) -> Node:
        if self.take("("):
            return self.parenthesis(depth)
        if self.take("["):
            return Letter(self.bracket(), self.group)
        if self.take("."):
            return Letter(_others(((0x0A, 0x0A),)), self.group)
        if self.take("\\"):
            return Letter(self.escape(), self.group)
        character = self.peek()
        if character in "^$":
            raise PatternRefused("a pattern stands for the whole value: '^' and '$' only at its ends")
        if character in "*+?":
            raise PatternRefused("a count has nothing to count")
        self.at += 1
        return Letter(tidy([(ord(character), ord(character))]), self.group)

    def parenthesis(self, depth: int) -> Node:
        named = _NAMED.match(self.text, self.at)
        if self.take("?:"):
            inner = self.choice(depth + 1)
        elif self.peek() == "?" and named is None:
            raise PatternRefused("flags and look-around are not taken")
        elif self.group:
            raise PatternRefused("a group stands within a group")
        else:
            self.at += len(named[0]) if named else 0
            self.groups += 1
            self.group = self.groups
            inner = Group(self.choice(depth + 1))
            self.group = 0
        if not self.take(")"):
            raise PatternRefused("a parenthesis is not closed")
        return inner

    def counted(self, part: Node) -> Node:
        match = _COUNT.match(self.text, self.at)
        bounds = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self.peek())
        if match:
            self.at = match.end()
            least = int(match[1])
            most = int(match[3]) if match[3] else None if match[2] else least
            if max(least, most or 0) > LARGEST_COUNT or (most is not None and most < max(least, 1)):
                raise PatternRefused(f"a count is from 1 to {LARGEST_COUNT}, the lower first")
        elif bounds:
            self.at += 1
            least, most = bounds
        else:
            return part
        if self.peek() in ("*", "+", "?") or _COUNT.match(self.text, self.at):
            raise PatternRefused("a count stands behind a count; lazy ones have no meaning here")
        if _has_group(part) and most != 1:
            raise PatternRefused("a group is repeated: only one of its captures could be transformed")
        return Repeated(part, least, most)

    def escape(self) -> Ranges:
        """What stands behind a backslash."""
        letter = self.peek()
        coded = _HEX.match(self.text, self.at)
        if coded:
            self.at = coded.end()
            point = int(coded[1] or coded[2], 16)
            if point > LAST_POINT or 0xD800 <= point <= 0xDFFF:
                raise PatternRefused("a code point is none of a character")
            return ((point, point),)
        self.at += 1
        if letter in _CLASSES:
            return _CLASSES[letter]
        if letter.lower() in _CLASSES:
            return _others(_CLASSES[letter.lower()])
        if letter in _CONTROLS:
            return ((_CONTROLS[letter], _CONTROLS[letter]),)
        if not letter.isascii() or not letter or letter.isalnum():
            raise PatternRefused(
                "an escape is not taken: of letters only d, w, s, t, n, r, f, v, a and x are"
            )
        return ((ord(letter), ord(letter)),)

    def bracket(self) -> Ranges:
        """A class, behind its opening bracket."""
        negated = self.take("^")
        found: list[tuple[int, int]] = []
        start = True
        while start or self.peek() != "]":
            if self.at >= len(self.text):
                raise PatternRefused("a class is not closed")
            if self.text.startswith("[:", self.at):
                raise PatternRefused("named classes are not taken: write the characters")
            start = False
            low = self.member()
            if self.peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self.member()
                if size(low) != 1 or size(high) != 1 or high < low:
                    raise PatternRefused("a range of a class goes from a character to a later one")
                found.append((low[0][0], high[0][0]))
            else:
                found += low
        self.at += 1
        ranges = _others(tidy(found)) if negated else tidy(found)
        if not ranges:
            raise PatternRefused("a class has no characters")
        return ranges

    def member(self) -> Ranges:
        if self.take("\\"):
            return self.escape()
        self.at += 1
        point = ord(self.text[self.at - 1])
        return ((point, point),)


def _has_group(node: Node) -> bool:
    if isinstance(node, Several):
        return any(map(_has_group, node.parts))
    return isinstance(node, Group) or (isinstance(node, Repeated) and _has_group(node.part))


class _Builder:
    """Makes the graph of nodes."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.follow: list[set[int]] = []

    def ends(self, node: Node) -> _Ends:
        if isinstance(node, Letter):
            if len(self.letters) == MAX_POSITIONS:
                raise PatternRefused(f"has more than {MAX_POSITIONS} positions, counts written out")
            self.letters.append(node)
            self.follow.append(set())
            only = frozenset((len(self.letters) - 1,))
            return _Ends(False, only, only)
        if isinstance(node, Group):
            inner = self.ends(node.part)
            if inner.empty:
                raise PatternRefused("a group can be empty")
            return inner
        if isinstance(node, Several):
            parts = [self.ends(part) for part in node.parts]
            return self._either(parts) if node.one else self._chain(parts)
        return self._repeated(node)

    def _repeated(self, node: Repeated) -> _Ends:
        parts = [self.ends(node.part) for _ in range(node.least)]
        if node.most is None:
            loop = self.ends(node.part)
            self._join(loop.last, loop.first)
            parts.append(loop._replace(empty=True))
            return self._chain(parts)
        tail: _Ends | None = None
        for _ in range(node.most - node.least):
            part = self.ends(node.part)
            tail = self._chain([part] if tail is None else [part, tail])._replace(empty=True)
        return self._chain(parts if tail is None else [*parts, tail])

    def _either(self, parts: list[_Ends]) -> _Ends:
        none: frozenset[int] = frozenset()
        return _Ends(
            any(part.empty for part in parts),
            none.union(*(part.first for part in parts)),
            none.union(*(part.last for part in parts)),
        )

    def _chain(self, parts: list[_Ends]) -> _Ends:
        whole = _Ends(True, frozenset(), frozenset())
        for part in parts:
            self._join(whole.last, part.first)
            whole = _Ends(
                whole.empty and part.empty,
                whole.first | part.first if whole.empty else whole.first,
                whole.last | part.last if part.empty else part.last,
            )
        return whole

    def _join(self, last: frozenset[int], first: frozenset[int]) -> None:
        for position in last:
            self.follow[position] |= first
        if sum(map(len, self.follow)) > MAX_STEPS:
            raise PatternRefused("has too many ways to go on")


def read_pattern(text: str) -> Graph:
    """The graph of a pattern.

    Raises:
        PatternRefused: it is none that templates take.
    """
    if not 0 < len(text) <= MAX_PATTERN:
        raise PatternRefused(f"has 1 to {MAX_PATTERN} characters")
    reader = _Reader(text)
    node = reader.pattern()
    if not reader.groups:
        raise PatternRefused("has no group: what stands in parentheses is transformed")
    builder = _Builder()
    ends = builder.ends(node)
    if ends.empty:
        raise PatternRefused("can be empty")
    follow = tuple(map(frozenset, builder.follow))
    return Graph(tuple(builder.letters), ends.first, follow, ends.last, reader.groups)


def is_ambiguous(graph: Graph, roles: Sequence[object]) -> bool:
    """Whether a text has two readings in which a character plays different roles.

    Args:
        roles: of each position.

    Raises:
        PatternRefused: there are too many ways to look at.
    """
    before: dict[tuple[int, int], set[tuple[int, int]]] = {}
    steps = 0
    numbers: dict[Ranges, int] = {}
    sets = [numbers.setdefault(letter.ranges, len(numbers)) for letter in graph.letters]
    known: dict[tuple[int, int], bool] = {}

    def pairs(one: frozenset[int], other: frozenset[int]) -> Iterator[tuple[int, int]]:
        nonlocal steps
        steps += len(one) * len(other)
        if steps > MAX_PAIRS:
            raise PatternRefused("has too many ways to be read")
        for p, q in product(one, other):
            both = (sets[p], sets[q])
            if both not in known:
                known[both] = overlap(graph.letters[p].ranges, graph.letters[q].ranges)
            if known[both]:
                yield (p, q) if p <= q else (q, p)

    front = set(pairs(graph.first, graph.first))
    before.update({pair: set() for pair in front})
    while front:
        pair = front.pop()
        for after in pairs(graph.follow[pair[0]], graph.follow[pair[1]]):
            if after not in before:
                before[after] = set()
                front.add(after)
            before[after].add(pair)
    front = {pair for pair in before if pair[0] in graph.last and pair[1] in graph.last}
    seen = set(front)
    while front:
        pair = front.pop()
        if roles[pair[0]] != roles[pair[1]]:
            return True
        new = before[pair] - seen
        seen |= new
        front |= new
    return False
