"""Our own `ve1` vectors: made here with a pinned salt, opened by the package and by a second decoder.

`python -m tests.vectors.test_ve1` writes ve1.json anew; the tests say whether the file is what would be
written. A change of a byte in a vector is a change of the format.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vectors.second_decoder import Refused, decode_text, encode_context, open_ve1
from vault.context import EncryptionContext, Use
from vault.envelope.message import from_text, to_text
from vault.envelope.seal import SealingKey, open_message, seal
from vault.errors import IntegrityError
from vault.identifiers import KeyId
from vault.secret import Secret

FOLDER = Path(__file__).parent
FILE = FOLDER / "ve1.json"

Vector = dict[str, Any]

KEY = bytes(range(32))
KEY_ID = bytes.fromhex("019ab0f1c2d37e4f8a5b6c7d8e9fa0b1")
SALT = bytes(range(0x80, 0xA0))
CONTEXT: Vector = {
    "use": "value",
    "tenant": "main",
    "region": "eu",
    "field": "customer.email",
    "record": "00ff",
}
PLAINTEXT = b"maria.lopez@example.org"  # 23 bytes: the text form ends with two spare bits
OTHERS = {"use": "claim", "tenant": "other", "region": "us", "field": "customer.phone", "record": "00fe"}


def context_of(vector: Vector) -> EncryptionContext:
    """The production form of a vector's context."""
    written = vector["context"]
    record = None if written["record"] is None else bytes.fromhex(written["record"])
    return EncryptionContext(
        Use(written["use"]), written["tenant"], written["region"], written["field"], record
    )


def key_of(vector: Vector) -> SealingKey:
    """The production form of a vector's key."""
    return SealingKey(
        KeyId(bytes.fromhex(vector["key_id"])), vector["key_version"], Secret(bytes.fromhex(vector["key"]))
    )


def vector(name: str, plaintext: bytes = PLAINTEXT, key_version: int = 1, **members: str | None) -> Vector:
    """A valid vector. `os.urandom` gives SALT while this runs."""
    made: Vector = {
        "name": name,
        "key": KEY.hex(),
        "key_id": KEY_ID.hex(),
        "key_version": key_version,
        "context": {**CONTEXT, **members},
        "plaintext": plaintext.hex(),
    }
    message = seal(key_of(made), context_of(made), plaintext)
    made["context_bytes"] = context_of(made).encode().hex()
    made["message"] = message.hex()
    made["text"] = to_text(message)
    return made


def valid() -> Iterator[Vector]:
    """Every optional member absent, empty and given; every use; the ends of lengths and numbers."""
    for field in (None, "", "customer.email"):
        for record in (None, "", "00ff"):
            words = ["absent" if m is None else "given" if m else "empty" for m in (field, record)]
            yield vector(f"field {words[0]}, record {words[1]}", field=field, record=record)
    for use in Use:
        yield vector(f"use {use.value}", use=use.value, record=None)
    yield vector("empty plaintext", b"")
    yield vector("one byte of plaintext", b"v")
    yield vector("a kilobyte of plaintext", bytes(range(256)) * 4)
    yield vector("key version 0", key_version=0)
    yield vector("the highest key version", key_version=2**32 - 1)
    yield vector("empty tenant and region", tenant="", region="")
    yield vector("names outside ASCII", tenant="größe", field="\U0001f511.名")
    yield vector("a record that looks like an encoding", record="010400000000")


