"""Addresses of listeners and of peers, in one spelling."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

MAX_PORT: Final = 65_535
_PORT: Final = re.compile(r"[0-9]{1,5}")


class Address(NamedTuple):
    """Where a listener listens."""

    host: str
    port: int
    loopback: bool


def split_address(text: str) -> Address:
    """The parts of `IP:PORT`, `[IP]:PORT` or `localhost:PORT`.

    Raises:
        ValueError: it is none; with the reason.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or _PORT.fullmatch(port) is None or int(port) > MAX_PORT:
        raise ValueError("is not host:port")
    if host == "localhost":
        return Address(host, int(port), loopback=True)
    address = plain_address(host)
    if address is None:
        raise ValueError("names a host, not an IP address or localhost")
    return Address(host, int(port), address.is_loopback)


def is_service_url(text: str) -> bool:
    """Whether a text is where a service is reached: http or https, a host, and nobody's credentials."""
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return known and "@" not in text and not parts.query and not parts.fragment and text.isprintable()


def plain_address(text: str) -> IPv4Address | IPv6Address | None:
    """An IP address; one of IPv4 that is written as IPv6 (RFC 4291, 2.5.5.2) as IPv4. None if it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address
