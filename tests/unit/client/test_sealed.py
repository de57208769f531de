"""Sealed answers: opened if they are the cell's, for this request and this key (P11)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.unit.envelope.damage import damaged
from vault.client.sealed import Sealed, open_delivery
from vault.crypto import delivery, hpke
from vault.crypto.base64url import decode, encode
from vault.crypto.signing import Signer, keypair, thumbprint
from vault.errors import IntegrityError

PRIVATE, PUBLIC = hpke.keypair()
KID = thumbprint(PUBLIC, "X25519")
DELIVERY = Signer(keypair()[0])
PLAINTEXT = b'{"items":[{"value":"+49 30 901820"}]}'
ASKED: dict[str, Any] = {
    "cell": "eu",
    "grant": "gr_01KARF3GPKFS7RMPVCFP79Z85H",
    "jti": "j" * 22,
    "challenge": "n" * 22,
    "decision": "dec_01KARF3GPKFS7RMPVCFP79Z85H",
}
SIGNED = ("cell", "grant", "challenge", "decision")


def sealed(signer: Signer | None = DELIVERY, public: bytes = PUBLIC, **other: str) -> Sealed:
    """As the cell makes it; with no signer as anybody can."""
    says = {**ASKED, **other}
    kid = thumbprint(public, "X25519")
    enc_ct = hpke.seal(public, delivery.info(hpke.SUITE, says["grant"], says["jti"]), PLAINTEXT)
    signed = {name: says[name] for name in SIGNED}
    message = delivery.signed_bytes(**signed, suite=hpke.SUITE, kid=kid, enc_ct=enc_ct)
    signature = bytes(64) if signer is None else signer.sign(message)
    return Sealed(hpke.SUITE, kid, encode(enc_ct), encode(signature))


def opened(answer: Sealed, **other: Any) -> bytes:
    return open_delivery(answer, **{"private": PRIVATE, "delivery_key": DELIVERY.public, **ASKED, **other})


def refused(answer: Sealed, **other: Any) -> None:
    with pytest.raises(IntegrityError) as refusal:
        opened(answer, **other)
    assert (refusal.value.code, refusal.value.facts) == ("ciphertext_invalid", {})


def test_the_answer_of_the_cell_is_opened() -> None:
    assert opened(sealed()) == PLAINTEXT
    assert opened(msgspec.json.decode(msgspec.json.encode(sealed()), type=Sealed)) == PLAINTEXT


def test_what_another_sealed_is_refused() -> None:
    """Whoever knows `seal_to` can seal to it; only the cell can sign."""
    refused(sealed(signer=None))
    refused(sealed(signer=Signer(keypair()[0])))


def test_hpke_alone_opens_what_another_sealed() -> None:
    """Control: what the signature is for."""
    planted = sealed(signer=None)
    info = delivery.info(hpke.SUITE, ASKED["grant"], ASKED["jti"])
    assert hpke.open_sealed(PRIVATE, info, decode(planted.enc_ct)) == PLAINTEXT


@pytest.mark.parametrize("member", ASKED)
def test_an_answer_to_another_request_is_refused(member: str) -> None:
    other = {member: ASKED[member][:-1] + "x"}
    refused(sealed(**other))
    refused(sealed(), **other)
    assert opened(sealed(**other), **other) == PLAINTEXT


def test_an_answer_to_another_key_is_refused() -> None:
    private, public = hpke.keypair()
    answer = sealed(public=public)
    refused(answer)
    refused(msgspec.structs.replace(answer, kid=KID))
    assert opened(answer, private=private) == PLAINTEXT
    refused(sealed(), delivery_key=keypair()[1])


def test_every_damage_is_refused() -> None:
    answer = sealed()
    for member in ("enc_ct", "sig"):
        for other in damaged(decode(getattr(answer, member))):
            changes: dict[str, Any] = {member: encode(other)}
            refused(msgspec.structs.replace(answer, **changes))
        for text in ("=", "\n", "A", "é"):
            changes = {member: getattr(answer, member) + text}
            refused(msgspec.structs.replace(answer, **changes))
    refused(msgspec.structs.replace(answer, suite=hpke.SUITE.upper()))
    refused(msgspec.structs.replace(answer, kid=thumbprint(PUBLIC)))
