from __future__ import annotations

import random

import pytest

from tests.unit.echo import shown
from vault.formats.checksum import luhn_digit_at, luhn_valid


def plain_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, Annex B, word by word."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


@pytest.mark.parametrize(
    "number",
    ["0", "18", "79927398713", "4111111111111111", "378282246310005", "5555555555554444", "6011000990139424"],
)
def test_right_ones(number: str) -> None:
    assert luhn_valid(number)


@pytest.mark.parametrize("number", ["", "1", "19", "79927398710", "4111111111111112", "1411111111111111"])
def test_wrong_ones(number: str) -> None:
    assert not luhn_valid(number)


def test_as_the_standard_says_it() -> None:
    chosen = random.Random(1)
    for _ in range(2000):
        number = "".join(chosen.choices("0123456789", k=chosen.randint(1, 30)))
        assert luhn_valid(number) == plain_luhn(number)


@pytest.mark.parametrize("length", range(1, 20))
def test_one_digit_fits_at_every_position(length: int) -> None:
    chosen = random.Random(length)
    number = "".join(chosen.choices("0123456789", k=length))
    for position in range(length):
        candidates = [number[:position] + digit + number[position + 1 :] for digit in "0123456789"]
        (right,) = [candidate[position] for candidate in candidates if luhn_valid(candidate)]
        assert {luhn_digit_at(candidate, position) for candidate in candidates} == {right}


@pytest.mark.parametrize("digits", ["41１1", "4 11", "41-1", "41\0", "4x", "4\ud800"])
def test_only_ascii_digits(digits: str) -> None:
    for call in (lambda: luhn_valid(digits), lambda: luhn_digit_at(digits, 0)):
        with pytest.raises(ValueError, match="ASCII digits") as caught:
            call()
        assert digits not in shown(caught.value)


@pytest.mark.parametrize("position", [-1, 4, 100])
def test_positions_that_there_are_not(position: int) -> None:
    with pytest.raises(ValueError, match="position"):
        luhn_digit_at("1234", position)
