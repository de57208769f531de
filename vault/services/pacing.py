"""How fast anybody may come, and how much may be under way for one: networks, principals, tenants.

A network is counted by what failed there, since nobody is known yet; whoever is known comes in all the same,
so that nobody can shut out others who share its network. Principals and tenants are counted by what they ask.

It is kept in memory, by each process for itself: a process more is a bound more. See docs/adr/0051.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from vault.authn.sessions import network_of
from vault.clock import SECOND, Micros
from vault.crypto.mac import secret_digest
from vault.errors import Unavailable
from vault.policy.rate import Rate, decide

MAX_NAMES: Final = 10_000  # of which the one that came least lately is forgotten: it has its burst again
NETWORK, PRINCIPAL, TENANT, AT_ONCE = "network", "principal", "tenant", "at_once"
BOUNDS: Final = (NETWORK, PRINCIPAL, TENANT, AT_ONCE)
FAILURES: Final = Rate(count=60, per_s=60, burst=300)
MOST_AT_ONCE: Final = 1024


def _now() -> Micros:
    return time.monotonic_ns() // 1_000


class Pace:
    """One rate of many names, each by itself. Safe between threads.

    Args:
        rate: of each name.
        clock: monotonic microseconds.
    """

    def __init__(self, rate: Rate, clock: Callable[[], Micros] = _now) -> None:
        self._rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._arrivals: OrderedDict[str, Micros] = OrderedDict()

    @property
    def idle(self) -> bool:
        """Whether nobody ever came."""
        return not self._arrivals

    def take(self, name: str) -> int:
        """Takes one; 0, or the microseconds after which it could be taken."""
        with self._lock:
            taken = decide(self._arrivals.get(name), self._clock(), 1, self._rate)
            if taken.tat is not None:
                self._arrivals[name] = taken.tat
                self._arrivals.move_to_end(name)
                while len(self._arrivals) > MAX_NAMES:
                    self._arrivals.popitem(last=False)
            return taken.retry_after

    def wait(self, name: str) -> int:
        """The microseconds after which one could be taken; nothing is."""
        arrival = self._arrivals.get(name)
        return 0 if arrival is None else decide(arrival, self._clock(), 1, self._rate).retry_after


class Pacing:
    """The bounds of a cell in this process.

    Args:
        failures: of a network: requests in which nobody proved to be anybody.
        principal, tenant: of each: requests; None: as many as they like.
        at_once: requests of one principal that may be under way.
        clock: monotonic microseconds.
    """

    def __init__(
        self,
        failures: Rate = FAILURES,
        principal: Rate | None = None,
        tenant: Rate | None = None,
        at_once: int = MOST_AT_ONCE,
        clock: Callable[[], Micros] = _now,
    ) -> None:
        self._failures = Pace(failures, clock)
        self._paces = [
            (what, Pace(rate, clock))
            for what, rate in ((TENANT, tenant), (PRINCIPAL, principal))
            if rate is not None
        ]
        self._at_once = at_once
        self._lock = threading.Lock()
        self._under_way: dict[str, int] = {}
        self._known: dict[bytes, None] = {}
        self._refused: Counter[tuple[str, str, str]] = Counter()
        self.totals: Counter[str] = Counter(dict.fromkeys(BOUNDS, 0))

    def failed(self, address: str) -> None:
        """Nobody proved to be anybody there."""
        if not is_here(address):
            self._failures.take(network_of(address))

    def proved(self, credential: str | None) -> None:
        """Somebody proved to be somebody, by an Authorization header: it is taken from any network."""
        name = secret_digest(credential or "")
        if name not in self._known:
            with self._lock:
                self._known[name] = None
                while len(self._known) > MAX_NAMES:
                    del self._known[next(iter(self._known))]

    def check_network(self, address: str, credential: str | None = None) -> None:
        """Returns if whoever comes from an address may be looked for.

        Args:
            credential: the Authorization header, if there is one.

        Raises:
            Unavailable: `rate_limited`: much failed there, and that credential is not known here.
        """
        if self._failures.idle or is_here(address) or secret_digest(credential or "") in self._known:
            return
        network = network_of(address)
        if wait := self._failures.wait(network):
            self._refuse(NETWORK, "", network, wait)

    @contextmanager
    def under_way(self, tenant: str, name: str) -> Iterator[None]:
        """A request of somebody known, while it is answered.

        Args:
            name: of the principal, or of the agent of a grant.

        Raises:
            Unavailable: `rate_limited`.
        """
        who = f"{tenant}\n{name}"
        for what, pace in self._paces:
            if wait := pace.take(tenant if what is TENANT else who):
                self._refuse(what, tenant, name, wait)
        with self._lock:
            now = self._under_way.get(who, 0)
            if now < self._at_once:
                self._under_way[who] = now + 1
        if now >= self._at_once:
            self._refuse(AT_ONCE, tenant, name, SECOND)
        try:
            yield
        finally:
            with self._lock:
                left = self._under_way[who] - 1
                if left:
                    self._under_way[who] = left
                else:
                    del self._under_way[who]

    def _refuse(self, what: str, tenant: str, name: str, wait: Micros) -> None:
        with self._lock:
            self.totals[what] += 1
            if len(self._refused) < MAX_NAMES:
                self._refused[what, tenant, name] += 1
        raise Unavailable("rate_limited", retry_after=max(1, math.ceil(wait / SECOND)))

    def take_refused(self) -> dict[tuple[str, str, str], int]:
        """How many were refused since the last time, by bound, tenant and name or network."""
        with self._lock:
            taken, self._refused = dict(self._refused), Counter()
        return taken

    def give_back(self, refused: dict[tuple[str, str, str], int]) -> None:
        """They could not be put on the record."""
        with self._lock:
            self._refused.update(refused)


def is_here(address: str) -> bool:
    """Whether an address is this host's own: a process of it, or a proxy that nobody said is one, behind
    which everybody is. It is no network that could be told from another."""
    try:
        source = ipaddress.ip_address(address)
    except ValueError:
        return True  # a socket's path, or none
    if isinstance(source, ipaddress.IPv6Address) and source.ipv4_mapped is not None:
        source = source.ipv4_mapped
    return source.is_loopback
