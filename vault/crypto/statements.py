"""The two statements that holders of keyed grants sign: a proof for each request, a block for each delegate.

Here because those who make them and those who check them both know no more than this. The rules of both stand
in docs/spec/grant-proof.md and docs/spec/delegation-block.md.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from vault.crypto.base64url import digest
from vault.crypto.jws import Statement

MAX_PROOF_BYTES: Final = 4_096
MAX_CHAIN_BYTES: Final = 16_384  # of all blocks with what stands between them
MAX_BLOCKS: Final = 3  # of a chain
JOINT: Final = "~"  # between the blocks of a chain; not a character of a block
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999, as far as RFC 3339 goes

Digest = Annotated[str, Meta(min_length=43, max_length=43)]
"""SHA-256 in base64url, to be compared; other texts of that length are none, and so compare with none."""
Seconds = Annotated[int, Meta(ge=0, le=_LAST_SECOND)]
"""NumericDate (RFC 7519, section 2), of whole seconds."""
Jti = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{16,128}\Z")]
Grant = Annotated[str, Meta(min_length=29, max_length=29)]
"""A grant's id, to be compared."""
_Texts = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(min_length=1)]


class ProofClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a proof says (RFC 9449, section 4.2, and three of our own).

    Attributes:
        htm: the request's method.
        htu: its URL without query and fragment.
        iat: when the proof was made.
        jti: a name that no other proof for the grant has.
        gid: the grant.
        bdh: digest of the body's bytes; of none where there is no body.
        cdh: digest of the chain as it was sent; unset where there is none.
    """

    htm: Annotated[str, Meta(min_length=1, max_length=16)]
    htu: Annotated[str, Meta(min_length=1, max_length=2_048)]
    iat: Seconds
    jti: Jti
    gid: Grant
    bdh: Digest
    cdh: Digest | UnsetType = UNSET

    def __repr__(self) -> str:
        return "<ProofClaims>"


class Cnf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The next holder: the thumbprint of its key (RFC 7800, section 3; RFC 9449, section 6.1)."""

    jkt: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]{43}\Z")]


class Narrowing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much less the next holder may do. What is unset stays as it was.

    Attributes:
        operations, fields, subjects, destinations: the only ones left, none named twice.
        mask: the only mask left; a value is no longer revealed then.
        uses: the most uses, counted for this block beside those of the grant.
        exp: the end, exclusive.
    """

    operations: _Texts | UnsetType = UNSET
    fields: _Texts | UnsetType = UNSET
    subjects: _Texts | UnsetType = UNSET
    mask: Annotated[str, Meta(min_length=1, max_length=256)] | UnsetType = UNSET
    destinations: _Texts | UnsetType = UNSET
    uses: Annotated[int, Meta(ge=1, le=10**12)] | UnsetType = UNSET
    exp: Seconds | UnsetType = UNSET

    def __repr__(self) -> str:
        return "<Narrowing>"


class BlockClaims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a block says.

    Attributes:
        gid: the grant.
        p: digest of what the block before signed; of the grant's id for the first.
        cnf: the next holder.
        n: what is left to it.
        iat: when the block was made.
    """

    gid: Grant
    p: Digest
    cnf: Cnf
    n: Narrowing
    iat: Seconds

    def __repr__(self) -> str:
        return "<BlockClaims>"


PROOF: Final = Statement("coatcheck-proof+jwt", ProofClaims, MAX_PROOF_BYTES)
BLOCK: Final = Statement("coatcheck-block+jwt", BlockClaims, MAX_CHAIN_BYTES)


def first_link(gid: str) -> str:
    """`p` of the first block of a grant's chains."""
    return digest(gid.encode())
