"""Output formats: one token for all layouts of a value, and tokens that are read back in one way."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.formats.custom import custom
from vault.formats.encoded import encoded
from vault.formats.pattern import PatternRefused
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

PHONE = (r"\(?(\d{3})\)?[- .]?(\d{3})[- .]?(\d{4})", "", "($1) $2-$3")
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LAYOUTS = ("{}{}{}", "({}) {}-{}", "{}-{}-{}", "{}.{}.{}", "({}){}{}")


def codec(*definition: str) -> Vaultless:
    return Vaultless(Secret(bytes(32)), "main", "f", encoded("t", *definition))


@given(st.integers(0, 10**10 - 1), st.sampled_from(LAYOUTS))
@settings(deadline=None, max_examples=200)
def test_all_layouts_have_one_token_in_the_format(number: int, layout: str) -> None:
    digits = f"{number:010d}"
    parts = digits[:3], digits[3:6], digits[6:]
    both = codec(*PHONE)
    token = both.tokenize(layout.format(*parts))
    assert token == both.tokenize("({}) {}-{}".format(*parts))
    assert [token[0], token[4:6], token[9]] == ["(", ") ", "-"]
    assert both.detokenize(token) == "({}) {}-{}".format(*parts)


@pytest.mark.parametrize(
    ("pattern", "alphabet", "encode", "value", "written"),
    [
        (r"([A-Z]{2})[ ]?(\d{6,8})(?:/[a-z])?", "", "$2.$1$$", "AB 123456/x", "123456.AB$"),
        (r"(?P<a>\d{4}) *(?P<b>[(\]a-f)]{4})", "", "$1$2", "1234  ab(]", "1234ab(]"),
        (
            r"([0-9A-Z]{5})[-]?([0-9A-Z]{5})",
            "0123456789ABCDEFGHJKMNPQRSTVWXYZ",
            "$1-$2",
            "ABCDE01234",
            "ABCDE-01234",
        ),
        (r"EMP[- ](\d{8})", "", "$1", "EMP 00000001", "00000001"),
        (r"(\d{8})", "", "№$1", "00000001", "№00000001"),
        (r"([0-9]{4})[)(]([]x()]{9})", "", "$1.$2", "1234)xx(])(]xx", "1234.xx(])(]xx"),
    ],
)
def test_formats(pattern: str, alphabet: str, encode: str, value: str, written: str) -> None:
    template = encoded("t", pattern, alphabet, encode)
    assert template.canonical(value) == written
    both = codec(pattern, alphabet, encode)
    token = both.tokenize(value)
    assert len(token) == len(written)
    assert token != written
    assert both.detokenize(token) == written
    assert template.parse_token(token).kept == template.parse(value).kept
    assert (template.pattern, template.alphabet, template.encode) == (pattern, alphabet, encode)
    made = template.sample(random.Random(1))
    many = both.tokenize_many([made] * 50)[0]
    assert both.detokenize_many(many)[0] == [template.canonical(made)] * 50


@pytest.mark.parametrize(
    ("encode", "reason"),
    [
        ("", "each group once"),
        ("$1", "each group once"),
        ("$1-$2-$2", "each group once"),
        ("$1-$3", "each group once"),
        ("$1-$2$", "each group once"),
        ("$0$1$2", "each group once"),
        ("$1$2", "can be read in two ways"),
        ("$1\n$2", "printable"),
        ("$1-$2" + "x" * 300, "at most"),
    ],
)
def test_formats_that_are_refused(encode: str, reason: str) -> None:
    with pytest.raises(PatternRefused, match=reason):
        encoded("t", r"(\d{3,6})-(\d{3,6})", "", encode)


def test_refusals_of_values() -> None:
    template = encoded("t", r"(\d{3})(?:-(\d{4}))?", "", "$1-$2")
    assert refused(template.parse, "123") == "value_format"  # a group is missing
    assert refused(template.parse, "123-4") == "value_format"
    assert refused(template.parse, "") == "value_empty"
    assert refused(template.parse_token, "1234567") == "value_format"
    assert template.canonical("123-4567") == "123-4567"


def test_the_spelling_is_one_of_its_own() -> None:
    specs = {
        custom("t", r"(\d{8})").spec,
        encoded("t", r"(\d{8})", "", "$1").spec,
        encoded("t", r"(\d{8})", "", "x$1").spec,
        encoded("u", r"(\d{8})", "", "x$1").spec,
    }
    assert len(specs) == 4
    assert encoded("t", r"(\d{8})", "", "$1").smallest().size == 10**8
    assert encoded("t", r"(\d{8})", "", "$1").domain(8).size == 10**8
