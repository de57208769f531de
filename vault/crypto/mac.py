"""Message authentication and blind references: HMAC-SHA-256 (FIPS 198-1), whole or cut to 16 bytes."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from vault.secret import Secret

REFERENCE_BYTES: Final = 16  # one AES block, so that a reference can lie under the index layer


def mac(key: Secret, message: bytes) -> bytes:
    """HMAC-SHA-256, 32 bytes."""
    return hmac.digest(key.expose(), message, hashlib.sha256)


def reference(key: Secret, message: bytes) -> bytes:
    """A keyed reference to `message`: HMAC-SHA-256 cut to 16 bytes (SP 800-107 Rev. 1, 5.1)."""
    return mac(key, message)[:REFERENCE_BYTES]


def secret_digest(secret: str) -> bytes:
    """SHA-256 of a credential's random part, as it is stored.

    Plain SHA-256 suffices because the part is 43 random base62 characters (256 bits): there is no
    dictionary to slow down.
    """
    return hashlib.sha256(secret.encode()).digest()


def same(left: bytes, right: bytes) -> bool:
    """Equality in constant time for equal lengths."""
    return hmac.compare_digest(left, right)
