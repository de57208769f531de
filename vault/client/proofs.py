"""What the holder of a keyed grant signs: a proof for each request, and a block for each delegate."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from msgspec import UNSET

from vault.clock import SECOND, Micros
from vault.crypto.base64url import digest
from vault.crypto.randomness import credential_secret
from vault.crypto.signing import Signer
from vault.crypto.statements import (
    BLOCK,
    JOINT,
    MAX_BLOCKS,
    MAX_CHAIN_BYTES,
    PROOF,
    BlockClaims,
    Cnf,
    Narrowing,
    ProofClaims,
    first_link,
)
from vault.errors import BadInput

GRANT_SCHEME: Final = "Grant"
CHAIN_HEADER: Final = "Coatcheck-Chain"
_METHOD: Final = re.compile(r"[A-Z]{1,16}")
_URL: Final = re.compile(r"[a-z]+://[!-~]+")


def make_proof(
    signer: Signer,
    *,
    method: str,
    url: str,
    grant: str,
    body: bytes,
    chain: str | None,
    now: Micros,
    jti: str | None = None,
) -> str:
    """The `DPoP` header of one request. Each request needs one of its own.

    Args:
        signer: the holder's key, or the last delegate's.
        url: that the request goes to; query and fragment are left out.
        grant: the grant's id.
        body: the bytes that are sent; empty where there are none.
        chain: the `Coatcheck-Chain` header; None without one.
        jti: drawn by default.

    Raises:
        BadInput: `parameter_invalid`: a proof cannot name such a method, URL, grant or jti.
    """
    parts = urlsplit(url)
    if not _METHOD.fullmatch(method) or not _URL.fullmatch(url):
        raise BadInput("parameter_invalid", parameter="DPoP")
    claims = ProofClaims(
        htm=method,
        htu=f"{parts.scheme}://{parts.netloc}{parts.path or '/'}",
        iat=now // SECOND,
        jti=new_jti() if jti is None else jti,
        gid=grant,
        bdh=digest(body),
        cdh=UNSET if chain is None else digest(chain.encode()),
    )
    try:
        return PROOF.make(signer, claims)
    except ValueError:
        raise BadInput("parameter_invalid", parameter="DPoP") from None


def proof_headers(
    signer: Signer,
    *,
    method: str,
    url: str,
    grant: str,
    body: bytes,
    chain: str | None,
    now: Micros,
    jti: str | None = None,
) -> dict[str, str]:
    """All headers of one request under a keyed grant; see `make_proof`.

    Raises:
        BadInput: as `make_proof`.
    """
    proof = make_proof(signer, method=method, url=url, grant=grant, body=body, chain=chain, now=now, jti=jti)
    headers = {"Authorization": f"{GRANT_SCHEME} {grant}", "DPoP": proof}
    return headers if chain is None else {**headers, CHAIN_HEADER: chain}


def new_jti() -> str:
    """A name for a proof: 43 characters at random, 256 bits."""
    return credential_secret()


def delegate(
    signer: Signer, *, grant: str, chain: str | None, to: str, narrowing: Narrowing, now: Micros
) -> str:
    """The chain for a delegate: what was there, and a block behind it. Nothing is asked of the service.

    Args:
        signer: the holder's key, or the last delegate's.
        chain: what the signer has itself; None for the holder of the grant.
        to: thumbprint of the delegate's key (`signing.thumbprint`).
        narrowing: what is left to it.

    Raises:
        BadInput: `parameter_invalid`: a block cannot say that, or the chain would be too long.
    """
    before = [] if chain is None else chain.split(JOINT)
    link = digest(before[-1].rpartition(".")[0].encode()) if before else first_link(grant)
    try:
        block = BLOCK.make(signer, BlockClaims(grant, link, Cnf(to), narrowing, now // SECOND))
    except ValueError:
        raise BadInput("parameter_invalid", parameter=CHAIN_HEADER) from None
    whole = JOINT.join([*before, block])
    if len(before) >= MAX_BLOCKS or len(whole) > MAX_CHAIN_BYTES:
        raise BadInput("parameter_invalid", parameter=CHAIN_HEADER)
    return whole
