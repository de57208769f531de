"""A circuit breaker: after so many failures in a row nobody is let through for a while, then one is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum

from vault.kms.provider import away


class BreakerState(StrEnum):
    """Whether calls are let through: all, none, or one to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Breaker:
    """Safe between threads.

    Args:
        failures: how many in a row open it.
        open_s: seconds that it stays open before one call is let through.
        now: seconds of a clock that only goes forward.
    """

    def __init__(self, failures: int, open_s: float, now: Callable[[], float]) -> None:
        self._limit = failures
        self._open_s = open_s
        self._now = now
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0
        self._trying = False

    @property
    def state(self) -> BreakerState:
        """Whether calls are let through now."""
        with self._lock:
            return self._state()

    def retry_after(self) -> int:
        """Whole seconds until a call may be let through; at least one."""
        with self._lock:
            return max(1, int(self._until - self._now()) + 1)

    def admit(self) -> None:
        """Lets a call through; whoever was let through says afterwards how it ended.

        Raises:
            Unavailable: `key_unavailable`: it is open, or half-open and another call is trying.
        """
        with self._lock:
            state = self._state()
            if state is BreakerState.CLOSED:
                return
            if state is BreakerState.OPEN or self._trying:
                raise away("open")
            self._trying = True

    def answered(self) -> None:
        """The key store answered, whatever the answer was."""
        with self._lock:
            self._failures = 0
            self._trying = False

    def failed(self) -> None:
        """It did not answer, or not as one that works."""
        with self._lock:
            self._failures += 1
            self._trying = False
            if self._failures >= self._limit:
                self._until = self._now() + self._open_s

    def _state(self) -> BreakerState:
        if self._failures < self._limit:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._now() < self._until else BreakerState.HALF_OPEN
