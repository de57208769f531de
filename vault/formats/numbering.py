"""Numbers with rules between their characters, counted: each valid one has a rank, and no other has.

The rule is a machine that reads a number from the left. It keeps what it has to remember (a sum modulo 11,
the month) and says after each character whether there is a number that goes on like that. How many there
are from each state on is counted once; a rank is the number of valid numbers that come before in the order
of their characters. So a token is a valid number however tangled the rule is, and the digits that a check
determines take up no ranks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vault.formats.column import CharRows, Mask

_SIGNS: Final = 0x80  # ASCII

Step = Callable[[int, Hashable, str], Hashable | None]
"""From the place, the state before and the character there to the state after; None: no such number."""


class _Node:
    """What may follow in a place: by character, how many numbers come before, and the node behind it."""

    __slots__ = ("characters", "count", "firsts", "nodes", "ways")

    def __init__(self) -> None:
        self.count = 0
        self.ways: dict[str, tuple[int, _Node]] = {}
        self.characters: list[str] = []
        self.firsts: list[int] = []
        self.nodes: list[_Node] = []

    def add(self, character: str, node: _Node) -> None:
        self.ways[character] = (self.count, node)
        self.characters.append(character)
        self.firsts.append(self.count)
        self.nodes.append(node)
        self.count += node.count


class _Tables(NamedTuple):
    """The nodes by number, the root being 0.

    Attributes:
        before, after: by node and character, how many numbers come before, and the node behind.
        firsts, characters, nodes: by node, as `_Node` has them, in rows of `width`, a power of two.
        nowhere: the node from where no way leads on.
    """

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    firsts: NDArray[np.int64]
    characters: NDArray[np.uint8]
    nodes: NDArray[np.int64]
    width: int
    nowhere: int


class Numbering:
    """The valid numbers of a rule, in order. Safe to share between threads.

    Args:
        places: the characters that may stand in each place, in the order that they count.
        step: the rule; a state is never None.
        start: the state before the first character.
    """

    def __init__(self, places: Sequence[str], step: Step, start: Hashable = 0) -> None:
        self.places = tuple(places)
        self._step = step
        self._start = start

    @property
    def ranks(self) -> int:
        """How many valid numbers there are."""
        return self._root.count

    def rank(self, text: str) -> int | None:
        """Which of the valid numbers one is, from 0; None if it is none."""
        if len(text) != len(self.places):
            return None
        rank, node = 0, self._root
        for character in text:
            way = node.ways.get(character)
            if way is None:
                return None
            rank += way[0]
            node = way[1]
        return rank

    def reach(self, text: str) -> int:
        """The first place where no valid number goes on as this text does; its length if all of it does."""
        node = self._root
        for place, character in enumerate(text):
            way = node.ways.get(character)
            if way is None:
                return place
            node = way[1]
        return len(text)

    def text(self, rank: int) -> str:
        """The valid number of a rank below `ranks`."""
        characters = []
        node = self._root
        for _ in self.places:
            at = bisect_right(node.firsts, rank) - 1
            rank -= node.firsts[at]
            characters.append(node.characters[at])
            node = node.nodes[at]
        return "".join(characters)

    def rank_rows(self, rows: CharRows) -> tuple[NDArray[np.int64], Mask]:
        """(`rank` of rows of as many characters, which are valid numbers).

        Raises:
            ValueError: there are 2^63 ranks or more.
        """
        tables, rank, node = self._tables, np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        for column in rows.T:
            way = node * _SIGNS + np.minimum(column, _SIGNS - 1)
            rank += tables.before[way]
            node = tables.after[way]
        return rank, node != tables.nowhere

    def text_rows(self, rank: NDArray[np.int64]) -> CharRows:
        """`text` of each rank."""
        tables, left, node = self._tables, rank, np.zeros(len(rank), np.int64)
        out = np.empty((len(rank), len(self.places)), np.uint8)
        for place in range(len(self.places)):
            at = node * tables.width
            step = tables.width // 2
            while step:  # the last of the node's numbers that is not above, by halves
                at += step * (tables.firsts[at + step] <= left)
                step //= 2
            out[:, place] = tables.characters[at]
            left = left - tables.firsts[at]
            node = tables.nodes[at]
        return out

    @cached_property
    def _tables(self) -> _Tables:
        if self.ranks >= 1 << 63:
            raise ValueError("the ranks do not fit words")
        found, numbers = [self._root], {id(self._root): 0}
        for node in found:
            for behind in node.nodes:
                if numbers.setdefault(id(behind), len(found)) == len(found):
                    found.append(behind)
        count = len(found)
        # A node more, from where no way leads on
        width = 1 << (max(len(node.nodes) for node in found) - 1).bit_length()
        before, after = np.zeros((count + 1, _SIGNS), np.int64), np.full((count + 1, _SIGNS), count)
        firsts = np.full((count, width), np.iinfo(np.int64).max)
        characters, nodes = np.zeros((count, width), np.uint8), np.zeros((count, width), np.int64)
        for at, node in enumerate(found):
            signs, those = [*map(ord, node.characters)], [numbers[id(one)] for one in node.nodes]
            before[at, signs], after[at, signs] = node.firsts, those
            size = len(signs)
            firsts[at, :size], characters[at, :size], nodes[at, :size] = node.firsts, signs, those
        return _Tables(
            before.ravel(), after.ravel(), firsts.ravel(), characters.ravel(), nodes.ravel(), width, count
        )

    @cached_property
    def _root(self) -> _Node:
        known: dict[tuple[int, Hashable], _Node] = {}
        end = _Node()
        end.count = 1

        def from_here(place: int, state: Hashable) -> _Node:
            if place == len(self.places):
                return end
            node = known.get((place, state))
            if node is None:
                node = known[place, state] = _Node()
                for character in self.places[place]:
                    after = self._step(place, state, character)
                    if after is not None and (behind := from_here(place + 1, after)).count:
                        node.add(character, behind)
            return node

        return from_here(0, self._start)
