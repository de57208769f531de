"""Base64url without padding (RFC 4648, section 5), in its one spelling. As RFC 7515 writes bytes."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

DIGEST_CHARACTERS: Final = 43  # of a SHA-256
_GROUP: Final = 4  # characters that stand for three bytes


def encode(data: bytes) -> str:
    """The text of some bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of a text; exactly one spelling is taken.

    Raises:
        ValueError: padding, another character, a length that no bytes have, or spare bits that are not zero.
    """
    if not text.isascii():
        raise ValueError("not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % _GROUP))
    except binascii.Error:
        raise ValueError("not base64url") from None
    if encode(data) != text:  # the decoder skips what is no digit and does not look at spare bits
        raise ValueError("not base64url")
    return data


def digest(data: bytes) -> str:
    """SHA-256 of some bytes, in base64url: 43 characters."""
    return encode(hashlib.sha256(data).digest())
