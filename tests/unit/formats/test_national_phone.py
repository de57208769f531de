from __future__ import annotations

import phonenumbers
import pytest

from tests.unit.formats.refusals import refused
from vault.errors import ValueRefused
from vault.formats.national_phone import _PLANS as PLANS
from vault.formats.national_phone import NationalPhone
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

US = NationalPhone("us")
DE = NationalPhone("de")
ES = NationalPhone("es")


def codec(template: NationalPhone) -> Vaultless:
    return Vaultless(Secret(bytes(range(32))), "main", "customer.phone", template)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        (US, "(415) 555-2671"),
        (US, "1 (415) 555-2671"),
        (US, "1-415-555-2671"),
        (US, "4155552671"),
        (US, "555-2671"),
        (DE, "030/1234567"),
        (DE, "0 30 1234567"),
        (DE, "(030) 1234567"),
        (DE, "301234567"),
        (DE, "0151.12345678"),
        (ES, "912 345 678"),
        (ES, "012 345 678"),
    ],
)
def test_what_is_dialled_first_and_the_layout_stay(template: NationalPhone, value: str) -> None:
    tokens = codec(template)
    token = tokens.tokenize(value)
    assert token != value
    assert tokens.detokenize(token) == value
    assert [one if not one.isdigit() else "0" for one in token] == [
        one if not one.isdigit() else "0" for one in value
    ]
    digits = "".join(one for one in token if one.isdigit())
    given = "".join(one for one in value if one.isdigit())
    if template is not ES:
        trunk = "1" if template is US else "0"
        assert digits.startswith(trunk) == given.startswith(trunk)
        assert digits.removeprefix(trunk)[0] not in ("01" if template is US else "0")


def test_kept_digits() -> None:
    template = NationalPhone("us", 3)
    token = codec(template).tokenize("1 (415) 555-2671")
    assert token.startswith("1 (415) ")
    assert template.parse("415-555-2671").size == 10**7
    assert US.parse("415-555-2671").size == US.parse("1-415-555-2671").size == 8 * 10**9
    assert US.domain(11).size == 8 * 10**9
    assert DE.domain(7).size == DE.parse("0301234").size == 9 * 10**5


@pytest.mark.parametrize(
    ("template", "value", "code"),
    [
        (US, "", "value_empty"),
        (US, "55526", "value_length"),
        (US, "5-5-5-2-6", "value_length"),
        (US, "2" * 16, "value_length"),
        (US, "2" * 10**6, "value_length"),
        (US, "0155552671", "value_format"),
        (US, "1155552671", "value_format"),
        (US, "1-015-555-2671", "value_format"),
        (DE, "0030 1234567", "value_format"),
        (US, "(415 555-2671", "value_format"),
        (US, "415) 555-2671", "value_format"),
        (US, "(415) (555)-2671", "value_format"),
        (US, "((415)) 555-2671", "value_format"),
        (US, "415--555-2671", "value_format"),
        (US, "415 555 2671 ", "value_format"),
        (US, "()4155552671", "value_format"),
        (US, "+1 415 555 2671", "value_alphabet"),
        (US, "415-555-2671 x3", "value_alphabet"),
        (US, "415555267１", "value_alphabet"),
        (US, "415555267\n", "value_alphabet"),
        (NationalPhone("de", 6), "030123", "domain_too_small"),
    ],
)
def test_refusals(template: NationalPhone, value: str, code: str) -> None:
    assert refused(template.parse, value) == code
    assert refused(template.parse_token, value) == code


def test_one_spelling() -> None:
    assert DE.canonical("(030) 123-4567") == DE.canonical("30 1234567") == "301234567"
    assert US.canonical("1 (415) 555-2671") == "4155552671"
    assert ES.canonical("012 345 678") == "012345678"
    assert DE.canonical("0 12345") == "012345"  # without the zero it would be too short to be taken
    assert US.spec == "phone(country='us')"
    assert NationalPhone("de", 3).spec == "phone(country='de', keep=3)"
    with pytest.raises(ValueRefused):
        US.domain(16)


@pytest.mark.parametrize("country", sorted(PLANS))
def test_what_is_dialled_first_is_what_the_numbering_plan_says(country: str) -> None:
    known = phonenumbers.PhoneMetadata.metadata_for_region(country.upper())
    assert known is not None
    assert (known.national_prefix or "") == PLANS[country][0]
