"""The vectors of ids and credentials: ones that are read, and ones with one defect each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

Vector = dict[str, Any]
PAGE = "docs/spec/identifiers.md"
COMPARED = ("prefix", "text", "credential")

DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
SECRET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"
RAW = bytes.fromhex("019ab0f1c2d37e4f8a5b6c7d8e9fa0b1")  # a UUID of version 7
GOOD_ID, GOOD_CREDENTIAL = "id of a grant", "credential of a service key"
PREFIXES = ("tn", "pr", "ck", "gr", "cg", "dec", "key", "req", "sub")


def spell(raw: bytes) -> str:
    """The 26 characters of 16 bytes."""
    number = int.from_bytes(raw, "big")
    return "".join(DIGITS[number >> 5 * place & 31] for place in range(25, -1, -1))


def valid() -> Iterator[Vector]:
    """Every prefix, the ends of the range, both kinds of credential."""
    yield {"name": GOOD_ID, "prefix": "gr", "text": "gr_" + spell(RAW), "bytes": RAW.hex()}
    for prefix in PREFIXES:
        yield {
            "name": f"prefix {prefix}",
            "prefix": prefix,
            "text": f"{prefix}_{spell(RAW)}",
            "bytes": RAW.hex(),
        }
    for name, raw in (
        ("no person", bytes(16)),
        ("the highest number", b"\xff" * 16),
        ("the number 1", bytes(15) + b"\1"),
        ("a UUID of version 4, which no reader looks at", bytes.fromhex("019ab0f1c2d34e4f8a5b6c7d8e9fa0b1")),
        ("every digit", int("0123456789ABCDEFGHIJKLMNOP", 32).to_bytes(17, "big")[1:]),
    ):
        yield {"name": name, "prefix": "sub", "text": "sub_" + spell(raw), "bytes": raw.hex()}
    for name, kind, row, secret in (
        (GOOD_CREDENTIAL, "ck", "ck", SECRET),
        ("credential of a grant", "cg", "gr", SECRET),
        ("a secret of zeros", "ck", "ck", "0" * 43),
        ("a secret of small letters", "ck", "ck", "z" * 43),
    ):
        yield {
            "name": name,
            "credential": f"{kind}_{spell(RAW)}_{secret}",
            "kind": kind,
            "row": f"{row}_{spell(RAW)}",
            "sha256": hashlib.sha256(secret.encode()).hexdigest(),
        }


def defective() -> Iterator[Vector]:
    """One defect each, of one id or one credential."""
    body = spell(RAW)
    text = "gr_" + body
    same: Vector = {"class": "not_an_id", "of": GOOD_ID}
    for name, prefix in (
        ("another prefix", "tn"),
        ("the prefix of its credential", "cg"),
        ("a longer one", "grx"),
    ):
        yield {"defect": f"id: expected as {name}", **same, "prefix": prefix, "text": text}
    for name, other in prefixes(body):
        yield {"defect": f"id: {name}", **same, "prefix": "gr", "text": other}
    for name, other in bodies(body):
        yield {"defect": f"id: {name}", **same, "prefix": "gr", "text": "gr_" + other}
    same = {"class": "credential_invalid", "of": GOOD_CREDENTIAL}
    for name, other in bodies(body):
        yield {"defect": f"credential: {name}", **same, "credential": f"ck_{other}_{SECRET}"}
    for name, other in credentials(body):
        yield {"defect": f"credential: {name}", **same, "credential": other}


def prefixes(body: str) -> Iterator[tuple[str, str]]:
    """What stands before the 26 characters."""
    yield "nothing at all", ""
    yield "an underscore alone", "_"
    yield "prefix alone", "gr"
    yield "no prefix", body
    yield "no prefix but an underscore", "_" + body
    yield "prefix in capitals", "GR_" + body
    yield "prefix with a hyphen", "gr-" + body
    yield "prefix without underscore", "gr" + body
    yield "two underscores", "gr__" + body
    yield "half a prefix", "g_" + body
    yield "a prefix that begins alike", "grx_" + body
    yield "a space in front", " gr_" + body
    yield "a zero-width space in front", "\u200bgr_" + body
    yield "prefix twice", "gr_gr_" + body
    yield "a full-width prefix", "ｇr_" + body


def bodies(body: str) -> Iterator[tuple[str, str]]:
    """What stands in place of the 26 characters."""
    yield "no characters", ""
    yield "small letters", body.lower()
    yield "one small letter", body[:-1] + body[-1].lower()
    for letter, digit in (("I", "1"), ("L", "1"), ("O", "0")):
        yield f"{letter} for {digit}", body.replace(digit, letter, 1)
    yield "a U", body[:5] + "U" + body[6:]
    yield "first character 8, beyond 128 bits", "8" + body[1:]
    yield "first character Z", "Z" + body[1:]
    yield "one character short", body[:-1]
    yield "one character more", body + "0"
    yield "a zero in front", "0" + body
    yield "its zero in front left out", body[1:]
    yield "a Crockford check character", body + "*"
    yield "a hyphen between", body[:13] + "-" + body[13:]
    yield "a hyphen for a character", body[:13] + "-" + body[14:]
    yield "an underscore for a character", body[:13] + "_" + body[14:]
    yield "a space for a character", body[:13] + " " + body[14:]
    yield "a line feed inside", body[:13] + "\n" + body[13:]
    yield "a NUL for a character", body[:13] + "\0" + body[14:]
    yield "a full-width digit", body[:13] + "４" + body[14:]
    yield "an Arabic-Indic digit", body[:13] + "٤" + body[14:]
    yield "a Cyrillic letter that looks like an A", body[:13] + "\u0410" + body[14:]
    yield "a lone surrogate", body[:13] + "\ud800" + body[14:]
    yield "a right-to-left override", body[:13] + "\u202e" + body[13:]
    yield "in hex", RAW.hex()
    yield "in hex with hyphens, as UUIDs are written", "019ab0f1-c2d3-7e4f-8a5b-6c7d8e9fa0b1"


def credentials(body: str) -> Iterator[tuple[str, str]]:
    """What stands around and behind the 26 characters of a credential."""
    good = f"ck_{body}_{SECRET}"
    yield "nothing at all", ""
    yield "kind alone", "ck"
    yield "no secret", f"ck_{body}"
    yield "an empty secret", f"ck_{body}_"
    yield "no kind", f"{body}_{SECRET}"
    yield "an empty kind", f"_{body}_{SECRET}"
    yield "kind in capitals", "CK" + good[2:]
    yield "the prefix of a grant", "gr" + good[2:]
    yield "the prefix of a principal", "pr" + good[2:]
    yield "a kind that begins alike", "ckx" + good[2:]
    yield "no underscore behind the kind", "ck" + good[3:]
    yield "a hyphen behind the kind", "ck-" + good[3:]
    yield "a full stop before the secret", good.replace(f"{body}_", f"{body}.")
    yield "two underscores before the secret", good.replace(f"{body}_", f"{body}__")
    yield "a secret one character short", good[:-1]
    yield "a secret one character long", good + "a"
    yield "a secret written twice", good + SECRET
    yield "a third part", good + "_" + SECRET
    for name, character in (
        ("a hyphen", "-"),
        ("an underscore", "_"),
        ("a plus sign", "+"),
        ("a space", " "),
        ("a line feed", "\n"),
        ("a NUL", "\0"),
        ("a full-width digit", "４"),
        ("a letter that is not ASCII", "é"),
        ("a lone surrogate", "\ud800"),
    ):
        yield f"{name} in the secret", good[:-1] + character
    yield "a line feed behind", good + "\n"
    yield "a space in front", " " + good
    yield "the scheme in front", "Bearer " + good
