"""The proof that an access token is used by whoever it was given to (DPoP, RFC 9449). Pure.

Unlike the proof of a keyed grant (`vault.policy.proof`) it is of no body, since the standard's is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vault.clock import SECOND, Micros
from vault.crypto.base64url import digest
from vault.crypto.jose import PROOF_ALGORITHMS, PublicKey, header_of
from vault.errors import Unauthenticated
from vault.policy.proof import MAX_AGE_S, same_url

TYP: Final = "dpop+jwt"
MAX_JTI: Final = 256  # characters
MIN_JTI: Final = 8


@dataclass(frozen=True, slots=True, repr=False)
class DpopProof:
    """A proof for one request.

    Attributes:
        jkt: thumbprint of the key.
        ref: what it is remembered by, so that it is taken once.
        expires_at: after when nobody takes it any more.
        ed25519: whether its key is one that grants can be bound to.
    """

    jkt: str
    ref: str
    expires_at: Micros
    ed25519: bool


def check_dpop(text: str, *, method: str, urls: tuple[str, ...], ath: str | None, now: Micros) -> DpopProof:
    """The proof in a `DPoP` header, if it is one for this request.

    Args:
        urls: of the request, as its sender may see it.
        ath: the digest of the access token that comes with it; None where a token is asked for.

    Raises:
        Unauthenticated: `proof_invalid`, whatever is wrong with it; `proof_expired`: made too long before or
            after now.
    """
    try:
        claims, key = _read(text)
        htm, htu, jti, iat = (claims.get(name) for name in ("htm", "htu", "jti", "iat"))
        if htm != method or not isinstance(htu, str) or not any(same_url(htu, url) for url in urls):
            raise ValueError(TYP)
        if not isinstance(jti, str) or not MIN_JTI <= len(jti) <= MAX_JTI:
            raise ValueError(TYP)
        if claims.get("ath") != ath or not isinstance(iat, int | float) or isinstance(iat, bool):
            raise ValueError(TYP)
    except ValueError:
        raise Unauthenticated("proof_invalid") from None
    if not abs(iat * SECOND - now) <= MAX_AGE_S * SECOND:
        raise Unauthenticated("proof_expired")
    ref = digest(f"{key.thumbprint}.{jti}".encode("utf-8", "replace"))
    expires_at = int(iat * SECOND) + (MAX_AGE_S + 1) * SECOND
    return DpopProof(key.thumbprint, ref, expires_at, key.jwk.get("crv") == "Ed25519")


def _read(text: str) -> tuple[dict[str, Any], PublicKey]:
    header = header_of(text)
    members = header.get("jwk")
    if header.get("typ") != TYP or not isinstance(members, dict):
        raise ValueError(TYP)
    key = PublicKey(members)
    return key.check(text, PROOF_ALGORITHMS), key
