"""Numbers of two words against Python's own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vault.crypto.pairs import Pair, Radices

NUMBERS = st.one_of(st.integers(0, 2**122), st.integers(0, 122).map(lambda bit: 1 << bit))
SMALL = st.integers(1, 2**32 - 1)


def pair(*numbers: int) -> Pair:
    return Pair(
        np.array([number >> 64 for number in numbers], np.uint64),
        np.array([number & (1 << 64) - 1 for number in numbers], np.uint64),
    )


def ints(pairs: Pair) -> list[int]:
    return [(int(high) << 64) + int(low) for high, low in zip(*pairs, strict=True)]


@given(NUMBERS, NUMBERS, SMALL, st.integers(1, 63))
def test_arithmetic(one: int, other: int, by: int, cut: int) -> None:
    assert ints(pair(one).plus(pair(other))) == [one + other]
    assert ints(pair(max(one, other)).minus(pair(min(one, other)))) == [abs(one - other)]
    assert pair(one, other).is_under(pair(other, one)).tolist() == [one < other, other < one]
    assert pair(one, other).bits().tolist() == [one.bit_length(), other.bit_length()]
    quotient, rest = pair(one).divided(np.uint64(by))
    assert (ints(quotient)[0], int(rest[0])) == divmod(one, by)
    product = (one >> 30) * by + by - 1
    assert ints(pair(one >> 30).times(np.uint64(by), np.uint64(by - 1))) == [product % 2**128]
    if one >> cut < 2**64:
        above, below = pair(one).split(cut)
        assert (int(above[0]), int(below[0])) == (one >> cut, one & (1 << cut) - 1)
        assert ints(Pair.joined(above, below, cut)) == [one]


@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=8), st.data())
def test_mixed_radix(radices: list[int], data: st.DataObject) -> None:
    digits = [data.draw(st.integers(0, radix - 1)) for radix in radices]
    number = 0
    for radix, digit in zip(radices, digits, strict=True):
        number = number * radix + digit
    columns = [np.array([digit], np.uint64) for digit in digits]
    for places in (Radices(radices), Radices([np.array([radix], np.uint64) for radix in radices])):
        assert ints(places.number(columns)) == [number % 2**128]
        if number < 2**128:
            assert [int(one[0]) for one in places.digits(pair(number))] == digits
