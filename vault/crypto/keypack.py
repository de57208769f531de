"""A key together with the hash of what it is for, as it lies inside a sealed key.

The hash makes rows of the key table unswappable: a key that opens, but in another row, is refused.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from vault.crypto.kdf import KEY_BYTES
from vault.errors import IntegrityError
from vault.secret import Secret

_BINDING_BYTES: Final = 32


def pack(key: Secret, owner: bytes) -> Secret:
    """`key 32 | SHA-256(owner)`: the plaintext of a sealed key.

    Args:
        owner: the canonical encoding of what the key belongs to.
    """
    return Secret(key.expose() + hashlib.sha256(owner).digest())


def unpack(packed: Secret, owner: bytes) -> Secret:
    """The key, if it was packed for this owner.

    Raises:
        IntegrityError: `ciphertext_invalid`.
    """
    if len(packed) != KEY_BYTES + _BINDING_BYTES or not hmac.compare_digest(
        packed.expose()[KEY_BYTES:], hashlib.sha256(owner).digest()
    ):
        raise IntegrityError("ciphertext_invalid")
    return Secret(packed.expose()[:KEY_BYTES])
