"""Operators' sessions: how long they last, and when each was last used."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vault.authn.passkeys import Party
from vault.clock import SECOND, Micros

SESSION: Final = "cs_"
MINUTE: Final[Micros] = 60 * SECOND
MAX_SEEN: Final = 10_000
IPV4_BITS: Final = 24
IPV6_BITS: Final = 56  # what a line is given: RFC 6177, 2
DEFAULT_IDLE: Final[Micros] = 30 * MINUTE
OPERATORS: Final = "operators"
ANYBODY: Final = "any"


@dataclass(frozen=True, slots=True)
class SignIn:
    """How operators sign in, and for how long (`[identities]`).

    Attributes:
        admin: who may do what is administrative: `operators`, or `any` with the permission.
        idle: how long a session may lie unused.
        longest: how long it lasts at most.
        fresh: how old the proof of a second factor may be for what is administrative.
        party: whom passkeys are for; None: there are none.
    """

    admin: str = ANYBODY
    idle: Micros = DEFAULT_IDLE
    longest: Micros = 12 * 60 * MINUTE
    fresh: Micros = 15 * MINUTE
    party: Party | None = None


class SessionsSeen:
    """When sessions were last used, to the minute, as this process saw it. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, Micros] = {}
        self._waiting: dict[str, Micros] = {}

    def last(self, session: str) -> Micros:
        """When a session was last used here; 0: not that anybody remembers."""
        return self._seen.get(session, 0)

    def note(self, session: str, at: Micros) -> None:
        """A session is used."""
        minute = at - at % MINUTE
        if self._seen.get(session) == minute:
            return
        with self._lock:
            self._seen.pop(session, None)
            self._seen[session] = self._waiting[session] = minute
            while len(self._seen) > MAX_SEEN:
                oldest = next(iter(self._seen))
                del self._seen[oldest]

    def take(self) -> dict[str, Micros]:
        """The uses to write down."""
        with self._lock:
            taken, self._waiting = self._waiting, {}
        return taken

    def give_back(self, uses: Mapping[str, Micros]) -> None:
        """They could not be written."""
        with self._lock:
            self._waiting = {**uses, **self._waiting}


def network_of(address: str) -> str:
    """The network that an address lies in; empty for what is no address."""
    try:
        source = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(source, ipaddress.IPv6Address) and source.ipv4_mapped is not None:
        source = source.ipv4_mapped
    bits = IPV4_BITS if source.version == 4 else IPV6_BITS
    return str(ipaddress.ip_network((source, bits), strict=False))
