"""Access tokens: JWTs (RFC 9068) that a service key was exchanged for, for some minutes.

A token is as good as the key that it was issued to, and no better: it names that key, whose row decides, so
that whoever loses the key loses its tokens with the same commit. It may hold less: what its scope says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from vault.authn.certificates import thumbprint_of
from vault.authn.identities import Caller
from vault.authn.oauth import Once
from vault.clock import SECOND, Micros
from vault.crypto.jose import ED25519, PublicKey, access_hash, header_of, public_jwk
from vault.errors import Unauthenticated
from vault.policy.dpop import DpopProof, check_dpop
from vault.services.cell import Cell
from vault.services.signing_keys import signer_named
from vault.services.spending import PROOF, TOKEN, ref_of

if TYPE_CHECKING:
    from vault.services.presented import Presented

TYP: Final = "at+jwt"  # RFC 9068, 2.1
MAX_TOKEN: Final = 8_192  # characters
BEARER: Final = "bearer "
DPOP: Final = "dpop "
_KID: Final = 43


class Confirmation(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"x5t": "x5t#S256"}
):
    """What a token is bound to: a key (RFC 9449, 6.1), a certificate (RFC 8705, 3.1), or both."""

    jkt: str | None = None
    x5t: str | None = None


class AccessClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an access token says (RFC 9068, 2.2).

    Attributes:
        sub: the principal; client_id: its service key.
        scope: permissions; None: whatever the principal holds.
    """

    iss: str
    aud: str
    sub: str
    client_id: str
    jti: str
    iat: int
    exp: int
    scope: str | None = None
    cnf: Confirmation | None = None

    def __repr__(self) -> str:
        return "<AccessClaims>"

    @property
    def ref(self) -> bytes:
        """What it is remembered by, once it is revoked."""
        return ref_of(TOKEN, self.jti)

    @property
    def ends(self) -> Micros:
        """Until when it is valid."""
        return self.exp * SECOND


def is_access(authorization: str | None) -> bool:
    """Whether an Authorization header holds an access token, or nothing else that it could hold."""
    text = authorization or ""
    if text[: len(DPOP)].lower() == DPOP:
        return True
    return text[: len(BEARER)].lower() == BEARER and text[len(BEARER) :].startswith("ey")


def read_token(cell: Cell, text: str) -> AccessClaims:
    """What a token of this cell says, also one that is over by now.

    Raises:
        ValueError: it is none, or another cell's.
    """
    if len(text) > MAX_TOKEN:
        raise ValueError("not a token")
    header = header_of(text)
    kid = header.get("kid")
    if header != {"typ": TYP, "alg": ED25519, "kid": kid} or not isinstance(kid, str) or len(kid) != _KID:
        raise ValueError("not a token of ours")
    signer = signer_named(cell, kid)
    if signer is None:
        raise ValueError("not a key of ours")
    claims = PublicKey(public_jwk(signer.public)).check(text, (ED25519,))
    try:
        found = msgspec.convert(claims, AccessClaims)
    except msgspec.ValidationError:
        raise ValueError("not a token of ours") from None
    if found.iss != cell.oauth.issuer or found.aud != cell.oauth.issuer:
        raise ValueError("not this cell's")
    return found


def access_caller(cell: Cell, authorization: str, presented: Presented | None, *, fresh: bool) -> Caller:
    """Whoever presents an access token, with what the token leaves of its principal's permissions.

    Args:
        fresh: whether to read key, principal and revocation now, whatever is remembered.

    Raises:
        Unauthenticated: `credential_invalid`, `proof_invalid`, `proof_expired`.
    """
    scheme, _, text = authorization.partition(" ")
    try:
        claims = read_token(cell, text)
    except ValueError:
        raise Unauthenticated("credential_invalid") from None
    now = cell.clock.now()
    if claims.ends <= now:
        raise Unauthenticated("credential_invalid")
    proof = _confirmed(claims, scheme.lower(), text, presented, now)
    return living(cell, claims, proof, fresh=fresh)


def living(cell: Cell, claims: AccessClaims, proof: Once | None = None, *, fresh: bool) -> Caller:
    """Whose a token is, if its key is valid and it was not revoked.

    Raises:
        Unauthenticated: `credential_invalid`.
    """
    caller = cell.identities.of_key(claims.client_id, fresh=fresh)
    principal = caller.principal
    if principal.id != claims.sub or cell.identities.is_spent(claims.ref, fresh=fresh):
        raise Unauthenticated("credential_invalid")
    if claims.scope is not None:
        left = principal.held.intersection(claims.scope.split(" "))
        principal = replace(principal, roles=(), permissions=tuple(sorted(left)))
    ends = min(claims.ends, caller.expires_at) if caller.expires_at else claims.ends
    return replace(caller, principal=principal, expires_at=ends, token=claims.ref, proof=proof)


def proof_of(presented: Presented | None, ath: str | None, now: Micros) -> tuple[DpopProof, Once]:
    """The DPoP proof of a request, and what it is spent by.

    Args:
        ath: the digest of the access token that it comes with; None where one is asked for.

    Raises:
        Unauthenticated: `proof_invalid`, `proof_expired`.
    """
    if presented is None or presented.proof is None:
        raise Unauthenticated("proof_invalid")
    proof = check_dpop(presented.proof, method=presented.method, urls=presented.urls, ath=ath, now=now)
    digest = ref_of(PROOF, proof.ref)
    return proof, presented.once.setdefault(digest, Once(digest, proof.expires_at, "proof_invalid"))


def _confirmed(
    claims: AccessClaims, scheme: str, text: str, presented: Presented | None, now: Micros
) -> Once | None:
    """What a token's proof is spent by, if it is presented by whoever it is bound to.

    Raises:
        Unauthenticated: it is not.
    """
    bound = claims.cnf or Confirmation()
    if bound.x5t is not None:
        shown = None if presented is None else presented.certificate
        if shown is None or thumbprint_of(shown) != bound.x5t:
            raise Unauthenticated("credential_invalid")
    if (bound.jkt is not None) != (scheme == DPOP.strip()):
        raise Unauthenticated("credential_invalid")  # a bound token is no bearer's (RFC 9449, 7.1 and 7.2)
    if bound.jkt is None:
        return None
    proof, once = proof_of(presented, access_hash(text), now)
    if proof.jkt != bound.jkt:
        raise Unauthenticated("proof_invalid")
    return once


def described(claims: AccessClaims) -> dict[str, Any]:
    """A token's claims as introspection tells them (RFC 7662, 2.2)."""
    found: dict[str, Any] = msgspec.to_builtins(claims)
    kind = "DPoP" if claims.cnf is not None and claims.cnf.jkt is not None else "Bearer"
    return {"active": True, "token_type": kind, **found}
