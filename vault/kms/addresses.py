"""Addresses of key stores: `//HOST:PORT/PATH?NAME=VALUE`, read strictly. Reasons repeat nothing of them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from vault.kms.provider import refused

_SEGMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a key store is.

    Attributes:
        host: name or IP address; empty where the address has none.
        port: None without one.
        path: the names between slashes.
        query: parameters, each once.
    """

    host: str
    port: int | None
    path: tuple[str, ...]
    query: dict[str, str]

    def url(self, default_port: int | None = None) -> str:
        """The base of its URLs: https, or http for `tls=off`."""
        scheme = "http" if self.query.get("tls") == "off" else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = self.port or default_port
        return f"{scheme}://{host}" if port is None else f"{scheme}://{host}:{port}"


def read_address(rest: str, parameters: Collection[str], form: str) -> Address:
    """The parts of an address.

    Args:
        rest: what stands behind the scheme.
        parameters: the names that may stand in the query.
        form: how it is to be written, for the reason.

    Raises:
        Misconfigured: `config_invalid`.
    """
    try:
        parts = urlsplit("x:" + rest)
        host, port = parts.hostname or "", parts.port
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise refused(f"is not {form}") from None
    path = tuple(parts.path.removeprefix("/").split("/"))
    if not rest.startswith("//") or parts.fragment or not all(map(_SEGMENT.fullmatch, path)):
        raise refused(f"is not {form}")
    if parts.username is not None or parts.password is not None:
        raise refused("has a user or a password; secrets stand in files")
    if host and _HOST.fullmatch(host) is None and not _is_ip(host):
        raise refused(f"is not {form}")
    query = dict(pairs)
    if len(query) < len(pairs) or not set(query) <= set(parameters):
        raise refused(f"takes these parameters, each once: {', '.join(sorted(parameters))}")
    if query.get("tls", "on") not in ("on", "off"):
        raise refused("takes tls=off, or nothing")
    if query.get("tls") == "off" and not _is_loopback(host):
        raise refused("takes tls=off for loopback addresses only")
    return Address(host, port, path, query)


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)
