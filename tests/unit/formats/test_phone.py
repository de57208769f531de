from __future__ import annotations

import phonenumbers
import pytest

from tests.unit.formats.refusals import STRANGERS, refused
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS
from vault.formats.calling import LONGEST_CODE, USUAL_LENGTH, country_code
from vault.formats.phone import E164, LONGEST
from vault.formats.template import Shape

PHONE = E164()


def test_plus_and_country_stay() -> None:
    shape = PHONE.parse("+442071838750")
    assert shape == Shape(DIGITS, "2071838750", ((0, "+"), (1, "4"), (2, "4")), 13)
    assert PHONE.render_token(shape, "0" * 10) == "+440000000000"
    assert PHONE.parse_token("+442071838750") == shape


@pytest.mark.parametrize(
    "value", ["+1 415-555-2671", "+1.415.555.2671", "+1 4 1 5 5552671", "+1-415 555.2671"]
)
def test_separators_stay_in_place_and_are_no_part_of_the_number(value: str) -> None:
    shape, bare = PHONE.parse(value), PHONE.parse("+14155552671")
    assert (shape.text, shape.kept_bytes()) == (bare.text, bare.kept_bytes())
    token = PHONE.render_token(shape, "9876543210")
    assert [(at, char) for at, char in enumerate(token) if char in "+ -."] == [
        (at, char) for at, char in enumerate(value) if char in "+ -."
    ]
    assert PHONE.render_value(PHONE.parse_token(token), shape.text) == value
    assert PHONE.canonical(value) == "+14155552671"


def test_a_separator_within_the_country_code() -> None:
    shape = PHONE.parse("+4-9 30 1234567")
    assert shape.kept == ((0, "+"), (1, "4"), (2, "-"), (3, "9"), (4, " "), (7, " "))
    assert shape.text == "301234567"
    assert shape.kept_bytes() == PHONE.parse("+49301234567").kept_bytes()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("+", "value_length"),
        ("+1234567", "value_length"),
        ("+1 2 3 4 5 6 7", "value_length"),
        ("+" + "1" * 16, "value_length"),
        ("+" + "1" * 10**6, "value_length"),
        ("14155552671", "value_format"),
        ("0014155552671", "value_format"),
        ("++14155552671", "value_format"),
        ("14155552671+", "value_format"),
        ("+ 14155552671", "value_format"),
        ("+1  4155552671", "value_format"),
        ("+1- 4155552671", "value_format"),
        ("+14155552671 ", "value_format"),
        (" +14155552671", "value_format"),
        ("+04155552671", "value_format"),
        ("+2104155552671", "value_format"),
        ("+9994155552671", "value_format"),
        ("+44 (0)20 7183 8750", "value_alphabet"),
        ("+1 415 555 2671 x12", "value_alphabet"),
        ("tel:+14155552671", "value_alphabet"),
        ("+1\u2010415\u2010555\u20102671", "value_alphabet"),
        ("+1\u00a0415\u00a05552671", "value_alphabet"),
        ("\uff0b14155552671", "value_alphabet"),
        *((f"+1{value}", "value_alphabet") for value in STRANGERS if not set(value) <= set("+.0123456789")),
        ("+112345678.", "value_format"),
        ("+1+12345678", "value_format"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(PHONE.parse, value) == code
    assert refused(PHONE.parse_token, value) == code


def test_codes_are_those_of_the_itu() -> None:
    ours, theirs = {int(code) for code in USUAL_LENGTH}, set(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
    assert theirs <= ours
    assert ours - theirs == {379, 388, 991}  # assigned, and without numbers that are in use


def test_no_code_begins_with_another() -> None:
    for code in USUAL_LENGTH:
        assert code.isascii()
        assert 1 <= len(code) <= LONGEST_CODE
        assert not any(other != code and other.startswith(code) for other in USUAL_LENGTH)
        assert country_code(code + "0" * 9) == code
        assert len(code) + USUAL_LENGTH[code] <= LONGEST


def test_numbers_of_every_country_are_taken() -> None:
    known = 0
    for region in phonenumbers.SUPPORTED_REGIONS:
        number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
        number = number or phonenumbers.example_number(region)
        assert number is not None
        plain = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        if len(plain) < 9:
            assert refused(PHONE.parse, plain) == "value_length"
            continue
        shape = PHONE.parse(plain)
        assert shape.text == phonenumbers.national_significant_number(number)
        written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        assert PHONE.canonical(written) == plain
        assert PHONE.parse(written).text == shape.text
        known += 1
    assert known > 230


def test_domains() -> None:
    assert PHONE.domain(15).size == 10**12
    assert PHONE.smallest().size == 10**5
    for length in (0, 7, 16):
        with pytest.raises(ValueRefused):
            PHONE.domain(length)


def test_spelling() -> None:
    assert PHONE.spec == "e164"
