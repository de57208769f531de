"""Codes: each character stays of its kind, punctuation in place, what is kept is kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import BadInput, ValueRefused
from vault.formats.alphabet import ALPHANUMERIC, BITS, DIGITS
from vault.formats.catalog import parse_template
from vault.formats.code import LONGEST, Code
from vault.formats.template import Shape
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

CODE = Code()


def kinds(text: str) -> str:
    return "".join("0" if c.isdigit() else "A" if c.isupper() else "a" if c.islower() else c for c in text)


def test_each_character_stays_of_its_kind() -> None:
    shape = CODE.parse("AB-1234-xy")
    assert (shape.alphabet, shape.ranks, shape.style) == (BITS, 26**4 * 10**4, "AA0000aa")
    assert shape.kept == ((2, "-"), (7, "-"))
    last = f"{shape.ranks - 1:0{len(shape.text)}b}"
    assert CODE.render_token(shape, last) == "ZZ-9999-zz"


def test_digits_only_are_a_text_of_digits() -> None:
    assert CODE.parse("12 34 56") == Shape(DIGITS, "123456", ((2, " "), (5, " ")), 8, "000000")


def test_kept_characters_stay() -> None:
    template = Code(keep_first=2, keep_last=3)
    value = "(AB)-12345-xyz"
    shape = template.parse(value)
    assert shape.style == "00000"
    assert template.render_token(shape, "99999") == "(AB)-99999-xyz"


TEXTS = st.text(alphabet=[chr(point) for point in range(0x20, 0x7F)], min_size=6, max_size=60)


@given(TEXTS, st.integers(0, 4), st.integers(0, 4))
def test_tokens_look_like_their_values(value: str, first: int, last: int) -> None:
    template = Code(1, 64, first, last)
    tokens = Vaultless(Secret(bytes(32)), "main", "x", template)
    try:
        token = tokens.tokenize(value)
    except ValueRefused as refusal:
        assert refusal.code in ("value_length", "domain_too_small")  # noqa: PT017
        return
    assert kinds(token) == kinds(value)
    bare, same = ("".join(filter(ALPHANUMERIC.__contains__, text)) for text in (token, value))
    assert (bare[:first], bare[len(bare) - last :]) == (same[:first], same[len(same) - last :])
    assert tokens.detokenize(token) == value
    assert tokens.detokenize(bare) == same  # a token that lost its punctuation


def test_a_layout_of_kinds_is_in_the_tweak() -> None:
    one, other = CODE.parse("AAAA111"), CODE.parse("111AAAA")
    assert one.ranks == other.ranks
    assert one.kept_bytes() != other.kept_bytes()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("AB-12", "value_length"),
        ("-------", "value_length"),
        ("A" * 65, "value_length"),
        ("A-" * 129, "value_length"),
        ("AB-1234é", "value_alphabet"),
        ("AB-1234\n", "value_alphabet"),
        ("AB\u20111234", "value_alphabet"),
        ("\uff11234567", "value_alphabet"),
        ("AB-1234\ud800", "value_alphabet"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(CODE.parse, value) == code


def test_the_longest_fits() -> None:
    template = Code(1, LONGEST)
    value = "aB" * (LONGEST // 2)
    tokens = Vaultless(Secret(bytes(32)), "main", "x", template)
    assert tokens.detokenize(tokens.tokenize(value)) == value


@pytest.mark.parametrize(
    "spec",
    [
        "code(min=7, max=6)",
        "code(min=1, max=4)",
        "code(max=10, keep_first=3, keep_last=3)",
        "code(max=101)",
        "code(min=0)",
    ],
)
def test_what_leaves_too_little_is_no_template(spec: str) -> None:
    with pytest.raises(BadInput, match="template_invalid"):
        parse_template(spec)


def test_spelling_and_domain() -> None:
    assert CODE.spec == "code(min=6, max=64)"
    assert Code(8, 9, 1, 2).spec == "code(min=8, max=9, keep_first=1, keep_last=2)"
    assert CODE.domain().size == CODE.smallest().size == 10**6
    assert Code(8, 9, 1, 2).domain(9).size == 10**6
    with pytest.raises(ValueRefused, match="value_length"):
        CODE.domain(5)
