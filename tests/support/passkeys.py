"""A passkey in software (W3C Web Authentication, 6 and 7): answers options as a browser would."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

ORIGIN = "http://localhost:8700"
PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40


def text(raw: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw(of: str) -> bytes:
    """What base64url stands for."""
    return urlsafe_b64decode(of + "=" * (-len(of) % 4))


@dataclass
class Authenticator:
    """One passkey, of ECDSA over P-256.

    Attributes:
        counts: whether it counts its signatures.
        verifies: whether it asks for a PIN or a finger.
    """

    origin: str = ORIGIN
    counts: bool = True
    verifies: bool = True
    signs: int = 0
    user: str = ""
    credential: bytes = field(default_factory=lambda: os.urandom(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def register(self, options: dict[str, Any], **changed: Any) -> dict[str, Any]:
        """A RegistrationResponseJSON, with members of its client data changed."""
        self.user = options["user"]["id"]
        data = self._client_data("webauthn.create", options["challenge"], changed)
        attested = bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential + self._cose()
        made = self._data(options["rp"]["id"], ATTESTED) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": made})
        return self._answer(
            {"clientDataJSON": text(data), "attestationObject": text(attestation), "transports": ["internal"]}
        )

    def sign(self, options: dict[str, Any], **changed: Any) -> dict[str, Any]:
        """An AuthenticationResponseJSON."""
        self.signs += self.counts
        data = self._client_data("webauthn.get", options["challenge"], changed)
        made = self._data(options["rpId"], 0)
        signature = self.key.sign(made + hashlib.sha256(data).digest(), ec.ECDSA(SHA256()))
        return self._answer(
            {
                "clientDataJSON": text(data),
                "authenticatorData": text(made),
                "signature": text(signature),
                "userHandle": self.user,
            }
        )

    def _answer(self, response: dict[str, Any]) -> dict[str, Any]:
        id_ = text(self.credential)
        return {
            "id": id_,
            "rawId": id_,
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
        }

    def _client_data(self, type_: str, challenge: str, changed: dict[str, Any]) -> bytes:
        data = {"type": type_, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps({**data, **changed}).encode()

    def _data(self, party: str, more: int) -> bytes:
        flags = PRESENT | ELIGIBLE | BACKED_UP | more | (VERIFIED if self.verifies else 0)
        return hashlib.sha256(party.encode()).digest() + bytes([flags]) + self.signs.to_bytes(4, "big")

    def _cose(self) -> bytes:
        numbers = self.key.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})  # EC2, ES256, P-256 (RFC 9053)
