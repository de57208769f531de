"""The byte format `ve1` and its text form. Byte format: docs/spec/ve1.md.

`version 0x01 | suite 1 | key id 16 | key version 4 | salt 32 | commitment 32 | ciphertext | tag 16`
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final, NamedTuple

from vault.crypto.aead import COMMITMENT_BYTES, TAG_BYTES
from vault.errors import IntegrityError
from vault.identifiers import KeyId

VERSION: Final = 0x01
SUITE_AES_256_GCM: Final = 0x01  # HKDF-SHA-256, AES-256-GCM, 32-byte commitment
SUITES: Final = frozenset({SUITE_AES_256_GCM})
KEY_ID_BYTES: Final = 16
KEY_VERSION_BYTES: Final = 4
SALT_BYTES: Final = 32
PREFIX_BYTES: Final = 2 + KEY_ID_BYTES + KEY_VERSION_BYTES
HEADER_BYTES: Final = PREFIX_BYTES + SALT_BYTES + COMMITMENT_BYTES
OVERHEAD_BYTES: Final = HEADER_BYTES + TAG_BYTES

TEXT_PREFIX: Final = "ve1."
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]+")


class Message(NamedTuple):
    """A `ve1` message taken apart; nothing in it is trusted yet."""

    suite: int
    key_id: KeyId
    key_version: int
    salt: bytes
    commitment: bytes
    ciphertext: bytes  # with its tag
    header: bytes  # as it stood on the wire


def parse(raw: bytes) -> Message:
    """Takes a message apart.

    Raises:
        IntegrityError: `ciphertext_invalid`: too short, or another version.
    """
    if len(raw) < OVERHEAD_BYTES or raw[0] != VERSION:
        raise IntegrityError("ciphertext_invalid")
    return Message(
        suite=raw[1],
        key_id=KeyId(raw[2 : 2 + KEY_ID_BYTES]),
        key_version=int.from_bytes(raw[2 + KEY_ID_BYTES : PREFIX_BYTES], "big"),
        salt=raw[PREFIX_BYTES : PREFIX_BYTES + SALT_BYTES],
        commitment=raw[PREFIX_BYTES + SALT_BYTES : HEADER_BYTES],
        ciphertext=raw[HEADER_BYTES:],
        header=raw[:HEADER_BYTES],
    )


def to_text(raw: bytes) -> str:
    """The text form: `ve1.` and base64url without padding (RFC 4648, 5)."""
    return TEXT_PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_text(text: str) -> bytes:
    """The bytes of a text form; each message has exactly one.

    Raises:
        IntegrityError: `ciphertext_invalid`: another prefix, a foreign character, padding, or bits that
            a decoder would have to ignore.
    """
    body = text.removeprefix(TEXT_PREFIX)
    if body == text or _BASE64URL.fullmatch(body) is None:
        raise IntegrityError("ciphertext_invalid")
    try:
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    except (binascii.Error, ValueError):
        raise IntegrityError("ciphertext_invalid") from None
    if to_text(raw) != text:
        raise IntegrityError("ciphertext_invalid")
    return raw
