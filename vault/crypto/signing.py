"""Ed25519 signatures (RFC 8032) by libsodium, which refuses non-canonical and small-order inputs.

PyNaCl prints raw keys from `str(SigningKey)`; the wrapper here never lets that object out.
"""

from __future__ import annotations

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from vault.errors import IntegrityError
from vault.secret import Secret


class Signer:
    """A private key that signs.

    Args:
        seed: 32 bytes (RFC 8032, 5.1.5).
    """

    __slots__ = ("_key", "public")

    def __init__(self, seed: Secret) -> None:
        self._key = SigningKey(seed.expose())
        self.public = bytes(self._key.verify_key)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature."""
        return self._key.sign(message).signature


def verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Returns if the signature is the key's over the message.

    Raises:
        IntegrityError: `ciphertext_invalid`, whatever is wrong with key, message or signature.
    """
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError):
        raise IntegrityError("ciphertext_invalid") from None
