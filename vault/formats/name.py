"""Names and short texts of any script: letters become letters of their script, in the same case.

Where a letter stands, of which script and whether it is a capital stays as it is; so do spaces, punctuation,
combining marks (vowel signs, points, accents without a letter of their own) and, unless `digits`, digits.
Marks bind the letter before them: it becomes one that NFC does not merge with them.

Only NFC is taken. A text in another form has a second spelling that looks the same, and the token could not
tell in which one the value came. `script` says which letters are taken, `ascii` being `a` to `z` and nothing
else; with `any`, a value has letters of one script, of those that Japanese mixes or of those that Korean
does, unless `mixed='pass'`. Source: Unicode Standard Annex 15; Unicode TS 39, 5.2 (mixtures).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, Literal, cast
from unicodedata import is_normalized

import numpy as np

from vault.errors import ValueRefused
from vault.formats.alphabet import Alphabet
from vault.formats.column import CharRows, Column, each, squeezed, texts_of
from vault.formats.letters import Letters
from vault.formats.mixed import at_least, shape_of, text_of
from vault.formats.scripts import (
    ASCII,
    DIGIT_CODES,
    KINDS,
    LAYOUT,
    MARK,
    SCRIPT_OF,
    alphabet,
    before,
    kind,
)
from vault.formats.spelling import Entry, Parameter, Value
from vault.formats.template import (
    MAX_LENGTH,
    Domain,
    InColumns,
    Reversible,
    Shape,
    Template,
    kept_form,
    parameter_invalid,
    require_length,
    spell,
)

TYPICAL: Final = 10  # letters: a first and a last name

_STAYS: Final = 1
_MARKS: Final = 2
_DIGIT: Final = 3
_ROLES: Final = np.zeros(0x10001, np.uint8)  # by code point; letters have none, as what nobody writes
for _one, _kind in KINDS.items():
    _ROLES[ord(_one)] = (
        _STAYS if _kind is LAYOUT else _MARKS if _kind is MARK else _DIGIT if _kind in DIGIT_CODES else 0
    )

_JAPANESE: Final = frozenset(("han", "hiragana", "katakana"))
_KOREAN: Final = frozenset(("han", "hangul"))
_SINGLE: Final = {script: frozenset((script,)) for script in dict.fromkeys(SCRIPT_OF.values())}
_SCRIPTS: Final[Mapping[str, frozenset[str]]] = {
    "ascii": _SINGLE["latin"],
    **_SINGLE,
    "japanese": _JAPANESE,
    "korean": _KOREAN,
}
SCRIPTS: Final = ("any", *_SCRIPTS)
_CASED: Final = {"A": "a", "B": "b", "C": "c", "D": "d", "E": "e"}
_SAMPLE_MARKS: Final = {
    "a": "\u0301\u0328",
    "F": "\u05b8\u05bc",
    "G": "\u064e\u0651",
    "H": "\u093e\u0940\u0902\u093c",
    "I": "\u09be\u09bf",
    "J": "\u0bbe\u0bcd",
    "K": "\u0e31\u0e48",
}


@dataclass(frozen=True, slots=True)
class Name(Reversible):
    """Transforms the letters of a text, each within its alphabet.

    Args:
        script: whose letters are taken.
        mixed: of `any`: whether letters of several scripts may stand in one value.
        digits: whether digits are transformed too; else they stay.
        longest: characters (`max`).

    Raises:
        BadInput: `template_invalid`: `mixed='pass'` with one script.
    """

    script: str = "any"
    mixed: Literal["refuse", "pass"] = "refuse"
    digits: bool = False
    longest: int = 64

    parts: ClassVar[frozenset[str]] = frozenset(("initials",))
    in_columns: ClassVar[InColumns] = "unicode"
    columns_from: ClassVar[int] = 300  # they are of many lengths

    def __post_init__(self) -> None:
        if self.script != "any" and self.mixed != "refuse":
            raise parameter_invalid("name", "mixed")

    @property
    def spec(self) -> str:
        """The canonical spelling."""
        mixed = self.mixed if self.script == "any" else None
        return spell("name", script=self.script, mixed=mixed, digits=self.digits or None, max=self.longest)

    def parse(self, value: str) -> Shape:
        """Takes a value apart. See `Template.parse`; what is not NFC is `value_format`."""
        require_length(value, 1, self.longest)
        if not is_normalized("NFC", value):
            raise ValueRefused("value_format")
        kept: list[tuple[int, str]] = []
        letters: list[str] = []
        style: list[str] = []
        behind = False  # a letter, perhaps with marks
        for position, character in enumerate(value):
            code = kind(character)
            if code is None or (code is MARK and self.script == "ascii"):
                raise ValueRefused("value_alphabet", position=position)
            if code is MARK:
                kept.append((position, character))
                if behind:
                    style.append(character)
            elif code is LAYOUT or (code in DIGIT_CODES and not self.digits):
                kept.append((position, character))
                behind = False
            else:
                letters.append(character)
                style.append(code)
                behind = True
        self._require_scripts(style)
        written = "".join(style)
        places = self._places(written)
        for place, letter in zip(places, letters, strict=True):
            if letter not in place:
                if self.script == "ascii":
                    raise ValueRefused("value_alphabet", position=value.index(letter))
                raise ValueRefused("value_format")
        return shape_of(places, "".join(letters), len(value), tuple(kept), written)

    def render_token(self, shape: Shape, text: str) -> str:
        """The token, in the layout of the value."""
        return shape.fill(text_of(self._places(shape.style), shape, text))

    def columns(self, rows: CharRows, *, token: bool) -> Iterator[Column]:
        """All texts together, of whatever scripts; not those with a letter and a mark that NFC merges."""
        letters, codes = _letters(self)
        points = np.minimum(rows, np.uint32(len(_ROLES) - 1)) if rows.itemsize > 1 else rows
        roles = _ROLES[points]
        numbers = letters.which[letters.find(rows)]
        free = numbers > 0
        signs = (roles == _STAYS) | (roles == _DIGIT) & (not self.digits)
        marks = (roles == _MARKS) & (self.script != "ascii")
        good = (free | signs | marks | (rows == 0)).all(axis=1) & free.any(axis=1)
        good &= np.count_nonzero(rows, axis=1) <= self.longest
        bases = np.where(free, numbers, 0)
        if marks.any():
            for place in range(1, rows.shape[1]):
                here = marks[:, place]
                bases[here, place] = bases[here, place - 1]
            pairs, which = np.unique(bases[marks] | points[marks].astype(np.int64) << 8, return_inverse=True)
            merges = np.array([_merge(codes[pair & 0xFF], chr(pair >> 8)) for pair in pairs.tolist()])
            good[np.nonzero(marks)[0][merges[which]]] = False
        masks = np.bitwise_or.reduce(np.uint64(1) << numbers.astype(np.uint64), axis=1)
        sets, which = np.unique(masks, return_inverse=True)
        good &= np.array([self._goes_together(one, codes) for one in sets.tolist()])[which]
        at = np.flatnonzero(good)
        if len(at) and not is_normalized("NFC", "\0".join(texts := texts_of(rows[at]))):
            at = at[[is_normalized("NFC", text) for text in texts]]
        shown = np.where(
            free,
            np.array([*map(ord, codes)], np.uint32)[numbers],
            np.where(signs | marks & (bases > 0), points, 0),
        )
        kept = each(squeezed(shown[at], shown[at] > 0), lambda key: _kept(key, codes)) if len(at) else b""
        yield from letters.columns(at, rows[at], numbers[at], kept)

    def domain(self, length: int | None = None) -> Domain:
        """As if all letters were of the smallest alphabet; most values have more."""
        count = TYPICAL if length is None else length
        if not 1 <= count <= self.longest:
            if length is not None:
                raise ValueRefused("value_length", minimum=1, maximum=self.longest)
            count = self.longest
        radix = self._radix()
        return at_least(
            radix, count, f"{count} letters of {radix}, the smallest alphabet here; more in others"
        )

    def smallest(self) -> Domain:
        """That of one letter."""
        return self.domain(1)

    def sample(self, rng: random.Random) -> str:
        """One to three words of a script, or of several where that is taken, some with marks or digits."""
        codes = sorted(code for code, script in SCRIPT_OF.items() if self._takes(script))
        first = rng.choice(codes)
        words = []
        for _ in range(rng.choice((1, 2, 2, 3))):
            own = codes if self.mixed == "pass" else [one for one in codes if self._together(first, one)]
            words.append(self._word(rng, rng.choice(own)))
        if rng.random() < 0.1:
            words.append(str(rng.randint(0, 99)))
        return rng.choice((" ", " ", "-", "\u2019", ", ")).join(words)[: self.longest]

    def _word(self, rng: random.Random, code: str) -> str:
        count = rng.randint(1, 4) if code in "LP" else rng.randint(2, 9)
        codes = [code] * count
        if code in _CASED and rng.random() < 0.8:
            codes[1:] = [_CASED[code]] * (count - 1)
        word: list[str] = []
        for one in codes:
            marks = _SAMPLE_MARKS.get(one, "") if self.script != "ascii" and rng.random() < 0.1 else ""
            mark = rng.choice(marks) if marks else ""
            word += (rng.choice(self._letters(one, mark).characters), mark)
        return "".join(word)

    def _takes(self, script: str) -> bool:
        return self.script == "any" or script in _SCRIPTS[self.script]

    def _together(self, code: str, other: str) -> bool:
        """Whether letters of two alphabets may stand in one value."""
        both = {SCRIPT_OF[code], SCRIPT_OF[other]}
        return len(both) == 1 or self.script != "any" or both <= _JAPANESE

    def _require_scripts(self, style: list[str]) -> None:
        """The scripts of the letters are ones that the template takes, together.

        Raises:
            ValueRefused: `value_script`.
        """
        scripts = {SCRIPT_OF[code] for code in set(style) & SCRIPT_OF.keys()}
        if self.script != "any":
            taken = scripts <= _SCRIPTS[self.script]
        else:
            taken = len(scripts) < 2 or self.mixed == "pass" or scripts <= _JAPANESE or scripts <= _KOREAN
        if not taken:
            raise ValueRefused("value_script")

    def _goes_together(self, numbers: int, codes: str) -> bool:
        """Whether alphabets may stand in one value, as bits of a number."""
        try:
            self._require_scripts(
                [code for number, code in enumerate(codes) if number and numbers >> number & 1]
            )
        except ValueRefused:
            return False
        return True

    def _places(self, style: str) -> list[Alphabet]:
        """The alphabet of each letter of a style, in which the marks behind a letter follow it."""
        places: list[Alphabet] = []
        end = len(style)
        start = 0
        while start < end:
            stop = start + 1
            while stop < end and style[stop] > "\x7f":
                stop += 1
            places.append(self._letters(style[start], style[start + 1 : stop]))
            start = stop
        return places

    def _letters(self, code: str, marks: str) -> Alphabet:
        if self.script == "ascii" and code in ASCII:
            return ASCII[code]
        return before(code, marks) if marks else alphabet(code)

    def _radix(self) -> int:
        """Of the smallest alphabet that a value's letters can be of."""
        codes = {code for code, script in SCRIPT_OF.items() if self._takes(script)}
        return min(self._letters(code, "").radix for code in codes | (DIGIT_CODES if self.digits else set()))


