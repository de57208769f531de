"""Tokens of configured issuers: OpenID Connect, or SPIFFE (JWT-SVID), by the keys that they publish.

Keys are read from a file, or fetched from the address that the configuration names and from no other:
nothing in a token says where its key is.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from vault.clock import SECOND, Micros
from vault.crypto.jose import ALGORITHMS, PublicKey, header_of
from vault.errors import BadInput, Unavailable

TIMEOUT_S: Final = 5.0
MAX_DOCUMENT: Final = 256 * 1024  # bytes of a JWK Set
MAX_KEYS: Final = 100
KEPT_S: Final = 300.0  # that keys are taken for those of the issuer
PAUSE_S: Final = 30.0  # between two fetches, however many tokens name a key that is not known
SKEW_S: Final = 30  # between the issuer's clock and ours
MAX_SUBJECT: Final = 2_048  # characters; of a SPIFFE ID: SPIFFE-ID, 2.3
MAX_AUDIENCES: Final = 32


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a token is of.

    Attributes:
        agent: the agent that it stands for here; None: it is a user.
        name: the user, by issuer and subject; empty for an agent.
    """

    agent: str | None
    name: str = ""


@dataclass(slots=True, repr=False)
class Issuer:
    """One issuer whose tokens are taken.

    Attributes:
        name: that it has in the configuration.
        audience: that its tokens have to be for.
        agents: the agent that each of its subjects is.
        users: whether its other subjects are users, on whose behalf a grant may be.
        keys: reads its JWK Set.
    """

    name: str
    issuer: str
    audience: str
    agents: Mapping[str, str]
    users: bool
    keys: Callable[[], bytes]
    now: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: dict[str, PublicKey] = field(default_factory=dict)
    _read_at: float | None = None
    _tried_at: float | None = None

    def check(self, text: str, now: Micros) -> Subject:
        """Whom a token is of.

        Raises:
            BadInput: `assertion_invalid`, whatever is wrong with it.
            Unavailable: `issuer_unavailable`: its keys cannot be read.
        """
        try:
            header = header_of(text)
            claims = self._key(header.get("kid")).check(text, ALGORITHMS)
            return self._subject(claims, now)
        except ValueError:
            raise BadInput("assertion_invalid") from None

    def _subject(self, claims: Mapping[str, Any], now: Micros) -> Subject:
        check_times(claims, now)
        subject, audience = claims.get("sub"), audiences(claims)
        if claims.get("iss", self.issuer) != self.issuer or self.audience not in audience:
            raise ValueError("not for this")
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or not subject.isprintable():
            raise ValueError("no subject")
        agent = self.agents.get(subject)
        if agent is None and not self.users:
            raise ValueError("nobody here")
        return Subject(agent, "" if agent is not None else f"{self.name}:{subject}")

    def _key(self, kid: Any) -> PublicKey:
        """The issuer's key of a name; without a name, its only one.

        Raises:
            ValueError: it has none.
            Unavailable: `issuer_unavailable`.
        """
        if kid is not None and not isinstance(kid, str):
            raise ValueError("no name of a key")
        found = self._named(kid) if self._fresh(self.now()) else None
        if found is None:
            with self._lock:  # one fetch at a time; whose key is known does not wait for it
                now = self.now()
                fresh = self._fresh(now)
                if not fresh or (kid is not None and kid not in self._known):
                    self._renew(now, needed=not fresh)
            found = self._named(kid)
        if found is None:
            raise ValueError("no such key")
        return found

    def _fresh(self, now: float) -> bool:
        read_at = self._read_at
        return read_at is not None and now - read_at <= KEPT_S

    def _named(self, kid: str | None) -> PublicKey | None:
        known = self._known
        if kid is None:
            return next(iter(known.values())) if len(known) == 1 else None
        return known.get(kid)

    def _renew(self, now: float, *, needed: bool) -> None:
        if self._tried_at is not None and now - self._tried_at < PAUSE_S:
            if needed:
                raise Unavailable("issuer_unavailable", retry_after=int(PAUSE_S))
            return
        self._tried_at = now
        try:
            self._known = keys_in(self.keys())
        except (OSError, ValueError, httpx.HTTPError):
            raise Unavailable("issuer_unavailable", retry_after=int(PAUSE_S)) from None
        self._read_at = now


def check_times(claims: Mapping[str, Any], now: Micros, longest_s: int | None = None) -> Micros:
    """When a token ends, if it is valid now (RFC 7519, 4.1.4 to 4.1.6).

    Args:
        longest_s: how far its end may lie ahead; None: as far as it says.

    Raises:
        ValueError: it is not, or does not say until when.
    """
    ends = _number(claims, "exp")
    if ends is None or ends * SECOND <= now:
        raise ValueError("over")
    if longest_s is not None and ends * SECOND > now + (longest_s + SKEW_S) * SECOND:
        raise ValueError("too long")
    for name in ("nbf", "iat"):
        begins = _number(claims, name)
        if begins is not None and begins * SECOND > now + SKEW_S * SECOND:
            raise ValueError("not yet")
    return int(ends * SECOND)


def audiences(claims: Mapping[str, Any]) -> list[str]:
    """Whom a token is for: one text, or several (RFC 7519, 4.1.3)."""
    found = claims.get("aud")
    those = found if isinstance(found, list) else [found]
    return [name for name in those[:MAX_AUDIENCES] if isinstance(name, str)]


def _number(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate; None without it.

    Raises:
        ValueError: it is none.
    """
    found = claims.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1e11:
        raise ValueError("not a time")
    return found


def keys_in(document: bytes) -> dict[str, PublicKey]:
    """The keys of a JWK Set (RFC 7517, 5), by name; those that are not for signatures are left.

    Raises:
        ValueError: it is none.
    """
    try:
        found = json.loads(document)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list):
        raise ValueError("not a JWK Set")  # noqa: TRY004 - of what a document says
    known = {}
    for members in keys[:MAX_KEYS]:
        try:
            # SPIFFE says `jwt-svid` in place of `sig` (SPIFFE trust domain and bundle, 4.2.2).
            use = {"use": "sig"} if members.get("use") == "jwt-svid" else {}
            key = PublicKey({**members, **use})
        except (ValueError, AttributeError, TypeError):
            continue  # of a kind that is not taken here
        kid = members.get("kid")
        known[kid if isinstance(kid, str) else key.thumbprint] = key
    return known


def of_file(path: Path) -> Callable[[], bytes]:
    """Reads a JWK Set from a file."""
    return path.read_bytes


def of_address(url: str, transport: httpx.BaseTransport | None = None) -> Callable[[], bytes]:
    """Fetches a JWK Set: from there alone, so a redirection is an error."""

    def fetch() -> bytes:
        end = time.monotonic() + TIMEOUT_S  # of all of it: the client's is of each read
        with (
            httpx.Client(
                timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, transport=transport
            ) as client,
            client.stream("GET", url, headers={"accept": "application/json"}) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError("no JWK Set")
            parts, size = [], 0
            for part in answer.iter_bytes():
                size += len(part)
                if size > MAX_DOCUMENT or time.monotonic() > end:
                    raise ValueError("too large, or too slow")
                parts.append(part)
        return b"".join(parts)

    return fetch
