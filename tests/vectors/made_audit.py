"""The vectors of audit events: bodies and stored events that are sound, and ones with one defect each.

Two kinds: a *body* is judged for being the one spelling of its content; an *event* is what lies in the
log, body, leaf, items and salt, judged for belonging together. All bodies of events are canonical.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

Vector = dict[str, Any]
PAGE = "docs/spec/audit.md"
COMPARED = ("canonical", "body", "leaf", "items", "salt")

SALT = bytes(range(0x80, 0xA0))
ITEMS = b'{"reason":"the customer asked"}'
CONTENT: dict[str, Any] = {
    "v": 1,
    "kind": "detokenize",
    "at": "2026-11-23T14:00:00.000000Z",
    "region": "eu",
    "tenant": "main",
    "actor": "agent:support-bot",
    "decision": "dec_01JD8Q4N000000000000000000",
    "charged": 2,
    "fields": [{"field": "customer.name", "items": 2}],
    "outcome": "allowed",
}
GOOD_BODY, GOOD_EVENT, BARE_EVENT = "a body", "an event with items", "an event without items"


def write(content: dict[str, Any]) -> bytes:
    """The body of a content whose strings need no escape but the common ones."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def leaf(body: bytes) -> bytes:
    return hashlib.sha256(b"\0" + body).digest()


def digest(salt: bytes, items: bytes) -> str:
    return hashlib.sha256(salt + items).hexdigest()


def event(content: dict[str, Any], items: bytes | None, salt: bytes | None) -> Vector:
    """What is stored of an event, in hex."""
    body = write(content)
    parts = {"body": body, "leaf": leaf(body), "items": items, "salt": salt}
    return {name: None if raw is None else raw.hex() for name, raw in parts.items()}


def with_items(items: bytes = ITEMS, salt: bytes = SALT) -> Vector:
    return event({**CONTENT, "items_digest": digest(salt, items)}, items, salt)


def valid() -> Iterator[Vector]:
    """What the profile of JSON allows, at its edges; events with and without items."""
    for name, body in {
        GOOD_BODY: write(CONTENT),
        "no members": b"{}",
        "words": b'{"a":true,"b":false,"c":null}',
        "the ends of numbers": b'{"a":9007199254740991,"b":-9007199254740991,"c":0}',
        "the escapes": b'{"a":"\\b\\t\\n\\f\\r\\"\\\\","b":"\\u0000\\u000b\\u001f"}',
        "characters that are not escaped": '{"a":"/\x7f\u2028é\U0001f511"}'.encode(),
        "a list in a list in a table": b'{"a":[[],[{"b":[]}]]}',
        "names in order of bytes": b'{"A":1,"Z":1,"_":1,"a":1,"aa":1,"b":1}',
        "an empty name, an empty text": b'{"":""}',
        "a comma and a space in a text": b'{"a":", : "}',
    }.items():
        yield {"name": name, "canonical": body.hex()}
    yield {"name": GOOD_EVENT, **with_items()}
    yield {"name": BARE_EVENT, **event(CONTENT, None, None)}
    gone = event({**CONTENT, "items_digest": digest(SALT, ITEMS)}, None, None)
    yield {"name": "an event whose items are gone", **gone}
    yield {"name": "an event with empty items", **with_items(b"")}


def defective() -> Iterator[Vector]:
    """One defect each."""
    for name, body in spellings(write(CONTENT)):
        yield {
            "defect": f"body: {name}",
            "class": "not_canonical",
            "of": GOOD_BODY,
            "canonical": body.hex(),
        }
    yield from broken_leaves()
    yield from broken_items()


