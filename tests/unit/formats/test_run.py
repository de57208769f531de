from __future__ import annotations

import pytest

from tests.unit.formats.refusals import STRANGERS, refused
from vault.errors import BadInput, ValueRefused
from vault.formats.alphabet import ALNUM_LOWER, ALNUM_UPPER, ALPHANUMERIC, DIGITS
from vault.formats.catalog import parse_template
from vault.formats.run import Alphanumeric, Digits, Hex
from vault.formats.template import Shape


def test_digits_are_all_transformed() -> None:
    shape = Digits().parse("0012345678")
    assert shape == Shape(DIGITS, "0012345678", (), 10)
    assert Digits().render_token(shape, "9" * 10) == "9" * 10
    assert Digits().parse_token("0012345678") == shape


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("12345", "value_length"),
        ("1" * 257, "value_length"),
        ("1" * 10**6, "value_length"),
        ("12345a", "value_alphabet"),
        *((value, "value_alphabet") for value in STRANGERS),
    ],
)
def test_refusals_of_digits(value: str, code: str) -> None:
    assert refused(Digits().parse, value) == code
    assert refused(Digits().parse_token, value) == code


def test_length_is_looked_at_first() -> None:
    assert refused(Digits(6, 8).parse, "\0" * 9) == "value_length"


def test_the_three_cases() -> None:
    assert Alphanumeric("lower").parse("ab12").alphabet is ALNUM_LOWER
    assert Alphanumeric("upper").parse("AB12").alphabet is ALNUM_UPPER
    assert Alphanumeric().parse("aB12").alphabet is ALPHANUMERIC
    for template, value in (
        (Alphanumeric("lower"), "aB12"),
        (Alphanumeric("upper"), "aB12"),
        (Alphanumeric(), "a-12"),
    ):
        assert refused(template.parse, value) == "value_alphabet"
    for value in STRANGERS:
        assert refused(Alphanumeric().parse, value) == "value_alphabet"


def test_domains() -> None:
    assert Digits().domain().size == Digits().smallest().size == 10**6
    assert Digits(3, 20).smallest().size == 1000
    assert Digits(3, 20).domain(20).size == 10**20
    assert Alphanumeric("lower").smallest().size == 36**4
    assert Alphanumeric().domain(5).size == 62**5
    for length in (0, 5, 257):
        with pytest.raises(ValueRefused):
            Digits().domain(length)


def test_small_values_are_taken_apart_all_the_same() -> None:
    assert Digits(3, 4).parse("123").size == 1000


def test_min_is_not_above_max() -> None:
    for build in (lambda: Digits(7, 6), lambda: Alphanumeric("mixed", 7, 6)):
        with pytest.raises(BadInput) as caught:
            build()
        assert caught.value.code == "template_invalid"
        assert caught.value.facts["parameter"] == "min"
    assert Digits(6, 6).parse("123456").length == 6


def test_spelling() -> None:
    assert Digits().spec == "digits(min=6, max=256)"
    assert Alphanumeric("upper", 4, 12).spec == "alphanumeric(case='upper', min=4, max=12)"


@pytest.mark.parametrize(
    ("case", "taken", "position", "radix"),
    [("lower", "00ff9a", 2, 16), ("upper", "00FF9A", 2, 16), ("mixed", "00fF9a", None, 22)],
)
def test_hexadecimal_digits_of_a_case(case: str, taken: str, position: int | None, radix: int) -> None:
    template = parse_template(f"hex(case='{case}')")
    shape = template.parse(taken)
    assert (shape.text, shape.kept, shape.alphabet.radix) == (taken, (), radix)
    assert template.domain(6).size == radix**6
    if position is None:
        template.parse(taken.swapcase())
        return
    with pytest.raises(ValueRefused) as caught:
        template.parse(taken.swapcase())
    assert (caught.value.code, caught.value.facts) == ("value_alphabet", {"position": position})


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("00ff9", "value_length"),
        ("0x00ff", "value_alphabet"),
        ("00ff9g", "value_alphabet"),
    ],
)
def test_refusals_of_hexadecimal_digits(value: str, code: str) -> None:
    assert refused(Hex().parse, value) == code


def test_lengths_of_hexadecimal_digits() -> None:
    assert Hex().spec == "hex(case='lower', min=6, max=256)"
    with pytest.raises(BadInput):
        Hex(shortest=7, longest=6)
