from __future__ import annotations

import itertools

import pytest

from tests.unit.formats.refusals import refused
from vault.errors import ValueRefused
from vault.formats.vin import CHARACTERS, Vin, check_digit

IGNORE = Vin()
REQUIRE = Vin("require")
AMERICAN = "1M8GDM9AXKP042788"
EUROPEAN = "WVWZZZ1JZ3W386752"


@pytest.mark.parametrize("value", [AMERICAN, "11111111111111111", "5GZCZ43D13S812715"])
def test_known_check_digits(value: str) -> None:
    assert check_digit(value) == value[8]
    assert [digit for digit in "0123456789X" if accepted(value[:8] + digit + value[9:])] == [value[8]]


def accepted(value: str) -> bool:
    try:
        REQUIRE.parse(value)
    except ValueRefused as error:
        assert error.code == "value_checksum"  # noqa: PT017
        return False
    return True


def test_where_it_is_no_check_digit_it_is_transformed() -> None:
    assert IGNORE.parse(EUROPEAN).text == EUROPEAN
    assert refused(REQUIRE.parse, EUROPEAN) == "value_checksum"
    assert REQUIRE.parse(AMERICAN).text == AMERICAN[:8] + AMERICAN[9:]
    assert Vin("require", "wmi").parse(AMERICAN).text == AMERICAN[3:8] + AMERICAN[9:]


@pytest.mark.parametrize("check", ["ignore", "require"])
@pytest.mark.parametrize("keep", ["none", "wmi"])
@pytest.mark.parametrize("character", "0AZ5")
def test_tokens_turn_back(check: str, keep: str, character: str) -> None:
    template = Vin(check, keep)  # type: ignore[arg-type]
    shape = template.parse(AMERICAN)
    assert template.render_value(shape, shape.text) == AMERICAN
    text = character * len(shape.text)
    token = template.render_token(shape, text)
    assert template.parse_token(token) == shape._replace(text=text)
    assert (token[:3] == AMERICAN[:3]) == (keep == "wmi")
    assert check == "ignore" or token[8] == check_digit(token)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        (AMERICAN[:16], "value_length"),
        (AMERICAN + "0", "value_length"),
        (AMERICAN.lower(), "value_alphabet"),
        *((AMERICAN[:16] + character, "value_alphabet") for character in "IOQio -\n\0é８\ud800"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    for check, keep in itertools.product(("ignore", "require"), ("none", "wmi")):
        assert refused(Vin(check, keep).parse, value) == code  # type: ignore[arg-type]


def test_domains() -> None:
    assert CHARACTERS.radix == 33
    choices = itertools.product(("ignore", "require"), ("none", "wmi"))
    sizes = [Vin(check, keep).domain(17).size for check, keep in choices]  # type: ignore[arg-type]
    assert sizes == [33**17, 33**14, 33**16, 33**13]
    with pytest.raises(ValueRefused):
        IGNORE.domain(16)
    assert IGNORE.spec == "vin(check='ignore', keep='none')"
