"""A second reader of proofs and chains, written from docs/spec/grant-proof.md and delegation-block.md alone.

It shares no code with the package.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

PRIME = 2**255 - 19
# y of the points whose order divides 8 (RFC 7748 and 8032 give the curve)
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL = (0, 1, PRIME - 1, ORDER_8, PRIME - ORDER_8)
GRANT = re.compile(r"gr_[0-7][0-9A-HJKMNP-TV-Z]{25}")
DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")
LAST_SECOND = 253402300799
LISTS = ("operations", "fields", "subjects", "destinations")


class Wrong(Exception):
    """It is refused."""

    def __init__(self, failure: str = "") -> None:
        self.failure = failure


def decode(text: str) -> bytes:
    """Base64url in its one spelling."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise Wrong from None
    if encode(data) != text:
        raise Wrong
    return data


def encode(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def digest(data: bytes) -> str:
    """SHA-256 in base64url."""
    return encode(hashlib.sha256(data).digest())


def thumbprint(x: str) -> str:
    """RFC 7638."""
    return digest(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode())


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise Wrong
    return dict(pairs)


def whole(written: str) -> int:
    """A number without a sign."""
    if not written.isdigit():
        raise Wrong
    return int(written)


def refuse(written: str) -> Any:
    """A number with a fraction or an exponent, or one of the words that JSON does not have."""
    raise Wrong


def read(data: bytes) -> Any:
    """JSON."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=once,
            parse_int=whole,
            parse_float=refuse,
            parse_constant=refuse,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):  # lone surrogates too
        raise Wrong from None
    return value


def members(value: Any, needed: dict[str, Any], optional: dict[str, Any]) -> None:
    """An object of these members; what may stand in each is a pattern or a function that says so."""
    if not isinstance(value, dict):
        raise Wrong
    if not needed.keys() <= value.keys() <= needed.keys() | optional.keys():
        raise Wrong
    for name, member in value.items():
        rule = {**needed, **optional}[name]
        if isinstance(rule, re.Pattern):
            if not (isinstance(member, str) and rule.fullmatch(member)):
                raise Wrong
        elif not rule(member):
            raise Wrong


def text(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 256


def texts(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) == len(set(map(str, value))) and all(map(text, value))


def seconds(value: Any) -> bool:
    return type(value) is int and value <= LAST_SECOND


def uses(value: Any) -> bool:
    return type(value) is int and 1 <= value <= 10**12


def statement(written: str, typ: str, most: int) -> tuple[str, Any, bytes]:
    """x of the key, claims, signing input."""
    if len(written) > most:
        raise Wrong
    parts = written.split(".")
    if len(parts) != 3:
        raise Wrong
    header = read(decode(parts[0]))
    exactly = {name: re.compile(re.escape(value)) for name, value in (("typ", typ), ("alg", "Ed25519"))}
    members(header, {**exactly, "jwk": is_object}, {})
    exactly = {name: re.compile(value) for name, value in (("kty", "OKP"), ("crv", "Ed25519"))}
    members(header["jwk"], {**exactly, "x": DIGEST}, {})
    key = decode(header["jwk"]["x"])
    y = int.from_bytes(key, "little") % 2**255
    if y >= PRIME or y in SMALL:
        raise Wrong
    signing_input = written.rpartition(".")[0].encode()
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(decode(parts[2]), signing_input)
    except InvalidSignature:
        raise Wrong from None
    return header["jwk"]["x"], read(decode(parts[1])), signing_input


def read_proof(proof: str, request: dict[str, Any]) -> dict[str, Any]:
    """The claims of a proof for this request, with the thumbprint of its key."""
    try:
        x, claims, _ = statement(proof, "coatcheck-proof+jwt", 4096)
        needed: dict[str, Any] = {
            "htm": re.compile(r"[A-Z]{1,16}"),
            "htu": re.compile(r"[!-~]{1,2048}"),
            "iat": seconds,
            "jti": re.compile(r"[A-Za-z0-9_-]{16,128}"),
            "gid": GRANT,
            "bdh": DIGEST,
        }
        members(claims, needed, {"cdh": DIGEST})
        if claims["htm"] != request["method"]:
            raise Wrong
        if place(claims["htu"]) != place(request["url"].partition("?")[0]):
            raise Wrong
        if claims["gid"] != request["grant"]:
            raise Wrong
        if claims["bdh"] != digest(bytes.fromhex(request["body"])):
            raise Wrong
        chain = request["chain"]
        if claims.get("cdh") != (None if chain is None else digest(chain.encode())):
            raise Wrong
    except Wrong:
        raise Wrong("proof_invalid") from None
    if abs(claims["iat"] - request["now"]) > 60:
        raise Wrong("proof_expired")
    return {"jkt": thumbprint(x), **claims}


def place(url: str) -> tuple[str, str, str]:
    """What is compared of a URL."""
    match = re.fullmatch(r"([^:/?#]+)://([^/?#@]+)(/[^?#]*)", url)
    if match is None:
        raise Wrong
    return match[1].lower(), match[2].lower(), match[3]


def read_chain(chain: str, grant: str, holder: str) -> list[dict[str, Any]]:
    """The claims of each block, with its id and who signed it."""
    try:
        if len(chain) > 16384:
            raise Wrong
        if chain.count("~") > 2:
            raise Wrong
        blocks, link = [], digest(grant.encode())
        for written in chain.split("~"):
            x, claims, signing_input = statement(written, "coatcheck-block+jwt", 16384)
            needed = {"gid": GRANT, "p": DIGEST, "cnf": is_object, "n": is_object, "iat": seconds}
            members(claims, needed, {})
            members(claims["cnf"], {"jkt": DIGEST}, {})
            limits = {**dict.fromkeys(LISTS, texts), "mask": text, "uses": uses, "exp": seconds}
            members(claims["n"], {}, limits)
            if thumbprint(x) != holder:
                raise Wrong
            if claims["gid"] != grant:
                raise Wrong
            if claims.pop("p") != link:
                raise Wrong
            holder, link = claims["cnf"]["jkt"], digest(signing_input)
            blocks.append({"id": link, "signer": thumbprint(x), **claims})
    except Wrong:
        raise Wrong("delegation_denied") from None
    return blocks


def is_object(value: Any) -> bool:
    return isinstance(value, dict)
