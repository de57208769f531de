"""The vectors of proofs and delegation chains: ones that are taken, and ones with one defect each.

A writer of its own makes the statements (`made_statements`).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vectors.made_statements import (
    BLOCK,
    JKT,
    KEYS,
    PROOF,
    bad_statements,
    compact,
    digest,
    header_of,
    made,
    sign,
    thumbprint,
    x_of,
)

Vector = dict[str, Any]
PAGE = "docs/spec/grant-proof.md and docs/spec/delegation-block.md"
COMPARED = ("proof", "request", "chain", "grant", "holder")

GRANT = "gr_01KARF3GPKFS7RMPVCFP79Z85H"
OTHER_GRANT = "gr_01KARF3GPKFS7RMPVCFP79Z85J"
NOW = 1_795_442_400  # seconds
BODY = b'{"operation":"reveal","purpose":"refund","items":[]}'
URL = "https://vault.example.org/v1/eu/detokenize"
JTI = "c29tZXRoaW5nIG9mIGNoYW5jZQ"
GOOD_PROOF, GOOD_CHAIN = "a request without a chain", "one block"


def request(**other: Any) -> Vector:
    return {
        "method": "POST",
        "url": URL,
        "grant": GRANT,
        "body": BODY.hex(),
        "chain": None,
        "now": NOW,
        **other,
    }


def proof_claims(**other: Any) -> dict[str, Any]:
    claims = {"htm": "POST", "htu": URL, "iat": NOW, "jti": JTI, "gid": GRANT, "bdh": digest(BODY), **other}
    return {name: value for name, value in claims.items() if value is not None}


def block_claims(to: int = 1, before: str = GRANT, **other: Any) -> dict[str, Any]:
    """Of a block for the holder of a number; `before` is what it follows."""
    return {
        "gid": GRANT,
        "p": digest(before.encode()),
        "cnf": {"jkt": JKT[to]},
        "n": {},
        "iat": NOW,
        **other,
    }


def chain_of(*narrowings: dict[str, Any]) -> str:
    """From the first key to the next for each narrowing."""
    blocks: list[str] = []
    for number, narrowing in enumerate(narrowings):
        before = blocks[-1].rpartition(".")[0] if blocks else GRANT
        blocks.append(made(BLOCK, block_claims(number + 1, before, n=narrowing), KEYS[number]))
    return "~".join(blocks)


ALL = {
    "operations": ["mask", "verify"],
    "fields": ["customer.phone"],
    "subjects": ["cust-4711", 'größe "\\ \U0001f511'],
    "mask": "last4",
    "destinations": ["bank"],
    "uses": 10**12,
    "exp": 253402300799,
}


def sound_proof(name: str, proof: str, claims: dict[str, Any], key: int = 0, **of_request: Any) -> Vector:
    return {
        "name": name,
        "proof": proof,
        "request": request(**of_request),
        "says": {"jkt": JKT[key], **claims},
    }


def sound_chain(name: str, chain: str, grant: str = GRANT, holder: str = JKT[0]) -> Vector:
    says = []
    for block in chain.split("~"):
        head, payload, _ = block.split(".")
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, payload))
        signer = thumbprint(header["jwk"]["x"])
        del claims["p"]
        says.append({"id": digest(f"{head}.{payload}".encode()), "signer": signer, **claims})
    return {"name": name, "chain": chain, "grant": grant, "holder": holder, "says": says}


def valid() -> Iterator[Vector]:
    """Members in any order, blanks and escapes as JSON allows them, the ends of numbers and lengths."""
    sound: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
        (GOOD_PROOF, {}, {}),
        ("with a chain", {"cdh": digest(b"chain")}, {"chain": "chain"}),
        ("no body", {"bdh": digest(b""), "htm": "GET"}, {"body": "", "method": "GET"}),
        ("sixty seconds old", {"iat": NOW - 60}, {}),
        ("sixty seconds ahead", {"iat": NOW + 60}, {}),
        ("the shortest jti", {"jti": "-" * 16}, {}),
        ("the longest jti", {"jti": "_" * 128}, {}),
        ("scheme and host in capitals", {"htu": URL.replace("https://vault", "HTTPS://Vault")}, {}),
        ("a request with a query", {}, {"url": URL + "?a=b"}),
        ("a path alone", {"htu": "http://h:8700/"}, {"url": "http://h:8700/"}),
        ("the longest URL", {"htu": "http://h/" + "a" * 2039}, {"url": "http://h/" + "a" * 2039}),
    )
    for name, claims, of_request in sound:
        told = proof_claims(**claims)
        yield sound_proof(name, made(PROOF, told, KEYS[0]), told, **of_request)
    told, header = proof_claims(), header_of(PROOF, x_of(KEYS[0]))
    backwards = {name: told[name] for name in reversed(told)}
    turned = {"jwk": {"x": x_of(KEYS[0]), "crv": "Ed25519", "kty": "OKP"}, "alg": "Ed25519", "typ": PROOF}
    yield sound_proof("members the other way round", sign(compact(turned), compact(backwards), KEYS[0]), told)
    spaced = json.dumps(told, indent=1).encode() + b"\r\n\t "
    yield sound_proof("blanks between members", sign(json.dumps(header).encode(), spaced, KEYS[0]), told)
    escaped = compact(told).replace(b'"htm":"P', b'"\\u0068tm" : "\\u0050')
    yield sound_proof("escapes", sign(compact(header), escaped, KEYS[0]), told)
    yield sound_proof("4,096 characters", padded(PROOF, told, 4096), told)
    yield sound_proof("another key", made(PROOF, told, KEYS[4]), told, key=4)

    yield sound_chain(GOOD_CHAIN, chain_of({}))
    yield sound_chain("two blocks", chain_of({"uses": 10}, {"uses": 3}))
    yield sound_chain("three blocks", chain_of(ALL, {"uses": 1, "exp": 0}, {}))
    yield sound_chain("one with everything", chain_of(ALL))
    yield sound_chain("a subject of 256 characters", chain_of({"subjects": ["ü" * 256]}))
    yield sound_chain("a subject of a NUL", chain_of({"subjects": ["\0"]}))
    yield sound_chain("16,384 characters", padded(BLOCK, block_claims(), 16384))
    yield sound_chain("16,384 characters in two blocks", long_chain(16384))
    yield sound_chain("to its own giver", made(BLOCK, block_claims(0), KEYS[0]))
    yield sound_chain("the first second", made(BLOCK, block_claims(iat=0), KEYS[0]))


def defective() -> Iterator[Vector]:
    """One defect each."""
    for name, proof in bad_proofs():
        yield {"defect": f"proof: {name}", "class": "proof_invalid", "of": GOOD_PROOF, "proof": proof,
               "request": request()}  # fmt: skip
    good = made(PROOF, proof_claims(), KEYS[0])
    for name, other in bad_requests():
        late = "seconds" in name
        yield {"defect": f"request: {name}", "class": "proof_expired" if late else "proof_invalid",
               "of": GOOD_PROOF, "proof": good, "request": other}  # fmt: skip
    for name, chain in bad_chains():
        yield {"defect": f"chain: {name}", "class": "delegation_denied", "of": GOOD_CHAIN, "chain": chain,
               "grant": GRANT, "holder": JKT[0]}  # fmt: skip
    one = chain_of({})
    for name, grant, holder in (
        ("of another grant", OTHER_GRANT, JKT[0]),
        ("of another holder", GRANT, JKT[2]),
        ("of its own delegate", GRANT, JKT[1]),
    ):
        yield {"defect": f"chain: {name}", "class": "delegation_denied", "of": GOOD_CHAIN, "chain": one,
               "grant": grant, "holder": holder}  # fmt: skip


def bad_requests() -> Iterator[tuple[str, Vector]]:
    """Requests that a sound proof is not for."""
    yield "61 seconds later", request(now=NOW + 61)
    yield "61 seconds earlier", request(now=NOW - 61)
    yield "another method", request(method="PUT")
    yield "a method in small letters", request(method="post")
    yield "another path", request(url=URL + "s")
    yield "a path in capitals", request(url=URL.replace("detok", "DETOK"))
    yield "a slash at the end", request(url=URL + "/")
    yield "another host", request(url=URL.replace("vault", "waltz"))
    yield "a port that says nothing", request(url=URL.replace(".org", ".org:443"))
    yield "another scheme", request(url=URL.replace("https", "http"))
    yield "another grant", request(grant=OTHER_GRANT)
    yield "another body", request(body=(BODY + b" ").hex())
    yield "no body", request(body="")
    yield "a chain that it does not know of", request(chain=chain_of({}))


def bad_proofs() -> Iterator[tuple[str, str]]:
    """Texts that are no proof of the request."""
    yield from bad_statements(PROOF, proof_claims())
    long = proof_claims(htu="http://h/" + "a" * 2040)
    yield "a URL of 2,049 characters", made(PROOF, long, KEYS[0])
    yield "4,097 characters", padded(PROOF, proof_claims(), 4097)
    for name, claims in (
        ("a chain where there is none", {"cdh": digest(b"")}),
        ("cdh too short", {"cdh": "A" * 42}),
        ("htm in small letters", {"htm": "post"}),
        ("htm empty", {"htm": ""}),
        ("htm of 17 letters", {"htm": "P" * 17}),
        ("htm a number", {"htm": 1}),
        ("htu empty", {"htu": ""}),
        ("htu with a query", {"htu": URL + "?a=b"}),
        ("htu with an empty query", {"htu": URL + "?"}),
        ("htu with a fragment", {"htu": URL + "#a"}),
        ("htu with a user", {"htu": URL.replace("vault", "user@vault")}),
        ("htu without a path", {"htu": "https://vault.example.org"}),
        ("htu without a scheme", {"htu": URL.removeprefix("https:")}),
        ("htu with a blank", {"htu": URL + " "}),
        ("htu with a letter outside ASCII", {"htu": URL.replace("vault", "tresør")}),
        ("jti too short", {"jti": "A" * 15}),
        ("jti too long", {"jti": "A" * 129}),
        ("jti with another character", {"jti": "A" * 16 + "="}),
        ("jti with a line feed", {"jti": "A" * 16 + "\n"}),
        ("gid of another grant", {"gid": OTHER_GRANT}),
        ("gid in small letters", {"gid": GRANT.lower()}),
        ("gid of another kind", {"gid": GRANT.replace("gr_", "cg_")}),
        ("bdh of another body", {"bdh": digest(b"")}),
        ("bdh in hex", {"bdh": hashlib.sha256(BODY).hexdigest()}),
        ("bdh with padding", {"bdh": digest(BODY) + "="}),
    ):
        yield name, made(PROOF, proof_claims(**claims), KEYS[0])


def padded(typ: str, claims: Any, length: int, key: Ed25519PrivateKey = KEYS[0]) -> str:
    """A statement of so many characters: blanks behind its claims, or behind its header too."""
    header, payload = compact(header_of(typ, x_of(key))), compact(claims)
    for before in range(3):
        for behind in range(length):
            size = -(-4 * (len(header) + before) // 3) + -(-4 * (len(payload) + behind) // 3) + 88
            if size == length:
                return sign(header + b" " * before, payload + b" " * behind, key)
    raise ValueError("no such length")


def long_chain(length: int) -> str:
    """Two blocks that have so many characters together with their joint."""
    first = padded(BLOCK, block_claims(), 8192)
    second = padded(BLOCK, block_claims(2, first.rpartition(".")[0]), length - 8193, KEYS[1])
    return f"{first}~{second}"


def bad_chains() -> Iterator[tuple[str, str]]:
    """Texts that are no chain of the grant from its holder."""
    yield from bad_statements(BLOCK, block_claims())
    one, two = chain_of({}), chain_of({"uses": 10}, {"uses": 3})
    first, second = two.split("~")
    yield "four blocks", chain_of({}, {}, {}, {})
    yield "16,385 characters", padded(BLOCK, block_claims(), 16385)
    yield "16,385 characters in two blocks", long_chain(16385)
    yield "a joint behind", one + "~"
    yield "a joint before", "~" + one
    yield "two joints between", f"{first}~~{second}"
    yield "another joint", f"{first},{second}"
    yield "blocks the other way round", f"{second}~{first}"
    yield "a block twice", f"{first}~{first}"
    yield "the first block missing", second
    yield (
        "a block of a thief behind",
        first + "~" + made(BLOCK, block_claims(3, first.rpartition(".")[0]), KEYS[3]),
    )
    yield (
        "a block of the first holder behind",
        first + "~" + made(BLOCK, block_claims(2, first.rpartition(".")[0]), KEYS[0]),
    )
    yield "p of the whole block before", first + "~" + made(BLOCK, block_claims(2, first), KEYS[1])
    yield "p of the grant in the second", first + "~" + made(BLOCK, block_claims(2), KEYS[1])
    yield (
        "another grant in the second",
        first + "~" + made(BLOCK, block_claims(2, first.rpartition(".")[0], gid=OTHER_GRANT), KEYS[1]),
    )
    for name, claims in (
        ("gid of another grant", {"gid": OTHER_GRANT}),
        ("gid no grant", {"gid": GRANT[:-1]}),
        ("p of another grant", {"p": digest(OTHER_GRANT.encode())}),
        ("p empty", {"p": ""}),
        ("cnf a text", {"cnf": JKT[1]}),
        ("cnf with a key", {"cnf": {"jkt": JKT[1], "jwk": {}}}),
        ("cnf empty", {"cnf": {}}),
        ("jkt too short", {"cnf": {"jkt": JKT[1][:-1]}}),
        ("jkt null", {"cnf": {"jkt": None}}),
        ("n a list", {"n": []}),
        ("n with another member", {"n": {"uses": 1, "delivery": ["sealed"]}}),
        ("n with a key to seal to", {"n": {"seal_to": {}}}),
        ("operations a text", {"n": {"operations": "mask"}}),
        ("operations none", {"n": {"operations": []}}),
        ("operations null", {"n": {"operations": None}}),
        ("fields with a number", {"n": {"fields": ["customer.phone", 1]}}),
        ("fields twice", {"n": {"fields": ["customer.phone", "customer.phone"]}}),
        ("a subject of 257 characters", {"n": {"subjects": ["u" * 257]}}),
        ("an empty subject", {"n": {"subjects": [""]}}),
        ("subjects twice", {"n": {"subjects": ["a", "b", "a"]}}),
        ("a mask in a list", {"n": {"mask": ["last4"]}}),
        ("no mask", {"n": {"mask": ""}}),
        ("destinations in an object", {"n": {"destinations": {"bank": 1}}}),
        ("destinations twice", {"n": {"destinations": ["bank", "bank"]}}),
        ("operations twice", {"n": {"operations": ["mask", "mask"]}}),
        ("no uses", {"n": {"uses": 0}}),
        ("too many uses", {"n": {"uses": 10**12 + 1}}),
        ("uses a text", {"n": {"uses": "1"}}),
        ("uses true", {"n": {"uses": True}}),
        ("uses below nothing", {"n": {"uses": -1}}),
        ("an end in the year 10000", {"n": {"exp": 253402300800}}),
        ("an end with a fraction", {"n": {"exp": 1.5}}),
    ):
        yield name, made(BLOCK, block_claims(**claims), KEYS[0])
    twice = compact(block_claims(n={"uses": 1})).replace(b'"uses":1', b'"uses":1,"uses":1')
    yield "uses twice", sign(compact(header_of(BLOCK, x_of(KEYS[0]))), twice, KEYS[0])
    twice = compact(block_claims()).replace(b'"n":{}', b'"n":{"uses":1},"n":{}')
    yield "n twice", sign(compact(header_of(BLOCK, x_of(KEYS[0]))), twice, KEYS[0])
