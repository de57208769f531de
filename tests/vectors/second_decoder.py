"""A second decoder of `ve1`, written from docs/spec/ve1.md and docs/spec/context.md alone.

It shares no code with the package. HKDF is written out from HMAC; AES-256-GCM is the one thing that a
library gives. Read it beside the page.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
SPARE = {0: 1, 2: 16, 3: 4}  # characters of the last group: what the value of the last one divides by
TAGS = (("use", 1), ("tenant", 2), ("region", 3), ("field", 4), ("record", 5))


class Refused(Exception):
    """The message does not open; why is nobody's business."""

    failure = "ciphertext_invalid"


def encode_context(context: dict[str, Any]) -> bytes:
    """Tag, length, value of each member that is there; `record` is written in hex, the rest as text."""
    out = b"\x01"
    for name, tag in TAGS:
        if context[name] is not None:
            value = bytes.fromhex(context[name]) if name == "record" else context[name].encode("utf-8")
            out += bytes([tag]) + len(value).to_bytes(4, "big") + value
    return out


def decode_text(text: str) -> bytes:
    """The bytes of a text form."""
    body = text[4:]
    if not text.startswith("ve1."):
        raise Refused
    if not body or not set(body) <= set(ALPHABET) or len(body) % 4 == 1:
        raise Refused
    if ALPHABET.index(body[-1]) % SPARE[len(body) % 4]:
        raise Refused
    return base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_")


def open_ve1(key: bytes, key_id: bytes, key_version: int, context: dict[str, Any], message: bytes) -> bytes:
    """The plaintext of a message under a key that is known by id and version, in a context."""
    if len(message) < 102 or message[0] != 1:
        raise Refused
    if message[1] != 1 or message[2:18] != key_id or message[18:22] != key_version.to_bytes(4, "big"):
        raise Refused
    header, salt, commitment, sealed = message[:86], message[22:54], message[54:86], message[86:]
    encoded = encode_context(context)
    info = b"coatcheck/ve1/" + message[1:2] + salt + hashlib.sha256(encoded).digest()
    okm = block = b""
    for counter in (1, 2, 3):
        block = hmac.new(key, block + info + bytes([counter]), "sha256").digest()
        okm += block
    if not hmac.compare_digest(okm[44:76], commitment):
        raise Refused
    try:
        return AESGCM(okm[:32]).decrypt(okm[32:44], sealed, header + encoded)
    except InvalidTag:
        raise Refused from None
