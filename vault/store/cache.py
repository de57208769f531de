"""A bounded cache of what was read: opened keys, identities. Entries age out after a minute.

What is cached serves only under the ledger's conditions (epoch, key row, fence, versions), so revoking
never waits for a cache. A key is wiped when its entry goes and nobody else holds it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

MAX_AGE_S: Final = 60.0
MAX_ENTRIES: Final = 10_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Least recently used first out; safe between threads.

    Args:
        size: most entries.
        max_age: seconds after which an entry is made anew.
        clock: monotonic seconds.
    """

    def __init__(
        self, size: int = MAX_ENTRIES, max_age: float = MAX_AGE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._max_age = max_age
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._cleared = 0  # times

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The entry, made if it is missing or too old. What `clear` came upon in the making is not kept."""
        now = self._clock()
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and now - entry[0] < self._max_age:
                self._entries.move_to_end(key)
                return entry[1]
            cleared = self._cleared
        made = make()
        with self._lock:
            if cleared != self._cleared:
                return made
            self._entries[key] = (now, made)
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return made

    def holds(self, key: K) -> bool:
        """Whether there is an entry that is not too old."""
        with self._lock:
            entry = self._entries.get(key)
            return entry is not None and self._clock() - entry[0] < self._max_age

    def drop(self, key: K) -> None:
        """Forgets one entry."""
        with self._lock:
            self._entries.pop(key, None)

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._entries.clear()
            self._cleared += 1

    def __len__(self) -> int:
        return len(self._entries)
