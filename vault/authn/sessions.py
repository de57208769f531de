"""Operators' sessions: how they begin, and how long they last."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from vault.authn.passkeys import Party
from vault.clock import SECOND, Micros

SESSION: Final = "cs_"
MINUTE: Final[Micros] = 60 * SECOND
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
        acts: how many administrative acts one proof is good for.
        party: whom passkeys are for; None: there are none.
    """

    admin: str = ANYBODY
    idle: Micros = DEFAULT_IDLE
    longest: Micros = 12 * 60 * MINUTE
    fresh: Micros = 15 * MINUTE
    acts: int = 200
    party: Party | None = None


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
