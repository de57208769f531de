"""Hexadecimal texts in one case: every text has a rank among those with letters, or those without."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.errors import ValueRefused
from vault.formats.hexes import HEX, hexes

PLACES = [
    (HEX, HEX),
    ("89ab", HEX, "cd"),
    ("048c", HEX),
    ("01234567", "159d", "89ab"),
]


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("kept", ["", "7", "f"])
def test_ranks_are_all_there_is_and_each_once(places: tuple[str, ...], kept: str) -> None:
    counted = hexes(places)
    ranks: dict[tuple[str, int], set[int]] = {}
    texts = ["".join(text) for text in itertools.product(*places)]
    for text in texts:
        shape = counted.shape(text, len(text) + 1, ((0, kept),) if kept else ())
        assert counted.text(shape, shape.text) == text
        ranks.setdefault((shape.style, shape.ranks), set()).add(shape.rank)
    for (_, count), found in ranks.items():
        assert found == set(range(count))
    assert sum(map(len, ranks.values())) == len(texts)


@given(st.lists(st.sampled_from(HEX), min_size=1, max_size=40).map("".join), st.sampled_from(("", "7", "b")))
def test_texts_turn_back_in_their_case(text: str, kept: str) -> None:
    counted = hexes((HEX,) * len(text))
    for written, also in ((text, kept), (text.upper(), kept.upper())):
        shape = counted.shape(written, len(text), ((0, also),) if also else (), "x")
        assert counted.text(shape, shape.text) == written


@pytest.mark.parametrize(("text", "kept"), [("aB", "7"), ("0b", "B"), ("0B", "b")])
def test_two_cases_are_refused(text: str, kept: str) -> None:
    with pytest.raises(ValueRefused, match="value_format"):
        hexes((HEX, HEX)).shape(text, 3, ((0, kept),))
