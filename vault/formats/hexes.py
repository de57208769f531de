"""Texts of hexadecimal digits whose letters are all capitals or all small, such as `9F86d0` is not.

The case is the text's style, and its token has the same. A text without letters has no case, so its token
may have no letters either: such texts are counted among themselves, and texts with letters among themselves.
Where a letter is kept, it shows the case, and all texts are counted together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Final

import numpy as np

from vault.crypto.pairs import Pair, Radices, Words
from vault.crypto.texts import Places
from vault.errors import ValueRefused
from vault.formats.column import CharRows, Column, Mask, Ranked, each
from vault.formats.template import Shape, kept_form, ranked

HEX: Final = "0123456789abcdef"

_NIBBLES: Final = np.array(
    [int(chr(one), 16) if chr(one) in f"{HEX}ABCDEF" else 255 for one in range(256)], np.uint8
)
_FEW: Final = 32  # texts that are quicker made one by one
_UPPER: Final = "upper"
_BARE: Final = "digits"


@dataclass(frozen=True, slots=True)
class Hexes:
    """Places with some of the hexadecimal digits each, digits before letters; make it with `hexes`.

    Attributes:
        ranks: how many texts there are.
        bare: how many of them have no letters.
    """

    places: tuple[str, ...]
    ranks: int = field(init=False)
    bare: int = field(init=False)
    # For each place: how many digits it has, how many texts follow it, and how many of those without letters
    _steps: tuple[tuple[int, int, int], ...] = field(init=False, repr=False, compare=False)
    # (begin, end, place): places in a row that have all digits, and each other one
    _runs: tuple[tuple[int, int, str], ...] = field(init=False, repr=False, compare=False)

    _radices: Radices = field(init=False, repr=False, compare=False)
    _bare_radices: Radices = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ranks = bare = 1
        steps = []
        for place in reversed(self.places):
            digits = sum(character < "a" for character in place)
            steps.append((digits, ranks, bare))
            ranks, bare = ranks * len(place), bare * digits
        object.__setattr__(self, "_radices", Radices([len(place) for place in self.places]))
        object.__setattr__(self, "_bare_radices", Radices([digits for digits, _, _ in reversed(steps)]))
        object.__setattr__(self, "ranks", ranks)
        object.__setattr__(self, "bare", bare)
        object.__setattr__(self, "_steps", tuple(reversed(steps)))
        runs: list[tuple[int, int, str]] = []
        for at, place in enumerate(self.places):
            if runs and place == HEX == runs[-1][2]:
                runs[-1] = (runs[-1][0], at + 1, HEX)
            else:
                runs.append((at, at + 1, place))
        object.__setattr__(self, "_runs", tuple(runs))

    def shape(self, text: str, length: int, kept: tuple[tuple[int, str], ...] = (), style: str = "") -> Shape:
        """The shape of a value.

        Args:
            text: a character for each place, each one of the place's, in either case.
            length: of the whole value, in characters.
            kept: as in `Shape`; its letters have the case of the text.
            style: what else the token shows.

        Raises:
            ValueRefused: `value_format`, the case is mixed.
        """
        shown = "".join([character for _, character in kept])
        both = text + shown
        small = both.lower()
        if both not in (small, both.upper()):
            raise ValueRefused("value_format")
        style += _UPPER if both != small else ""
        text = text.lower()
        if _lettered(shown):
            return ranked(self._rank(text), self.ranks, length, kept, style)
        if _lettered(text):
            return ranked(self._rank_lettered(text), self.ranks - self.bare, length, kept, style)
        return ranked(self._rank_bare(text), self.bare, length, kept, style + _BARE)

    def text(self, shape: Shape, bits: str) -> str:
        """The text of a rank, in the case of the shape."""
        rank = int(bits, 2)
        if shape.style.endswith(_BARE):
            text = self._bare_of(rank)
        elif _lettered("".join([character for _, character in shape.kept])):
            text = self._of(rank, 0)
        else:
            text = self._lettered_of(rank)
        return text.upper() if shape.style.endswith(_UPPER) else text

    def columns(
        self, at: Places, rows: CharRows, free: Sequence[int], kept: Mapping[int, int], style: str = ""
    ) -> Iterator[Column]:
        """The columns of rows whose characters are hexadecimal digits where they are not layout.

        Args:
            at: which rows they are.
            rows: characters.
            free: the position of each place.
            kept: what other digits stay: their positions, and which of all digits each is.
            style: what else the tokens show.
        """
        if not len(at):
            return
        known, shown = rows[:, free], rows[:, [*kept]]
        digits = _NIBBLES[known]
        for place, characters in enumerate(self.places):
            if characters != HEX:
                own = np.full(256, 255, np.uint8)
                own[[int(one, 16) for one in characters]] = np.arange(len(characters))
                digits[:, place] = own[digits[:, place]]
        lettered, showing = (known > ord("9")).any(axis=1), (shown > ord("9")).any(axis=1)
        upper = np.column_stack((known, shown))
        small = np.asarray((upper > ord("F")).any(axis=1))
        capital = np.asarray(((upper > ord("9")) & (upper <= ord("F"))).any(axis=1))
        good: Mask = (digits < len(HEX)).all(axis=1) & ~(small & capital)

        def keep(key: str, end: str) -> bytes:
            listed = b"".join(
                [at.to_bytes(2) + one.encode() for at, one in zip(kept.values(), key[1:], strict=True)]
            )
            return kept_form(f"{style}{_UPPER if key[0] == '1' else ''}{end}".encode(), listed)

        for mask, ranks, number, digits_of in (
            (showing, self.ranks, self._radices.number, self._radices.digits),
            (lettered & ~showing, self.ranks - self.bare, self._number_lettered, self._digits_lettered),
            (~lettered & ~showing, self.bare, self._bare_radices.number, self._bare_radices.digits),
        ):
            some = np.flatnonzero(good & mask)
            if not len(some):
                continue
            end = _BARE if number == self._bare_radices.number else ""
            keys = np.column_stack((capital[some] + np.uint8(ord("0")), shown[some]))
            rank = number([column.astype(np.uint64) for column in digits[some].T])
            write = partial(self._written, rows[some], free, capital[some], digits_of)
            yield Ranked(at[some], rank, ranks, each(keys, partial(keep, end=end)), write)

    def _written(
        self,
        rows: CharRows,
        free: Sequence[int],
        capital: Mask,
        digits_of: Callable[[Pair], list[Words]],
        rank: Pair,
    ) -> CharRows:
        out = rows.copy()
        for position, characters, digits in zip(free, self.places, digits_of(rank), strict=True):
            signs = np.frombuffer((characters + characters.upper()).encode(), np.uint8)
            out[:, position] = signs[digits.astype(np.int64) + capital * len(characters)]
        return out

    def _number_lettered(self, digits: Sequence[Words]) -> Pair:
        return self._radices.number(digits).minus(self._bare_until(digits))

    def _digits_lettered(self, rank: Pair) -> list[Words]:
        """The least numbers whose places among those with letters are the ranks, from below."""
        number, moving = Pair(rank.high.copy(), rank.low.copy()), np.arange(len(rank.low))
        while len(moving) > _FEW:
            old = number.at(moving)
            new = rank.at(moving).plus(self._bare_until(self._radices.digits(old)))
            number.put(moving, new)
            moving = moving[old.is_under(new)]
        digits = self._radices.digits(number)
        for place in moving.tolist():
            text = self._lettered_of((int(rank.high[place]) << 64) + int(rank.low[place]))
            for column, characters, character in zip(digits, self.places, text, strict=True):
                column[place] = characters.index(character)
        return digits

    def _bare_until(self, digits: Sequence[Words]) -> Pair:
        """How many texts without letters come before each, or are it."""
        seen = np.zeros(len(digits[0]), bool)
        before = []
        for digit, (bare, _, _) in zip(digits, self._steps, strict=True):
            before.append(np.where(seen, np.uint64(0), np.minimum(digit, np.uint64(bare))))
            seen |= digit >= bare
        before[-1] += ~seen
        return self._bare_radices.number(before)

    def _rank(self, text: str, start: int = 0) -> int:
        rank = 0
        for begin, end, place in self._runs:
            if end <= start:
                continue
            if place == HEX:
                part = text[max(begin, start) : end]
                rank = rank << 4 * len(part) | int(part, 16)
            else:
                rank = rank * len(place) + place.index(text[begin])
        return rank

    def _rank_bare(self, text: str) -> int:
        rank = 0
        for place, character, (digits, _, _) in zip(self.places, text, self._steps, strict=True):
            rank = rank * digits + place.index(character)
        return rank

    def _rank_lettered(self, text: str) -> int:
        """Texts without letters are left out of the count, up to the first letter."""
        rank = 0
        for at, (place, character) in enumerate(zip(self.places, text, strict=True)):
            digits, ranks, bare = self._steps[at]
            index = place.index(character)
            if index >= digits:
                return rank + digits * (ranks - bare) + (index - digits) * ranks + self._rank(text, at + 1)
            rank += index * (ranks - bare)
        raise AssertionError("the text has no letter")

    def _of(self, rank: int, start: int) -> str:
        parts: list[str] = []
        for begin, end, place in reversed(self._runs):
            if end <= start:
                break
            if place == HEX:
                width = end - max(begin, start)
                rank, part = rank >> 4 * width, rank & (1 << 4 * width) - 1
                parts.append(f"{part:0{width}x}")
            else:
                rank, index = divmod(rank, len(place))
                parts.append(place[index])
        return "".join(reversed(parts))

    def _bare_of(self, rank: int) -> str:
        characters = []
        for place, (digits, _, _) in zip(reversed(self.places), reversed(self._steps), strict=True):
            rank, index = divmod(rank, digits)
            characters.append(place[index])
        return "".join(reversed(characters))

    def _lettered_of(self, rank: int) -> str:
        characters: list[str] = []
        for at, place in enumerate(self.places):
            digits, ranks, bare = self._steps[at]
            with_digit = digits * (ranks - bare)
            if rank >= with_digit:
                index, rest = divmod(rank - with_digit, ranks)
                return "".join([*characters, place[digits + index], self._of(rest, at + 1)])
            index, rank = divmod(rank, ranks - bare)
            characters.append(place[index])
        raise AssertionError("a rank of these texts leads to a letter")


def are_hex(rows: CharRows) -> Mask:
    """Which rows have hexadecimal digits only."""
    return np.asarray((_NIBBLES[rows] < len(HEX)).all(axis=1))


def _lettered(text: str) -> bool:
    return text.lower() != text.upper()


@lru_cache(maxsize=64)
def hexes(places: tuple[str, ...]) -> Hexes:
    """The texts of these places."""
    return Hexes(places)
