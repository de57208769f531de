from __future__ import annotations

import pytest
import stdnum.imsi

from tests.unit.formats.refusals import STRANGERS, refused
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS
from vault.formats.imsi import Imsi
from vault.formats.template import Shape

IMSI = Imsi()
GERMAN = "262011234567890"


def test_country_and_network_are_kept() -> None:
    assert IMSI.parse(GERMAN) == Shape(DIGITS, "1234567890", tuple(enumerate("26201")), 15)
    token = IMSI.render_token(IMSI.parse("262-01-1234567890"), "0" * 10)
    assert token == "262-01-0000000000"
    assert stdnum.imsi.validate(IMSI.canonical(token)) == "262010000000000"
    assert Imsi(6).parse("310150123456789").text == "123456789"
    assert Imsi(0).parse(GERMAN).text == GERMAN


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        (GERMAN[:13], "value_length"),
        (GERMAN + "0", "value_length"),
        ("262--011234567890", "value_format"),
        ("-262011234567890", "value_format"),
        *((value + "123456", "value_alphabet") for value in STRANGERS if "." not in value),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(IMSI.parse, value) == refused(IMSI.parse_token, value) == code


def test_domains() -> None:
    assert IMSI.domain().size == 10**10
    assert IMSI.smallest().size == 10**9
    assert Imsi(6).smallest().size == 10**8
    with pytest.raises(ValueRefused):
        IMSI.domain(13)
    assert IMSI.spec == "imsi(keep=5)"
