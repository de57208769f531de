"""Holders of keyed grants: their keys, their proofs, and what they open.

with development_cell(tmp_path) as built:
    holder = Holding.of(built, NAME)
    built.reveal(holder, NAME, token)
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from vault.client.proofs import delegate, make_proof, new_jti
from vault.crypto import hpke
from vault.crypto.base64url import encode
from vault.crypto.signing import Signer, keypair, thumbprint
from vault.crypto.statements import Narrowing
from vault.policy.terms import Bind, Confirmation, SealTo
from vault.secret import Secret
from vault.services.cell import Origin
from vault.services.gate import Request
from vault.services.grants import create_grant
from vault.services.holder_keys import HolderKeyBody, register_holder_key
from vault.services.presented import Presented

if TYPE_CHECKING:
    from tests.support.cells import BuiltCell

URL: Final = "https://vault.example/v1/eu/detokenize"
BODY: Final = b"{}"  # what a proof is of, where a verb is run without a door


def new_signer() -> Signer:
    """A fresh holder's key."""
    seed, _ = keypair()
    return Signer(seed)


def new_holder() -> dict[str, Any]:
    """A body that registers a fresh key."""
    return registering(new_signer())


def registering(signer: Signer, **more: Any) -> dict[str, Any]:
    """A body that registers a key."""
    return {"key": {"kty": "OKP", "crv": "Ed25519", "x": encode(signer.public)}, **more}


def a_holder(built: BuiltCell, signer: Signer | None = None) -> str:
    """The thumbprint of a key that the agent has registered."""
    body = msgspec.convert(registering(signer or new_signer()), HolderKeyBody)
    return str(built.run(register_holder_key, built.agent_id, body, by=built.admin).jkt)


def bound(signer: Signer, **more: Any) -> Bind:
    """The `bind` of a grant for a key."""
    return Bind(cnf=Confirmation(thumbprint(signer.public)), **more)


def sealing() -> tuple[Secret, SealTo]:
    """A fresh key that answers are sealed to, and its public half as a grant names it."""
    private, public = hpke.keypair()
    return private, SealTo("OKP", "X25519", encode(public))


@dataclass(frozen=True)
class Holding:
    """A keyed grant with the key that holds it.

    Attributes:
        chain: the delegations, where it was handed on.
        seconds: by which the holder's clock is ahead.
    """

    grant: str
    signer: Signer = field(repr=False)
    chain: str | None = None
    seconds: int = 0

    @classmethod
    def of(cls, built: BuiltCell, *fields: str, **more: Any) -> Holding:
        """A new keyed grant over some fields; arguments as for `BuiltCell.grant_body`."""
        signer = new_signer()
        bind = more.pop("bind", None) or bound(signer, **more.pop("bound", {}))
        made = built.run(create_grant, built.grant_body(*fields, bind=bind, **more))
        assert made.credential is None
        return cls(made.id, signer)

    def proof(self, now: int, jti: str | None = None) -> str:
        """A proof for a request of a verb that is run without a door."""
        return make_proof(
            self.signer,
            method="POST",
            url=URL,
            grant=self.grant,
            body=BODY,
            chain=self.chain,
            now=now + self.seconds * 1_000_000,
            jti=new_jti() if jti is None else jti,
        )

    def request(
        self,
        built: BuiltCell,
        address: str,
        once: str | None,
        jti: str | None = None,
        at: int | None = None,
    ) -> Request:
        """A request with a fresh proof, of now or of another instant."""
        proof = self.proof(built.cell.clock.now() if at is None else at, jti)
        presented = Presented(proof, self.chain, "POST", (URL,), body=BODY)
        origin = Origin(address, "req_test")
        return Request(f"Grant {self.grant}", origin, idempotency=once, presented=presented)

    def hand_on(self, now: int, to: Signer | None = None, **less: Any) -> Holding:
        """What a delegate holds."""
        signer = new_signer() if to is None else to
        chain = delegate(
            self.signer,
            grant=self.grant,
            chain=self.chain,
            to=thumbprint(signer.public),
            narrowing=Narrowing(**less),
            now=now,
        )
        return replace(self, signer=signer, chain=chain)
