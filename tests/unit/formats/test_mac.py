from __future__ import annotations

import pytest

from tests.unit.formats.refusals import refused
from vault.errors import BadInput, ValueRefused
from vault.formats.catalog import parse_template
from vault.formats.mac import Mac
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

OUI = Mac()
NONE = Mac("none")
LAYOUTS = ["00:1b:44:11:3a:b7", "00-1b-44-11-3a-b7", "001b.4411.3ab7", "001b44113ab7"]


def codec(template: Mac) -> Vaultless:
    return Vaultless(Secret(bytes(32)), "main", "f", template)


@pytest.mark.parametrize("template", [OUI, NONE])
def test_layouts_and_cases_stay_and_separators_do_not_count(template: Mac) -> None:
    tokens = codec(template)
    made = [tokens.tokenize(value) for value in LAYOUTS]
    assert len({template.canonical(one) for one in made}) == 1
    for value, token in zip(LAYOUTS, made, strict=True):
        assert token == token.lower()
        assert [one for one in token if not one.isalnum()] == [one for one in value if not one.isalnum()]
        upper = tokens.tokenize(value.upper())
        assert upper == upper.upper()
        assert tokens.detokenize(upper) == value.upper()
        assert tokens.detokenize(token) == value
        assert template.canonical(value.upper()) == LAYOUTS[0]
    assert tokens.detokenize(made[3]) == LAYOUTS[3]
    assert tokens.detokenize(made[0].replace(":", "-")) == LAYOUTS[1]


def test_the_first_half_stays() -> None:
    assert codec(OUI).tokenize(LAYOUTS[0]).startswith("00:1b:44:")
    assert OUI.parse(LAYOUTS[0]).size == 2**24
    assert OUI.parse("00:00:12:00:00:0b").size == 2**24 - 10**6
    assert OUI.parse("00:00:12:00:00:01").size == 10**6


@pytest.mark.parametrize("second", "0123456789abcdef")
def test_the_bits_for_groups_and_local_addresses_stay(second: str) -> None:
    tokens = codec(NONE)
    for tail in ("00:00:00:00:00", "ff:ff:ff:ff:ff", "12:34:56:78:9a"):
        value = f"0{second}:{tail}"
        token = tokens.tokenize(value)
        assert int(token[1], 16) % 4 == int(second, 16) % 4
        assert any(map(str.isalpha, token)) == any(map(str.isalpha, value))
        assert tokens.detokenize(token) == value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("001b44113ab", "value_length"),
        ("00:1b:44:11:3a:b7:00", "value_length"),
        ("00:1b:44:11:3a:bg", "value_alphabet"),
        ("00 1b 44 11 3a b7", "value_alphabet"),
        ("001b44113ab\n", "value_alphabet"),
        ("00:1b:44:11:3a:b７", "value_alphabet"),
        ("00:1b-44:11:3a:b7", "value_format"),
        ("00:1b:4411:3a:b7", "value_format"),
        ("0:1b:44:11:3a:b7", "value_format"),
        ("001b:4411:3ab7", "value_format"),
        ("00.1b.44.11.3a.b7", "value_format"),
        ("001b44113ab7:", "value_format"),
        ("00:1b:44:11:3A:B7", "value_format"),
        ("00:1B:44:11:3a:b7", "value_format"),
    ],
)
@pytest.mark.parametrize("template", [OUI, NONE])
def test_refusals(template: Mac, value: str, code: str) -> None:
    assert refused(template.parse, value) == code


def test_every_address_of_a_maker_without_letters() -> None:
    """A whole domain of exactly 1,000,000."""
    tokens = codec(OUI)
    values: list[str | None] = [f"000012{number:06d}" for number in range(0, 10**6, 50)]
    made, refusals = tokens.tokenize_many(values)
    assert not refusals
    assert len(set(made)) == len(values)
    assert all(one is not None and one.isdigit() and one.startswith("000012") for one in made)
    assert tokens.detokenize_many(made) == (values, {})


def test_parameters() -> None:
    assert OUI.spec == "mac(keep='oui')"
    assert parse_template("mac(keep='none')") == NONE
    assert OUI.smallest().size == 10**6
    assert NONE.smallest().size == 2 * 10**11
    with pytest.raises(BadInput):
        parse_template("mac(keep='all')")
    with pytest.raises(ValueRefused):
        OUI.domain(11)
