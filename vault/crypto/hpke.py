"""Encryption to an X25519 key: HPKE in base mode (RFC 9180), one suite, one message for each setup.

The suite is DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM: 0x0020, 0x0001, 0x0002. The associated
data of the one message is empty; what it is bound to stands in `info`, which the key schedule takes in.
Nothing here says who sealed a message: whoever knows the public key can.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from vault.crypto.randomness import new_key
from vault.errors import IntegrityError
from vault.secret import Secret

SUITE: Final = "hpke-x25519-sha256-aes256gcm"
"""The suite's name on the wire."""

ENC_BYTES: Final = 32  # the encapsulated key, RFC 9180, 7.1: Nenc
TAG_BYTES: Final = 16  # RFC 9180, 7.3: Nt

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def keypair() -> tuple[Secret, bytes]:
    """A new key: the 32-byte private key, to be kept by its holder, and the 32-byte public key."""
    private = new_key()
    return private, public_of(private)


def public_of(private: Secret) -> bytes:
    """The 32-byte public key of a private one."""
    return X25519PrivateKey.from_private_bytes(private.expose()).public_key().public_bytes_raw()


def check_public(public: bytes) -> None:
    """Returns if a message can be sealed to a key.

    Raises:
        ValueError: not 32 bytes, or a point of small order, to which every message would have one known key
            (RFC 9180, 7.1.4).
    """
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise ValueError("not an X25519 key") from None


def seal(public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """enc and ciphertext: 32 + len(plaintext) + 16 bytes.

    Args:
        public: the recipient's 32-byte key; see `check_public`.
        info: what the message is bound to; the recipient must say the same.

    Raises:
        ValueError: not such a key.
    """
    try:
        return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public), info)
    except ValueError:
        raise ValueError("not an X25519 key") from None


def open_sealed(private: Secret, info: bytes, enc_ct: bytes) -> bytes:
    """The plaintext.

    Raises:
        IntegrityError: `ciphertext_invalid`, whatever is wrong with key, info or message.
    """
    try:
        return _SUITE.decrypt(enc_ct, X25519PrivateKey.from_private_bytes(private.expose()), info)
    except (InvalidTag, ValueError):
        raise IntegrityError("ciphertext_invalid") from None
