"""The vectors of opaque vaulted tokens: ones that name a row, and ones with one defect each."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Vector = dict[str, Any]
PAGE = "docs/spec/tokens.md"
COMPARED = ("key", "token")

KEY = bytes(range(32))
ROW = bytes.fromhex("019ab0f1c2d37e4f8a5b6c7d8e9fa0b1")
GOOD = "the page's example"


def spell(row: bytes, key: bytes = KEY) -> str:
    """The token of a row."""
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return "tok_" + base64.b32encode(encryptor.update(row)).decode().lower().rstrip("=")


def valid() -> Iterator[Vector]:
    """Rows that are as different as can be, under two keys; any block is some row."""
    for name, row, key in (
        (GOOD, ROW, KEY),
        ("another key", ROW, KEY[::-1]),
        ("a row of zero bytes", bytes(16), KEY),
        ("a row of one bits", b"\xff" * 16, KEY),
        ("the next row", ROW[:-1] + b"\xb2", KEY),
    ):
        yield {"name": name, "key": key.hex(), "token": spell(row, key), "row": row.hex()}
    for name, body in (
        ("all a", "a" * 26),
        ("the highest", "7" * 25 + "4"),
        ("all digits", "23456777" * 3 + "24"),
    ):
        block = base64.b32decode(body.upper() + "======")
        decryptor = Cipher(algorithms.AES(KEY), modes.ECB()).decryptor()
        yield {
            "name": f"invented: {name}",
            "key": KEY.hex(),
            "token": "tok_" + body,
            "row": decryptor.update(block).hex(),
        }


def defective() -> Iterator[Vector]:
    """One defect each, all of one token."""
    token = spell(ROW)
    body = token[4:]
    for name, other in spellings(token, body):
        yield {"defect": name, "class": "token_unknown", "of": GOOD, "key": KEY.hex(), "token": other}


def spellings(token: str, body: str) -> Iterator[tuple[str, str]]:
    """Texts that a lenient reader would take."""
    yield "nothing at all", ""
    yield "prefix alone", "tok_"
    yield "no prefix", body
    yield "prefix without its underscore", "tok" + body
    yield "prefix in capitals", "TOK_" + body
    yield "prefix with a hyphen", "tok-" + body
    yield "prefix of the page's other kind", "sub_" + body
    yield "prefix twice", "tok_" + token
    yield "one letter of the prefix", "tox_" + body
    yield "all capitals", "tok_" + body.upper()
    yield "first letter a capital", "tok_" + body[0].upper() + body[1:]
    yield "last letter a capital", token[:-1] + token[-1].upper()
    yield "one character short", token[:-1]
    yield "two characters short", token[:-2]
    yield "first character missing", "tok_" + body[1:]
    yield "one character more", token + "a"
    yield "an a in front", "tok_a" + body
    yield "eight characters more", token + "aaaaaaaa"
    yield "written twice", "tok_" + body * 2
    yield "with padding", token + "======"
    yield "with one padding character", token + "="
    yield "padding for the last character", token[:-1] + "="
    last = body[-1]
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    for bit in (1, 2, 3):
        yield f"spare bits {bit:02b}", token[:-1] + alphabet[alphabet.index(last) + bit]
    for digit in "0189":
        yield f"the digit {digit}, which is none", "tok_" + body[:5] + digit + body[6:]
    yield "a space in front", " " + token
    yield "a space behind", token + " "
    yield "a space inside", token[:10] + " " + token[11:]
    yield "a line feed behind", token + "\n"
    yield "a line feed for the last character", token[:-1] + "\n"
    yield "a hyphen inside", token[:10] + "-" + token[11:]
    yield "a NUL behind", token + "\0"
    yield "a NUL inside", token[:10] + "\0" + token[11:]
    yield "a full-width letter", token[:10] + "ａ" + token[11:]
    yield "a full-width digit", token[:10] + "４" + token[11:]
    yield "a letter that is not ASCII", token[:10] + "é" + token[11:]
    yield "a sign whose capital is a K", token[:10] + "\u212a" + token[11:]
    yield "a long s, whose capital is an S", token[:10] + "\u017f" + token[11:]
    yield "a zero-width space", token[:10] + "\u200b" + token[11:]
    yield "a lone surrogate", token[:10] + "\ud800" + token[11:]
    block = base64.b32decode(body.upper() + "======")
    yield "in hex", "tok_" + block.hex()
    yield "in base 64", "tok_" + base64.urlsafe_b64encode(block).decode().rstrip("=")
    hex_digits = str.maketrans(alphabet, "0123456789abcdefghijklmnopqrstuv")
    yield "in base 32 with the digits of hex", "tok_" + body.translate(hex_digits)
    number = int.from_bytes(block, "big")
    yield "spare bits in front", "tok_" + "".join(alphabet[number >> 5 * n & 31] for n in range(25, -1, -1))
