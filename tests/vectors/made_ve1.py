"""The vectors of `ve1`: messages that open, and messages with one defect each.

A writer of its own makes them, step by step as on docs/spec/ve1.md, so that a defect can lie in any step:
the message is then sound but for that, and only a reader that checks or derives just that refuses it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tests.vectors.second_decoder import encode_context

Vector = dict[str, Any]
PAGE = "docs/spec/ve1.md"
COMPARED = ("key", "key_id", "key_version", "context", "message", "text")

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
USES = ("value", "claim", "data key", "field key", "subject identifier", "kms half", "root key", "replay")
GOOD = "field given, record given"
FOREIGN = "names outside ASCII"


class Steps(NamedTuple):
    """How a message is written; the defaults are those of the page."""

    version: int = 1
    suite: int = 1
    version_bytes: Callable[[int], bytes] = lambda number: number.to_bytes(4, "big")
    key_id: bytes = KEY_ID
    encode: Callable[[Vector], bytes] = encode_context
    info: Callable[[bytes, bytes, bytes], bytes] = lambda suite, salt, encoded: (
        b"coatcheck/ve1/" + suite + salt + hashlib.sha256(encoded).digest()
    )
    prk: Callable[[bytes], bytes] = lambda key: key
    first: int = 1  # HKDF's first counter
    parts: Callable[[bytes], tuple[bytes, bytes, bytes]] = lambda okm: (okm[:32], okm[32:44], okm[44:76])
    associated: Callable[[bytes, bytes], bytes] = lambda header, encoded: header + encoded
    encrypt: Callable[[bytes, bytes, bytes, bytes], bytes] = lambda key, iv, plaintext, associated: AESGCM(
        key
    ).encrypt(iv, plaintext, associated)


def write(context: Vector, plaintext: bytes, key_version: int = 1, **other: Any) -> bytes:
    """A message under KEY with SALT; `other` replaces steps."""
    steps = Steps(**other)
    encoded, suite = steps.encode(context), bytes((steps.suite,))
    info, prk = steps.info(suite, SALT, encoded), steps.prk(KEY)
    okm = block = b""
    for counter in range(steps.first, steps.first + 3):
        block = hmac.new(prk, block + info + bytes((counter,)), "sha256").digest()
        okm += block
    key, iv, commitment = steps.parts(okm)
    head = bytes((steps.version,)) + suite + steps.key_id + steps.version_bytes(key_version)
    header = head + SALT + commitment
    return header + steps.encrypt(key, iv, plaintext, steps.associated(header, encoded))


def text_of(message: bytes) -> str:
    return "ve1." + base64.urlsafe_b64encode(message).decode().rstrip("=")


def made(name: str, plaintext: bytes = PLAINTEXT, key_version: int = 1, **members: str | None) -> Vector:
    """A valid vector."""
    context = {**CONTEXT, **members}
    message = write(context, plaintext, key_version)
    return {
        "name": name,
        "key": KEY.hex(),
        "key_id": KEY_ID.hex(),
        "key_version": key_version,
        "context": context,
        "plaintext": plaintext.hex(),
        "context_bytes": encode_context(context).hex(),
        "message": message.hex(),
        "text": text_of(message),
    }


def valid() -> Iterator[Vector]:
    """Every optional member absent, empty and given; every use; the ends of lengths and numbers."""
    for field in (None, "", "customer.email"):
        for record in (None, "", "00ff"):
            words = ["absent" if m is None else "given" if m else "empty" for m in (field, record)]
            yield made(f"field {words[0]}, record {words[1]}", field=field, record=record)
    for use in USES:
        yield made(f"use {use}", use=use, record=None)
    yield made("empty plaintext", b"")
    yield made("one byte of plaintext", b"v")
    yield made("a kilobyte of plaintext", bytes(range(256)) * 4)
    yield made("key version 0", key_version=0)
    yield made("the highest key version", key_version=2**32 - 1)
    yield made("empty tenant and region", tenant="", region="")
    yield made(FOREIGN, tenant="größe", field="\U0001f511.名")
    yield made("a record that looks like an encoding", record="010400000000")


def defective() -> Iterator[Vector]:
    """One defect each."""
    good, foreign = made(GOOD), made(FOREIGN, tenant="größe", field="\U0001f511.名")
    message, text = bytes.fromhex(good["message"]), str(good["text"])

    def bad(name: str, form: str = "message", of: Vector = good, **changed: Any) -> Vector:
        kept = {member: of[member] for member in ("key", "key_id", "key_version", "context", form)}
        return {"defect": name, "class": "ciphertext_invalid", "of": of["name"], **kept, **changed}

    for name, damaged in damages(message):
        yield bad(name, message=damaged.hex())
    for name, other in lookups():
        yield bad(name, **other)
    for name, steps in other_writers():
        yield bad(f"writer: {name}", message=write(CONTEXT, PLAINTEXT, **steps).hex())
    for name, encode in other_encodings():
        of = foreign if name.startswith("lengths in characters") else good
        yield bad(f"encoding: {name}", of=of, message=write(of["context"], PLAINTEXT, encode=encode).hex())
    for name, form in other_texts(text):
        yield bad(f"text: {name}", form="text", text=form)


def damages(message: bytes) -> Iterator[tuple[str, bytes]]:
    """Bytes changed on the way."""

    def byte(position: int, value: int) -> bytes:
        return message[:position] + bytes((value,)) + message[position + 1 :]

    def flip(position: int, bit: int = 0) -> bytes:
        return byte(position, message[position] ^ 1 << bit)

    for version in (0x00, 0x02, 0xFF):
        yield f"version {version}", byte(0, version)
    for suite in (0x00, 0x02, 0xFF):
        yield f"suite {suite}", byte(1, suite)
    parts = {"key id": (2, 18), "key version": (18, 22), "salt": (22, 54), "commitment": (54, 86)}
    parts |= {"ciphertext": (86, len(message) - 16), "tag": (len(message) - 16, len(message))}
    for name, (first, end) in parts.items():
        yield f"{name}: first bit flipped", flip(first, 7)
        yield f"{name}: last bit flipped", flip(end - 1)
    for size in (0, 1, 22, 54, 86, 101, 102, len(message) - 17, len(message) - 1):
        yield f"truncated to {size} bytes", message[:size]
    yield "first byte missing", message[1:]
    yield "extended at the end", message + b"\0"
    yield "extended at the front", b"\1" + message
    yield "written twice", message * 2
    yield "salt and commitment exchanged", message[:22] + message[54:86] + message[22:54] + message[86:]
    yield "tag in front of the ciphertext", message[:86] + message[-16:] + message[86:-16]
    yield "commitment zero", message[:54] + bytes(32) + message[86:]
    yield "commitment missing", message[:54] + message[86:]


def lookups() -> Iterator[tuple[str, Vector]]:
    """A sound message, expected under another key or in another context."""
    yield "another key", {"key": KEY[::-1].hex()}
    yield "another key of that id: one bit", {"key": (KEY[:-1] + bytes((KEY[-1] ^ 1,))).hex()}
    yield "a key known by another id", {"key_id": KEY_ID[::-1].hex()}
    yield "a key known by another version", {"key_version": 2}
    for member, other in OTHERS.items():
        yield f"context: another {member}", {"context": {**CONTEXT, member: other}}
    for member in ("tenant", "region", "field", "record"):
        yield f"context: empty {member}", {"context": {**CONTEXT, member: ""}}
    for member in ("field", "record"):
        yield f"context: absent {member}", {"context": {**CONTEXT, member: None}}
    exchanged = {**CONTEXT, "tenant": "eu", "region": "main"}
    yield "context: tenant and region exchanged", {"context": exchanged}
    moved = {**CONTEXT, "tenant": "mai", "region": "neu"}
    yield "context: a letter moved from tenant to region", {"context": moved}


def other_writers() -> Iterator[tuple[str, Vector]]:
    """Whole messages, all of a piece, whose writer did one step otherwise."""
    digest = hashlib.sha256
    for number in (0, 2, 255):
        yield f"version {number}", {"version": number}
        yield f"suite {number}", {"suite": number}
    yield "the key goes by another id", {"key_id": KEY_ID[::-1]}
    yield "the key has another version", {"version_bytes": lambda number: (number + 1).to_bytes(4, "big")}
    yield "key version little-endian", {"version_bytes": lambda number: number.to_bytes(4, "little")}

    for name, info in {
        "the label of another version": lambda s, n, c: b"coatcheck/ve2/" + s + n + digest(c).digest(),
        "no label": lambda s, n, c: s + n + digest(c).digest(),
        "no suite in the derivation": lambda _, n, c: b"coatcheck/ve1/" + n + digest(c).digest(),
        "no salt in the derivation": lambda s, _, c: b"coatcheck/ve1/" + s + digest(c).digest(),
        "no context in the derivation": lambda s, n, _: b"coatcheck/ve1/" + s + n,
        "context in the derivation not hashed": lambda s, n, c: b"coatcheck/ve1/" + s + n + c,
        "context hashed with another hash": lambda s, n, c: (
            b"coatcheck/ve1/" + s + n + hashlib.sha3_256(c).digest()
        ),
        "salt behind the context": lambda s, n, c: b"coatcheck/ve1/" + s + digest(c).digest() + n,
    }.items():
        yield name, {"info": info}
    yield "HKDF-Extract before Expand", {"prk": lambda key: hmac.new(bytes(32), key, "sha256").digest()}
    yield "HKDF's counter from 0", {"first": 0}

    yield "commitment derived first", {"parts": lambda okm: (okm[32:64], okm[64:76], okm[:32])}
    yield "IV of zero bytes", {"parts": lambda okm: (okm[:32], bytes(12), okm[44:76])}
    yield "IV from the salt", {"parts": lambda okm: (okm[:32], SALT[:12], okm[44:76])}
    yield "commitment of the key alone", {"parts": lambda okm: (okm[:32], okm[32:44], digest(KEY).digest())}
    yield (
        "commitment one bit off",
        {"parts": lambda okm: (okm[:32], okm[32:44], okm[44:75] + bytes((okm[75] ^ 1,)))},
    )
    yield "AES-128", {"parts": lambda okm: (okm[:16], okm[32:44], okm[44:76])}

    yield "no associated data", {"associated": lambda header, encoded: b""}
    yield "header not associated", {"associated": lambda header, encoded: encoded}
    yield "context not associated", {"associated": lambda header, encoded: header}
    yield "context before the header", {"associated": lambda header, encoded: encoded + header}
    yield "commitment not associated", {"associated": lambda header, encoded: header[:54] + encoded}

    yield "a tag of 12 bytes", {"encrypt": lambda k, iv, p, a: AESGCM(k).encrypt(iv, p, a)[:-4]}
    yield "ChaCha20-Poly1305", {"encrypt": lambda k, iv, p, a: ChaCha20Poly1305(k).encrypt(iv, p, a)}
    yield "AES-CTR with a tag that nobody computed", {"encrypt": counter_mode}


def counter_mode(key: bytes, iv: bytes, plaintext: bytes, _: bytes) -> bytes:
    """What GCM encrypts with, and 16 zero bytes."""
    encryptor = Cipher(algorithms.AES(key), modes.CTR(iv + b"\0\0\0\2")).encryptor()
    return encryptor.update(plaintext) + encryptor.finalize() + bytes(16)


def other_encodings() -> Iterator[tuple[str, Callable[[Vector], bytes]]]:
    """Contexts encoded otherwise than on docs/spec/context.md."""

    def parts(context: Vector) -> list[tuple[int, bytes]]:
        values = [context["use"], context["tenant"], context["region"], context["field"]]
        raw = [text.encode() for text in values] + [bytes.fromhex(context["record"])]
        return list(enumerate(raw, 1))

    def join(given: list[tuple[int, bytes]], size: int = 4, order: Any = "big", head: bytes = b"\1") -> bytes:
        return head + b"".join(bytes((tag,)) + len(raw).to_bytes(size, order) + raw for tag, raw in given)

    def recorded(context: Vector, record: bytes) -> bytes:
        return join([*parts(context)[:4], (5, record)])

    yield "no version byte", lambda c: join(parts(c), head=b"")
    yield "another version byte", lambda c: join(parts(c), head=b"\2")
    yield "lengths in two bytes", lambda c: join(parts(c), size=2)
    yield "lengths little-endian", lambda c: join(parts(c), order="little")
    yield "no tags", lambda c: b"\1" + b"".join(len(raw).to_bytes(4, "big") + raw for _, raw in parts(c))
    yield "no lengths", lambda c: b"\1" + b"".join(bytes((tag,)) + raw for tag, raw in parts(c))
    yield "tags from 0", lambda c: join([(tag - 1, raw) for tag, raw in parts(c)])
    yield "tags descending", lambda c: join(parts(c)[::-1])
    yield "record twice", lambda c: join([*parts(c), parts(c)[4]])
    yield "a part more", lambda c: join([*parts(c), (6, b"")])
    yield "a byte behind the last part", lambda c: join(parts(c)) + b"\0"
    yield "record in hex", lambda c: recorded(c, c["record"].encode())
    yield "record left out", lambda c: join(parts(c)[:4])
    yield "use in capitals", lambda c: join([(1, c["use"].upper().encode()), *parts(c)[1:]])
    yield "text in UTF-16", lambda c: join([(1, c["use"].encode("utf-16-be")), *parts(c)[1:]])
    yield (
        "lengths in characters",
        lambda c: (
            b"\1"
            + b"".join(
                bytes((tag,)) + (len(raw.decode()) if tag < 5 else len(raw)).to_bytes(4, "big") + raw
                for tag, raw in parts(c)
            )
        ),
    )


def other_texts(text: str) -> Iterator[tuple[str, str]]:
    """Text forms that a lenient reader would take."""
    spare = chr(ord(text[-1]) + 1)  # same bytes to a lenient decoder: only a bit that says nothing differs
    yield "no prefix", text[4:]
    yield "prefix in capitals", "VE1." + text[4:]
    yield "prefix of another version", "ve2." + text[4:]
    yield "prefix twice", "ve1." + text
    yield "prefix without its full stop", "ve1" + text[4:]
    yield "nothing behind the prefix", "ve1."
    yield "nothing at all", ""
    yield "with padding", text + "="
    yield "the standard alphabet", text.replace("-", "+").replace("_", "/")
    yield "a space at the end", text + " "
    yield "a line feed at the end", text + "\n"
    yield "a line feed inside", text[:40] + "\n" + text[40:]
    yield "a space at the front", " " + text
    yield "a full stop inside", text[:40] + "." + text[40:]
    yield "a NUL at the end", text + "\0"
    yield "a letter that is not ASCII", text[:40] + "é" + text[41:]
    yield "a full-width digit", text[:40] + "４" + text[41:]
    yield "a zero-width space", text[:40] + "\u200b" + text[40:]
    yield "a lone surrogate", text[:40] + "\ud800" + text[41:]
    yield "a spare bit set", text[:-1] + spare
    yield "one character short", text[:-1]
    yield "two characters short", text[:-2]
    yield "a length that no bytes have", text + "AA"
    yield "one character more", text + "A"
    yield "in hex", "ve1." + base64.urlsafe_b64decode(text[4:] + "=").hex()
    yield "letters of another case", text[:4] + text[4:].swapcase()
