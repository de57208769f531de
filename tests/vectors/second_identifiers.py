"""A second decoder of ids and credentials, written from docs/spec/identifiers.md alone.

It shares no code with the package.
"""

from __future__ import annotations

import hashlib

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
KINDS = {"ck": "ck", "cg": "gr"}  # kind of a credential: prefix of the row that it is for
SECRET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class NotAnId(Exception):
    """The text is no id of that prefix."""

    failure = "not_an_id"


class Refused(Exception):
    """The text is no credential."""

    failure = "credential_invalid"


def decode_id(prefix: str, text: str) -> bytes:
    """The 16 bytes of an id."""
    body = text[len(prefix) + 1 :]
    if not text.startswith(prefix + "_"):
        raise NotAnId
    if len(body) != 26:
        raise NotAnId
    if not set(body) <= set(DIGITS):
        raise NotAnId
    if body[0] > "7":
        raise NotAnId
    number = sum(DIGITS.index(character) << 5 * place for place, character in enumerate(reversed(body)))
    return number.to_bytes(16, "big")


def decode_credential(text: str) -> tuple[str, str, bytes]:
    """Kind, id of the row, and what is stored of the secret."""
    kind, body, secret = text[:2], text[3:29], text[30:]
    if kind not in KINDS:
        raise Refused
    if text[2:3] != "_" or text[29:30] != "_":
        raise Refused
    try:
        decode_id(kind, f"{kind}_{body}")
    except NotAnId:
        raise Refused from None
    if len(secret) != 43:
        raise Refused
    if not set(secret) <= set(SECRET):
        raise Refused
    return kind, f"{KINDS[kind]}_{body}", hashlib.sha256(secret.encode("ascii")).digest()


def milliseconds(raw: bytes) -> int:
    """When the 16 bytes of an id were made. No reader needs this; a writer's bytes are held to it."""
    if raw[6] >> 4 != 7 or raw[8] >> 6 != 2:
        raise NotAnId
    return int.from_bytes(raw[:6], "big")
