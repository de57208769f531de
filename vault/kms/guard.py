"""Around any key store: a deadline, a few retries, one flight for the same question, a circuit breaker.

There is no way round it and no fallback: a key store that does not serve is `key_unavailable`, in time.
Calls run in threads of their own, because neither a library in C nor a peer that sends one byte a second
can be interrupted; a thread that comes back too late finds nobody, and too many of them are not allowed.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, TypeVar, cast

from vault.errors import CoatcheckError, Unavailable
from vault.kms.breaker import Breaker, BreakerState
from vault.kms.provider import DEADLINE_S, Destruction, Provider, away
from vault.secret import Secret

LOCAL_DEADLINE_S: Final = 30.0  # Argon2id on a host that has other things to do; nothing is away here
PASSING: Final = frozenset({"unreachable", "throttled", "failed", "malformed", "session"})
"""Causes that the next attempt may not meet. A deadline is not one: the time is up."""
TROUBLE: Final = PASSING | {"deadline", "sealed", "tls", "busy"}
"""Causes that say something about the whole key store, not about one key or our right to it."""
BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
AGAIN_S: Final = 1.0  # between looks at a key store that is away; README promises to be back within 5 s

_LIMITS: Final = (*map(str, BUCKETS), "+Inf")

T = TypeVar("T")
_log: Final = logging.getLogger("coatcheck.kms")


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Bounds of calls to a key store (`[cell.REGION.kms_limits]`).

    Attributes:
        deadline_s: for a call with all its attempts.
        attempts: at most so many of each call.
        failures: so many in a row open the breaker.
        open_s: seconds that it stays open.
        probe_s: seconds between looks at a key store that serves.
        hanging: at most so many calls that nobody waits for any more.
    """

    deadline_s: float = DEADLINE_S
    attempts: int = 3
    failures: int = 5
    open_s: float = 1.0
    probe_s: float = 15.0
    hanging: int = 16


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key store stands.

    Attributes:
        cause: why the last call failed, one of `CAUSES` or a code; empty if it did not.
        breaker: closed, open or half-open.
        since_s: seconds since a call succeeded; None if none did yet.
    """

    cause: str
    breaker: BreakerState
    since_s: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted.

    Attributes:
        calls: by their name and result: `ok`, a cause, or a code.
        times: by the name: how many took at most so many seconds, by the bound's text; and the seconds.
    """

    calls: dict[tuple[str, str], int]
    times: dict[str, tuple[list[tuple[str, int]], float]]


