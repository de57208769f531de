"""Numbers with rules: ranks are the valid ones in order, and no others."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.formats.numbering import Numbering

DIGITS = "0123456789"


def by_eleven(place: int, state: Hashable, character: str) -> Hashable | None:
    """Four digits whose weighted sum is a multiple of eleven, the first of them not zero."""
    if place == 0 and character == "0":
        return None
    total = (int(str(state)) + (5 - place) * int(character)) % 11
    return None if place == 3 and total else total


NUMBERS = Numbering([DIGITS] * 4, by_eleven)
VALID = [
    text
    for text in (f"{number:04d}" for number in range(1000, 10_000))
    if sum((5 - place) * int(digit) for place, digit in enumerate(text)) % 11 == 0
]


def test_ranks_are_the_valid_numbers_in_order() -> None:
    assert [NUMBERS.text(rank) for rank in range(NUMBERS.ranks)] == VALID
    assert [NUMBERS.rank(text) for text in VALID] == list(range(NUMBERS.ranks))


@given(st.text(alphabet=st.sampled_from("0123456789A\u0660"), max_size=6))
def test_all_else_has_none(text: str) -> None:
    assert (NUMBERS.rank(text) is not None) == (text in VALID)


@pytest.mark.parametrize("order", ["01", "10"])
def test_characters_count_in_their_order(order: str) -> None:
    numbers = Numbering((order, "ab"), lambda place, state, character: 0)
    assert [numbers.text(rank) for rank in range(4)] == [first + last for first in order for last in "ab"]


def test_a_rule_that_nothing_keeps_has_no_ranks() -> None:
    assert Numbering((DIGITS,), lambda place, state, character: None).ranks == 0
