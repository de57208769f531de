"""Chains only narrow (P11), and no damage to proof or chain is taken (P6).

COATCHECK_FULL=1 tries 10^5 random chains, and damages one of three blocks.
"""

from __future__ import annotations

import base64
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
from msgspec import UNSET

from tests.unit.envelope.damage import flips
from tests.vectors.made_proofs import BODY, GRANT, NOW, URL, chain_of, proof_claims
from tests.vectors.made_statements import JKT, KEYS, PROOF, digest, made
from vault.clock import SECOND, Micros
from vault.crypto import jws
from vault.crypto.statements import Narrowing
from vault.errors import CoatcheckError, Denied
from vault.policy import narrowing
from vault.policy.block import Block, check_holder, parse_chain
from vault.policy.narrowing import Bounds, narrow_all
from vault.policy.proof import check_proof, parse_proof

FULL: Final = os.environ.get("COATCHECK_FULL") == "1"
CHAINS: Final = 100_000 if FULL else 5_000
SEED: Final = 20261123
TTL_S: Final = 300

# P11: random chains


OPERATIONS = ("reveal", "mask", "derive", "verify", "use")
FIELDS = ("customer.phone", "customer.ssn", "customer.birthdate")
SUBJECTS = ("cust-1", "cust-2", "cust-3")
MASKS = ("last4", "first1", "none")
DESTINATIONS = ("bank", "post")


