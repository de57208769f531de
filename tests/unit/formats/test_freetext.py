from __future__ import annotations

import sys
import unicodedata

import pytest

from tests.unit.formats.refusals import refused
from vault.errors import BadInput, ValueRefused
from vault.formats.catalog import parse_template
from vault.formats.freetext import Text

TEXT = Text()


@pytest.mark.parametrize(
    "value",
    [
        "Zoë O’Brien-Łukasz",
        "e\u0301 is not é",
        "王小明",
        "می\u200cخواهم",
        "नि\u200dर्",
        "\U0001f469\u200d\U0001f469\u200d\U0001f467",
        "first line\r\n\tsecond line",
        "\u202bשלום\u202c \u2067abc\u2069 \u202eodd\u202c",
        "\ufeffwith a mark",
        " ",
        "１２３",
        "'; DROP TABLE",
        "\u2028\u2029\u00ad",
        "\U000e0001\U0003fffd",
    ],
)
def test_what_people_write_comes_back(value: str) -> None:
    shape = TEXT.parse(value)
    assert TEXT.render_value(shape, shape.text) == value
    assert shape.length == len(value)


@pytest.mark.parametrize(
    "character",
    [
        *("\0", "\x01", "\x08", "\x0b", "\x0c", "\x1b", "\x1f", "\x7f", "\x80", "\x85", "\x9f"),
        *("\ud800", "\udfff", "\ufdd0", "\ufdef", "\ufffe", "\uffff", "\U0001fffe", "\U0010ffff"),
    ],
)
def test_what_cannot_be_text_is_refused(character: str) -> None:
    with pytest.raises(ValueRefused) as caught:
        TEXT.parse(f"Anna {character} Example")
    assert (caught.value.code, caught.value.facts) == ("value_alphabet", {"position": 5})


def test_nothing_else_is_refused() -> None:
    refused_ones = []
    for code in range(sys.maxunicode + 1):
        try:
            TEXT.parse(chr(code))
        except ValueRefused:
            refused_ones.append(code)
    controls = [
        code for code in range(0xA0) if unicodedata.category(chr(code)) == "Cc" and chr(code) not in "\t\n\r"
    ]
    surrogates = list(range(0xD800, 0xE000))
    nonchars = [
        code for code in range(sys.maxunicode + 1) if code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    ]
    assert refused_ones == sorted([*controls, *surrogates, *nonchars])
    assert (len(controls), len(nonchars)) == (62, 66)


def test_lengths_are_in_characters() -> None:
    assert TEXT.parse("\U0001f469" * 200).length == 200
    assert refused(TEXT.parse, "x" * 201) == "value_length"
    assert refused(TEXT.parse, "\0" * 10**6) == "value_length"
    assert refused(TEXT.parse, "") == "value_empty"


def test_ff1_has_no_use_for_it() -> None:
    assert not TEXT.reversible_by_ff1
    assert TEXT.domain().size == TEXT.smallest().size == TEXT.parse("abc").size == 0
    for call in (lambda: TEXT.parse_token("abc"), lambda: TEXT.render_token(TEXT.parse("abc"), "abc")):
        with pytest.raises(BadInput) as caught:
            call()
        assert caught.value.code == "operation_unsupported"


def test_spelling() -> None:
    assert TEXT.spec == "text(max=200)"
    assert parse_template("text(max=10000)") == Text(10_000)
