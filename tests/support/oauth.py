"""The OAuth face as its clients meet it: tokens asked for over HTTP, proofs, and tokens that are wrong."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from joserfc import jwk
from joserfc.jws import JWSRegistry

from tests.support.service import Answer, Service
from vault.crypto.base64url import digest, encode

FORM: Final = "application/x-www-form-urlencoded"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
ALL: Final = list(JWSRegistry.algorithms)


def split(credential: str) -> tuple[str, str]:
    """Id and secret of a service key."""
    prefix, body, secret = credential.split("_")
    return f"{prefix}_{body}", secret


def signed(key: Any, header: Mapping[str, Any], claims: Any) -> str:
    """A JWS by any key, with any header."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    text = f"{encode(json.dumps(dict(header)).encode())}.{encode(payload)}"
    return f"{text}.{encode(JWSRegistry.algorithms[header['alg']].sign(text.encode(), key))}"


def unsigned(header: Mapping[str, Any], claims: Mapping[str, Any], signature: bytes = b"") -> str:
    """A JWS with any header and any signature."""
    parts = (json.dumps(dict(header)).encode(), json.dumps(dict(claims)).encode(), signature)
    return ".".join(encode(part) for part in parts)


def with_mac(secret: bytes, claims: Mapping[str, Any]) -> str:
    """A JWT whose signature is an HMAC by what somebody takes for a secret."""
    text = f"{encode(json.dumps({'alg': 'HS256'}).encode())}.{encode(json.dumps(dict(claims)).encode())}"
    return f"{text}.{encode(hmac.digest(secret, text.encode(), 'sha256'))}"


def ed25519() -> jwk.OKPKey:
    """A fresh key."""
    return jwk.OKPKey.generate_key("Ed25519")


def es256() -> jwk.ECKey:
    """A fresh key."""
    return jwk.ECKey.generate_key("P-256")


def public(key: Any) -> dict[str, Any]:
    """Its public members."""
    found = key.as_dict(private=False)
    return {name: value for name, value in found.items() if name not in ("kid", "use", "alg")}


@dataclass
class Prover:
    """A client that proves to hold a key (RFC 9449)."""

    key: Any = field(default_factory=ed25519)
    alg: str = "Ed25519"

    @property
    def jkt(self) -> str:
        """The thumbprint of its key."""
        return str(self.key.thumbprint())

    def proof(
        self, method: str, url: str, token: str | None = None, *, header: Any = None, **claims: Any
    ) -> str:
        """A proof for a request; members that are None are left out."""
        said = {
            "htm": method,
            "htu": url,
            "iat": int(time.time()),
            "jti": encode(digest(str(time.perf_counter_ns()).encode()).encode())[:30],
            "ath": None if token is None else digest(token.encode()),
            **claims,
        }
        named = {"typ": "dpop+jwt", "alg": self.alg, "jwk": public(self.key), **(header or {})}
        return signed(self.key, named, {name: value for name, value in said.items() if value is not None})


@dataclass
class Face:
    """The OAuth face of one region of a service."""

    service: Service
    region: str = "eu"

    @property
    def issuer(self) -> str:
        """The cell as tokens name it."""
        scheme = "http" if self.service.ca is None else "https"
        return f"{scheme}://127.0.0.1:{self.service.port}/v1/{self.region}"

    @property
    def client(self) -> tuple[str, str]:
        """The service's key: id and secret."""
        return split(self.service.credential(region=self.region))

    def url(self, path: str) -> str:
        """Where a path is."""
        return f"{self.issuer}/{path}"

    def form(self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Answer:
        """A form, posted."""
        head = {"content-type": FORM, **(headers or {})}
        return self.service.request("POST", f"/v1/{self.region}/{path}", urlencode(fields).encode(), head)

    def ask(
        self, fields: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None, **more: str
    ) -> Answer:
        """Asks for a token, as the service unless the fields say who."""
        name, secret = self.client
        by = {} if fields is not None else {"client_id": name, "client_secret": secret}
        return self.form(
            "oauth/token", {"grant_type": "client_credentials", **by, **(fields or {}), **more}, headers
        )

    def token(self, **more: str) -> str:
        """An access token of the service's."""
        answer = self.ask(None, None, **more)
        assert answer.status == 200, answer.body
        return str(answer.json()["access_token"])

    def bound(self, prover: Prover) -> str:
        """An access token that is bound to a key."""
        answer = self.ask(headers={"dpop": prover.proof("POST", self.url("oauth/token"))})
        assert answer.status == 200, answer.body
        assert answer.json()["token_type"] == "DPoP"
        return str(answer.json()["access_token"])

    def whoami(self, authorization: str, **headers: str) -> Answer:
        """Who the service takes somebody for."""
        head = {"authorization": authorization, **headers}
        return self.service.get(f"/v1/{self.region}/whoami", head)

    def register(self, body: Mapping[str, Any]) -> str:
        """A client without a secret, of the service's principal; its `client_id`."""
        admin = self.service.credential("admin_key", region=self.region)
        principal = self.service.call("GET", "whoami", region=self.region).json()["principal"]
        answer = self.service.call(
            "POST", f"principals/{principal}/clients", dict(body), key=admin, region=self.region
        )
        assert answer.status == 201, answer.body
        return str(answer.json()["id"])

    def assertion(
        self, key: Any, name: str, *, alg: str = "Ed25519", header: Any = None, **claims: Any
    ) -> str:
        """What a client signs to say who it is (RFC 7523); members that are None are left out."""
        now = int(time.time())
        said = {
            "iss": name,
            "sub": name,
            "aud": self.issuer,
            "exp": now + 60,
            "iat": now,
            "jti": encode(digest(str(time.perf_counter_ns()).encode()).encode())[:30],
            **claims,
        }
        said = {key_: value for key_, value in said.items() if value is not None}
        return signed(key, {"typ": "JWT", "alg": alg, **(header or {})}, said)

    def ask_by_key(self, assertion: str, **more: str) -> Answer:
        """Asks for a token by an assertion."""
        return self.ask({"client_assertion_type": ASSERTION, "client_assertion": assertion, **more})
