"""Access tokens: got when one is needed, renewed before they end, and proved if they are bound to a key.

source = AccessTokens("https://eu.vault.example", "eu", ClientKey("ck_...", signer), bound=Signer(seed))
client = Client("https://eu.vault.example", "eu", source)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlencode

import httpx

from vault.client.http import answer_of
from vault.clock import SECOND, Micros, SystemClock
from vault.crypto.jose import access_hash, sign
from vault.crypto.randomness import credential_secret
from vault.crypto.signing import Signer, thumbprint
from vault.errors import Internal, Unavailable
from vault.identifiers import split_credential

_CLOCK: Final = SystemClock()
EARLY_S: Final = 30  # before its end that a token is renewed, or half its time if that is less
ASSERTION_S: Final = 60
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A client with a service key.

    Args:
        credential: `ck_<id>_<secret>`.

    Raises:
        ValueError: it is none.
    """

    credential: str = field(repr=False)

    def __post_init__(self) -> None:
        if split_credential(self.credential)[0] != "ck":
            raise ValueError("not a service key")

    def fields(self, issuer: str, now: Micros) -> dict[str, str]:
        """How it says who it is (RFC 6749, 2.3.1)."""
        kind, body, secret = split_credential(self.credential)
        return {"client_id": f"{kind}_{body}", "client_secret": secret}


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A client whose public Ed25519 key is registered.

    Args:
        id: its `client_id`.
    """

    id: str
    signer: Signer = field(repr=False)

    def fields(self, issuer: str, now: Micros) -> dict[str, str]:
        """How it says who it is (RFC 7523, 2.2)."""
        at = now // SECOND
        claims = {
            "iss": self.id,
            "sub": self.id,
            "aud": issuer,
            "iat": at,
            "exp": at + ASSERTION_S,
            "jti": credential_secret(),
        }
        assertion = sign(self.signer, "JWT", claims, thumbprint(self.signer.public))
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}


class AccessTokens(httpx.Auth):
    """Where a client's access tokens come from. Safe between threads.

    Args:
        url: the service's address, as its configuration has it.
        client: who asks.
        scope: permissions that the tokens have; none: all that the service holds.
        bound: the key that tokens are bound to (DPoP); None: they are a bearer's.
        now: microseconds since 1970.

    Raises:
        CoatcheckError: while a request is sent: what the service refuses a token with.
    """

    requires_response_body = True

    def __init__(
        self,
        url: str,
        region: str,
        client: ClientSecret | ClientKey,
        *,
        scope: tuple[str, ...] = (),
        bound: Signer | None = None,
        now: Callable[[], Micros] = _CLOCK.now,
    ) -> None:
        self._issuer = f"{url.rstrip('/')}/v1/{quote(region, safe='')}"
        self._client = client
        self._scope = scope
        self._bound = bound
        self._now = now
        self._lock = threading.Lock()
        self._token: tuple[str, Micros] | None = None

    def __repr__(self) -> str:
        return "<AccessTokens>"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """The request with a token; once more with a new one, if the service knows the first no longer.

        A refusal with 401 comes before anything is done, so that to send it again does nothing twice.
        """
        token = self._living()
        fresh = token is None
        if token is None:
            token = self._taken((yield self._ask()))
        self._show(request, token)
        answer = yield request
        if answer.status_code == 401 and not fresh and 'error="invalid_token"' in _challenge(answer):
            with self._lock:
                self._token = None
            self._show(request, self._taken((yield self._ask())))
            yield request

    def _living(self) -> str | None:
        with self._lock:
            if self._token is not None and self._token[1] > self._now():
                return self._token[0]
        return None

    def _ask(self) -> httpx.Request:
        """The request for a token."""
        url = f"{self._issuer}/oauth/token"
        fields = {"grant_type": "client_credentials", **self._client.fields(self._issuer, self._now())}
        if self._scope:
            fields["scope"] = " ".join(self._scope)
        headers = {"content-type": FORM}
        if self._bound is not None:
            headers["dpop"] = self._proof("POST", url, None)
        return httpx.Request("POST", url, content=urlencode(fields).encode(), headers=headers)

    def _taken(self, answer: httpx.Response) -> str:
        found = answer_of(answer.status_code, answer.content)
        try:
            token, lifetime = str(found["access_token"]), int(found["expires_in"])
            fits = (found["token_type"] == "DPoP") == (self._bound is not None)
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            raise Unavailable("service_unreachable", status=answer.status_code)
        lasts = max(lifetime - EARLY_S, lifetime // 2)
        with self._lock:
            self._token = (token, self._now() + lasts * SECOND)
        return token

    def _show(self, request: httpx.Request, token: str) -> None:
        if self._bound is None:
            request.headers["authorization"] = f"Bearer {token}"
            return
        request.headers["authorization"] = f"DPoP {token}"
        request.headers["dpop"] = self._proof(request.method, str(request.url), token)

    def _proof(self, method: str, url: str, token: str | None) -> str:
        """A proof of one request (RFC 9449, 4.2)."""
        claims: dict[str, str | int] = {
            "htm": method,
            "htu": url.partition("?")[0],
            "iat": self._now() // SECOND,
            "jti": credential_secret(),
        }
        if token is not None:
            claims["ath"] = access_hash(token)
        if self._bound is None:
            raise Internal("internal")
        return sign(self._bound, "dpop+jwt", claims)


def _challenge(answer: httpx.Response) -> str:
    return str(answer.headers.get("www-authenticate", ""))
