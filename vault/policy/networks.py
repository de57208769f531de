"""Networks that a credential or a grant may be used from, as CIDRs (RFC 4632, RFC 4291)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

_network = lru_cache(maxsize=1024)(ipaddress.ip_network)


def is_network(text: str) -> bool:
    """Whether a text is a network: an address with a prefix, and no bits set beyond it."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def inside(networks: Iterable[str], address: str) -> bool:
    """Whether an address lies in one of some networks; no networks: any address does."""
    allowed = [_network(network) for network in networks]
    if not allowed:
        return True
    try:
        source = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(source in network for network in allowed)
