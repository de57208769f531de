"""The cache of opened keys: bounded in number and in age, and wiped when an entry goes."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from vault.secret import Secret
from vault.store.cache import MAX_AGE_S, MAX_ENTRIES, BoundedCache


class Time:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def made(cache: BoundedCache[str, object], key: str) -> bool:
    """Whether asking for a key makes it anew."""
    fresh = object()
    return cache.get(key, lambda: fresh) is fresh


def test_an_entry_serves_until_it_is_a_minute_old() -> None:
    time = Time()
    cache: BoundedCache[str, object] = BoundedCache(clock=time)
    assert made(cache, "a")
    time.now += MAX_AGE_S - 0.001
    assert not made(cache, "a")  # being used makes it no younger
    time.now += 0.001
    assert made(cache, "a")
    assert not made(cache, "a")
    assert MAX_AGE_S == 60.0


def test_an_entry_is_as_old_as_the_asking_not_as_the_answer() -> None:
    time = Time()
    cache: BoundedCache[str, object] = BoundedCache(clock=time)

    def slow() -> object:
        time.now += MAX_AGE_S - 1
        return object()

    cache.get("a", slow)
    time.now += 1
    assert made(cache, "a")


def test_the_least_recently_used_goes_first() -> None:
    cache: BoundedCache[str, object] = BoundedCache(size=2, clock=Time())
    assert made(cache, "a")
    assert made(cache, "b")
    assert not made(cache, "a")
    assert made(cache, "c")
    assert len(cache) == 2
    assert not made(cache, "a")
    assert made(cache, "b")


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 40)), max_size=60), st.integers(1, 4))
def test_it_never_holds_more_than_its_size_nor_serves_what_is_too_old(
    asked: list[tuple[str, int]], size: int
) -> None:
    time = Time()
    cache: BoundedCache[str, float] = BoundedCache(size=size, clock=time)
    for key, wait in asked:
        time.now += wait
        assert time.now - cache.get(key, lambda: time.now) < MAX_AGE_S
        assert len(cache) <= size
    assert MAX_ENTRIES == 10_000


def test_what_is_dropped_is_made_again() -> None:
    cache: BoundedCache[str, object] = BoundedCache(clock=Time())
    for key in ("a", "b"):
        made(cache, key)
    cache.drop("a")
    cache.drop("never there")
    assert (made(cache, "a"), made(cache, "b")) == (True, False)
    cache.clear()
    assert len(cache) == 0
    assert made(cache, "b")


def test_a_failure_is_not_kept() -> None:
    cache: BoundedCache[str, object] = BoundedCache(clock=Time())

    def fail() -> object:
        raise LookupError

    for _ in range(2):
        try:
            cache.get("a", fail)
        except LookupError:
            continue
        raise AssertionError("was not asked again")
    assert len(cache) == 0


def test_a_key_is_wiped_when_its_entry_goes() -> None:
    cache: BoundedCache[str, Secret] = BoundedCache(size=1, clock=Time())
    buffer: bytearray = getattr(cache.get("a", lambda: Secret(b"k" * 32)), "_Secret__buffer")  # noqa: B009
    assert bytes(buffer) == b"k" * 32
    cache.get("b", lambda: Secret(b"l" * 32))
    gc.collect()
    assert bytes(buffer) == bytes(32)


def test_threads_share_it_and_none_waits_for_anothers_making() -> None:
    cache: BoundedCache[str, int] = BoundedCache(size=3, clock=Time())
    both = threading.Barrier(2, timeout=30)

    def slow(key: str) -> int:
        return cache.get(key, lambda: both.wait() * 0 + 7)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(slow, ("a", "b"))) == [7, 7]
    with ThreadPoolExecutor(8) as threads:
        asked = [str(number % 5) for number in range(2_000)]
        assert list(threads.map(lambda key: cache.get(key, lambda: int(key)), asked)) == [
            int(key) for key in asked
        ]
    assert len(cache) == 3
