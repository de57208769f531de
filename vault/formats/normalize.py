"""Normal forms: which spellings of a value count as one for a blind index.

A deterministic token answers "is this value here already?". The answer compares normal forms: the
template's own canonical form first (an IBAN without its spaces), then what the field asks for. The value
itself is stored as it was given, so nothing is lost by comparing loosely; but two values of one normal form
share a token, so a form must not be looser than the meaning.

All forms are those of the Unicode tables of the running Python. Unicode keeps NFC and case folding stable
for the characters that it has; a character that is new to it may change its form once, with an upgrade.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from vault.errors import ValueRefused
from vault.formats.template import Template

_SHORT: Final = 256  # characters


class Normalization(StrEnum):
    """How loosely a field compares its values; each but the last two contains the one before."""

    NONE = "none"  # the template's canonical form and no more
    NFC = "nfc"  # composed: é typed as one character or as two
    LOWERCASE = "lowercase"  # and in lower case
    CASEFOLD = "casefold"  # and with full case folding: ß is ss. Source: The Unicode Standard, 3.13, D145
    WORDS = "words"  # and with one space between words, none around
    ALPHANUMERIC = "alphanumeric"  # case-folded letters, marks and digits, nothing else
    DIGITS = "digits"  # decimal digits, those of every script as ASCII, nothing else


def normalize(template: Template, how: Normalization, value: str) -> str:
    """The normal form of a value: equal for values that a blind index shall not tell apart.

    Args:
        template: the field's.
        how: what the field asks for.
        value: one that the template takes.

    Raises:
        ValueRefused: `value_format`, nothing is left to compare: a text without digits as `digits`.
    """
    form = _FORMS[how](template.canonical(value))
    if not form:
        raise ValueRefused("value_format")
    return form


def _none(text: str) -> str:
    return text


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", _nfd(text) if len(text) > _SHORT else text)


def _nfd(text: str) -> str:
    """Python's own puts combining marks in order in the square of their number; this does not."""
    if len(text) <= _SHORT:
        return unicodedata.normalize("NFD", text)
    ordered: list[str] = []
    marks: list[str] = []
    for character in "".join([unicodedata.normalize("NFD", character) for character in text]):
        if unicodedata.combining(character):
            marks.append(character)
        else:
            ordered += sorted(marks, key=unicodedata.combining)
            marks.clear()
            ordered.append(character)
    return "".join(ordered + sorted(marks, key=unicodedata.combining))


def _lowercase(text: str) -> str:
    return _nfc(_nfc(text).lower())


def _casefold(text: str) -> str:
    return _nfc(_nfd(text).casefold())


def _words(text: str) -> str:
    return " ".join(_casefold(text).split())


def _alphanumeric(text: str) -> str:
    kept = (character for character in _casefold(text) if unicodedata.category(character)[0] in "LMN")
    return _nfc("".join(kept))


def _digits(text: str) -> str:
    numbers = (unicodedata.decimal(character, None) for character in text)
    return "".join(str(number) for number in numbers if number is not None)


_FORMS: Final[Mapping[Normalization, Callable[[str], str]]] = {
    Normalization.NONE: _none,
    Normalization.NFC: _nfc,
    Normalization.LOWERCASE: _lowercase,
    Normalization.CASEFOLD: _casefold,
    Normalization.WORDS: _words,
    Normalization.ALPHANUMERIC: _alphanumeric,
    Normalization.DIGITS: _digits,
}
