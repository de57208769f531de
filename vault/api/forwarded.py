"""Whose request it is, behind proxies that are trusted to say so.

Each proxy appends whom it heard from. So the list is read from its end: what stands left of the first
address that is no proxy of ours was written by whoever that is, and is not believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from vault.config.addresses import plain_address
from vault.config.settings import Network

UNKNOWN: Final = "unknown"  # lies in no network, so a key that is bound to networks is refused
MAX_HOPS: Final = 32
_TEXT: Final = 4096
_XFF: Final = b"x-forwarded-for"
_FORWARDED: Final = b"forwarded"
# RFC 7239, 4: pairs of a token and a token or a quoted string, `;` between pairs, `,` between hops.
_PAIR: Final = re.compile(r'\s*([A-Za-z]+)=(?:"([^"\\]*)"|([^\s",;=]*))\s*')
_NODE: Final = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::[0-9]{1,5})?")


def is_trusted(address: str, proxies: Sequence[Network]) -> bool:
    """Whether an address is one of the proxies'."""
    plain = plain_address(address)
    return plain is not None and _is_proxy(plain, proxies)


def client_address(peer: str, headers: Iterable[tuple[bytes, bytes]], proxies: Sequence[Network]) -> str:
    """The address of the client behind a trusted proxy.

    Args:
        peer: the proxy that is connected.
        headers: of the request, names in lower case.

    Returns:
        The last address that no proxy of ours has; the first of all if all are; the peer's without a
        header; `unknown` where what decides is no address, or where the two headers differ.
    """
    lines: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in (_XFF, _FORWARDED):
            lines.setdefault(name, []).append(value)
    if not lines:
        return peer
    found = {
        _last_outside(_hops(name, b",".join(values).decode("latin-1")), proxies)
        for name, values in lines.items()
    }
    return found.pop() if len(found) == 1 else UNKNOWN


def _last_outside(hops: Iterator[str | None], proxies: Sequence[Network]) -> str:
    last = UNKNOWN
    for hop in hops:
        address = None if hop is None else plain_address(hop)
        if address is None:
            return UNKNOWN
        last = str(address)
        if not _is_proxy(address, proxies):
            return last
    return last


def _is_proxy(address: IPv4Address | IPv6Address, proxies: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in proxies)


def _hops(name: bytes, text: str) -> Iterator[str | None]:
    """The addresses of a header from its end, without ports; None for what is no address."""
    parts = text[-_TEXT:].split(",")
    for count, part in enumerate(reversed(parts), 1):
        if count > MAX_HOPS or (count == len(parts) and len(text) > _TEXT):
            yield None  # nobody has so many proxies, and what is cut may say anything
            return
        yield _node(part.strip() if name == _XFF else _for(part))


def _for(element: str) -> str:
    """The `for` of one hop; empty without one."""
    found = ""
    for pair in element.split(";"):
        match = _PAIR.fullmatch(pair)
        if match is None or (match[1].lower() == "for" and found):
            return ""
        if match[1].lower() == "for":
            found = match[2] if match[2] is not None else match[3]
    return found


def _node(text: str) -> str | None:
    """The address of `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`."""
    if plain_address(text) is not None:
        return text
    match = _NODE.fullmatch(text)
    return None if match is None else match[1] or match[2]
