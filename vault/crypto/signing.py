"""Ed25519 signatures (RFC 8032) by libsodium, which refuses non-canonical and small-order inputs.

PyNaCl prints raw keys from `str(SigningKey)`; the wrapper here never lets that object out.
"""

from __future__ import annotations

from typing import Final

from nacl.bindings import crypto_core_ed25519_is_valid_point, crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from vault.crypto.base64url import digest, encode
from vault.crypto.randomness import new_key
from vault.errors import IntegrityError
from vault.secret import Secret

PUBLIC_BYTES: Final = 32  # RFC 8032, 5.1.5; of X25519 as well, RFC 7748, 5
SIGNATURE_BYTES: Final = 64  # RFC 8032, 5.1.6


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


def keypair() -> tuple[Secret, bytes]:
    """A new key: the seed that `Signer` takes, to be kept by its holder, and the 32-byte public key."""
    seed = new_key()
    return seed, Signer(seed).public


def verify(public: bytes, message: bytes, signature: bytes) -> None:
    """Returns if the signature is the key's over the message.

    Raises:
        IntegrityError: `ciphertext_invalid`, whatever is wrong with key, message or signature.
    """
    try:
        # libsodium reads as many bytes as a key and a signature have, whatever it is given.
        if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
            raise ValueError("not a key and a signature")
        crypto_sign_open(signature + message, public)
    except (BadSignatureError, ValueError):
        raise IntegrityError("ciphertext_invalid") from None


def is_public(key: bytes) -> bool:
    """Whether bytes are a public key: a canonical point of the main subgroup, not of small order."""
    return len(key) == PUBLIC_BYTES and bool(crypto_core_ed25519_is_valid_point(key))


def thumbprint(x: bytes, crv: str = "Ed25519") -> str:
    """The JWK thumbprint of a public key: SHA-256 in base64url, 43 characters.

    Args:
        x: the 32-byte public key. That it is a point of the curve is for whoever uses it.
        crv: `Ed25519` or `X25519`.

    Raises:
        ValueError: not 32 bytes.

    Source: RFC 7638, section 3, with the members that RFC 8037, section 2, requires of the kind OKP.
    """
    if len(x) != PUBLIC_BYTES:
        raise ValueError("a public key has 32 bytes")
    return digest(b'{"crv":"%b","kty":"OKP","x":"%b"}' % (crv.encode(), encode(x).encode()))
