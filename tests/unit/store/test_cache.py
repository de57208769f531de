"""The bounded cache: entries age, the least used go first, and nothing is shared by accident."""

from __future__ import annotations

import threading

import pytest

from vault.store.cache import MAX_AGE_S, MAX_ENTRIES, BoundedCache


class Time:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


class Made:
    """Counts how often something was made."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        self.count += 1
        return self.count


def test_an_entry_is_made_once_a_minute() -> None:
    time, made = Time(), Made()
    cache: BoundedCache[str, int] = BoundedCache(clock=time)
    assert [cache.get("a", made), cache.get("a", made)] == [1, 1]
    time.at = MAX_AGE_S - 0.001
    assert cache.get("a", made) == 1
    time.at = MAX_AGE_S
    assert cache.get("a", made) == 2
    time.at += MAX_AGE_S - 0.001  # being used does not keep an entry alive
    assert cache.get("a", made) == 2
    time.at += 0.001
    assert cache.get("a", made) == 3


def test_the_least_recently_used_goes_first() -> None:
    made = Made()
    cache: BoundedCache[str, int] = BoundedCache(size=2)
    cache.get("a", made)
    cache.get("b", made)
    cache.get("a", made)
    cache.get("c", made)
    assert len(cache) == 2
    assert (cache.get("a", made), cache.get("c", made)) == (1, 3)
    assert cache.get("b", made) == 4


def test_what_cannot_be_made_is_not_remembered() -> None:
    cache: BoundedCache[str, int] = BoundedCache()

    def fail() -> int:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        cache.get("a", fail)
    assert len(cache) == 0
    assert cache.get("a", Made()) == 1


def test_nothing_found_is_remembered_like_anything_else() -> None:
    """None is a value; whoever does not want it kept drops it."""
    cache: BoundedCache[str, int | None] = BoundedCache()
    assert cache.get("a", lambda: None) is None
    assert cache.get("a", lambda: 1) is None
    cache.drop("a")
    cache.drop("a")
    assert cache.get("a", lambda: 1) == 1
    cache.clear()
    assert len(cache) == 0


def test_it_is_bounded_under_many_threads() -> None:
    cache: BoundedCache[int, int] = BoundedCache(size=50)

    def work(seed: int) -> None:
        for step in range(500):
            key = (seed * 31 + step * 7) % 200
            assert cache.get(key, lambda key=key: key) == key  # type: ignore[misc]
            if step % 50 == 0:
                cache.drop(key)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) <= 50


def test_the_bounds_are_those_of_the_documents() -> None:
    assert (MAX_AGE_S, MAX_ENTRIES) == (60.0, 10_000)


def test_what_is_in_the_making_when_all_is_forgotten_is_not_kept() -> None:
    """It may be made of what was read before."""
    cache: BoundedCache[str, int] = BoundedCache()

    def make() -> int:
        cache.clear()
        return 1

    assert cache.get("a", make) == 1
    assert cache.get("a", lambda: 2) == 2
    assert cache.get("a", lambda: 3) == 2
