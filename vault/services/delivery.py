"""Sealed answers: what a grant shows, for its holder's eyes alone. Spec: docs/spec/sealed-delivery.md."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from vault.authn.identities import Holder
from vault.crypto import hpke
from vault.crypto.base64url import decode, encode
from vault.crypto.delivery import info, signed_bytes
from vault.crypto.signing import thumbprint
from vault.errors import BadInput, Internal
from vault.ledger.command import Committed
from vault.services.asked import Asked, Asking, Told, Used
from vault.services.batch import ItemError
from vault.services.cell import Cell
from vault.services.hidden import Hidden
from vault.services.message_keys import delivery_signers

_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")
_encode: Final = msgspec.json.Encoder().encode


class Sealed(Hidden, frozen=True):
    """An answer that only the holder of one key can open, and only the cell can have made.

    Attributes:
        suite: of HPKE.
        kid: thumbprint of the key that it is sealed to.
        enc_ct: encapsulated key and ciphertext, base64url.
        sig: the signature of the cell's delivery key, base64url.
    """

    suite: str
    kid: str
    enc_ct: str
    sig: str


def check_challenge(challenge: str | None) -> str:
    """The challenge of a request for a sealed answer.

    Raises:
        BadInput: `member_missing`, `limit_invalid`: not 16 to 128 characters of base64url.
    """
    if challenge is None:
        raise BadInput("member_missing", member="challenge")
    if _CHALLENGE.fullmatch(challenge) is None:
        raise BadInput("limit_invalid", member="challenge", least=16, most=128)
    return challenge


def seal_answer(
    cell: Cell,
    done: Committed,
    who: Holder,
    asking: Asking,
    asked: Sequence[Asked],
    values: Sequence[Told],
    decision: str,
) -> Sealed:
    """The values of a use, sealed to its grant's key and signed by the cell.

    Args:
        done: the proof that the use is committed.
    """
    used: Used = done.value
    if used.grant.terms.seal_to is None or asking.challenge is None:
        raise Internal("internal")
    public = decode(used.grant.terms.seal_to)
    kid = thumbprint(public, "X25519")
    jti = "" if who.proof is None else who.proof.jti
    items = [_item(one, value) for one, value in zip(asked, values, strict=True)]
    plaintext = _encode({"decision": decision, "jti": jti, "items": items})
    enc_ct = hpke.seal(public, info(hpke.SUITE, used.grant.id, jti), plaintext)
    signer, _ = delivery_signers(cell)
    signed = signed_bytes(
        cell=cell.region,
        grant=used.grant.id,
        challenge=asking.challenge,
        decision=decision,
        suite=hpke.SUITE,
        kid=kid,
        enc_ct=enc_ct,
    )
    return Sealed(hpke.SUITE, kid, encode(enc_ct), encode(signer.sign(signed)))


def _item(one: Asked, value: Told) -> dict[str, Any]:
    """What is told of an item: which it was, and its value. An error stands in the open answer too."""
    item: dict[str, Any] = {"field": one.field, "of": one.text}
    if one.named is not None:
        item["subject"] = one.named
    return item | ({"code": value.error.code} if isinstance(value, ItemError) else {"value": value})
