from __future__ import annotations

import random

import pytest

from tests.unit.echo import shown
from vault.crypto.numerals import Numerals, digits, number_of, numerals_of
from vault.errors import ValueRefused

BASE_36 = "0123456789abcdefghijklmnopqrstuvwxyz"


def test_most_significant_first() -> None:
    assert number_of([0, 0, 0, 1, 1, 0, 1, 0], 5) == 5**4 + 5**3 + 5
    assert digits(559, 12, 4) == [0, 3, 10, 7]  # 3 * 144 + 10 * 12 + 7


@pytest.mark.parametrize(
    "alphabet",
    [
        "01",
        "10",
        "ab",
        "0123456789",
        "9876543210",
        "0123456789abcdef",
        BASE_36,
        BASE_36.upper(),
        BASE_36 + "ABC",
        BASE_36 + BASE_36[10:].upper(),
        "".join(map(chr, range(0x100, 0x140))),  # 64: the largest whose pairs are tabled
        "".join(map(chr, range(0x100, 0x141))),
        "αβγδ",
    ],
)
def test_number_and_string_are_inverse(alphabet: str) -> None:
    chosen = random.Random(alphabet)
    numerals = Numerals(alphabet)
    for length in (*range(1, 40), 60, 512):  # all remainders of the eights, fours and twos that it goes by
        drawn = "".join(chosen.choices(alphabet, k=length))
        zeros = alphabet[0] * (length - 1)  # leading zeros are characters too
        for text in (drawn, alphabet[0] * length, alphabet[-1] * length, zeros + alphabet[-1]):
            by_hand = number_of([alphabet.index(character) for character in text], len(alphabet))
            assert numerals.number(text) == by_hand
            assert numerals.string(by_hand, length) == text
            assert [alphabet[n] for n in digits(by_hand, len(alphabet), length)] == list(text)


def test_a_foreign_character_is_named_by_its_place() -> None:
    for alphabet in ("0123456789", BASE_36.upper(), BASE_36 + "ABC"):
        with pytest.raises(ValueRefused) as caught:
            Numerals(alphabet).number("01２3")
        assert caught.value.facts == {"position": 2}
        assert "２" not in shown(caught.value)


def test_letters_of_another_case_are_foreign() -> None:
    """int() reads capitals and small letters alike; an alphabet has only its own."""
    for alphabet, text in ((BASE_36, "abCd"), (BASE_36.upper(), "ABcD"), ("0123456789ABCDEF", "00aF")):
        with pytest.raises(ValueRefused) as caught:
            Numerals(alphabet).number(text)
        assert caught.value.facts == {"position": 2}


def test_a_letter_that_only_folds_to_one_of_base_36_is_itself() -> None:
    alphabet = BASE_36[:20] + "\u212a" + BASE_36[21:]  # the sign for kelvin, whose small form is k
    numerals = Numerals(alphabet)
    assert (numerals.number("\u212a"), numerals.string(20, 1)) == (20, "\u212a")
    with pytest.raises(ValueRefused):
        numerals.number("k")


@pytest.mark.parametrize("alphabet", ["", "0", "00", "abca"])
def test_what_is_no_alphabet(alphabet: str) -> None:
    with pytest.raises(ValueError, match="alphabet"):
        Numerals(alphabet)


def test_an_alphabet_is_prepared_once() -> None:
    assert numerals_of("xyz") is numerals_of("xyz")
