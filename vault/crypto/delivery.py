"""The bytes of a sealed delivery: what HPKE binds it to, and what the cell signs.

The page is docs/spec/sealed-delivery.md. Parts are joined with their lengths before
them, so that no two lists of parts give the same bytes.
"""

from __future__ import annotations

import hashlib
from typing import Final

LABEL: Final = b"coatcheck/delivery/v1"
"""The first part of what is signed; a delivery key signs nothing that begins otherwise."""

LENGTH_BYTES: Final = 4  # before each part, big-endian


def info(suite: str, grant: str, jti: str) -> bytes:
    """HPKE's `info` for the answer to one request: suite | grant | jti.

    Args:
        suite: its name on the wire, `hpke.SUITE`.
        grant: the grant's id, `gr_...`.
        jti: of the proof that the request came with.
    """
    return joined(suite.encode(), grant.encode(), jti.encode())


def signed_bytes(
    *, cell: str, grant: str, challenge: str, decision: str, suite: str, kid: str, enc_ct: bytes
) -> bytes:
    """What the delivery key signs: label, cell, grant, challenge, decision, suite, kid, SHA-256(enc_ct).

    Args:
        cell: the region whose cell answers.
        challenge: as the request said it, so that an old answer is not taken for this one.
        decision: the id of the decision, `dec_...`.
        kid: the JWK thumbprint of the X25519 key that it is sealed to.
        enc_ct: what `hpke.seal` gave.
    """
    texts = (cell, grant, challenge, decision, suite, kid)
    return joined(LABEL, *(text.encode() for text in texts), hashlib.sha256(enc_ct).digest())


def joined(*parts: bytes) -> bytes:
    """PARTS: each part with its length before it, four bytes, big-endian."""
    return b"".join(len(part).to_bytes(LENGTH_BYTES, "big") + part for part in parts)
