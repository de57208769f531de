"""How fast anybody may come, and that nobody shuts out others."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cells import BuiltCell, any_cell
from vault.clock import SECOND
from vault.errors import Unavailable
from vault.policy.rate import Rate
from vault.services import pacing as module
from vault.services.limited import flush_refused
from vault.services.pacing import AT_ONCE, NETWORK, PRINCIPAL, TENANT, Pace, Pacing, is_here
from vault.wiring import perform

STRANGER = "198.51.100.7"
NEIGHBOUR = "198.51.100.200"  # of the same network
ELSEWHERE = "203.0.113.7"
ONE = Rate(count=1, per_s=10, burst=1)


class Hand:
    """A clock that is moved by hand, in microseconds."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


def refusal(of: Pacing, address: str, credential: str | None = None) -> int:
    """Seconds that a stranger has to wait."""
    try:
        of.check_network(address, credential)
    except Unavailable as refused:
        return int(str(refused.facts["retry_after"])) if refused.code == "rate_limited" else -1
    return 0


def test_a_network_where_much_failed_waits_and_others_do_not(hand: Hand) -> None:
    pacing = Pacing(Rate(count=1, per_s=10, burst=3), clock=hand)
    for _ in range(3):
        assert refusal(pacing, STRANGER) == 0
        pacing.failed(STRANGER)
    assert refusal(pacing, STRANGER) == refusal(pacing, NEIGHBOUR) == 10
    assert refusal(pacing, ELSEWHERE) == 0
    hand.now += 10 * SECOND
    assert refusal(pacing, NEIGHBOUR) == 0
    pacing.failed(NEIGHBOUR)
    assert refusal(pacing, STRANGER) == 10


def test_whoever_is_known_comes_in_from_a_network_where_much_failed(hand: Hand) -> None:
    pacing = Pacing(ONE, clock=hand)
    pacing.proved("Bearer mine")
    for _ in range(100):
        pacing.failed(STRANGER)
    assert refusal(pacing, STRANGER, "Bearer mine") == 0
    assert refusal(pacing, STRANGER, "Bearer another") > 0
    assert refusal(pacing, STRANGER, None) > 0


def test_failures_beyond_the_burst_do_not_make_the_wait_longer(hand: Hand) -> None:
    """Else whoever fails for an hour shuts the network out for days."""
    pacing = Pacing(ONE, clock=hand)
    for _ in range(10_000):
        pacing.failed(STRANGER)
    assert refusal(pacing, STRANGER) == 10


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "", "host:0"])
def test_this_host_is_no_network_of_strangers(address: str) -> None:
    pacing = Pacing(ONE)
    for _ in range(10):
        pacing.failed(address)
    assert is_here(address)
    assert refusal(pacing, address) == 0


def test_the_addresses_of_one_line_are_one_network(hand: Hand) -> None:
    pacing = Pacing(ONE, clock=hand)
    pacing.failed("2001:db8:0:12::1")
    assert refusal(pacing, "2001:db8:0:ab:ffff::9") > 0
    assert refusal(pacing, "2001:db8:0:112::1") == 0
    assert refusal(pacing, "::ffff:198.51.100.7") == 0
    pacing.failed("::ffff:198.51.100.9")
    assert refusal(pacing, STRANGER) > 0


def test_each_principal_has_its_own_rate_and_a_tenant_one_for_all(hand: Hand) -> None:
    two, three = Rate(count=1, per_s=1, burst=2), Rate(count=1, per_s=1, burst=3)
    pacing = Pacing(principal=two, tenant=three, clock=hand)

    def come(tenant: str, name: str) -> bool:
        try:
            with pacing.under_way(tenant, name):
                return True
        except Unavailable:
            return False

    assert [come("main", "service:a") for _ in range(3)] == [True, True, False]
    assert come("main", "service:b") is False  # the third of the tenant went to the refused one
    assert [come("other", "service:a") for _ in range(3)] == [True, True, False]
    assert pacing.take_refused() == {
        (PRINCIPAL, "main", "service:a"): 1,
        (TENANT, "main", "service:b"): 1,
        (PRINCIPAL, "other", "service:a"): 1,
    }
    assert pacing.take_refused() == {}
    hand.now += SECOND
    assert come("main", "service:b") is True
    assert (pacing.totals[PRINCIPAL], pacing.totals[TENANT]) == (2, 1)


