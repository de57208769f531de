from __future__ import annotations

import dataclasses

import pytest

from vault.formats.alphabet import (
    ALNUM_LOWER,
    ALNUM_UPPER,
    ALPHANUMERIC,
    ANY,
    DIGITS,
    LOWER,
    NAMED,
    UPPER,
    Alphabet,
)


@pytest.mark.parametrize(
    ("named", "radix"),
    [
        (DIGITS, 10),
        (LOWER, 26),
        (UPPER, 26),
        (ALNUM_LOWER, 36),
        (ALNUM_UPPER, 36),
        (ALPHANUMERIC, 62),
        (ANY, 0),
    ],
)
def test_the_named_ones(named: Alphabet, radix: int) -> None:
    assert named.radix == len(named.characters) == radix
    assert [named.index[character] for character in named.characters] == list(range(radix))
    assert named.characters.isascii()


def test_names_are_distinct() -> None:
    assert len({named.name for named in NAMED}) == len(NAMED) == 6


# Everything that str.isdigit, isdecimal, isnumeric or int() would take for a digit, and the usual suspects.
@pytest.mark.parametrize(
    "character", ["４", "²", "٣", "Ⅷ", "½", "\0", " ", "-", "_", "\ud800", "\u200b", "\u202e", "é", ""]
)
@pytest.mark.parametrize("named", NAMED)
def test_strangers_are_strangers(named: Alphabet, character: str) -> None:
    assert character not in named
    if character:
        assert named.foreign(named.characters[:3] + character) == 3


def test_members_are_members() -> None:
    assert DIGITS.foreign("") is None
    assert DIGITS.foreign("0123456789") is None
    assert DIGITS.foreign("x12") == 0
    assert UPPER.foreign("ABc") == 2
    assert "9" in DIGITS
    assert "a" not in DIGITS


def test_a_character_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        Alphabet("wrong", "abca")


def test_nothing_about_an_alphabet_changes() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DIGITS.name = "else"  # type: ignore[misc]
    with pytest.raises(TypeError):
        DIGITS.index["a"] = 10  # type: ignore[index]
    again = Alphabet("digits", "0123456789")
    assert again == DIGITS
    assert hash(again) == hash(DIGITS)
