from __future__ import annotations

import re

import pytest
import stdnum.nl.postcode

from tests.unit.formats.refusals import refused
from vault.errors import BadInput, ValueRefused
from vault.formats.catalog import parse_template
from vault.formats.template import Template
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless


def postal(country: str) -> Template:
    return parse_template(f"postal(country='{country}')")


SIZES = {
    "us": 10**9,
    "ca": 18 * 20 * 20 * 10**3,
    "gb": (23 * (10 + 90) + 23 * 23 * (10 + 90) + 23 * 9 * 15 + 23 * 23 * 9 * 12) * 10 * 20 * 20,
    "nl": 9000 * (26 * 26 - 3),
    "ie": (15 * 100 + 1) * 25**4,
    "br": 10**8,
    "jp": 10**7,
    "pt": 9 * 10**6,
    "cn": 10**6,
    "ru": 10**6,
    "sg": 10**6,
}
FORMS = {
    "us": r"[0-9]{5}-[0-9]{4}",
    "ca": r"[ABCEGHJ-NPRSTVXY][0-9][ABCEGHJ-NPRSTV-Z] [0-9][ABCEGHJ-NPRSTV-Z][0-9]",
    "gb": r"([A-PR-UWYZ]([0-9]{1,2}|[A-HK-Y][0-9]{1,2}|[0-9][A-HJKPSTUW]|[A-HK-Y][0-9][ABEHMNPRV-Y])) "
    r"[0-9][ABD-HJLNP-UW-Z]{2}",
    "nl": r"[1-9][0-9]{3} [A-Z]{2}",
    "ie": r"([AC-FHKNPRTV-Y][0-9]{2}|D6W) [0-9AC-FHKNPRTV-Y]{4}",
    "br": r"[0-9]{5}-[0-9]{3}",
    "jp": r"[0-9]{3}-[0-9]{4}",
    "pt": r"[1-9][0-9]{3}-[0-9]{3}",
    "cn": r"[0-9]{6}",
    "ru": r"[0-9]{6}",
    "sg": r"[0-9]{6}",
}
VALUES = {
    "us": ["20500-0003", "205000003"],
    "ca": ["K1A 0B1", "k1a0b1", "V6B-4Y8"],
    "gb": ["SW1A 1AA", "M1 1AE", "b338th", "CR2 6XH", "DN55 1PT", "W1A 0AX", "EC1A 1BB", "BS0 1AA"],
    "nl": ["1234 AB", "1234ab"],
    "ie": ["D02 X285", "D6W XN42", "a65f4e2"],
    "br": ["01310-100", "01310100"],
    "jp": ["100-0001", "1000001"],
    "pt": ["1000-260"],
    "cn": ["100000"],
    "ru": ["101000"],
    "sg": ["018956"],
}


@pytest.mark.parametrize("country", SIZES)
def test_domains(country: str) -> None:
    template = postal(country)
    assert template.domain().size == SIZES[country]
    assert template.smallest().size == (10**5 if country == "us" else SIZES[country])
    for length in (0, 4, 10):
        with pytest.raises(ValueRefused):
            template.domain(length)


@pytest.mark.parametrize("country", SIZES)
def test_tokens_have_the_form(country: str) -> None:
    tokens = Vaultless(Secret(bytes(range(32))), "main", "customer.zip", postal(country))
    for value in VALUES[country]:
        token = tokens.tokenize(value)
        assert token != value
        assert tokens.detokenize(token) == value
        assert token.islower() == value.islower()
        assert ([one for one in token if one in " -"]) == ([one for one in value if one in " -"])
    first = tokens.tokenize(VALUES[country][0])
    assert re.fullmatch(FORMS[country], first)
    if country == "nl":
        assert stdnum.nl.postcode.validate(first) == first


@pytest.mark.parametrize(
    ("country", "value", "code"),
    [
        ("us", "", "value_empty"),
        ("us", "2050", "value_length"),
        ("us", "205000", "value_length"),
        ("us", "20500-00034", "value_length"),
        ("us", "20500--003", "value_format"),
        ("us", "20500-000A", "value_alphabet"),
        ("us", "20500-000３", "value_alphabet"),
        ("ca", "D1A 0B1", "value_format"),
        ("ca", "K1A 0O1", "value_format"),
        ("ca", "K1a 0B1", "value_format"),
        ("ca", "1KA 0B1", "value_format"),
        ("gb", "QW1A 1AA", "value_format"),
        ("gb", "SW1A 1AC", "value_format"),
        ("gb", "SW1 A1AA", "value_format"),
        ("gb", "SW1A-1AA", "value_format"),
        ("gb", "M01 1AE", "value_format"),
        ("gb", "GIR 0AA", "value_format"),
        ("gb", "M1 1A_", "value_alphabet"),
        ("gb", "M1_ 1AE", "value_alphabet"),
        ("gb", "SW1A11AA", "value_length"),
        ("nl", "0234 AB", "value_format"),
        ("nl", "1234 SS", "value_format"),
        ("ie", "D7W XN42", "value_format"),
        ("ie", "B65 F4E2", "value_format"),
        ("pt", "0000-260", "value_format"),
        ("cn", "10000", "value_length"),
        ("cn", "100000\n", "value_alphabet"),
    ],
)
def test_refusals(country: str, value: str, code: str) -> None:
    assert refused(postal(country).parse, value) == code
    assert refused(postal(country).parse_token, value) == code


def test_five_digits_are_too_few() -> None:
    tokens = Vaultless(Secret(bytes(range(32))), "main", "customer.zip", postal("us"))
    with pytest.raises(ValueRefused) as caught:
        tokens.tokenize("20500")
    assert caught.value.code == "domain_too_small"


@pytest.mark.parametrize("country", ["de", "fr", "in", "pl", "ch", "US", "xx"])
def test_countries_with_too_few_codes_cannot_be_named(country: str) -> None:
    with pytest.raises(BadInput) as caught:
        postal(country)
    assert caught.value.code == "template_invalid"
    assert caught.value.facts.get("template", "postal") == "postal"


def test_spelling() -> None:
    assert postal("us").spec == parse_template("postal").spec == "postal(country='us')"
