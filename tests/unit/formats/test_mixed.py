"""Ranks of mixed radix: every text has one, in order, and turns back from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.formats.alphabet import ALNUM_UPPER, BITS, DIGITS, LOWER, UPPER
from vault.formats.mixed import mixed
from vault.formats.template import bits_for, ranked

SOME = st.lists(st.sampled_from((DIGITS, UPPER, LOWER, ALNUM_UPPER, BITS)), max_size=12)


def test_ranks_count_from_the_right() -> None:
    places = mixed((UPPER, DIGITS))
    assert places.ranks == 260
    assert [places.text(rank) for rank in (0, 1, 10, 259)] == ["A0", "A1", "B0", "Z9"]
    assert [places.rank(text) for text in ("A0", "A1", "B0", "Z9")] == [0, 1, 10, 259]


@given(SOME, st.data())
def test_texts_turn_back(alphabets: list, data: st.DataObject) -> None:  # type: ignore[type-arg]
    places = mixed(alphabets)
    rank = data.draw(st.integers(0, places.ranks - 1))
    text = places.text(rank)
    assert places.takes(text)
    assert places.rank(text) == rank
    shape = places.shape(text, 20, ((0, "x"),), "style")
    assert (shape.size, shape.rank, shape.length, shape.style) == (places.ranks, rank, 20, "style")
    assert len(shape.text) == bits_for(places.ranks)
    assert places.of_bits(shape.text) == text


def test_what_does_not_fit_is_not_taken() -> None:
    places = mixed((UPPER, DIGITS))
    assert not any(map(places.takes, ("", "A", "A00", "00", "AA", "a0", "A\u0660")))
    with pytest.raises(KeyError):
        places.rank("a0")


def test_a_rank_that_is_none_is_walked_over() -> None:
    shape = ranked(9, 10, 1)
    assert shape.text == "1001"
    assert shape.takes("1001")
    assert not shape.takes("1010")


def test_styles_go_into_the_kept_bytes() -> None:
    plain, styled, other = (ranked(1, 10, 1, ((0, "7"),), style) for style in ("", "u", "l"))
    assert plain.kept_bytes() == b"\x00\x00\x00" + b"7"
    assert len(styled.kept_bytes()) == 33
    assert styled.kept_bytes()[0] == 2
    assert len({plain.kept_bytes(), styled.kept_bytes(), other.kept_bytes()}) == 3
