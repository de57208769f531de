"""Signatures of webhooks: the symmetric scheme of Standard Webhooks 1.0, HMAC-SHA-256."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from vault.crypto.mac import mac
from vault.secret import Secret

PREFIX: Final = "whsec_"
LEAST_BYTES: Final = 24  # Standard Webhooks, "Signature scheme"
MOST_BYTES: Final = 64


def webhook_secret(text: str) -> Secret:
    """The secret from its text: `whsec_` and base64 of 24 to 64 bytes.

    Raises:
        ValueError: it is none.
    """
    if not text.startswith(PREFIX):
        raise ValueError("a webhook's secret begins with whsec_")
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a webhook's secret is base64") from None
    if not LEAST_BYTES <= len(raw) <= MOST_BYTES:
        raise ValueError("a webhook's secret has 24 to 64 bytes")
    return Secret(raw)


def sign_webhook(secret: Secret, message: str, seconds: int, body: bytes) -> str:
    """The header `webhook-signature` of a message.

    Args:
        message: its id, which is that of every try; seconds: since the epoch, of this try.
    """
    signed = b".".join((message.encode(), str(seconds).encode(), body))
    return "v1," + base64.b64encode(mac(secret, signed)).decode()