def defective() -> Iterator[Vector]:
    """One defect each, all made from one valid vector."""
    good = vector("good")
    message = bytes.fromhex(good["message"])
    text: str = good["text"]

    def bad(name: str, **changed: Any) -> Vector:
        form = changed.get("form", "message")
        made = {name: good[name] for name in ("key", "key_id", "key_version", "context", form)}
        return {"defect": name, **made, **{n: v for n, v in changed.items() if n != "form"}}

    def byte(position: int, value: int) -> str:
        return (message[:position] + bytes((value,)) + message[position + 1 :]).hex()

    def flip(position: int, bit: int = 0) -> str:
        return byte(position, message[position] ^ 1 << bit)

    for version in (0x00, 0x02, 0xFF):
        yield bad(f"version {version}", message=byte(0, version))
    for suite in (0x00, 0x02, 0xFF):
        yield bad(f"suite {suite}", message=byte(1, suite))
    parts = {"key id": (2, 18), "key version": (18, 22), "salt": (22, 54), "commitment": (54, 86)}
    parts |= {"ciphertext": (86, len(message) - 16), "tag": (len(message) - 16, len(message))}
    for name, (first, end) in parts.items():
        yield bad(f"{name}: first bit flipped", message=flip(first, 7))
        yield bad(f"{name}: last bit flipped", message=flip(end - 1))
    for size in (0, 1, 22, 54, 86, 101, 102, len(message) - 17, len(message) - 1):
        yield bad(f"truncated to {size} bytes", message=message[:size].hex())
    yield bad("first byte missing", message=message[1:].hex())
    yield bad("extended at the end", message=(message + b"\0").hex())
    yield bad("extended at the front", message=(b"\1" + message).hex())
    yield bad("written twice", message=(message * 2).hex())
    yield bad(
        "salt and commitment exchanged",
        message=(message[:22] + message[54:86] + message[22:54] + message[86:]).hex(),
    )
    yield bad("another key", key=KEY[::-1].hex())
    yield bad("another key of that id: one bit", key=(KEY[:-1] + bytes((KEY[-1] ^ 1,))).hex())
    yield bad("a key known by another id", key_id=KEY_ID[::-1].hex())
    yield bad("a key known by another version", key_version=2)
    for member, other in OTHERS.items():
        yield bad(f"context: another {member}", context={**CONTEXT, member: other})
    for member in ("tenant", "region", "field", "record"):
        yield bad(f"context: empty {member}", context={**CONTEXT, member: ""})
    for member in ("field", "record"):
        yield bad(f"context: absent {member}", context={**CONTEXT, member: None})
    yield bad("context: tenant and region exchanged", context={**CONTEXT, "tenant": "eu", "region": "main"})
    yield bad(
        "context: a letter moved from tenant to region", context={**CONTEXT, "tenant": "mai", "region": "neu"}
    )

    last = text[-1]
    spare = chr(ord(last) + 1)  # same bytes to a lenient decoder: only a bit that says nothing differs
    for name, form in {
        "no prefix": text[4:],
        "prefix in capitals": "VE1." + text[4:],
        "prefix of another version": "ve2." + text[4:],
        "prefix twice": "ve1." + text,
        "prefix without its full stop": "ve1" + text[4:],
        "nothing behind the prefix": "ve1.",
        "nothing at all": "",
        "with padding": text + "=",
        "the standard alphabet": text.replace("-", "+").replace("_", "/"),
        "a space at the end": text + " ",
        "a line feed at the end": text + "\n",
        "a line feed inside": text[:40] + "\n" + text[40:],
        "a space at the front": " " + text,
        "a full stop inside": text[:40] + "." + text[40:],
        "a NUL at the end": text + "\0",
        "a letter that is not ASCII": text[:40] + "é" + text[41:],
        "a full-width digit": text[:40] + "４" + text[41:],
        "a spare bit set": text[:-1] + spare,
        "one character short": text[:-1],
        "two characters short": text[:-2],
        "a length that no bytes have": text + "AA",
    }.items():
        yield bad(f"text: {name}", form="text", text=form)


def make() -> str:
    """The file's content."""
    urandom = os.urandom
    os.urandom = lambda size: SALT[:size]  # nothing here draws more than a salt
    try:
        content = {
            "format": "ve1",
            "page": "docs/spec/ve1.md",
            "valid": list(valid()),
            "defective": list(defective()),
        }
    finally:
        os.urandom = urandom
    return json.dumps(content, indent=1, ensure_ascii=True) + "\n"


CONTENT = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"valid": [], "defective": []}


def second(vector: Vector) -> bytes:
    """What the second decoder makes of a vector."""
    message = decode_text(vector["text"]) if "text" in vector else bytes.fromhex(vector["message"])
    key, key_id = bytes.fromhex(vector["key"]), bytes.fromhex(vector["key_id"])
    return open_ve1(key, key_id, vector["key_version"], vector["context"], message)


def ours(vector: Vector) -> bytes:
    """What the package makes of it."""
    message = from_text(vector["text"]) if "text" in vector else bytes.fromhex(vector["message"])
    return open_message(key_of(vector), context_of(vector), message)


def test_the_file_is_what_the_package_writes() -> None:
    assert FILE.read_text(encoding="utf-8") == make()
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    assert digest in (FOLDER / "SOURCES.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("vector", CONTENT["valid"], ids=lambda vector: vector["name"])
def test_a_valid_message_opens_in_both(vector: Vector) -> None:
    plaintext = bytes.fromhex(vector["plaintext"])
    assert context_of(vector).encode() == encode_context(vector["context"])
    assert encode_context(vector["context"]).hex() == vector["context_bytes"]
    assert from_text(vector["text"]).hex() == decode_text(vector["text"]).hex() == vector["message"]
    assert ours(vector) == second(vector) == plaintext
    assert len(bytes.fromhex(vector["message"])) == 102 + len(plaintext)


@pytest.mark.parametrize("vector", CONTENT["defective"], ids=lambda vector: vector["defect"])
def test_a_defective_message_opens_in_neither(vector: Vector) -> None:
    with pytest.raises(Refused):
        second(vector)
    with pytest.raises(IntegrityError) as refusal:
        ours(vector)
    assert (refusal.value.code, refusal.value.facts) == ("ciphertext_invalid", {})
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__


def test_without_its_defect_each_would_open() -> None:
    """The control: a defect is what differs from a message that opens."""
    (good,) = [v for v in CONTENT["valid"] if v["name"] == "field given, record given"]
    same = ("key", "key_id", "key_version", "context", "message", "text")
    for bad in CONTENT["defective"]:
        assert sum(bad[name] != good[name] for name in same if name in bad) == 1, bad["defect"]
    assert len({json.dumps(bad, sort_keys=True) for bad in CONTENT["defective"]}) >= 70
    assert ours(good) == second(good) == PLAINTEXT


def test_the_second_decoder_is_one() -> None:
    text = (FOLDER / "second_decoder.py").read_text(encoding="utf-8")
    named = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert named == {"__future__", "base64", "hashlib", "hmac", "typing", "cryptography"}
    assert text.count("\n") < 100


if __name__ == "__main__":
    FILE.write_text(make(), encoding="utf-8")
