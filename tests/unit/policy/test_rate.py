"""The rate of a grant: never more than it says in any stretch of time, and no less than it can be."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.clock import SECOND
from vault.policy.rate import Rate, Taken, decide

START = 1_795_442_400 * SECOND
RATES = st.builds(Rate, count=st.integers(1, 1000), per_s=st.integers(1, 3600), burst=st.integers(1, 50))
STEPS = st.lists(
    st.tuples(st.integers(0, 20 * SECOND) | st.integers(0, 3), st.integers(0, 60)), min_size=1, max_size=60
)


def taken(rate: Rate, steps: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(when, how many) of what was taken by asking after pauses."""
    tat, now, found = None, START, []
    for pause, count in steps:
        now += pause
        answer = decide(tat, now, count, rate)
        if answer.tat is not None:
            tat = answer.tat
            found.append((now, count))
    return found


def excess(rate: Rate, found: list[tuple[int, int]]) -> Fraction:
    """How much more was taken than the rate allows, in the stretch where that is most."""
    worst = Fraction(-(10**9))
    for first in range(len(found)):
        total = 0
        for when, count in found[first:]:
            total += count
            earned = Fraction((when - found[first][0]) * rate.count, rate.per_s * SECOND)
            worst = max(worst, total - rate.burst - earned)
    return worst


@given(rate=RATES, steps=STEPS)
def test_in_no_stretch_of_time_is_more_taken(rate: Rate, steps: list[tuple[int, int]]) -> None:
    assert excess(rate, taken(rate, steps)) <= 0


@given(rate=RATES, steps=STEPS)
def test_after_the_wait_it_is_taken_and_not_before(rate: Rate, steps: list[tuple[int, int]]) -> None:
    """`retry_after` is exact to the microsecond, where it can be taken at all: up to a whole burst."""
    tat, now = None, START
    for pause, count in steps:
        now += pause
        answer = decide(tat, now, count, rate)
        if answer.tat is not None:
            assert answer.retry_after == 0
            tat = answer.tat
            continue
        assert answer.retry_after > 0
        assert decide(tat, now + answer.retry_after - 1, count, rate).tat is None
        assert (decide(tat, now + answer.retry_after, count, rate).tat is not None) == (count <= rate.burst)


def test_a_rate_that_rounds_down_gives_too_much() -> None:
    """Control: seven in a second, one at a time, each cheaper by a fraction of a microsecond."""

    def cheap(tat: int | None, now: int, n: int, rate: Rate) -> int | None:
        after = max(tat or 0, now) + n * rate.per_s * SECOND // rate.count
        return None if after - now > rate.burst * rate.per_s * SECOND // rate.count + 1 else after

    rate, tat, now, found = Rate(7, 1, 1), None, START, []
    for _ in range(2000):
        after = cheap(tat, now, 1, rate)
        if after is not None:
            tat = after
            found.append((now, 1))
        now = after if after is not None else now + 1
    assert excess(rate, found) > 0
    again = taken(rate, [(SECOND // 7, 1)] * 2000)
    assert excess(rate, again) <= 0


def test_a_burst_and_then_one_by_one() -> None:
    """Five in sixty seconds, ten at once: as GRANTS writes it."""
    rate = Rate(count=5, per_s=60, burst=10)
    tat = decide(None, START, 10, rate).tat
    assert tat == START + 120 * SECOND
    assert decide(tat, START, 1, rate) == Taken(None, 12 * SECOND)
    assert decide(tat, START + 12 * SECOND, 1, rate) == Taken(START + 132 * SECOND, 0)
    assert decide(tat, START + 12 * SECOND - 1, 1, rate) == Taken(None, 1)
    assert decide(tat, START + 500 * SECOND, 10, rate).tat == START + 620 * SECOND


@pytest.mark.parametrize("count", [11, 1000, 10**9])
def test_more_than_the_burst_is_never_taken(count: int) -> None:
    assert decide(None, START, count, Rate(5, 60, 10)).tat is None
    assert decide(START, START + 10**15, count, Rate(5, 60, 10)).tat is None


def test_nothing_costs_nothing() -> None:
    assert decide(None, START, 0, Rate(1, 1, 1)) == Taken(START, 0)
    assert decide(START + SECOND, START, 0, Rate(1, 1, 1)) == Taken(START + SECOND, 0)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    rate = Rate(1, 1, 2)
    tat = decide(None, START, 2, rate).tat
    assert decide(tat, START - 10 * SECOND, 1, rate) == Taken(None, 11 * SECOND)


@pytest.mark.parametrize("numbers", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
def test_a_rate_is_of_something(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Rate(*numbers)
