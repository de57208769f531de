"""The lanes of who guesses: bounded, shared by nobody who is known, free again for who is right."""

from __future__ import annotations

import pytest

from vault.errors import Unavailable
from vault.services import throttle
from vault.services.throttle import FREE, LONGEST_S, SLOW_EVERY_S, SLOW_FREE, Throttle


class Clock:
    """Seconds, as told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lanes(clock: Clock) -> Throttle:
    return Throttle(clock)


def wait_of(lanes: Throttle, network: str = "n", account: str = "a", *, known: bool = True) -> int:
    """For how many seconds an attempt is refused; 0: it is not."""
    try:
        lanes.enter(account, network, known=known)
    except Unavailable as refusal:
        return int(str(refusal.facts["retry_after"]))
    return 0


def test_pauses_double_up_to_a_quarter_of_an_hour(lanes: Throttle, clock: Clock) -> None:
    assert [wait_of(lanes) for _ in range(FREE)] == [0] * FREE
    pauses = []
    for _ in range(14):
        pauses.append(wait_of(lanes))
        clock.now += pauses[-1]
        assert wait_of(lanes) == 0
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]
    assert LONGEST_S == 900


def test_many_at_once_are_no_way_round(lanes: Throttle) -> None:
    """An attempt counts when it begins, not when it has failed."""
    assert [wait_of(lanes) > 0 for _ in range(2 * FREE)] == [False] * FREE + [True] * FREE


def test_who_is_right_has_a_free_lane_again(lanes: Throttle) -> None:
    for _ in range(10):
        for _ in range(FREE - 1):
            assert wait_of(lanes) == 0
        lanes.succeeded("a", "n")


def test_lanes_are_an_accounts_and_a_networks(lanes: Throttle) -> None:
    while not wait_of(lanes):
        pass
    assert wait_of(lanes, "another") == 0
    assert wait_of(lanes, account="another") == 0
    assert wait_of(lanes, account="an", network="other") == 0  # parts do not run into each other
    assert wait_of(lanes, account="ano", network="ther") == 0


def test_unknown_networks_share_a_slow_lane(lanes: Throttle, clock: Clock) -> None:
    taken = [wait_of(lanes, f"n{number}", known=False) for number in range(SLOW_FREE)]
    assert taken == [0] * SLOW_FREE
    assert wait_of(lanes, "one more", known=False) == SLOW_EVERY_S
    assert wait_of(lanes, "known") == 0
    assert wait_of(lanes, "one more", account="b", known=False) == 0
    clock.now += SLOW_EVERY_S
    assert wait_of(lanes, "one more", known=False) == 0
    assert wait_of(lanes, "yet another", known=False) > 0
    lanes.succeeded("a", "one more")  # its place is given back
    assert wait_of(lanes, "yet another", known=False) == 0
    clock.now += 1_000 * SLOW_EVERY_S
    taken = [wait_of(lanes, f"m{number}", known=False) for number in range(SLOW_FREE + 1)]
    assert [wait > 0 for wait in taken] == [False] * SLOW_FREE + [True]


def test_what_could_not_be_tried_counts_for_nothing(lanes: Throttle) -> None:
    for _ in range(3 * FREE):
        assert wait_of(lanes) == 0
        lanes.forgive("a", "n")


def test_what_is_remembered_is_bounded(lanes: Throttle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_LANES", 10)
    for number in range(100):
        lanes.enter(f"a{number}", "n" * 10_000, known=False)
    assert (len(lanes._lanes), len(lanes._slow)) == (10, 10)
    assert {len(name) for name in lanes._lanes} == {32}
    lanes.enter("\ud800", "\ud800", known=False)
