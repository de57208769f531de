"""Base64url without padding (RFC 4648, section 5), in its one spelling. As RFC 7515 writes bytes."""

from __future__ import annotations

import binascii
import hashlib
from typing import Final

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_WRITTEN: Final = bytes.maketrans(b"+/", b"-_")
# To the alphabet that the decoder knows; what is none of ours becomes what it refuses.
_READ: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING: Final = (b"", b"", b"==", b"=")  # for so many characters behind the last whole group of four
# Characters that may come last there: what no byte takes of their six bits is zero.
_LAST: Final = (_ALPHABET, b"", _ALPHABET[::16], _ALPHABET[::4])


def encode(data: bytes) -> str:
    """The text of some bytes."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_WRITTEN).decode()


def decode(text: str) -> bytes:
    """The bytes of a text; exactly one spelling is taken.

    Raises:
        ValueError: padding, another character, a length that no bytes have, or spare bits that are not zero.
    """
    if not text.isascii():
        raise ValueError("not base64url")
    raw, rest = text.encode(), len(text) & 3
    if raw[-1:] not in _LAST[rest]:
        raise ValueError("not base64url")
    try:
        return binascii.a2b_base64(raw.translate(_READ) + _PADDING[rest], strict_mode=True)
    except binascii.Error:
        raise ValueError("not base64url") from None


def digest(data: bytes) -> str:
    """SHA-256 of some bytes, in base64url: 43 characters."""
    return encode(hashlib.sha256(data).digest())
