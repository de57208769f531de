"""Sealed answers: checked to be the cell's, then opened with the worker's own key."""

from __future__ import annotations

from typing import Annotated

import msgspec

from vault.crypto import delivery, hpke
from vault.crypto.base64url import decode
from vault.crypto.signing import thumbprint, verify
from vault.errors import IntegrityError
from vault.secret import Secret


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The member `sealed` of an answer.

    Attributes:
        suite: the suite's name.
        kid: thumbprint of the key that it is sealed to.
        enc_ct: HPKE's encapsulated key and ciphertext, in base64url.
        sig: the delivery key's signature, in base64url.
    """

    suite: str
    kid: Annotated[str, msgspec.Meta(min_length=43, max_length=43)]
    enc_ct: str
    sig: str


def open_delivery(
    sealed: Sealed,
    *,
    private: Secret,
    delivery_key: bytes,
    cell: str,
    grant: str,
    jti: str,
    challenge: str,
    decision: str,
) -> bytes:
    """The plaintext of a sealed answer to one request.

    Args:
        private: the worker's X25519 key, to which the grant seals.
        delivery_key: the cell's public key, pinned: from a place that no answer can change.
        cell: the region asked; grant, jti and challenge: as the request said them.
        decision: as the answer says it.

    Raises:
        IntegrityError: `ciphertext_invalid`: not the cell's, not for this request, or not for this key.
    """
    if sealed.suite != hpke.SUITE or sealed.kid != thumbprint(hpke.public_of(private), "X25519"):
        raise IntegrityError("ciphertext_invalid")
    try:
        enc_ct, signature = decode(sealed.enc_ct), decode(sealed.sig)
    except ValueError:
        raise IntegrityError("ciphertext_invalid") from None
    signed = delivery.signed_bytes(
        cell=cell,
        grant=grant,
        challenge=challenge,
        decision=decision,
        suite=sealed.suite,
        kid=sealed.kid,
        enc_ct=enc_ct,
    )
    verify(delivery_key, signed, signature)  # before anything is opened: HPKE says nothing of the sender
    return hpke.open_sealed(private, delivery.info(sealed.suite, grant, jti), enc_ct)
