from __future__ import annotations

import pytest

from tests.unit.formats.refusals import STRANGERS, refused
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS
from vault.formats.catalog import parse_template
from vault.formats.ssn import Ssn
from vault.formats.template import Shape

SSN = Ssn()
STRICT = Ssn(strict=True)


def test_hyphens_stay_in_place() -> None:
    shape = SSN.parse("123-45-6789")
    assert shape == Shape(DIGITS, "123456789", ((3, "-"), (6, "-")), 11)
    assert SSN.render_token(shape, "987654321") == "987-65-4321"
    assert SSN.render_value(shape, "123456789") == "123-45-6789"


def test_nine_digits() -> None:
    shape = SSN.parse("123456789")
    assert shape == Shape(DIGITS, "123456789", (), 9)
    assert SSN.render_token(shape, "000000000") == "000000000"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("1", "value_length"),
        ("12345678", "value_length"),
        ("123-45-67890", "value_length"),
        ("1" * 10**6, "value_length"),
        ("1234567890", "value_format"),
        ("123-456789", "value_format"),
        ("12-345-6789", "value_format"),
        ("123456-789", "value_format"),
        ("123-45--678", "value_format"),
        ("---------", "value_format"),
        ("123 45 6789", "value_alphabet"),
        ("123\u201045\u20106789", "value_alphabet"),
        *((value, "value_alphabet") for value in STRANGERS),
    ],
)
def test_refusals(value: str, code: str) -> None:
    for template in (SSN, STRICT):
        assert refused(template.parse, value) == code
        assert refused(template.parse_token, value) == code


NEVER_ISSUED = [
    "000-12-3456",
    "666-12-3456",
    "900-12-3456",
    "999999999",
    "123-00-4567",
    "123-45-0000",
    "912-70-1234",
]


@pytest.mark.parametrize("value", NEVER_ISSUED)
def test_numbers_that_are_never_issued(value: str) -> None:
    assert SSN.parse(value).length == len(value)
    assert refused(STRICT.parse, value) == "value_format"
    assert STRICT.parse_token(value) == SSN.parse(value)


@pytest.mark.parametrize("value", ["001-01-0001", "665999999", "667-01-0001", "899-99-9999"])
def test_numbers_that_may_have_been(value: str) -> None:
    assert STRICT.parse(value) == SSN.parse(value)


def test_the_domain_is_ten_to_the_ninth() -> None:
    assert (SSN.domain().radix, SSN.domain().length, SSN.domain().size) == (10, 9, 10**9)
    assert SSN.smallest() == SSN.domain() == SSN.domain(9)
    with pytest.raises(ValueRefused) as caught:
        SSN.domain(8)
    assert caught.value.code == "value_length"


def test_the_two_are_spelled() -> None:
    assert (SSN.spec, STRICT.spec) == ("ssn", "ssn(strict=true)")
    assert parse_template("ssn") == SSN == parse_template("ssn(strict=false)")
    assert parse_template("ssn(strict=true)") == STRICT
