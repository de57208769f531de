"""What holders sign is what the service takes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vectors.made_proofs import BODY, GRANT, JTI, NOW, URL
from vault.client.proofs import delegate, make_proof, new_jti, proof_headers
from vault.clock import SECOND
from vault.crypto.base64url import digest
from vault.crypto.signing import Signer, thumbprint
from vault.crypto.statements import Narrowing
from vault.errors import BadInput
from vault.policy.block import check_holder, parse_chain
from vault.policy.proof import check_proof, parse_proof
from vault.secret import Secret

SIGNERS = [Signer(Secret(bytes([seed]) * 32)) for seed in range(1, 6)]
JKT = [thumbprint(signer.public) for signer in SIGNERS]
ASKED: dict[str, Any] = {"method": "POST", "url": URL, "grant": GRANT, "body": BODY, "now": NOW * SECOND}


def chain_of(*narrowings: Narrowing) -> str:
    chain = None
    for number, narrowing in enumerate(narrowings):
        chain = delegate(
            SIGNERS[number],
            grant=GRANT,
            chain=chain,
            to=JKT[number + 1],
            narrowing=narrowing,
            now=NOW * SECOND,
        )
    assert chain is not None
    return chain


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_request_of_a_delegate_is_admitted(depth: int) -> None:
    chain = chain_of(*[Narrowing(uses=9 - number) for number in range(depth)]) if depth else None
    headers = proof_headers(SIGNERS[depth], chain=chain, **ASKED)
    assert headers["Authorization"] == f"Grant {GRANT}"
    assert headers.get("Coatcheck-Chain") == chain
    proof = parse_proof(headers["DPoP"])
    check_proof(
        proof,
        method="POST",
        url=URL,
        grant=GRANT,
        body_digest=digest(BODY),
        chain_digest=None if chain is None else digest(chain.encode()),
        now=NOW * SECOND,
    )
    blocks = () if chain is None else parse_chain(chain, GRANT, JKT[0])
    check_holder(blocks, JKT[0], proof.jkt)
    assert len(blocks) == depth


@pytest.mark.parametrize(
    ("url", "htu"),
    [
        ("https://h/a?b=c", "https://h/a"),
        ("https://h/a#b", "https://h/a"),
        ("https://h", "https://h/"),
        ("http://h:8700/v1/eu/grants", "http://h:8700/v1/eu/grants"),
    ],
)
def test_a_proof_names_the_url_without_its_query(url: str, htu: str) -> None:
    proof = make_proof(SIGNERS[0], chain=None, **{**ASKED, "url": url})
    assert parse_proof(proof).htu == htu


def test_each_proof_has_a_name_of_its_own() -> None:
    named = {parse_proof(make_proof(SIGNERS[0], chain=None, **ASKED)).jti for _ in range(20)}
    assert len(named) == 20
    assert parse_proof(make_proof(SIGNERS[0], chain=None, jti=JTI, **ASKED)).jti == JTI
    assert len(new_jti()) == 43


@pytest.mark.parametrize(
    "other",
    [
        {"method": "post"},
        {"url": "https://h/" + "a" * 2048},
        {"url": "https://h/ü"},
        {"grant": "gr_1"},
        {"jti": "a"},
    ],
    ids=str,
)
def test_what_no_proof_can_say_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="parameter_invalid"):
        make_proof(SIGNERS[0], chain=None, **{**ASKED, **other})


def test_what_no_block_can_say_is_refused() -> None:
    whole = chain_of(Narrowing(), Narrowing(), Narrowing())
    fields = tuple(f"field.{number:09}" for number in range(1_000))
    for chain, grant, narrowing in (
        (whole, GRANT, Narrowing()),
        (None, "gr_1", Narrowing()),
        (None, GRANT, Narrowing(uses=0)),
        (None, GRANT, Narrowing(fields=())),
        (None, GRANT, Narrowing(fields=fields)),
    ):
        with pytest.raises(BadInput, match="parameter_invalid"):
            delegate(SIGNERS[0], grant=grant, chain=chain, to=JKT[1], narrowing=narrowing, now=NOW * SECOND)


def test_chains_are_bounded_as_a_whole() -> None:
    some = Narrowing(fields=tuple(f"field.{number:09}" for number in range(300)))
    chain = chain_of(some, some)
    parse_chain(chain, GRANT, JKT[0])
    with pytest.raises(BadInput, match="parameter_invalid"):
        delegate(SIGNERS[2], grant=GRANT, chain=chain, to=JKT[3], narrowing=some, now=NOW * SECOND)
