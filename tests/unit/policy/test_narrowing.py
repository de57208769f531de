"""Narrowing: a block gives less or is refused. Random chains stand in tests/property/test_delegations.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vault.clock import SECOND
from vault.crypto.statements import Narrowing
from vault.errors import Denied
from vault.policy.block import Block
from vault.policy.narrowing import MAX_AHEAD_S, Bounds, narrow, narrow_all

NOW_S = 1_795_442_400
NOW = NOW_S * SECOND
TTL = 300

BOUNDS = Bounds(
    operations=frozenset({"reveal", "mask"}),
    fields=frozenset({"customer.phone", "customer.ssn"}),
    subjects=frozenset({"cust-1", "cust-2"}),
    mask=None,
    destinations=frozenset({"bank", "post"}),
    uses=20,
    until=NOW + 3600 * SECOND,
)
ANY = replace(BOUNDS, subjects=None, destinations=None, uses=None)


def block(**given: Any) -> Block:
    iat = given.pop("iat", NOW_S)
    return Block("i" * 43, "gr_" + "0" * 26, "s" * 43, "h" * 43, Narrowing(**given), iat)


def less(bounds: Bounds = BOUNDS, **given: Any) -> Bounds:
    return narrow(bounds, block(**given), ttl_max_s=TTL, now=NOW)


def refused(member: str, bounds: Bounds = BOUNDS, **given: Any) -> None:
    with pytest.raises(Denied) as refusal:
        less(bounds, **given)
    assert (refusal.value.code, refusal.value.facts) == ("delegation_denied", {"member": member})


def test_a_block_that_says_nothing_leaves_all_but_its_time() -> None:
    assert less() == replace(BOUNDS, until=NOW + TTL * SECOND)
    assert less(ANY) == replace(ANY, until=NOW + TTL * SECOND)


@pytest.mark.parametrize("member", ["operations", "fields", "subjects", "destinations"])
def test_a_list_leaves_what_it_names(member: str) -> None:
    held = getattr(BOUNDS, member)
    one = min(held)
    given: list[dict[str, Any]] = [
        {member: texts} for texts in ((one,), tuple(held), (one, "another"), ("another",))
    ]
    assert getattr(less(**given[0]), member) == {one}
    assert getattr(less(**given[1]), member) == held
    refused(member, **given[2])
    refused(member, **given[3])
    nothing: dict[str, Any] = {member: frozenset()}
    refused(member, replace(BOUNDS, **nothing), **given[0])


@pytest.mark.parametrize("member", ["subjects", "destinations"])
def test_of_any_any_list_is_less(member: str) -> None:
    given: dict[str, Any] = {member: ("another",)}
    assert getattr(less(ANY, **given), member) == {"another"}


def test_uses_are_not_more() -> None:
    assert less(uses=20).uses == 20
    assert less(uses=1).uses == 1
    refused("uses", uses=21)
    assert less(ANY, uses=10**12).uses == 10**12


def test_an_end_is_not_later() -> None:
    assert less(exp=NOW_S + TTL).until == NOW + TTL * SECOND
    assert less(exp=NOW_S + 1).until == NOW + SECOND
    assert less(exp=0).until == 0
    refused("exp", exp=NOW_S + TTL + 1)
    soon = replace(BOUNDS, until=NOW + 100 * SECOND + 1)
    assert less(soon).until == soon.until
    assert less(soon, exp=NOW_S + 100).until == NOW + 100 * SECOND
    refused("exp", soon, exp=NOW_S + 101)


def test_time_to_live_counts_from_when_a_block_was_made() -> None:
    assert less(iat=NOW_S - 200).until == NOW + 100 * SECOND
    refused("exp", iat=NOW_S - 200, exp=NOW_S + 101)
    assert less(iat=0).until == TTL * SECOND


def test_a_block_of_the_future_is_refused() -> None:
    assert less(iat=NOW_S + MAX_AHEAD_S).until == NOW + (TTL + MAX_AHEAD_S) * SECOND
    refused("iat", iat=NOW_S + MAX_AHEAD_S + 1)
    refused("iat", iat=253402300799)


def test_a_mask_takes_reveal_away() -> None:
    left = less(mask="last4")
    assert left == less(replace(BOUNDS, operations=frozenset({"mask"}), mask="last4"))
    assert less(mask="last4", operations=("mask",)) == left
    refused("mask", mask="last4", operations=("reveal", "mask"))
    refused("mask", mask="last4", operations=("reveal",))
    refused("mask", replace(BOUNDS, operations=frozenset({"reveal"})), mask="last4")
    refused("operations", left, operations=("reveal",))


def test_a_mask_stays_the_one_it_is() -> None:
    masked = replace(BOUNDS, operations=frozenset({"mask"}), mask="last4")
    assert less(masked).mask == "last4"
    assert less(masked, mask="last4").mask == "last4"
    refused("mask", masked, mask="first1")
    refused("mask", masked, mask="last2")


def test_a_chain_narrows_block_by_block() -> None:
    chain = [
        block(uses=10, fields=("customer.ssn",)),
        block(uses=5, mask="last4"),
        block(subjects=("cust-1",)),
    ]
    left = narrow_all(BOUNDS, chain, depth=3, ttl_max_s=TTL, now=NOW)
    assert left == Bounds(
        operations=frozenset({"mask"}),
        fields=frozenset({"customer.ssn"}),
        subjects=frozenset({"cust-1"}),
        mask="last4",
        destinations=BOUNDS.destinations,
        uses=5,
        until=NOW + TTL * SECOND,
    )
    assert narrow_all(BOUNDS, [], depth=0, ttl_max_s=TTL, now=NOW) == BOUNDS
    with pytest.raises(Denied):
        narrow_all(BOUNDS, [*chain[:2], block(uses=6)], depth=3, ttl_max_s=TTL, now=NOW)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_chain_is_not_deeper_than_the_grant_allows(depth: int) -> None:
    narrow_all(BOUNDS, [block()] * depth, depth=depth, ttl_max_s=TTL, now=NOW)
    with pytest.raises(Denied) as refusal:
        narrow_all(BOUNDS, [block()] * (depth + 1), depth=depth, ttl_max_s=TTL, now=NOW)
    assert refusal.value.facts == {"member": "depth"}


def test_bounds_are_not_shown() -> None:
    assert repr(BOUNDS) == "<Bounds>"
