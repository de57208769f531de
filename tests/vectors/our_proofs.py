"""What the package makes of the vectors of proofs and chains."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import UNSET

from vault.clock import SECOND
from vault.crypto.base64url import digest
from vault.policy import block, proof

SAID = ("htm", "htu", "iat", "jti", "gid", "bdh", "cdh")


class Grants:
    """Everything of the package that reads these; a mutant of one module stands in for its names."""

    parse_proof = staticmethod(proof.parse_proof)
    check_proof = staticmethod(proof.check_proof)
    parse_chain = staticmethod(block.parse_chain)


def our_proof(by: Any, vector: dict[str, Any]) -> Any:
    """What a sound one says."""
    if "chain" in vector:
        blocks = by.parse_chain(vector["chain"], vector["grant"], vector["holder"])
        return [
            {
                "id": one.id,
                "signer": one.signer,
                "gid": one.gid,
                "cnf": {"jkt": one.jkt},
                "n": json.loads(msgspec.json.encode(one.narrowing)),
                "iat": one.iat,
            }
            for one in blocks
        ]
    asked = vector["request"]
    read = by.parse_proof(vector["proof"])
    by.check_proof(
        read,
        method=asked["method"],
        url=asked["url"],
        grant=asked["grant"],
        body_digest=digest(bytes.fromhex(asked["body"])),
        chain_digest=None if asked["chain"] is None else digest(asked["chain"].encode()),
        now=asked["now"] * SECOND,
    )
    said = {name: getattr(read, name) for name in SAID}
    return {"jkt": read.jkt, **{name: value for name, value in said.items() if value not in (None, UNSET)}}
