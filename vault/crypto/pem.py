"""Private keys of Curve25519 as PEM: PKCS #8 (RFC 5958) as RFC 8410 has it, as OpenSSL reads and writes."""

from __future__ import annotations

from typing import Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from vault.secret import Secret

Curve = Literal["Ed25519", "X25519"]
_KINDS: Final[dict[Curve, type[Ed25519PrivateKey | X25519PrivateKey]]] = {
    "Ed25519": Ed25519PrivateKey,
    "X25519": X25519PrivateKey,
}


def to_pem(key: Secret, crv: Curve) -> bytes:
    """A private key as it is written to a file of its owner's. Not encrypted: bind it to no name.

    Args:
        key: 32 bytes: the seed of an Ed25519 key (RFC 8032, 5.1.5), or an X25519 key.
    """
    made = _KINDS[crv].from_private_bytes(key.expose())
    return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def from_pem(pem: bytes, crv: Curve) -> Secret:
    """The 32 bytes of a private key.

    Raises:
        ValueError: not an unencrypted private key of that curve.
    """
    try:
        found = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a private key") from None
    if isinstance(found, Ed25519PrivateKey | X25519PrivateKey) and isinstance(found, _KINDS[crv]):
        return Secret(found.private_bytes_raw())
    raise ValueError("not a private key")
