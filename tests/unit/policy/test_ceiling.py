"""Nobody gives away more than its own ceiling, in any member."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.policy.grants import END, NAME, SSN, START, ceiling, proposal
from vault.clock import SECOND, parse_period
from vault.errors import Denied
from vault.policy.grant import Proposal, ScopeEntry, check_ceiling
from vault.policy.principal import Ceiling

WORDS = ["a", "b", "c"]
some = st.lists(st.sampled_from(WORDS), max_size=3, unique=True)
entries = st.builds(ScopeEntry, fields=some, operations=some, delivery=some)
proposals = st.builds(
    Proposal,
    agent=st.sampled_from(WORDS),
    purpose=st.sampled_from(WORDS),
    scope=st.lists(entries, min_size=1, max_size=3).map(tuple),
    subjects=st.none() | some.map(tuple),
    uses=st.integers(1, 6),
    batch=st.integers(1, 6),
    valid_from=st.just(START),
    valid_until=st.integers(START + 1, START + 3 * SECOND),
)
wide = st.lists(st.sampled_from(WORDS), min_size=2, max_size=3, unique=True)
ceilings = st.builds(
    Ceiling,
    fields=wide,
    operations=wide,
    deliveries=wide,
    purposes=wide,
    agents=wide,
    subjects=st.none() | wide,
    uses=st.integers(0, 6),
    uses_per_day=st.none() | st.integers(0, 12),
    ttl=st.sampled_from(["PT1S", "PT2S", "PT1H", "P1M"]),
)


def passes(asked: Proposal, held: Ceiling | None, given_today: int) -> bool:
    try:
        check_ceiling(asked, held, given_today)
    except Denied as denied:
        if denied.code not in ("delegation_denied", "budget_exhausted"):
            raise
        return False
    return True


def inside(asked: Proposal, held: Ceiling, given_today: int) -> bool:
    """What "inside" means, said once more in other words."""
    entries_inside = all(
        field in held.fields and operation in held.operations and delivery in held.deliveries
        for entry in asked.scope
        for field in entry.fields or held.fields[:1]
        for operation in entry.operations or held.operations[:1]
        for delivery in entry.delivery or held.deliveries[:1]
    )
    people = held.subjects is None or (
        asked.subjects is not None and all(person in held.subjects for person in asked.subjects)
    )
    period = parse_period(held.ttl)
    return (
        entries_inside
        and people
        and held.purposes.count(asked.purpose) == 1
        and held.agents.count(asked.agent) == 1
        and asked.uses <= held.uses
        and (held.uses_per_day is None or asked.uses + given_today <= held.uses_per_day)
        and asked.valid_until <= asked.valid_from + (period.months * 28 * 86_400 + period.seconds) * SECOND
    )


@given(proposals, st.none() | ceilings, st.integers(0, 12))
def test_what_passes_is_inside_and_what_is_inside_passes(
    asked: Proposal, held: Ceiling | None, given_today: int
) -> None:
    assert passes(asked, held, given_today) == (held is not None and inside(asked, held, given_today))


@given(proposals, ceilings, st.integers(0, 12), st.data())
def test_a_lower_ceiling_lets_nothing_more_through(
    asked: Proposal, held: Ceiling, given_today: int, data: st.DataObject
) -> None:
    member = data.draw(
        st.sampled_from(["fields", "operations", "deliveries", "purposes", "agents", "subjects"])
    )
    lists = {
        name: getattr(held, name) for name in ("fields", "operations", "deliveries", "purposes", "agents")
    }
    lists["subjects"] = held.subjects
    lists[member] = (lists[member] or WORDS)[1:]
    lower = Ceiling(**lists, uses=held.uses, uses_per_day=held.uses_per_day, ttl=held.ttl)
    assert passes(asked, held, given_today) or not passes(asked, lower, given_today)


def test_just_inside() -> None:
    check_ceiling(proposal(), ceiling(), 0)
    check_ceiling(proposal(), ceiling(subjects=None, uses_per_day=None), 10**12)
    check_ceiling(proposal(uses=4), ceiling(), 6)


WIDE = ScopeEntry(["customer.iban"], ["reveal"], ["plain"])
OUTSIDE: list[tuple[dict[str, Any], int, str, dict[str, Any]]] = [
    ({"purpose": "fraud"}, 0, "delegation_denied", {"member": "purpose"}),
    ({"agent": "agent:other"}, 0, "delegation_denied", {"member": "agent"}),
    ({"scope": (SSN, NAME, WIDE)}, 0, "delegation_denied", {"member": "fields"}),
    (
        {"scope": (SSN, ScopeEntry(["customer.ssn"], ["use"], ["plain"]))},
        0,
        "delegation_denied",
        {"member": "operations"},
    ),
    (
        {"scope": (SSN, ScopeEntry(["customer.ssn"], ["mask"], ["sealed"]))},
        0,
        "delegation_denied",
        {"member": "delivery"},
    ),
    ({"subjects": None}, 0, "delegation_denied", {"member": "subjects"}),
    ({"subjects": ("cust-1", "cust-2")}, 0, "delegation_denied", {"member": "subjects"}),
    ({"uses": 11}, 0, "delegation_denied", {"member": "uses", "most": 10}),
    ({"valid_until": END + 1}, 0, "delegation_denied", {"member": "valid", "most_seconds": 900}),
    ({}, 1, "budget_exhausted", {"member": "uses_per_day"}),
]


@pytest.mark.parametrize(("changes", "given_today", "code", "facts"), OUTSIDE, ids=str)
def test_one_member_outside(
    changes: dict[str, Any], given_today: int, code: str, facts: dict[str, Any]
) -> None:
    with pytest.raises(Denied) as refusal:
        check_ceiling(proposal(**changes), ceiling(), given_today)
    assert (refusal.value.code, refusal.value.facts) == (code, facts)


def test_without_a_ceiling_nothing_may_be_given() -> None:
    with pytest.raises(Denied) as refusal:
        check_ceiling(proposal(), None, 0)
    assert (refusal.value.code, refusal.value.facts) == ("delegation_denied", {"member": "ceiling"})


@pytest.mark.parametrize(
    ("emptied", "member"),
    [
        ({"purposes": []}, "purpose"),
        ({"agents": []}, "agent"),
        ({"fields": []}, "fields"),
        ({"operations": []}, "operations"),
        ({"deliveries": []}, "delivery"),
        ({"subjects": []}, "subjects"),
        ({"uses": 0}, "uses"),
        ({"ttl": "PT0S"}, "valid"),
        ({"uses_per_day": 0}, "uses_per_day"),
    ],
)
def test_what_a_ceiling_does_not_name_is_nothing(emptied: dict[str, Any], member: str) -> None:
    with pytest.raises(Denied) as refusal:
        check_ceiling(proposal(), ceiling(**emptied), 0)
    assert refusal.value.facts["member"] == member
