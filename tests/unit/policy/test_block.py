"""Chains: each block is by the holder before. What makes one unreadable stands in the vectors."""

from __future__ import annotations

import pytest

from tests.vectors.made_proofs import GRANT, block_claims, chain_of
from tests.vectors.made_statements import BLOCK, JKT, KEYS, digest, made
from vault.errors import Denied, Unauthenticated
from vault.policy.block import check_holder, parse_chain


def refused(text: str, gid: str = GRANT, holder: str = JKT[0]) -> None:
    with pytest.raises(Denied) as refusal:
        parse_chain(text, gid, holder)
    assert (refusal.value.code, refusal.value.facts) == ("delegation_denied", {})


def test_a_chain_is_read_from_the_grant_on() -> None:
    text = chain_of({"uses": 5}, {"uses": 3}, {"uses": 1})
    blocks = parse_chain(text, GRANT, JKT[0])
    assert [block.signer for block in blocks] == list(JKT[:3])
    assert [block.jkt for block in blocks] == list(JKT[1:4])
    assert [block.narrowing.uses for block in blocks] == [5, 3, 1]
    ids = [digest(part.rpartition(".")[0].encode()) for part in text.split("~")]
    assert [block.id for block in blocks] == ids


def test_a_block_has_one_id_whatever_follows_it() -> None:
    one, two = chain_of({"uses": 5}), chain_of({"uses": 5}, {"uses": 3})
    assert parse_chain(one, GRANT, JKT[0]) == parse_chain(two, GRANT, JKT[0])[:1]


def test_a_thief_of_a_chain_cannot_make_it_longer() -> None:
    """Nor can whoever stood before in it."""
    first = chain_of({})
    link = first.rpartition(".")[0]
    parse_chain(first + "~" + made(BLOCK, block_claims(3, link), KEYS[1]), GRANT, JKT[0])
    for key in (KEYS[0], KEYS[2], KEYS[3]):
        refused(first + "~" + made(BLOCK, block_claims(3, link), key))


def test_a_block_cannot_be_left_out() -> None:
    """Each is linked to the one before, even where a holder is the same twice."""
    blocks = [made(BLOCK, block_claims(0, n={"uses": 1}), KEYS[0])]
    blocks.append(made(BLOCK, block_claims(1, blocks[0].rpartition(".")[0]), KEYS[0]))
    parse_chain("~".join(blocks), GRANT, JKT[0])
    refused(blocks[1])


def test_the_last_holder_proves() -> None:
    blocks = parse_chain(chain_of({}, {}), GRANT, JKT[0])
    check_holder(blocks, JKT[0], JKT[2])
    check_holder((), JKT[0], JKT[0])
    for chain, other in ((blocks, JKT[0]), (blocks, JKT[1]), (blocks[:1], JKT[2]), ((), JKT[1])):
        with pytest.raises(Unauthenticated) as refusal:
            check_holder(chain, JKT[0], other)
        assert (refusal.value.code, refusal.value.facts) == ("proof_invalid", {})


def test_a_block_is_not_shown() -> None:
    (block,) = parse_chain(chain_of({"subjects": ["canary"]}), GRANT, JKT[0])
    assert block.narrowing.subjects == ("canary",)
    for form in (repr(block), str(block), repr(block.narrowing)):
        assert "canary" not in form