def some(chance: random.Random, of: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(chance.sample(of, chance.randint(1, len(of))))


def root(chance: random.Random) -> Bounds:
    return Bounds(
        operations=frozenset(some(chance, OPERATIONS)),
        fields=frozenset(some(chance, FIELDS)),
        subjects=chance.choice((None, frozenset(some(chance, SUBJECTS)))),
        mask=chance.choice((None, None, *MASKS)),
        destinations=chance.choice((None, frozenset(some(chance, DESTINATIONS)))),
        uses=chance.choice((None, chance.randint(1, 30))),
        until=(NOW + chance.randint(1, 400)) * SECOND + chance.choice((0, 1, SECOND - 1)),
    )


def given(chance: random.Random) -> Narrowing:
    """Each member now and then; small sets and numbers, so that it is narrower about as often as not."""
    members: dict[str, Any] = {
        "operations": some(chance, OPERATIONS),
        "fields": some(chance, FIELDS),
        "subjects": some(chance, SUBJECTS),
        "mask": chance.choice(MASKS),
        "destinations": some(chance, DESTINATIONS),
        "uses": chance.randint(1, 30),
        "exp": NOW + chance.randint(-10, 400),
    }
    return Narrowing(**{name: value for name, value in members.items() if chance.random() < 0.2})


def chains(count: int) -> Iterator[tuple[Bounds, list[Block]]]:
    chance = random.Random(SEED)
    for _ in range(count):
        blocks = [
            Block(
                str(number),
                GRANT,
                JKT[number],
                JKT[number + 1],
                given(chance),
                NOW + chance.randint(-200, 70),
            )
            for number in range(chance.randint(0, 3))
        ]
        yield root(chance), blocks


Use = tuple[str, str, str, str | None, str, int, Micros]


def allows(bounds: Bounds, use: Use) -> bool:
    """Whether bounds let somebody do one thing: written by itself, from the meaning of each member."""
    operation, field, subject, mask, destination, nth, at = use
    return (
        operation in bounds.operations
        and field in bounds.fields
        and (bounds.subjects is None or subject in bounds.subjects)
        and (operation != "mask" or bounds.mask in (None, mask))
        and (operation != "use" or bounds.destinations is None or destination in bounds.destinations)
        and (bounds.uses is None or nth <= bounds.uses)
        and at < bounds.until
    )


def says(block: Block, use: Use) -> bool:
    """Whether what a block says lets somebody do it."""
    operation, field, subject, mask, destination, nth, at = use
    n = block.narrowing
    return (
        (n.operations is UNSET or operation in n.operations)
        and (n.fields is UNSET or field in n.fields)
        and (n.subjects is UNSET or subject in n.subjects)
        and (n.mask is UNSET or operation != "reveal")
        and (n.mask is UNSET or operation != "mask" or mask == n.mask)
        and (n.destinations is UNSET or operation != "use" or destination in n.destinations)
        and (n.uses is UNSET or nth <= n.uses)
        and (n.exp is UNSET or at < n.exp * SECOND)
        and at < (block.iat + TTL_S) * SECOND
    )


def anything(chance: random.Random) -> Use:
    return (
        chance.choice(OPERATIONS),
        chance.choice(FIELDS),
        chance.choice((*SUBJECTS, "cust-4")),
        chance.choice(MASKS),
        chance.choice((*DESTINATIONS, "shop")),
        chance.randint(1, 31),
        (NOW + chance.randint(-20, 410)) * SECOND + chance.choice((-1, 0, 1)),
    )


Narrow = Callable[..., Bounds]


def widened(narrow: Narrow, count: int) -> tuple[int, int, int]:
    """(chains that were taken, uses that a chain allowed, uses allowed that grant or a block does not)."""
    chance = random.Random(SEED + 1)
    taken = allowed = wrong = 0
    for bounds, blocks in chains(count):
        try:
            left = narrow(bounds, blocks, depth=3, ttl_max_s=TTL_S, now=NOW * SECOND)
        except Denied as refusal:
            if refusal.code != "delegation_denied":
                raise
            continue
        taken += 1
        for use in (anything(chance) for _ in range(8)):
            may = allows(left, use)
            meant = allows(bounds, use) and all(says(block, use) for block in blocks)
            allowed += may
            wrong += may and not meant
    return taken, allowed, wrong


def test_p11_random_chains_only_narrow() -> None:
    taken, allowed, wrong = widened(narrow_all, CHAINS)
    assert wrong == 0
    assert CHAINS // 4 < taken < CHAINS
    assert allowed > taken // 20


def test_p11_each_member_of_the_bounds_is_within_the_ones_before() -> None:
    for bounds, blocks in chains(CHAINS):
        for number in range(len(blocks)):
            try:
                before = narrow_all(bounds, blocks[:number], depth=3, ttl_max_s=TTL_S, now=NOW * SECOND)
                left = narrow_all(bounds, blocks[: number + 1], depth=3, ttl_max_s=TTL_S, now=NOW * SECOND)
            except Denied:
                break
            assert left.operations <= before.operations
            assert left.fields <= before.fields
            assert before.subjects is None or (left.subjects is not None and left.subjects <= before.subjects)
            assert before.mask in (None, left.mask)
            assert before.destinations is None or (
                left.destinations is not None and left.destinations <= before.destinations
            )
            assert before.uses is None or (left.uses is not None and left.uses <= before.uses)
            assert left.until <= before.until


def test_p11_what_a_grant_and_all_blocks_allow_is_allowed() -> None:
    """Nothing is taken away that nobody took away, so that the test above cannot hold for want of answers."""
    chance = random.Random(SEED + 2)
    asked = 0
    for bounds, blocks in chains(CHAINS // 5):
        try:
            left = narrow_all(bounds, blocks, depth=3, ttl_max_s=TTL_S, now=NOW * SECOND)
        except Denied:
            continue
        for use in (anything(chance) for _ in range(20)):
            if allows(bounds, use) and all(says(block, use) for block in blocks):
                asked += 1
                assert allows(left, use)
    assert asked > 20


@pytest.mark.parametrize(
    "forgotten", ["operations", "fields", "subjects", "mask", "destinations", "uses", "exp", "ttl"]
)
def test_p11_a_narrowing_that_forgets_a_member_is_found(forgotten: str) -> None:
    """Control: the same search finds each."""

    def careless(bounds: Bounds, blocks: list[Block], **how: Any) -> Bounds:
        left = narrow_all(bounds, blocks, **{**how, "ttl_max_s": 10**9 if forgotten == "ttl" else TTL_S})
        if forgotten == "ttl":
            return left
        if forgotten == "mask":
            return replace(
                left, mask=bounds.mask, operations=left.operations | (bounds.operations & {"reveal"})
            )
        if forgotten == "exp":
            return replace(left, until=bounds.until)
        kept: dict[str, Any] = {forgotten: getattr(bounds, forgotten)}
        return replace(left, **kept)

    assert widened(careless, 3_000)[2] > 0


@pytest.mark.parametrize("member", ["operations", "fields", "subjects", "destinations"])
def test_p11_a_list_that_replaces_the_one_before_is_found(
    member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: a narrowing that takes what a block says for what is left."""
    subset = narrowing._subset

    def replaces(held: Any, given: Any, name: str) -> Any:
        if name == member:
            return held if given is UNSET else frozenset(given)
        return subset(held, given, name)

    monkeypatch.setattr(narrowing, "_subset", replaces)
    assert widened(narrow_all, 3_000)[2] > 0


# P6: damage


NARROWER = ({"uses": 9}, {"subjects": ["größe"]}, {"uses": 5})[: 3 if FULL else 2]
CHAIN = chain_of(*NARROWER)
LAST = JKT[len(NARROWER)]
DELEGATED = made(PROOF, proof_claims(cdh=digest(CHAIN.encode())), KEYS[len(NARROWER)])
PLAIN = made(PROOF, proof_claims(), KEYS[0])


def admits(proof: str, chain: str | None) -> None:
    """All of a request's checks that need no database."""
    read = parse_proof(proof)
    check_proof(
        read,
        method="POST",
        url=URL,
        grant=GRANT,
        body_digest=digest(BODY),
        chain_digest=None if chain is None else digest(chain.encode("utf-8", "surrogatepass")),
        now=NOW * SECOND,
    )
    blocks = () if chain is None else parse_chain(chain, GRANT, JKT[0])
    check_holder(blocks, JKT[0], read.jkt)


def outcome(call: Callable[..., object], *given: Any) -> str:
    """The code of a refusal and its facts; empty if there is none."""
    try:
        call(*given)
    except CoatcheckError as refusal:
        return " ".join((refusal.code, *refusal.facts))
    return ""


def damages(text: str) -> Iterator[str]:
    """Each bit flipped, each truncation at either end, each character gone or doubled, any at an end."""
    for raw in flips(text.encode()):
        yield raw.decode("latin-1")
    for at in range(len(text)):
        yield text[:at]
        yield text[at + 1 :]
        yield text[:at] + text[at + 1 :]
        yield text[: at + 1] + text[at:]
    for at, character in enumerate(text):
        if character in ".~" or at == len(text) - 1:
            place = at if at == len(text) - 1 else at - 1
            for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
                yield text[:place] + other + text[place + 1 :]
    for more in ("A", "=", ".", "~", " ", "\n", "\0", "\u200b", "\ud800"):
        yield text + more
        yield more + text


def test_p6_every_damage_to_a_proof_is_refused_with_one_error() -> None:
    admits(PLAIN, None)
    admits(DELEGATED, CHAIN)
    for proof, chain in ((PLAIN, None), (DELEGATED, CHAIN)):
        tried = [other for other in damages(proof) if other != proof]
        assert {outcome(parse_proof, other) for other in tried} == {"proof_invalid"}
        assert len(tried) > 8 * len(proof)
        assert outcome(admits, proof, chain) == ""


def test_p6_every_damage_to_a_chain_is_refused_with_one_error() -> None:
    """Of a chain that lost its last blocks only the proof says so: what is left is another delegate's."""
    parts = CHAIN.split("~")
    shorter = {"~".join(parts[:count]) for count in range(1, len(parts))}
    tried = {other: outcome(parse_chain, other, GRANT, JKT[0]) for other in damages(CHAIN) if other != CHAIN}
    assert len(tried) > 8 * len(CHAIN)
    assert {code for other, code in tried.items() if other not in shorter} == {"delegation_denied"}
    for other in shorter:
        assert tried[other] == ""
        assert outcome(admits, DELEGATED, other) == "proof_invalid"
        assert outcome(check_holder, parse_chain(other, GRANT, JKT[0]), JKT[0], LAST) == "proof_invalid"


def test_p6_a_reader_without_signatures_takes_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    monkeypatch.setattr("vault.crypto.jws.verify", lambda *_: None)
    taken = [other for other in damages(PLAIN) if other != PLAIN and not outcome(parse_proof, other)]
    assert len(taken) > 100


def test_p6_a_reader_with_lenient_base64_takes_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the spare bits of a signature's last character, and what stands behind it."""

    def lenient(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "===")

    monkeypatch.setattr("vault.crypto.jws.decode", lenient)
    # Nor may what it reads be remembered for the strict one.
    monkeypatch.setattr("vault.crypto.jws._known", jws._signer)
    taken = [other for other in damages(PLAIN) if other != PLAIN and not outcome(parse_proof, other)]
    assert len(taken) > 10
