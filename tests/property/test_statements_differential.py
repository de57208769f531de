"""Statements against joserfc, which shares no code with ours: what we take it takes, and the other way."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from tests.vectors import make
from tests.vectors.made_proofs import GRANT, NOW, URL
from vault.client.proofs import delegate, make_proof
from vault.clock import SECOND
from vault.crypto.base64url import decode, digest, encode
from vault.crypto.signing import Signer, thumbprint
from vault.crypto.statements import MAX_CHAIN_BYTES, MAX_PROOF_BYTES, Narrowing
from vault.errors import CoatcheckError
from vault.policy.block import parse_chain
from vault.policy.proof import parse_proof
from vault.secret import Secret

REGISTRY = jws.JWSRegistry(algorithms=["Ed25519"])
REGISTRY.max_payload_length = MAX_CHAIN_BYTES
SEEDS = st.binary(min_size=32, max_size=32)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
LISTS = st.lists(TEXTS, min_size=1, max_size=4, unique=True)


def key_of(seed: bytes) -> OKPKey:
    x = Signer(Secret(seed)).public
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": encode(x), "d": encode(seed)})


def read_by_joserfc(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, with the key that the header holds."""
    header = json.loads(decode(text.partition(".")[0]))
    key = OKPKey.import_key(header["jwk"])
    read = jws.deserialize_compact(text, key, registry=REGISTRY)
    return read.headers(), json.loads(read.payload)


def made_by_joserfc(seed: bytes, typ: str, claims: dict[str, Any], **how: Any) -> str:
    key = key_of(seed)
    header = {"alg": "Ed25519", "typ": typ, "jwk": key.as_dict(private=False)}
    return jws.serialize_compact(header, json.dumps(claims, **how), key, registry=REGISTRY)


NARROWINGS = st.fixed_dictionaries(
    {},
    optional={
        "operations": LISTS,
        "fields": LISTS,
        "subjects": LISTS,
        "mask": TEXTS,
        "destinations": LISTS,
        "uses": st.integers(1, 10**12),
        "exp": st.integers(0, 253402300799),
    },
)


@given(
    seed=SEEDS,
    body=st.binary(max_size=50),
    chain=st.none() | st.just("chain"),
    late=st.integers(-(10**9), 10**9),
)
def test_it_takes_the_proofs_that_we_make(seed: bytes, body: bytes, chain: str | None, late: int) -> None:
    now = (NOW + late) * SECOND
    text = make_proof(
        Signer(Secret(seed)), method="POST", url=URL + "?a=b", grant=GRANT, body=body, chain=chain, now=now
    )
    header, claims = read_by_joserfc(text)
    assert header["typ"] == "coatcheck-proof+jwt"
    read = parse_proof(text)
    assert (claims["htm"], claims["htu"], claims["iat"], claims["gid"]) == ("POST", URL, NOW + late, GRANT)
    assert (claims["bdh"], claims.get("cdh")) == (digest(body), None if chain is None else digest(b"chain"))
    assert read.jkt == OKPKey.import_key(header["jwk"]).thumbprint()
    assert {name: getattr(read, name) for name in claims} == claims


@given(seed=SEEDS, narrowing=NARROWINGS)
def test_it_takes_the_blocks_that_we_make(seed: bytes, narrowing: dict[str, Any]) -> None:
    signer = Signer(Secret(seed))
    given_ = msgspec.convert(narrowing, Narrowing)
    to = thumbprint(signer.public)
    text = delegate(signer, grant=GRANT, chain=None, to=to, narrowing=given_, now=NOW * SECOND)
    header, claims = read_by_joserfc(text)
    assert header["typ"] == "coatcheck-block+jwt"
    said = {"gid": GRANT, "p": digest(GRANT.encode()), "cnf": {"jkt": to}, "n": narrowing, "iat": NOW}
    assert claims == said
    (block,) = parse_chain(text, GRANT, to)
    assert block.narrowing == given_


@given(
    seed=SEEDS,
    jti=st.text("ABCxyz019-_", min_size=16, max_size=128),
    blanks=st.sampled_from([{}, {"indent": 2}, {"separators": (" , ", " : ")}, {"sort_keys": True}]),
)
def test_we_take_the_proofs_that_it_makes(seed: bytes, jti: str, blanks: dict[str, Any]) -> None:
    claims = {"htm": "GET", "htu": URL, "iat": NOW, "jti": jti, "gid": GRANT}
    claims |= {"bdh": digest(b""), "cdh": digest(b"c")}
    read = parse_proof(made_by_joserfc(seed, "coatcheck-proof+jwt", claims, **blanks))
    assert read.jkt == key_of(seed).thumbprint()
    assert {name: getattr(read, name) for name in claims} == claims


@given(seed=SEEDS, narrowing=NARROWINGS, ascii_=st.booleans(), indent=st.none() | st.just(1))
def test_we_take_the_blocks_that_it_makes(
    seed: bytes, narrowing: dict[str, Any], ascii_: bool, indent: int | None
) -> None:
    holder = key_of(seed).thumbprint()
    claims = {"iat": NOW, "n": narrowing, "cnf": {"jkt": holder}, "p": digest(GRANT.encode()), "gid": GRANT}
    text = made_by_joserfc(seed, "coatcheck-block+jwt", claims, ensure_ascii=ascii_, indent=indent)
    (block,) = parse_chain(text, GRANT, holder)
    assert block.jkt == holder
    assert block.narrowing.uses == narrowing.get("uses", block.narrowing.uses)


VECTORS = json.loads((make.FOLDER / "proofs.json").read_text(encoding="utf-8"))


def taken_by_joserfc(text: str) -> bool:
    try:
        return all(read_by_joserfc(part) for part in text.split("~"))
    except (JoseError, ValueError, LookupError, TypeError, RecursionError):
        return False


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_what_we_take_it_takes(vector: dict[str, Any]) -> None:
    assert taken_by_joserfc(vector.get("proof") or vector["chain"])


def taken_by_us(vector: dict[str, Any]) -> bool:
    try:
        if "chain" in vector:
            parse_chain(vector["chain"], vector["grant"], vector["holder"])
        else:
            parse_proof(vector["proof"])
    except CoatcheckError:
        return False
    return True


def test_what_it_refuses_we_refuse() -> None:
    """Of what we refuse it takes some: which members there are is not its business."""
    refused = [v for v in VECTORS["defective"] if not taken_by_joserfc(v.get("proof", v.get("chain")))]
    assert not any(map(taken_by_us, refused))
    assert 50 < len(refused) < len(VECTORS["defective"])


def test_bounds_are_those_of_the_pages() -> None:
    assert (MAX_PROOF_BYTES, MAX_CHAIN_BYTES) == (4_096, 16_384)
