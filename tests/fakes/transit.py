"""A fake of HashiCorp Vault's transit engine and of three of its auth methods. It is not that server.

It was written from its API's documentation: derived keys, contexts, versions and their bounds, trimming,
deletion, token lives, namespaces, and the answers 400, 403, 404, 429, 503 and sealed. It has no policies: a
good token may do everything, creating a key by encrypting included, which a provider must not fall for.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import threading
import time
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.fakes.serving import Answer, Serving

ROLE_ID, SECRET_ID, JWT, ROLE, ROOT = (
    "role-id",
    "secret-id",
    "header.claims.signature",
    "coatcheck",
    "hvs.root",
)
_PATH = re.compile(r"/v1/(?P<mount>.+)/(?P<verb>keys|encrypt|decrypt)/(?P<name>[\w.-]+)(?:/(?P<act>\w+))?")


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, text: str) -> None:
        self.status, self.text = status, text
        super().__init__(text)


@dataclass
class Key:
    """A transit key."""

    type: str = "aes256-gcm96"
    derived: bool = False
    exportable: bool = False
    allow_plaintext_backup: bool = False
    convergent_encryption: bool = False
    deletion_allowed: bool = False
    min_decryption_version: int = 1
    min_encryption_version: int = 0
    min_available_version: int = 0
    versions: dict[int, bytes] = field(default_factory=dict)

    @property
    def latest(self) -> int:
        return max(self.versions)

    def shown(self, name: str) -> dict[str, Any]:
        shown = {name: value for name, value in vars(self).items() if name != "versions"}
        return {
            **shown,
            "name": name,
            "latest_version": self.latest,
            "keys": dict.fromkeys(map(str, self.versions), 0),
        }

    def cipher(self, version: int, context: str | None) -> AESGCM:
        if not self.derived:
            return AESGCM(self.versions[version])
        if not context:
            raise Refused(
                400, "missing 'context' for key derivation; the key was created using a derived key"
            )
        return AESGCM(HKDF(SHA256(), 32, None, b64decode(context)).derive(self.versions[version]))


@dataclass
class Token:
    """A token: for so long, and at most until then."""

    ttl: float
    until: float
    longest: float | None = None
    renewable: bool = True


class FakeTransit:
    """The fake, serving.

    Attributes:
        calls: method and path of all requests so far.
        sealed: answers 503, as a sealed server does.
        status: answers this to everything but logins; None: behaves.
        raw: answers these bytes with 200; None: behaves.
        ttl: seconds that tokens of logins last.
    """

    def __init__(
        self, tls: ssl.SSLContext | None = None, mount: str = "transit", namespace: str = ""
    ) -> None:
        self.mount, self.namespace = mount, namespace
        self.keys: dict[str, Key] = {}
        self.tokens: dict[str, Token] = {ROOT: Token(0, float("inf"))}
        self.secret_ids = {SECRET_ID}
        self.calls: list[str] = []
        self.logins = 0
        self.renewals = 0
        self.sealed = False
        self.status: int | None = None
        self.raw: bytes | None = None
        self.ttl = 3600.0
        self.longest: float | None = None
        self._lock = threading.Lock()
        self._serving = Serving(self._handle, tls)
        self.port = self._serving.port

    def close(self) -> None:
        self._serving.close()

    def heal(self) -> None:
        self.sealed, self.status, self.raw = False, None, None

    def expire_tokens(self) -> None:
        """Every token of a login ends now."""
        for token in self.tokens.values():
            if token.until != float("inf"):
                token.until = 0

    def _handle(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        with self._lock:
            self.calls.append(f"{method} {path}")
            try:
                if self.raw is not None:
                    return 200, self.raw
                if self.sealed:
                    raise Refused(503, "Vault is sealed")
                if self.status is not None:
                    raise Refused(self.status, "in trouble")
                if headers.get("x-vault-request") != "true":
                    raise Refused(412, "required header missing")
                if headers.get("x-vault-namespace", "") != self.namespace:
                    raise Refused(404, "no handler for route")
                answer = self._answer(
                    method, path, headers.get("x-vault-token", ""), json.loads(body or b"{}")
                )
            except Refused as problem:
                return problem.status, json.dumps({"errors": [problem.text]}).encode()
            return (204, b"") if answer is None else (200, json.dumps(answer).encode())

    def _answer(self, method: str, path: str, token: str, body: dict[str, Any]) -> dict[str, Any] | None:
        if method in ("POST", "PUT") and path == "/v1/auth/approle/login":
            if body.get("role_id") != ROLE_ID or body.get("secret_id") not in self.secret_ids:
                raise Refused(400, "invalid role or secret ID")
            return self._login()
        if method in ("POST", "PUT") and path == "/v1/auth/kubernetes/login":
            if body != {"role": ROLE, "jwt": JWT}:
                raise Refused(403, "permission denied")
            return self._login()
        held = self.tokens.get(token)
        if held is None or held.until < time.monotonic():
            raise Refused(403, "permission denied")
        left = 0 if held.until == float("inf") else max(1, round(held.until - time.monotonic()))
        if path == "/v1/auth/token/lookup-self":
            return {"data": {"ttl": left, "renewable": held.renewable}}
        if path == "/v1/auth/token/renew-self":
            self.renewals += 1
            until = time.monotonic() + held.ttl
            held.until = until if held.longest is None else min(until, held.longest)
            lasts = max(0, round(held.until - time.monotonic()))
            return {"auth": {"client_token": token, "lease_duration": lasts, "renewable": held.renewable}}
        found = _PATH.fullmatch(path)
        if found is None or found["mount"] != self.mount:
            raise Refused(404, "no handler for route")
        return self._transit(method, found["verb"], found["name"], found["act"], body)

    def _login(self) -> dict[str, Any]:
        self.logins += 1
        now = time.monotonic()
        token = f"hvs.{os.urandom(12).hex()}"
        longest = None if self.longest is None else now + self.longest
        self.tokens[token] = Token(self.ttl, now + self.ttl, longest)
        return {"auth": {"client_token": token, "lease_duration": max(1, round(self.ttl)), "renewable": True}}

    def _transit(
        self, method: str, verb: str, name: str, act: str | None, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        key = self.keys.get(name)
        if verb == "keys" and act is None and method in ("POST", "PUT"):
            if key is None:
                wanted = {item: value for item, value in body.items() if item in Key.__dataclass_fields__}
                self.keys[name] = Key(**wanted, versions={1: os.urandom(32)})
            return None
        if verb == "encrypt" and key is None:  # what a token with `create` on this path brings about
            key = self.keys[name] = Key(derived="context" in body, versions={1: os.urandom(32)})
        if key is None:
            raise (
                Refused(404, "")
                if verb == "keys" and method == "GET"
                else Refused(400, "encryption key not found")
            )
        if verb == "keys":
            return self._manage(method, name, act, key, body)
        if verb == "encrypt":
            return self._encrypt(key, body)
        return self._decrypt(key, body)

    def _manage(
        self, method: str, name: str, act: str | None, key: Key, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        if act is None and method == "GET":
            return {"data": key.shown(name)}
        if act is None and method == "DELETE":
            if not key.deletion_allowed:
                raise Refused(400, "deletion is not allowed for this key")
            del self.keys[name]
        elif act == "rotate":
            key.versions[key.latest + 1] = os.urandom(32)
        elif act == "config":
            if body.get("min_decryption_version", 1) > key.latest:
                raise Refused(400, "cannot set min decryption version greater than latest")
            for item, value in body.items():
                setattr(key, item, value)
        elif act == "trim":
            low = int(body["min_available_version"])
            if low > key.min_decryption_version or low > key.min_encryption_version or low > key.latest:
                raise Refused(400, "the minimum versions must be raised first")
            key.min_available_version = low
            key.versions = {number: raw for number, raw in key.versions.items() if number >= low}
        return None

    def _encrypt(self, key: Key, body: dict[str, Any]) -> dict[str, Any]:
        version = int(body.get("key_version") or key.latest)
        if version < key.min_encryption_version:
            raise Refused(
                400, "requested version for encryption is less than the minimum encryption key version"
            )
        iv = os.urandom(12)
        raw = iv + key.cipher(version, body.get("context")).encrypt(iv, b64decode(body["plaintext"]), None)
        return {"data": {"ciphertext": f"vault:v{version}:{b64encode(raw).decode()}", "key_version": version}}

    def _decrypt(self, key: Key, body: dict[str, Any]) -> dict[str, Any]:
        found = re.fullmatch(r"vault:v(\d+):(.*)", body["ciphertext"])
        if found is None:
            raise Refused(400, "invalid ciphertext: no prefix")
        version = int(found[1]) or 1
        if version > key.latest:
            raise Refused(400, "invalid ciphertext: version is too new")
        if version < key.min_decryption_version or version not in key.versions:
            raise Refused(400, "ciphertext or signature version is disallowed by policy (too old)")
        raw = b64decode(found[2])
        try:
            plain = key.cipher(version, body.get("context")).decrypt(raw[:12], raw[12:], None)
        except InvalidTag:
            raise Refused(400, "cipher: message authentication failed") from None
        return {"data": {"plaintext": b64encode(plain).decode()}}
