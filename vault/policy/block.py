"""The chain of delegation blocks: who hands a grant on to whom. Pure; how much less is for `narrowing`.

Each block is signed by whoever holds the grant at that point, and names the next holder's key. So a chain may
lie open: without the last holder's key nobody can use it, and nobody but that holder can make it longer.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from vault.crypto.base64url import digest
from vault.crypto.statements import BLOCK, JOINT, MAX_BLOCKS, MAX_CHAIN_BYTES, Narrowing, first_link
from vault.errors import Denied, Unauthenticated


class Block(msgspec.Struct, frozen=True):
    """One block of a chain that holds together.

    Attributes:
        id: digest of its signing input, 43 characters: what its counter and its revocation are kept under.
        gid: the grant's id.
        signer: thumbprint of the key that signed it, its giver.
        jkt: thumbprint of the key that it is given to.
        narrowing: what is left to that key.
        iat: when it was made, in seconds since 1970, as its giver says.
    """

    id: str
    gid: str
    signer: str
    jkt: str
    narrowing: Narrowing
    iat: int

    def __repr__(self) -> str:
        return "<Block>"


def parse_chain(text: str, gid: str, holder_jkt: str) -> tuple[Block, ...]:
    """The blocks of a `Coatcheck-Chain` header, from the grant on: one to three.

    Args:
        text: blocks with `~` between them.
        gid: the grant's id.
        holder_jkt: thumbprint of the key that the grant is bound to, which signs the first block.

    Raises:
        Denied: `delegation_denied`, without facts: too long, a block that is none, that another key signed,
            that is of another grant or does not follow the one before.
    """
    if len(text) > MAX_CHAIN_BYTES or text.count(JOINT) >= MAX_BLOCKS:
        raise Denied("delegation_denied")
    try:
        statements = BLOCK.parse_all(text.split(JOINT))
    except ValueError:
        raise Denied("delegation_denied") from None
    blocks: list[Block] = []
    giver, link = holder_jkt, first_link(gid)
    for _, signer, claims, signing_input in statements:
        if signer != giver or claims.p != link or claims.gid != gid or _repeats(claims.n):
            raise Denied("delegation_denied")
        giver, link = claims.cnf.jkt, digest(signing_input)
        blocks.append(Block(link, gid, signer, giver, claims.n, claims.iat))
    return tuple(blocks)


def _repeats(given: Narrowing) -> bool:
    """Whether a list names a text twice, so that no two lists say the same in more ways than their order."""
    for texts in (given.operations, given.fields, given.subjects, given.destinations):
        if texts is not UNSET and len(set(texts)) != len(texts):
            return True
    return False


def check_holder(blocks: tuple[Block, ...], holder_jkt: str, proof_jkt: str) -> None:
    """Returns if a proof is by whoever holds the grant after these blocks.

    Args:
        blocks: those of the request; none where it came without a chain.
        holder_jkt: thumbprint of the key that the grant is bound to.
        proof_jkt: thumbprint of the key that signed the request's proof.

    Raises:
        Unauthenticated: `proof_invalid`: it is another's.
    """
    if proof_jkt != (blocks[-1].jkt if blocks else holder_jkt):
        raise Unauthenticated("proof_invalid")