def test_so_many_of_one_are_under_way_and_no_more() -> None:
    """And what failed is under way no longer."""
    pacing = Pacing(at_once=5)
    entered, done = threading.Semaphore(0), threading.Event()

    def stay() -> None:
        with pacing.under_way("main", "service:a"):
            entered.release()
            done.wait()

    with ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(stay) for _ in range(5)]
        for _ in futures:
            entered.acquire()
        for _ in range(3):
            with pytest.raises(Unavailable), pacing.under_way("main", "service:a"):
                pass
        with pacing.under_way("main", "service:b"):
            pass
        done.set()
        for future in futures:
            future.result()
    with pytest.raises(LookupError), pacing.under_way("main", "service:a"):
        raise LookupError
    assert pacing._under_way == {}
    assert pacing.take_refused() == {(AT_ONCE, "main", "service:a"): 3}


def test_names_are_forgotten_before_memory_is_full(monkeypatch: pytest.MonkeyPatch, hand: Hand) -> None:
    monkeypatch.setattr(module, "MAX_NAMES", 3)
    pacing = Pacing(ONE, clock=hand)
    for number in range(10):
        pacing.failed(f"198.51.{number}.1")
        pacing.proved(f"Bearer {number}")
    assert [refusal(pacing, f"198.51.{number}.1") > 0 for number in (6, 7, 9)] == [False, True, True]
    assert len(pacing._known) == 3
    assert len(pacing.take_refused()) == 2
    for number in range(10):
        with contextlib.suppress(Unavailable), pacing.under_way("main", f"service:{number}"):
            raise Unavailable("rate_limited", retry_after=1)
    assert pacing._under_way == {}


@given(st.lists(st.integers(0, 20 * SECOND), max_size=60))
def test_a_pace_never_gives_more_than_burst_and_rate(gaps: list[int]) -> None:
    clock = Hand()
    pace = Pace(Rate(count=3, per_s=10, burst=4), clock)
    taken = 0
    for gap in gaps:
        clock.now += gap
        assert (pace.wait("a") == 0) is (pace.take("a") == 0 and (taken := taken + 1) > 0)
        assert taken <= 4 + clock.now * 3 / (10 * SECOND)


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


def test_who_came_too_fast_is_on_the_record_once_a_minute(built: BuiltCell, hand: Hand) -> None:
    built.cell.pacing = pacing = Pacing(ONE, ONE, clock=hand)
    pacing.failed(STRANGER)
    for _ in range(7):
        assert refusal(pacing, STRANGER) > 0
    for name in ("service:a", "service:a", "service:a", "service:b", "service:b"):
        with contextlib.suppress(Unavailable), pacing.under_way("main", name):
            pass
    perform(built.cell, lambda: flush_refused(built.cell))
    perform(built.cell, lambda: flush_refused(built.cell))
    networks, mine = sorted(built.events(kind="limited"), key=lambda event: event["tenant"])
    assert (networks["tenant"], networks["counts"]) == ("", {NETWORK: 7})
    assert networks["most"] == {NETWORK: {"198.51.100.0/24": 7}}
    assert (mine["tenant"], mine["counts"]) == ("main", {PRINCIPAL: 3})
    assert mine["most"] == {PRINCIPAL: {"service:a": 2, "service:b": 1}}


def test_what_cannot_be_put_on_the_record_is_counted_again(built: BuiltCell, hand: Hand) -> None:
    built.cell.pacing = pacing = Pacing(ONE, clock=hand)
    pacing.failed(STRANGER)
    assert refusal(pacing, STRANGER) > 0
    verb = flush_refused(built.cell)
    next(verb)
    assert refusal(pacing, STRANGER) > 0
    with pytest.raises(Unavailable):
        verb.throw(Unavailable("database_unavailable"))
    perform(built.cell, lambda: flush_refused(built.cell))
    assert [event["counts"] for event in built.events(kind="limited")] == [{NETWORK: 2}]
