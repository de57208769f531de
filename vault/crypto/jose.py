"""Signed tokens of others (RFC 7515, RFC 7519), by joserfc: client assertions, DPoP proofs, issuers' tokens.

Whoever checks one says which algorithms may be: nothing in a token chooses how it is checked. A header with
`crit` is refused, as nothing is known here that it could name (RFC 7515, 4.1.11), and keys that a header
brings, or points to, are looked at only where the standard has the key there (DPoP).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from joserfc import jwk, jws
from joserfc.errors import JoseError

from vault.crypto.base64url import decode, digest, encode
from vault.crypto.signing import Signer, thumbprint, verify
from vault.errors import IntegrityError

MAX_TOKEN: Final = 8_192  # characters
MAX_JWK: Final = 4_096  # bytes
MIN_RSA_BITS: Final = 2_048  # SP 800-131A Rev. 2, 3
MAX_RSA_BITS: Final = 4_096
NOT_A_TOKEN: Final = "not such a token"  # of every refusal: nothing says which step it was

ED25519: Final = "Ed25519"  # RFC 9864: says what is used, as `EdDSA` does not
BY_KEY: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("OKP", "Ed25519"): ("Ed25519", "EdDSA"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("RSA", ""): ("PS256", "RS256"),
}
"""The algorithms of each kind of key: a key is for signatures of its own kind, and for no MAC."""

ALGORITHMS: Final = tuple(name for names in BY_KEY.values() for name in names)
PROOF_ALGORITHMS: Final = ("Ed25519", "EdDSA", "ES256", "ES384")  # of DPoP: keys that are made at once

_PUBLIC: Final = {"OKP": ("crv", "x"), "EC": ("crv", "x", "y"), "RSA": ("n", "e")}
_REGISTRY: Final = jws.JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
_encode: Final = msgspec.json.Encoder().encode


class PublicKey:
    """A public key of somebody else's.

    Attributes:
        jwk: its public members alone (RFC 7517).
        thumbprint: RFC 7638.
        algorithms: that it signs with.
    """

    __slots__ = ("_key", "algorithms", "jwk", "thumbprint")

    def __init__(self, members: Mapping[str, Any]) -> None:
        """Takes a key.

        Args:
            members: of the JWK; those that are not the key itself are left.

        Raises:
            ValueError: a private or symmetric key, one of another kind, or none.
        """
        kind = members.get("kty")
        names = _PUBLIC.get(kind) if isinstance(kind, str) else None
        if names is None or any(name in members for name in ("d", "p", "q", "dp", "dq", "qi", "oth", "k")):
            raise ValueError(NOT_A_TOKEN)
        if members.get("use", "sig") != "sig":
            raise ValueError(NOT_A_TOKEN)
        plain = {"kty": str(kind), **{name: members.get(name) for name in names}}
        if not all(isinstance(value, str) and len(value) <= MAX_JWK for value in plain.values()):
            raise ValueError(NOT_A_TOKEN)
        self.jwk: dict[str, str] = {name: str(value) for name, value in plain.items()}
        algorithms = BY_KEY.get((self.jwk["kty"], self.jwk.get("crv", "")))
        if algorithms is None:
            raise ValueError(NOT_A_TOKEN)
        try:
            for name in names[0 if kind == "RSA" else 1 :]:
                decode(self.jwk[name])
            if kind == "RSA" and not MIN_RSA_BITS <= 8 * len(decode(self.jwk["n"])) <= MAX_RSA_BITS:
                raise ValueError(NOT_A_TOKEN)
            self._key: Any = jwk.import_key(dict(self.jwk))
            self._key.get_op_key("verify")  # that it is a point, or a modulus, is looked at here
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(NOT_A_TOKEN) from None
        chosen = members.get("alg")
        self.algorithms = (
            algorithms if chosen is None else tuple(name for name in algorithms if name == chosen)
        )
        self.thumbprint: str = self._key.thumbprint()

    def __repr__(self) -> str:
        return "<PublicKey>"

    def check(self, text: str, algorithms: Collection[str]) -> dict[str, Any]:
        """The claims of a token that this key has signed.

        Args:
            algorithms: those that are taken here, of which the key's own are.

        Raises:
            ValueError: it is none, or not signed by this key in one of those ways.
        """
        taken = [name for name in self.algorithms if name in algorithms]
        if header_of(text).get("alg") not in taken:
            raise ValueError(NOT_A_TOKEN)
        if self.jwk["kty"] == "OKP":
            return self._check_ed25519(text)
        try:
            found = jws.deserialize_compact(text, self._key, algorithms=taken, registry=_REGISTRY)
        except (JoseError, ValueError, TypeError, KeyError):
            raise ValueError(NOT_A_TOKEN) from None
        return _object(found.payload)

    def _check_ed25519(self, text: str) -> dict[str, Any]:
        """The same for a key of Ed25519, by libsodium: it is stricter, and one algorithm by either name."""
        signing_input, _, signature = text.rpartition(".")
        try:
            verify(decode(self.jwk["x"]), signing_input.encode("ascii"), decode(signature))
        except IntegrityError:
            raise ValueError(NOT_A_TOKEN) from None
        return _object(decode(signing_input.partition(".")[2]))


def header_of(text: str) -> dict[str, Any]:
    """What a token's header says. It proves nothing.

    Raises:
        ValueError: not a token in compact form, or one with `crit` or `b64`.
    """
    if len(text) > MAX_TOKEN or text.count(".") != 2:
        raise ValueError(NOT_A_TOKEN)
    header = _object(decode(text.partition(".")[0]))
    if "crit" in header or "b64" in header or "zip" in header:
        raise ValueError(NOT_A_TOKEN)
    return header


def claims_of(text: str) -> dict[str, Any]:
    """What a token says, which nobody has checked yet: to find out whose key to look for.

    Raises:
        ValueError: not a token.
    """
    header_of(text)
    return _object(decode(text.split(".")[1]))


def sign(signer: Signer, typ: str, claims: msgspec.Struct | dict[str, Any], kid: str | None = None) -> str:
    """A token, in compact form, by Ed25519.

    Args:
        typ: its media type without `application/`.
        kid: the name of the key; None: its public key stands in the header instead, as DPoP has it.
    """
    header: dict[str, Any] = {"typ": typ, "alg": ED25519}
    if kid is None:
        header["jwk"] = public_jwk(signer.public)
    else:
        header["kid"] = kid
    signing_input = f"{encode(_encode(header))}.{encode(_encode(claims))}"
    return f"{signing_input}.{encode(signer.sign(signing_input.encode()))}"


def public_jwk(public: bytes) -> dict[str, str]:
    """A public Ed25519 key (RFC 8037, 2)."""
    return {"kty": "OKP", "crv": "Ed25519", "x": encode(public)}


def published_jwk(public: bytes) -> dict[str, str]:
    """The same as it stands in a JWK Set: with its name, which is its thumbprint, and what it is for."""
    return {**public_jwk(public), "kid": thumbprint(public), "use": "sig", "alg": ED25519}


def access_hash(token: str) -> str:
    """`ath`: the digest of an access token in a proof (RFC 9449, 4.2)."""
    return digest(token.encode("utf-8", "replace"))


def _object(raw: bytes) -> dict[str, Any]:
    """A JSON object, each member said once, at every depth.

    Raises:
        ValueError: it is none.
    """
    try:
        found = json.loads(raw, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise ValueError(NOT_A_TOKEN) from None
    if not isinstance(found, dict):
        raise ValueError(NOT_A_TOKEN)  # noqa: TRY004 - what is refused is a text, for what it says
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError(NOT_A_TOKEN)
    return names
