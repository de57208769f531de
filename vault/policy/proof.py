"""The proof that a request comes from the holder of its grant's key, as DPoP has it (RFC 9449). Pure."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET

from vault.clock import SECOND, Micros
from vault.crypto.statements import PROOF
from vault.errors import Unauthenticated

MAX_AGE_S: Final = 60  # into the past and into the future; RFC 9449, section 11.1


class Proof(msgspec.Struct, frozen=True):
    """A proof whose signature is right. Whether it is one for this request is for `check_proof`.

    Attributes:
        jkt: thumbprint of the key; to be compared with the grant's, or the last block's (`block.holder`).
        key: the 32-byte public key.
        htm: the method; htu: the URL.
        iat: seconds since 1970.
        jti: 16 to 128 characters of base64url, once for each grant: that is for the ledger.
        gid: the grant's id.
        bdh: digest of the body; cdh: digest of the chain, None without one.
    """

    jkt: str
    key: bytes
    htm: str
    htu: str
    iat: int
    jti: str
    gid: str
    bdh: str
    cdh: str | None

    def __repr__(self) -> str:
        return "<Proof>"


def parse_proof(text: str) -> Proof:
    """What a `DPoP` header says.

    Raises:
        Unauthenticated: `proof_invalid`, without facts, whatever is wrong with it.
    """
    try:
        key, jkt, claims, _ = PROOF.parse(text)
    except ValueError:
        raise Unauthenticated("proof_invalid") from None
    return Proof(
        jkt=jkt,
        key=key,
        htm=claims.htm,
        htu=claims.htu,
        iat=claims.iat,
        jti=claims.jti,
        gid=claims.gid,
        bdh=claims.bdh,
        cdh=None if claims.cdh is UNSET else claims.cdh,
    )


def check_proof(
    proof: Proof,
    *,
    method: str,
    url: str,
    grant: str,
    body_digest: str,
    chain_digest: str | None,
    now: Micros,
) -> None:
    """Returns if a proof is one for this request.

    Args:
        method: of the request.
        url: of the request as its sender sees it, behind proxies too; what follows `?` is left out.
        grant: the id in `Authorization: Grant`.
        body_digest: `base64url.digest` of the body's bytes.
        chain_digest: `base64url.digest` of `Coatcheck-Chain` as it came; None without one.

    Raises:
        Unauthenticated: `proof_invalid`: for another request; `proof_expired`: made too long before or after
            now.
    """
    if (
        proof.htm != method
        or not same_url(proof.htu, url)
        or proof.gid != grant
        or proof.bdh != body_digest
        or proof.cdh != chain_digest
    ):
        raise Unauthenticated("proof_invalid")
    if abs(proof.iat * SECOND - now) > MAX_AGE_S * SECOND:
        raise Unauthenticated("proof_expired")


def origin_of(url: str) -> str:
    """Scheme and host of a URL, in small letters (RFC 6454, section 4)."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}".lower()


def same_url(htu: str, url: str) -> bool:
    """Whether a proof's URL is a request's, without what follows `?` there (RFC 9449, 4.3)."""
    asked = url.partition("?")[0]
    return htu == asked or _normal(htu) == _normal(asked)


def _normal(url: str) -> str:
    """A URL with scheme and host in small letters, as they compare (RFC 9449, 4.3; RFC 3986, 6.2.2.1).

    A URL with a query, a fragment or a user is not refused here: that of a request has none, so they differ.
    """
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host.lower()}{slash}{path}"
