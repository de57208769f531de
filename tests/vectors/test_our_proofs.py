"""The package's readers of proofs and chains without one of their checks."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.vectors.our_proofs import Grants
from tests.vectors.test_defects import disagreements, load, mutants, of_ours
from vault.crypto import base64url, jws, signing
from vault.crypto.statements import MAX_CHAIN_BYTES, MAX_PROOF_BYTES, BlockClaims, ProofClaims
from vault.policy import block, proof

REPEATED = {
    "not text.isascii()": "what is not ASCII is not decoded either; but its error would hold the text",
    "text.count('.') != 2": "then it does not fall into three",
}


def with_statements(made: ModuleType) -> Any:
    """The package's readers over another reader of statements."""
    ours_proof, ours_block = load(proof, source(proof)), load(block, source(block))
    vars(ours_proof)["PROOF"] = made.Statement("coatcheck-proof+jwt", ProofClaims, MAX_PROOF_BYTES)
    vars(ours_block)["BLOCK"] = made.Statement("coatcheck-block+jwt", BlockClaims, MAX_CHAIN_BYTES)
    return over(ours_proof, ours_block)


def over(of_proof: Any, of_block: Any) -> Any:
    names = {
        "parse_proof": staticmethod(of_proof.parse_proof),
        "check_proof": staticmethod(of_proof.check_proof),
        "parse_chain": staticmethod(of_block.parse_chain),
    }
    return type("Mutant", (), names)


def source(module: ModuleType) -> str:
    assert module.__file__ is not None
    with open(module.__file__, encoding="utf-8") as file:
        return file.read()


def ours() -> Iterator[tuple[str, Any]]:
    """(which check is gone, the readers without it)."""
    for check, text in mutants(jws, {"_read", "_decoded", "_signer"}):
        yield check, with_statements(load(jws, text))
    for check, text in mutants(base64url, {"decode"}):
        lenient = load(jws, source(jws))
        vars(lenient)["decode"] = vars(load(base64url, text))["decode"]
        yield check, with_statements(lenient)
    for check, text in mutants(proof, {"check_proof"}):
        yield check, over(load(proof, text), block)
    for check, text in mutants(block, {"parse_chain"}):
        yield check, over(proof, load(block, text))


def test_the_package_without_one_check_disagrees_somewhere() -> None:
    assert disagreements("proofs", of_ours, Grants) == []
    tried = dict(ours())
    survived = {check for check, by in tried.items() if not disagreements("proofs", of_ours, by)}
    assert len(tried) >= 19
    assert survived == REPEATED.keys()


def test_a_reader_that_does_not_look_at_signatures_disagrees() -> None:
    lenient = load(jws, source(jws))
    vars(lenient)["verify"] = lambda *_: None
    assert len(disagreements("proofs", of_ours, with_statements(lenient))) >= 20


@pytest.mark.parametrize("member", ["alg", "typ", "kty", "crv"])
def test_a_reader_to_which_a_member_of_the_header_says_nothing_disagrees(member: str) -> None:
    text = source(jws)
    for literal in ('"Ed25519"', '"OKP"'):
        text = text.replace(f"{member}: Literal[{literal}]", f"{member}: object")
    text = text.replace("typ != self.typ", "False") if member == "typ" else text
    assert text != source(jws)
    assert disagreements("proofs", of_ours, with_statements(load(jws, text)))


def test_signatures_are_looked_at_by_libsodium() -> None:
    assert vars(jws)["verify"] is signing.verify