class _Flight:
    """One call under way, and what came of it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.result: Any = None
        self.problem: CoatcheckError | None = None


class Guard:
    """A provider that keeps its deadline. Is a `Provider` itself; safe between threads.

    Args:
        provider: what is guarded.
        limits: the bounds.
        region: for the log.
    """

    def __init__(self, provider: Provider, limits: GuardLimits | None = None, region: str = "") -> None:
        self._provider = provider
        self._limits = limits or GuardLimits()
        self._region = region
        self._breaker = Breaker(self._limits.failures, self._limits.open_s, time.monotonic)
        self._lock = threading.Lock()
        self._flights: dict[object, _Flight] = {}
        self._hanging = 0
        self._cause = ""
        self._last: float | None = None
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self._calls: Counter[tuple[str, str]] = Counter()
        self._times: dict[str, list[int]] = {}
        self._spent: dict[str, float] = {}

    @property
    def destroy_means(self) -> str:
        """What the provider says."""
        return self._provider.destroy_means

    @property
    def remote(self) -> bool:
        """What the provider says."""
        return self._provider.remote

    def create_root(self, version: int) -> None:
        """Makes the root key's version, if it does not exist."""
        self._call("create_root", (version,), lambda: self._provider.create_root(version))

    def wrap(self, version: int, half: Secret, context: bytes) -> bytes:
        """The half, wrapped under a root version."""
        return self._call("wrap", (object(),), lambda: self._provider.wrap(version, half, context))

    def unwrap(self, version: int, wrapped: bytes, context: bytes) -> Secret:
        """The half again."""
        key = (version, wrapped, context)
        found = self._call("unwrap", key, lambda: self._provider.unwrap(version, wrapped, context))
        return Secret(found.expose())  # whoever shared the flight may wipe its own

    def destroy_root(self, version: int) -> Destruction:
        """Destroys a root version."""
        return self._call("destroy_root", (version,), lambda: self._provider.destroy_root(version))

    def probe(self, version: int) -> None:
        """Returns if a root version could be used now."""
        self._call("probe", (version,), lambda: self._provider.probe(version))

    def close(self) -> None:
        """Stops looking, and lets go of the provider's connections."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join(self._limits.deadline_s + 1)
        with contextlib.suppress(Unavailable):  # what hangs may hold what closing needs; it is left behind
            self._within(self._provider.close, 0 if self._hanging else self._limits.deadline_s)

    def standing(self) -> Standing:
        """How the key store stands, without asking it."""
        with self._lock:
            since = None if self._last is None else time.monotonic() - self._last
            return Standing(self._cause, self._breaker.state, since)

    def figures(self) -> Figures:
        """What was counted so far."""
        with self._lock:
            times = {
                name: (list(zip(_LIMITS, accumulate(buckets), strict=True)), self._spent[name])
                for name, buckets in self._times.items()
            }
            return Figures(dict(self._calls), times)

    def watch(self, versions: Callable[[], Iterable[int]], told: Callable[[Standing], None]) -> None:
        """Looks at root versions from time to time, in a thread of its own, until it is closed.

        So an outage is known before somebody needs the key store, and credentials are renewed meanwhile.

        Args:
            versions: which, each time.
            told: what to do with what was found, after each look.
        """
        self._watcher = threading.Thread(
            target=self._watch, args=(versions, told), name="kms-watch", daemon=True
        )
        self._watcher.start()

    def _watch(self, versions: Callable[[], Iterable[int]], told: Callable[[Standing], None]) -> None:
        was_away = False
        while not self._stop.wait(AGAIN_S if was_away else self._limits.probe_s):
            problem = None
            for version in versions():
                try:
                    self.probe(version)
                except CoatcheckError as found:
                    problem = found
                    break
            if problem is not None and not was_away:
                facts = {"region": self._region, "code": problem.code, "cause": _named(problem)}
                _log.warning("the key store does not serve", extra=facts)
            elif problem is None and was_away:
                _log.warning("the key store serves again", extra={"region": self._region})
            was_away = problem is not None
            told(self.standing())

    def _call(self, name: str, key: tuple[object, ...], use: Callable[[], T]) -> T:
        """Asks once, however many ask the same at the same time."""
        until = time.monotonic() + self._limits.deadline_s
        named = (name, *key)
        with self._lock:
            flight = self._flights.get(named)
            mine = flight is None
            if flight is None:
                flight = self._flights[named] = _Flight()
        if mine:
            flight.problem = away("failed")  # what those who wait are told if this thread is ended
            try:
                flight.result = self._persist(name, use, until)
                flight.problem = None
            except CoatcheckError as problem:
                flight.problem = problem
            finally:
                with self._lock:
                    del self._flights[named]
                flight.done.set()
        elif not flight.done.wait(max(0.0, until - time.monotonic())):
            raise away("deadline")
        if flight.problem is not None:  # an error of one's own: those that wait do not share a traceback
            raise type(flight.problem)(flight.problem.code, **flight.problem.facts) from None
        return cast("T", flight.result)

    def _persist(self, name: str, use: Callable[[], T], until: float) -> T:
        """Asks until there is an answer, or no time or no attempt is left."""
        for attempt in range(1, self._limits.attempts + 1):
            began = time.monotonic()
            try:
                self._breaker.admit()
                result = self._within(use, until - began)
            except CoatcheckError as problem:
                cause = _named(problem)
                self._note(name, cause, began)
                if cause in TROUBLE:
                    self._breaker.failed()
                elif cause != "open":
                    self._breaker.answered()
                pause = _pause(attempt)
                last = attempt == self._limits.attempts or time.monotonic() + pause >= until
                if cause in PASSING and not last and self._breaker.state is BreakerState.CLOSED:
                    time.sleep(pause)
                    continue
                if isinstance(problem, Unavailable):
                    facts = {**problem.facts, "retry_after": self._breaker.retry_after()}
                    raise Unavailable(problem.code, **facts) from None
                raise
            except BaseException:  # an interrupt: whoever was let through says how it ended, always
                self._breaker.failed()
                raise
            self._breaker.answered()
            self._note(name, "", began)
            return result
        raise away("deadline")  # no attempt is allowed at all

    def _within(self, use: Callable[[], T], seconds: float) -> T:
        """What `use` gives, if it does so in time.

        Raises:
            Unavailable: `key_unavailable`, with `deadline`; or with `busy`, if too many calls hang.
        """
        flight = _Flight()
        with self._lock:
            if self._hanging >= self._limits.hanging:
                raise away("busy")
            self._hanging += 1

        def run() -> None:
            try:
                flight.result = use()
            except CoatcheckError as problem:
                flight.problem = problem
            except Exception as problem:  # noqa: BLE001 - a library's; its text is not ours to show
                _log.error("a call to the key store failed", extra={"error": type(problem).__name__})
                flight.problem = away("failed")
            finally:
                with self._lock:
                    self._hanging -= 1
                flight.done.set()

        threading.Thread(target=run, name="kms", daemon=True).start()
        if not flight.done.wait(max(0.0, seconds)):
            raise away("deadline")
        if flight.problem is not None:
            raise flight.problem
        return cast("T", flight.result)

    def _note(self, name: str, cause: str, began: float) -> None:
        now = time.monotonic()
        with self._lock:
            self._calls[name, cause or "ok"] += 1
            buckets = self._times.setdefault(name, [0] * len(_LIMITS))
            buckets[bisect_left(BUCKETS, now - began)] += 1
            self._spent[name] = self._spent.get(name, 0.0) + now - began
            if cause != "open":  # which says nothing new
                self._cause = cause
            if not cause:
                self._last = now


def _named(problem: CoatcheckError) -> str:
    """The cause of an error, or its code where it has none."""
    return str(problem.facts.get("cause", problem.code))


def _pause(attempt: int) -> float:
    """Seconds before the next attempt: of chance, below a bound that doubles from 50 ms."""
    return secrets.randbelow(50_000 << (attempt - 1)) / 1_000_000