@lru_cache(maxsize=64)
def _letters(name: Name) -> tuple[Letters, str]:
    """What a template transforms, and the letter of each alphabet by its number; there is none for 0."""
    codes = [code for code, script in SCRIPT_OF.items() if name._takes(script)]
    codes += sorted(DIGIT_CODES) if name.digits else []
    return Letters([name._letters(code, "") for code in codes]), "\0" + "".join(codes)


def _merge(code: str, mark: str) -> bool:
    """Whether NFC makes one of a mark and some letter of an alphabet."""
    return code != "\0" and before(code, mark) is not alphabet(code)


def _kept(shown: str, codes: str) -> bytes:
    """What is kept, by the letters of alphabets, marks behind them, and what stays."""
    style, listed, index = [], bytearray(), 0
    for one in shown:
        if one in codes or kind(one) is MARK:
            style.append(one)
        elif one.isalnum():
            listed += index.to_bytes(2) + one.encode()
        index += one in codes or one.isalnum()
    return kept_form("".join(style).encode(), bytes(listed))


def _build(given: Mapping[str, Value]) -> Name:
    mixed = cast("Literal['refuse', 'pass']", given["mixed"])
    return Name(str(given["script"]), mixed, bool(given["digits"]), int(given["max"]))


ENTRY: Final[Entry[Template]] = Entry(
    "name",
    "Names and short texts: letters stay of their script and case; marks, spaces, punctuation stay in place.",
    (
        Parameter("script", "any", "which letters are taken; `ascii`: no accented ones", SCRIPTS),
        Parameter(
            "mixed", "refuse", "with `any`: values with letters of several scripts", ("refuse", "pass")
        ),
        Parameter("digits", False, "transform digits too"),
        Parameter("max", 64, "the longest value, in characters", lowest=1, highest=MAX_LENGTH),
    ),
    _build,
    ("{initials}", "{first:1}***"),
    (
        "name(script='ascii')",
        "name(script='latin')",
        "name(script='cyrillic', digits=true)",
        "name(script='devanagari')",
        "name(script='han')",
        "name(script='japanese', max=40)",
        "name(mixed='pass', digits=true)",
    ),
)
