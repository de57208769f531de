"""A second decoder of opaque vaulted tokens, written from docs/spec/tokens.md alone.

It shares no code with the package. Base 32 is written out; AES-256 on one block is what a library gives.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

DIGITS = "abcdefghijklmnopqrstuvwxyz234567"


class Refused(Exception):
    """Not the one spelling of any token."""

    failure = "token_unknown"


def decode_token(key: bytes, token: str) -> bytes:
    """The id of the row that a token names."""
    body = token[4:]
    if token[:4] != "tok_":
        raise Refused
    if len(body) != 26:
        raise Refused
    number = 0
    for character in body:
        if character not in DIGITS:
            raise Refused
        number = number * 32 + DIGITS.index(character)
    if number % 4:
        raise Refused
    decryptor = Cipher(algorithms.AES(key), modes.ECB()).decryptor()
    return decryptor.update((number // 4).to_bytes(16, "big")) + decryptor.finalize()
