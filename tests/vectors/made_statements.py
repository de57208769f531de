"""Statements as JWS, written member by member as JSON text, so that a defect can lie in any byte.

What is wrong with one is then all that is wrong with it: it is signed by the key that it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PROOF, BLOCK = "coatcheck-proof+jwt", "coatcheck-block+jwt"
KEYS = tuple(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2, 3, 4, 5))
NEUTRAL = b"\1" + bytes(31)  # a point of order 1; with it as R and 0 as S the bare equation holds


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def digest(data: bytes) -> str:
    return b64(hashlib.sha256(data).digest())


def x_of(key: Ed25519PrivateKey) -> str:
    return b64(key.public_key().public_bytes_raw())


def thumbprint(x: str) -> str:
    return digest(b'{"crv":"Ed25519","kty":"OKP","x":"' + x.encode() + b'"}')


JKT = tuple(thumbprint(x_of(key)) for key in KEYS)


def header_of(typ: str, x: str) -> dict[str, Any]:
    return {"typ": typ, "alg": "Ed25519", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}}


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def sign(header: bytes, payload: bytes, key: Ed25519PrivateKey, of: Callable[[str], str] = str) -> str:
    """A statement of these bytes; `of` makes of its signing input what is signed instead."""
    signing_input = f"{b64(header)}.{b64(payload)}"
    return f"{signing_input}.{b64(key.sign(of(signing_input).encode()))}"


def made(typ: str, claims: Any, key: Ed25519PrivateKey) -> str:
    return sign(compact(header_of(typ, x_of(key))), compact(claims), key)


def bad_statements(typ: str, claims: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with a statement of either kind."""
    key, x = KEYS[0], x_of(KEYS[0])
    header, head, payload = header_of(typ, x), compact(header_of(typ, x)), compact(claims)
    good = sign(head, payload, key)
    first, second, third = good.split(".")

    # the text
    yield "nothing at all", ""
    yield "two parts", f"{first}.{second}"
    yield "four parts", f"{good}.{third}"
    yield "no signature", f"{first}.{second}."
    yield "a blank behind", good + " "
    yield "a line feed behind", good + "\n"
    yield "padding", good + "="
    yield "padding in the middle", f"{first}.{second}=.{third}"
    yield "the other alphabet", f"{first}.{second}.+{third[1:]}"
    spare = {"A": "B", "Q": "R", "g": "h", "w": "x"}[third[-1]]
    yield "a spare bit set", good[:-1] + spare
    yield "a full-width digit", f"{first}.{second}.４{third[1:]}"
    yield "a byte of the signature missing", good[:-2]
    yield "signed otherwise", sign(head, payload, key, lambda text: text + ".")
    yield "signed by another", sign(head, payload, KEYS[4])
    yield "a header that was not signed", f"{b64(head + b' ')}.{second}.{third}"
    yield "claims that were not signed", f"{first}.{b64(payload + b' ')}.{third}"
    order = 2**252 + 27742317777372353535851937790883648493
    raw = base64.urlsafe_b64decode(third + "==")
    larger = raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    yield "a signature with S + L", f"{first}.{second}.{b64(larger)}"

    # the header
    for name, changes in (
        ("another typ", {"typ": "dpop+jwt"}),
        ("typ of the other kind", {"typ": PROOF if typ == BLOCK else BLOCK}),
        ("typ with its beginning", {"typ": "application/" + typ}),
        ("typ in capitals", {"typ": typ.upper()}),
        ("typ null", {"typ": None}),
        ("alg EdDSA", {"alg": "EdDSA"}),
        ("alg none", {"alg": "none"}),
        ("alg HS256", {"alg": "HS256"}),
        ("alg in a list", {"alg": ["Ed25519"]}),
        ("a kid", {"kid": "1"}),
        ("crit", {"crit": []}),
        ("b64", {"b64": True}),
        ("a jku", {"jku": "https://example.org/"}),
        ("jwk a text", {"jwk": x}),
        ("jwk null", {"jwk": None}),
    ):
        yield name, sign(compact({**header, **changes}), payload, key)
    for name, jwk_changes in (
        ("kty EC", {"kty": "EC"}),
        ("crv Ed448", {"crv": "Ed448"}),
        ("crv X25519", {"crv": "X25519"}),
        ("x with padding", {"x": x + "="}),
        ("x too short", {"x": x[:-1]}),
        ("x of 31 bytes", {"x": b64(key.public_key().public_bytes_raw()[:31])}),
        ("x with a spare bit", {"x": x[:-1] + chr(ord(x[-1]) + 1)}),
        ("another x", {"x": x_of(KEYS[1])}),
        ("a private key", {"d": b64(bytes(32))}),
        ("a use", {"use": "sig"}),
        ("x a number", {"x": 1}),
    ):
        yield f"key: {name}", sign(compact({**header, "jwk": {**header["jwk"], **jwk_changes}}), payload, key)
    for missing in header:
        yield (
            f"no {missing}",
            sign(compact({name: header[name] for name in header if name != missing}), payload, key),
        )
    for missing in header["jwk"]:
        jwk = {name: header["jwk"][name] for name in header["jwk"] if name != missing}
        yield f"key: no {missing}", sign(compact({**header, "jwk": jwk}), payload, key)
    doubled = head.replace(b'"alg":"Ed25519"', b'"alg":"Ed25519","alg":"Ed25519"')
    yield "alg twice", sign(doubled, payload, key)
    yield "alg none, then alg", sign(head.replace(b'"alg"', b'"alg":"none","alg"'), payload, key)
    doubled = head.replace(b'"jwk":', b'"jwk":{"kty":"OKP"},"jwk":')
    yield "jwk twice", sign(doubled, payload, key)
    yield "x twice", sign(head.replace(b'"x":', b'"x" : "","\\u0078":'), payload, key)
    yield "an array for a header", sign(b"[" + head + b"]", payload, key)
    for number, y in enumerate((1, 0, 2**255 - 20, 2**255 - 18)):
        for sign_bit in (0, 1 << 255):
            public = (y | sign_bit).to_bytes(32, "little")
            made_by_all = f"{b64(compact(header_of(typ, b64(public))))}.{second}"
            yield (
                f"a key of small order, {number}{'-' if sign_bit else ''}",
                f"{made_by_all}.{b64(NEUTRAL + bytes(32))}",
            )

    # the claims
    for missing in claims:
        kept = {name: claims[name] for name in claims if name != missing}
        yield f"claims: no {missing}", sign(head, compact(kept), key)
        yield f"claims: {missing} null", sign(head, compact({**claims, missing: None}), key)
        member = compact({missing: claims[missing]})[1:-1]
        yield f"claims: {missing} twice", sign(head, b"{" + member + b"," + payload[1:], key)
    iat = str(claims["iat"]).encode()
    for name, written in (
        ("a text", b'"' + iat + b'"'),
        ("with a fraction", iat + b".0"),
        ("with an exponent", iat + b"e0"),
        ("below nothing", b"-1"),
        ("minus nothing", b"-0"),
        ("true", b"true"),
        ("with a nought before", b"0" + iat),
        ("in the year 10000", b"253402300800"),
        ("a hundred digits", b"1" * 100),
        ("not a number", b"NaN"),
        ("in hex", b"0x1"),
    ):
        yield f"claims: iat {name}", sign(head, payload.replace(iat, written), key)
    for name, other in (
        ("another member", compact({**claims, "sub": "agent"})),
        ("another member of no name", compact({**claims, "": 1})),
        ("nothing", b""),
        ("an empty object", b"{}"),
        ("null", b"null"),
        ("an array", b"[" + payload + b"]"),
        ("two objects", payload + payload),
        ("a comma too many", payload[:-1] + b",}"),
        ("no brace behind", payload[:-1]),
        ("a comment", payload + b"/**/"),
        ("a byte order mark", b"\xef\xbb\xbf" + payload),
        ("a NUL behind", payload + b"\0"),
        ("UTF-16", payload.decode().encode("utf-16-le")),
        ("a byte that is not UTF-8", payload.replace(b'"gid":"g', b'"gid":"\xff')),
        ("an overlong byte", payload.replace(b'"gid":"g', b'"gid":"\xc1\xa7')),
        ("a lone surrogate", payload.replace(b'"gid":"g', b'"gid":"\\ud800')),
        ("a line feed in a text", payload.replace(b'"gid":"g', b'"gid":"g\n')),
        ("nested 10,000 deep" if typ == BLOCK else "nested 1,000 deep",
         b"[" * (10_000 if typ == BLOCK else 1_000)),
    ):  # fmt: skip
        yield f"claims: {name}", sign(head, other, key)
