"""Slows the guessing of passwords and codes, and locks nobody out.

Each account has a lane for each network, and one slow lane that all networks share from which nobody ever
signed in to it. Whoever guesses fills its own lane and the slow one; a person at a network that is known has
a lane of its own, and a passkey is asked for in none of them. See docs/adr/0041.

It is kept in memory, by each process for itself: a process more is a bound more.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vault.errors import Unavailable

FREE: Final = 5  # attempts of a lane before it is slowed
LONGEST_S: Final = 900.0
SLOW_FREE: Final = 20  # attempts of all unknown networks together
SLOW_EVERY_S: Final = 60.0
MAX_LANES: Final = 10_000


@dataclass(slots=True, repr=False)
class _Lane:
    """Attempts that did not succeed, or have not yet, and from when the next one is taken."""

    attempts: int = 0
    until: float = 0.0


@dataclass(slots=True, repr=False)
class _Slow:
    """The slow lane of an account: what is left of it, and when that was so."""

    left: float
    at: float


class Throttle:
    """The lanes of a process. Safe between threads.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lanes: OrderedDict[bytes, _Lane] = OrderedDict()
        self._slow: OrderedDict[bytes, _Slow] = OrderedDict()

    def enter(self, account: str, network: str, *, known: bool) -> None:
        """Returns if somebody may try now. It counts as a failure until it is told otherwise.

        Args:
            account: what is guessed at, whether there is one or not.
            known: whether somebody signed in to it from that network before.

        Raises:
            Unavailable: `rate_limited`, with the seconds after which one may.
        """
        now = self._clock()
        with self._lock:
            lane = self._lane(_name(account, network))
            if lane.until > now:
                raise _refusal(lane.until - now)
            if not known:
                self._take(_name(account), now)
            lane.attempts += 1
            if lane.attempts >= FREE:
                lane.until = now + min(2.0 ** (lane.attempts - FREE), LONGEST_S)

    def succeeded(self, account: str, network: str) -> None:
        """Whoever tried was right: its lane is free again, and what it took of the slow one given back."""
        with self._lock:
            self._lanes.pop(_name(account, network), None)
            slow = self._slow.get(_name(account))
            if slow is not None:
                slow.left = min(slow.left + 1, SLOW_FREE)

    def forgive(self, account: str, network: str) -> None:
        """It could not be tried: that counts for nothing."""
        with self._lock:
            lane = self._lanes.get(_name(account, network))
            if lane is not None:
                lane.attempts, lane.until = max(0, lane.attempts - 1), 0.0

    def _lane(self, name: bytes) -> _Lane:
        lane = self._lanes.setdefault(name, _Lane())
        self._lanes.move_to_end(name)
        while len(self._lanes) > MAX_LANES:
            self._lanes.popitem(last=False)
        return lane

    def _take(self, name: bytes, now: float) -> None:
        slow = self._slow.setdefault(name, _Slow(SLOW_FREE, now))
        self._slow.move_to_end(name)
        while len(self._slow) > MAX_LANES:
            self._slow.popitem(last=False)
        slow.left = min(slow.left + (now - slow.at) / SLOW_EVERY_S, SLOW_FREE)
        slow.at = now
        if slow.left < 1:
            raise _refusal((1 - slow.left) * SLOW_EVERY_S)
        slow.left -= 1


def _name(*parts: str) -> bytes:
    """A lane's name, of one length whatever was sent."""
    digests = (hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest() for part in parts)
    return hashlib.sha256(b"".join(digests)).digest()


def _refusal(seconds: float) -> Unavailable:
    return Unavailable("rate_limited", retry_after=max(1, math.ceil(seconds)))