def spellings(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Bytes that a JSON parser may read as the same content, or as some content; none is its one body."""

    def put(old: str, new: str) -> bytes:
        assert body.count(old.encode()) == 1
        return body.replace(old.encode(), new.encode(errors="surrogatepass"))

    yield "nothing at all", b""
    yield "a byte order mark", b"\xef\xbb\xbf" + body
    yield "a space in front", b" " + body
    yield "a line feed behind", body + b"\n"
    yield "a NUL behind", body + b"\0"
    yield "written twice", body * 2
    yield "a comment behind", body + b"//"
    yield "its last brace missing", body[:-1]
    yield "a brace too many", body + b"}"
    yield "a space behind a colon", put('"v":1', '"v": 1')
    yield "a space before a colon", put('"v":1', '"v" :1')
    yield "a space behind a comma", put(',"v"', ', "v"')
    yield "a space in a list", put("[{", "[ {")
    yield "a line feed between members", put(',"v"', ',\n"v"')
    yield "a tab before the end", body[:-1] + b"\t}"
    yield "a comma behind the last member", body[:-1] + b",}"
    yield "a comma behind the last of a list", put("}]", "},]")
    yield "a semicolon for a comma", put(',"v"', ';"v"')
    yield "a semicolon for a comma in a list", put('"charged":2', '"charged":[1;2]')
    yield "an equals sign for a colon", put('"v":1', '"v"=1')
    yield "another sign for a name's first quotation mark", put('"v":1', "'v\":1")
    yield "a comma missing", put(',"v"', '"v"')
    yield "a colon missing", put('"v":1', '"v"1')
    yield "a member without a value", put('"v":1', '"v":')
    yield "two members exchanged", put('"tenant":"main","v":1', '"v":1,"tenant":"main"')
    yield "a capital sorted as a small letter", put('"v":1', '"v":1,"U":1')
    yield (
        "two members exchanged in an inner table",
        put('"field":"customer.name","items":2', '"items":2,"field":"customer.name"'),
    )
    yield "a member twice", put('"v":1', '"v":1,"v":1')
    yield "a member twice with other values", put('"charged":2', '"charged":3,"charged":2')
    yield "a name that is not ASCII", put('"v":1', '"v":1,"é":1')
    yield "an escape in a name", put('"v":1', '"\\u0076":1')
    yield "a name without quotes", put('"v":1', "v:1")
    yield "a name that is a number", put('"v":1', "1:1")
    yield "single quotes", put('"main"', "'main'")
    for name, number in {
        "a fraction": "2.5",
        "a fraction of zero": "2.0",
        "an exponent": "2e0",
        "an exponent in capitals": "2E0",
        "a plus sign": "+2",
        "a leading zero": "02",
        "minus zero": "-0",
        "a minus sign alone": "-",
        "a full stop in front": ".2",
        "a full stop behind": "2.",
        "in hex": "0x2",
        "one too large": "9007199254740992",
        "one too small": "-9007199254740992",
        "not a number": "NaN",
        "infinity": "Infinity",
        "a full-width digit": "２",
        "an underscore inside": "2_0",
    }.items():
        yield f"number: {name}", put('"charged":2', f'"charged":{number}')
    for name, text in {
        "a letter as an escape": "\\u006dain",
        "a solidus as an escape": "main\\/",
        "a letter that is not ASCII as an escape": "m\\u00e9in",
        "a pair of surrogates as an escape": "main\\ud83d\\udd11",
        "a line feed in hex": "main\\u000a",
        "a quotation mark in hex": "main\\u0022",
        "hex in capitals": "main\\u001F",
        "hex of two digits": "main\\x1f",
        "an escape that is none": "main\\a",
        "a line feed as it stands": "main\n",
        "a tab as it stands": "main\t",
        "a NUL as it stands": "main\0",
        "a surrogate as an escape": "main\\ud800",
        "a surrogate in its three bytes": "main\ud800",
        "no end": "main\\",
    }.items():
        yield f"text: {name}", put('"main"', f'"{text}"')
    yield "text: a byte that is no UTF-8", body.replace(b'"main"', b'"ma\xffin"')
    yield "text: an overlong solidus", body.replace(b'"main"', b'"ma\xc0\xafin"')
    yield "text: in Latin 1", body.replace(b'"main"', b'"m\xe9in"')
    for name, word in (
        ("a word in capitals", "True"),
        ("a word that is none", "nil"),
        ("half a word", "tru"),
    ):
        yield name, put('"main"', word)
    yield "a list as the whole", b"[" + body + b"]"
    yield "a text as the whole", b'"body"'
    yield "a number as the whole", b"1"
    yield "null as the whole", b"null"
    yield "in UTF-16", body.decode().encode("utf-16-le")


def broken_leaves() -> Iterator[Vector]:
    """A leaf that is not the body's, or a body that is not the leaf's."""
    good = with_items()
    body, hash_ = bytes.fromhex(good["body"]), bytes.fromhex(good["leaf"])

    def bad(name: str, **changed: bytes) -> Vector:
        parts = {name: raw.hex() for name, raw in changed.items()}
        return {"defect": f"event: {name}", "class": "audit_broken leaf", "of": GOOD_EVENT, **good, **parts}

    yield bad("first bit of the leaf flipped", leaf=bytes((hash_[0] ^ 0x80,)) + hash_[1:])
    yield bad("last bit of the leaf flipped", leaf=hash_[:-1] + bytes((hash_[-1] ^ 1,)))
    yield bad("no leaf", leaf=b"")
    yield bad("leaf of zero bytes", leaf=bytes(32))
    yield bad("leaf cut to 20 bytes", leaf=hash_[:20])
    yield bad("leaf and a byte", leaf=hash_ + b"\0")
    yield bad("leaf in hex", leaf=hash_.hex().encode())
    yield bad("hashed without a prefix", leaf=hashlib.sha256(body).digest())
    yield bad("hashed as an inner node", leaf=hashlib.sha256(b"\1" + body).digest())
    yield bad("hashed with the prefix behind", leaf=hashlib.sha256(body + b"\0").digest())
    yield bad("hashed twice", leaf=hashlib.sha256(hash_).digest())
    yield bad("hashed with another hash", leaf=hashlib.sha3_256(b"\0" + body).digest())
    yield bad("hashed with its items", leaf=hashlib.sha256(b"\0" + body + ITEMS).digest())
    yield bad("body: first bit flipped", body=bytes((body[0] ^ 0x80,)) + body[1:])
    yield bad("body: last bit flipped", body=body[:-1] + bytes((body[-1] ^ 1,)))
    yield bad("body: one character less", body=body[:-1])
    yield bad("body: a line feed behind", body=body + b"\n")
    yield bad("body: another outcome", body=body.replace(b"allowed", b"refused"))
    yield bad("body: another number", body=body.replace(b'"charged":2', b'"charged":1'))
    yield bad("body: same content in another order", body=json.dumps(CONTENT, separators=(",", ":")).encode())
    yield bad("body: empty", body=b"")


def broken_items() -> Iterator[Vector]:
    """Items, salt and digest that do not belong together; leaf and body do."""
    good = with_items()

    def bad(name: str, of: str = GOOD_EVENT, base: Vector = good, **changed: bytes | None) -> Vector:
        parts = {name: None if raw is None else raw.hex() for name, raw in changed.items()}
        return {"defect": f"items: {name}", "class": "audit_broken items", "of": of, **base, **parts}

    def stated(name: str, stated: Any) -> Vector:
        """Another digest in the body, which is hashed for it."""
        content = {**CONTENT, "items_digest": stated}
        body = write(content)
        return bad(name, body=body, leaf=leaf(body))

    yield bad("first bit flipped", items=bytes((ITEMS[0] ^ 0x80,)) + ITEMS[1:])
    yield bad("last bit flipped", items=ITEMS[:-1] + bytes((ITEMS[-1] ^ 1,)))
    yield bad("another reason", items=ITEMS.replace(b"customer", b"neighbour"))
    yield bad("same content, a space more", items=ITEMS.replace(b":", b": "))
    yield bad("empty", items=b"")
    yield bad("no salt", salt=None)
    yield bad("no items", items=None)
    yield bad("salt empty", salt=b"")
    yield bad("salt cut to 31 bytes", salt=SALT[:-1])
    yield bad("salt and a byte", salt=SALT + b"\0")
    yield bad("salt: one bit", salt=SALT[:-1] + bytes((SALT[-1] ^ 1,)))
    yield bad("salt of zero bytes", salt=bytes(32))
    yield bad("a byte moved from salt to items", salt=SALT[:-1], items=SALT[-1:] + ITEMS)
    yield bad("a byte moved from items to salt", salt=SALT + ITEMS[:1], items=ITEMS[1:])
    yield bad("an empty salt, all of it in the items", salt=b"", items=SALT + ITEMS)
    yield bad(
        "of an event that names no digest", BARE_EVENT, event(CONTENT, None, None), items=ITEMS, salt=SALT
    )
    yield stated("digest without a salt", hashlib.sha256(ITEMS).hexdigest())
    yield stated("digest with the salt behind", digest(ITEMS, SALT))
    yield stated("digest in capitals", digest(SALT, ITEMS).upper())
    yield stated("digest cut to 32 digits", digest(SALT, ITEMS)[:32])
    yield stated("digest empty", "")
    yield stated("digest null", None)
    yield stated("digest a number", 1)
    yield stated("digest in a list", [digest(SALT, ITEMS)])
    yield stated("digest with a leaf's prefix", digest(b"\0" + SALT, ITEMS))
