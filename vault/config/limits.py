"""Bounds of requests and connections, and how fast anybody may come: the table `[limits]`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from vault.config.means import means
from vault.policy.rate import Rate


class NetworkRate(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How often it may fail, in one network, to prove to be somebody. Each process counts for itself."""

    count: Annotated[
        int,
        means(
            "requests of a network (IPv4 /24, IPv6 /56; not of this host) in which nobody proved to be "
            "anybody, that are earned back in `per_s` seconds; beyond these, credentials that are not known "
            "yet are refused there unread, and names of operators who never signed in from there",
            1,
            1_000_000,
        ),
    ] = 60
    per_s: Annotated[int, means("those seconds", 1, 86_400)] = 60
    burst: Annotated[int, means("how many such requests may come at once", 1, 1_000_000)] = 300

    def rate(self) -> Rate:
        """The rate."""
        return Rate(self.count, self.per_s, self.burst)


class CallerRate(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How often each may come that is known. Each process counts for itself."""

    count: Annotated[
        int,
        means(
            "requests that each (principal, or agent of a grant; or tenant) earns back in `per_s` seconds. "
            "Without this table: as many as come",
            1,
            1_000_000,
        ),
    ]
    per_s: Annotated[int, means("those seconds", 1, 86_400)]
    burst: Annotated[int, means("how many requests may come at once", 1, 1_000_000)]

    def rate(self) -> Rate:
        """The rate."""
        return Rate(self.count, self.per_s, self.burst)


class LimitSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Bounds of a request and of a connection."""

    body_kib: Annotated[int, means("the largest body, in KiB", 1, 16_384)] = 256
    batch_mib: Annotated[int, means("the largest body of `tokenize` and `detokenize`, in MiB", 1, 256)] = 8
    items: Annotated[int, means("most items of a batch", 1, 1_000_000)] = 10_000
    connections: Annotated[
        int,
        means(
            "most connections; a new one then takes the place of those that are idle longest, and is refused "
            "with `too_busy` when none is idle",
            1,
            100_000,
        ),
    ] = 4096
    head_s: Annotated[
        int, means("seconds for a TLS handshake, for a first request to begin, and for a head", 1, 600)
    ] = 10
    body_s: Annotated[int, means("seconds for a request's body, from its head on", 1, 600)] = 30
    idle_s: Annotated[
        int,
        means("seconds to wait for the next request; let a proxy in front wait for less", 1, 3600),
    ] = 75
    answer_s: Annotated[int, means("seconds for a client to take an answer", 1, 600)] = 30
    drain_s: Annotated[
        int, means("seconds that requests under way have when the service is told to stop", 1, 600)
    ] = 20
    network: NetworkRate = NetworkRate()
    principal: CallerRate | None = None
    tenant: CallerRate | None = None
    at_once: Annotated[
        int,
        means("requests of one principal, or agent of a grant, that may be under way", 1, 100_000),
    ] = 1024
