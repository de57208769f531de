"""Proofs: for one request, for a minute, and silent. What makes one unreadable stands in the vectors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.echo import shown
from tests.vectors.made_proofs import BODY, GRANT, JTI, NOW, URL, block_claims, proof_claims
from tests.vectors.made_statements import BLOCK, JKT, KEYS, PROOF, digest, made
from vault.clock import SECOND
from vault.errors import Unauthenticated
from vault.policy.proof import MAX_AGE_S, Proof, check_proof, parse_proof

ASKED: dict[str, Any] = {
    "method": "POST",
    "url": URL,
    "grant": GRANT,
    "body_digest": digest(BODY),
    "chain_digest": None,
    "now": NOW * SECOND,
}


def proof(**claims: Any) -> Proof:
    return parse_proof(made(PROOF, proof_claims(**claims), KEYS[0]))


def code(read: Proof, **asked: Any) -> str | None:
    """What a request is refused with; None if it is not."""
    try:
        check_proof(read, **{**ASKED, **asked})
    except Unauthenticated as refusal:
        return refusal.code + "".join(refusal.facts)
    return None


def test_a_proof_says_who_and_what() -> None:
    read = proof(cdh=digest(b"chain"))
    assert (read.jkt, read.key) == (JKT[0], KEYS[0].public_key().public_bytes_raw())
    assert (read.htm, read.htu, read.iat, read.jti, read.gid) == ("POST", URL, NOW, JTI, GRANT)
    assert (read.bdh, read.cdh) == (digest(BODY), digest(b"chain"))
    assert proof().cdh is None


def test_a_proof_is_for_its_request() -> None:
    assert code(proof()) is None
    assert code(proof(cdh=digest(b"c")), chain_digest=digest(b"c")) is None
    for member, other in (
        ("method", "GET"),
        ("url", URL + "/"),
        ("grant", GRANT[:-1] + "J"),
        ("body_digest", digest(b"")),
        ("chain_digest", digest(b"")),
    ):
        assert code(proof(), **{member: other}) == "proof_invalid"
    assert code(proof(cdh=digest(b"c"))) == "proof_invalid"
    assert code(proof(cdh=digest(b"c")), chain_digest=digest(b"d")) == "proof_invalid"


@pytest.mark.parametrize(
    ("htu", "url"),
    [
        ("https://H.example/a", "https://h.EXAMPLE/a"),
        ("HTTPS://h.example/a", "https://h.example/a"),
        ("https://h.example/a", "https://h.example/a?b=/c://d"),
        ("https://h.example/a", "https://h.example/a?"),
        ("https://[::AB]:1/a", "https://[::ab]:1/a"),
        ("https://h/A%2f", "https://h/A%2f"),
    ],
)
def test_urls_that_are_the_same(htu: str, url: str) -> None:
    assert code(proof(htu=htu), url=url) is None


@pytest.mark.parametrize(
    ("htu", "url"),
    [
        ("https://h/a", "https://h/A"),
        ("https://h/a", "http://h/a"),
        ("https://h/a", "https://h:443/a"),
        ("https://h/a", "https://h/a/"),
        ("https://h/%2F", "https://h/%2f"),
        ("https://h/a?b", "https://h/a?b"),
        ("https://h/a#b", "https://h/a"),
        ("https://u@h/a", "https://h/a"),
        ("https://h", "https://h/"),
        ("//h/a", "https://h/a"),
        ("/a", "https://h/a"),
        ("https:/h/a", "https://h/a"),
        ("https://h/a/../b", "https://h/b"),
    ],
)
def test_urls_that_differ(htu: str, url: str) -> None:
    assert code(proof(htu=htu), url=url) == "proof_invalid"


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (0, None),
        (MAX_AGE_S * SECOND, None),
        (-MAX_AGE_S * SECOND, None),
        (MAX_AGE_S * SECOND + 1, "proof_expired"),
        (-MAX_AGE_S * SECOND - 1, "proof_expired"),
        (10**17, "proof_expired"),
    ],
)
def test_a_proof_is_for_a_minute(late: int, expected: str | None) -> None:
    assert code(proof(), now=NOW * SECOND + late) == expected


def test_one_that_is_old_and_for_another_request_is_invalid() -> None:
    assert code(proof(), now=0, method="GET") == "proof_invalid"


def test_a_block_is_no_proof() -> None:
    """Signed by the same key, and never taken for each other."""
    with pytest.raises(Unauthenticated):
        parse_proof(made(BLOCK, block_claims(), KEYS[0]))
    with pytest.raises(Unauthenticated):
        parse_proof(made(BLOCK, proof_claims(), KEYS[0]))


def test_a_proof_is_not_shown() -> None:
    read = proof()
    for form in (repr(read), str(read), f"{read}"):
        assert form == "<Proof>"
    text = made(PROOF, proof_claims(jti="canary"), KEYS[0])
    with pytest.raises(Unauthenticated) as refusal:
        parse_proof(text)
    assert (refusal.value.code, refusal.value.facts) == ("proof_invalid", {})
    assert refusal.value.__suppress_context__
    assert "canary" not in shown(refusal.value)
