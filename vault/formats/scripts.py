"""Alphabets of the world's scripts, frozen: which letters names are written with, and in what order.

The tables are ranges of code points written down here, version 1. They are not asked of Python, whose tables
grow with Unicode and would move tokens. Letters that have capitals are two alphabets, small and capital. All
letters are those of Unicode 13.0 or older; what comes later is in no table.

Of Python's tables only canonical composition is used. Unicode's stability policy promises that it never
changes for characters that exist (Unicode Standard Annex 15, 1.3 and section 3).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Final

from vault.formats.alphabet import DIGITS, LOWER, UPPER, Alphabet

# One letter for each alphabet, as styles spell it; hexadecimal ranges, `/2`: every second one.
_TABLES: Final[Mapping[str, tuple[str, str]]] = {
    "A": (
        "latin",
        "41-5A C0-D6 D8-DE 100-12E/2 130 134-136/2 139-13D/2 141-147/2 14A-176/2 178 179-17D/2 18F 1A0 1AF "
        "1B7 1E4-1EE/2 218-21A/2 1E80-1E84/2 1E9E 1EA0-1EF8/2",
    ),
    "a": (
        "latin",
        "61-7A DF-F6 F8-FF 101-12F/2 131 135-137/2 13A-13E/2 142-148/2 14B-177/2 17A-17E/2 1A1 1B0 259 292 "
        "1E5-1EF/2 219-21B/2 1E81-1E85/2 1EA1-1EF9/2",
    ),
    "B": ("greek", "386 388-38A 38C 38E 38F 391-3A1 3A3-3AB"),
    "b": ("greek", "390 3AC-3CE"),
    "C": ("cyrillic", "400-42F 490"),
    "c": ("cyrillic", "430-45F 491"),
    "D": ("armenian", "531-556"),
    "d": ("armenian", "561-587"),
    "E": ("georgian", "1C90-1CB0"),
    "e": ("georgian", "10D0-10F0"),
    "F": ("hebrew", "5D0-5EA"),
    "G": (
        "arabic",
        "621-63A 641-64A 671 679-67E 681 685-689 691-693 695 696 698 69A 6A4 6A9 6AB-6AF 6B5 6BA-6BC 6BE "
        "6C0-6CE 6D0 6D2 6D3 6D5",
    ),
    "H": ("devanagari", "904-939 960 961 972-97F"),
    "I": ("bengali", "985-98C 98F 990 993-9A8 9AA-9B0 9B2 9B6-9B9 9CE 9E0 9E1 9F0 9F1"),
    "J": ("tamil", "B85-B8A B8E-B90 B92-B95 B99 B9A B9C B9E B9F BA3 BA4 BA8-BAA BAE-BB9"),
    "K": ("thai", "E01-E2E E30 E32 E33 E40-E45"),
    "L": ("han", "3400-4DBF 4E00-9FFC 3005 3007"),
    "M": ("hiragana", "3041-3096 309D 309E"),
    "N": ("katakana", "30A1-30FA 30FD 30FE"),
    "O": ("katakana", "FF66-FF6F FF71-FF9D"),
    "P": ("hangul", "AC00-D7A3"),
    "0": ("", "30-39"),
    "1": ("", "660-669"),
    "2": ("", "6F0-6F9"),
    "3": ("", "966-96F"),
    "4": ("", "9E6-9EF"),
    "5": ("", "BE6-BEF"),
    "6": ("", "E50-E59"),
    "7": ("", "FF10-FF19"),
}
DIGIT_CODES: Final = frozenset(code for code, (script, _) in _TABLES.items() if not script)
"""The alphabets of decimal digits."""

SCRIPT_OF: Final = {code: script for code, (script, _) in _TABLES.items() if script}
"""The script of each alphabet of letters."""

_MARKS: Final = (
    "300-34E 350-362 483-487 591-5BD 5BF 5C1 5C2 5C4 5C5 5C7 610-61A 64B-65F 670 6D6-6DC 6DF-6E4 6E7 6E8 "
    "6EA-6ED 900-903 93A-93C 93E-94F 951-957 962 963 981-983 9BC 9BE-9C4 9C7 9C8 9CB-9CD 9D7 9E2 9E3 B82 "
    "BBE-BC2 BC6-BC8 BCA-BCD BD7 E31 E34-E3A E47-E4E"
)
# Punctuation, spaces and signs, and the few letters that stay: lengthening, repetition, abbreviation.
_LAYOUT: Final = (
    "9 A D 20-2F 3A-40 5B-60 7B-7E A0-A9 AB-B1 B4 B6-B8 BB BF D7 F7 55A-55F 589 58A 5BE 5C0 5C3 5F3 5F4 60C "
    "61B 61F 640 66A-66D 6D4 964 965 970 E2F E3F E46 E4F E5A E5B 2000-200A 200C-200F 2010-2029 202F-205E "
    "20A0-20BF 2116 3000-3003 3008-3011 3014-301F 30A0 30FB 30FC FF01-FF0F FF1A-FF20 FF3B-FF40 FF5B-FF65 "
    "FF70 FF9E FF9F"
)
LAYOUT: Final = "-"
MARK: Final = "^"

_WIDE: Final = frozenset("LP")  # looked up by range: tens of thousands of letters
_NEVER_COMPOSE: Final = DIGIT_CODES | frozenset("LMNOP")  # with a mark of the table


def _points(written: str) -> Iterator[int]:
    for part in written.split():
        bounds, _, step = part.partition("/")
        first, _, last = bounds.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1, int(step or 1))


def _kinds() -> dict[str, str]:
    kinds = {chr(point): LAYOUT for point in _points(_LAYOUT)}
    kinds |= {chr(point): MARK for point in _points(_MARKS)}
    for code, (_, written) in _TABLES.items():
        if code not in _WIDE:
            kinds |= {chr(point): code for point in _points(written)}
    return kinds


KINDS: Final[Mapping[str, str]] = _kinds()
"""What a character is: the letter of its alphabet, `LAYOUT` or `MARK`; without Han and Hangul, see `kind`."""


def kind(character: str) -> str | None:
    """What a character is, as in `KINDS`; None: nothing that names are written with."""
    found = KINDS.get(character)
    if found is not None:
        return found
    if "\u3400" <= character <= "\u4dbf" or "\u4e00" <= character <= "\u9ffc" or character in "\u3005\u3007":
        return "L"
    return "P" if "\uac00" <= character <= "\ud7a3" else None


@cache
def alphabet(code: str) -> Alphabet:
    """The alphabet of a letter of `KINDS`."""
    script, written = _TABLES[code]
    return Alphabet(f"{script or 'digits'} ({code})", "".join(map(chr, _points(written))))


ASCII: Final[Mapping[str, Alphabet]] = {"A": UPPER, "a": LOWER, "0": DIGITS}
"""The alphabets of texts that have no letter beyond ASCII."""


def before(code: str, marks: str) -> Alphabet:
    """The letters that stay themselves before these marks: NFC would merge an e with an acute accent."""
    gone = frozenset[str]().union(*(_composing(code, mark) for mark in marks))
    return _without(code, gone) if gone else alphabet(code)


@lru_cache(maxsize=256)
def _without(code: str, gone: frozenset[str]) -> Alphabet:
    whole = alphabet(code)
    return Alphabet(whole.name, "".join(letter for letter in whole.characters if letter not in gone))


@cache
def _composing(code: str, mark: str) -> frozenset[str]:
    """The letters of an alphabet that a mark behind them changes in NFC."""
    if code in _NEVER_COMPOSE:
        return frozenset()
    letters = alphabet(code).characters
    return frozenset(one for one in letters if unicodedata.normalize("NFC", one + mark) != one + mark)
