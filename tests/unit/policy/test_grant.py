"""Grants: states, the scope against the schema, and the caps of a purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.policy.grants import END, NAME, SSN, START, grant, proposal
from tests.unit.schema.documents import schema
from vault.clock import SECOND
from vault.errors import BadInput, Denied
from vault.policy.grant import GrantState, ScopeEntry, check_purpose, check_scope

SCHEMA = schema()


@pytest.mark.parametrize(
    ("now", "uses", "state"),
    [
        (START - 1, 0, "pending"),
        (START, 0, "active"),
        (END - 1, 9, "active"),
        (END, 0, "expired"),
        (END + 1, 10, "expired"),
        (START, 10, "exhausted"),
        (START - 1, 10, "pending"),
        (START, 11, "exhausted"),
    ],
)
def test_the_state_of_an_active_row(now: int, uses: int, state: str) -> None:
    assert grant().state_at(now, uses) == state


@given(st.integers(START - 10, END + 10), st.integers(0, 12))
def test_revoked_is_revoked_whatever_clock_and_counter_say(now: int, uses: int) -> None:
    assert grant(state=GrantState.REVOKED).state_at(now, uses) == "revoked"


@given(
    st.integers(START - 10, END + 10),
    st.integers(START - 10, END + 10),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_a_grant_that_is_over_stays_over(one: int, other: int, few: int, many: int) -> None:
    (early, late), (less, more) = sorted((one, other)), sorted((few, many))
    over = ("expired", "exhausted")
    if grant().state_at(early, less) in over:
        assert grant().state_at(late, more) in over


def test_states_keep_their_spelling() -> None:
    assert [state.value for state in GrantState] == ["pending", "active", "suspended", "revoked"]


LAST4 = ScopeEntry(["customer.ssn"], ["mask"], ["plain"], mask="last4")
LAST2 = ScopeEntry(["customer.ssn"], ["mask", "reveal"], ["plain"], mask="last2", key_version=2)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("customer.ssn", "mask", "plain", "last4"), (LAST4,)),
        (("customer.ssn", "mask", "plain", "last2"), (LAST2,)),
        (("customer.ssn", "mask", "plain", "last9"), ()),
        (("customer.ssn", "mask", "plain", None), ()),
        (("customer.ssn", "reveal", "plain", None), (SSN, LAST2)),
        (("customer.name", "mask", "plain", "any"), (NAME,)),
        (("customer.name", "reveal", "sealed", None), ()),
        (("customer.iban", "reveal", "plain", None), ()),
        (("", "reveal", "plain", None), ()),
    ],
    ids=str,
)
def test_the_lines_of_a_scope_that_cover_a_use(asked: tuple[Any, ...], found: tuple[ScopeEntry, ...]) -> None:
    assert grant(scope=(SSN, LAST4, LAST2, NAME)).entries_for(*asked) == found


# the scope against the schema


def scope_refused(*entries: ScopeEntry, **changes: Any) -> tuple[str, dict[str, Any]]:
    with pytest.raises(BadInput) as refusal:
        check_scope(proposal(scope=entries, **changes), SCHEMA.fields)
    return refusal.value.code, refusal.value.facts


def test_a_scope_that_makes_sense() -> None:
    check_scope(proposal(scope=(ScopeEntry(["customer.name"], ["reveal"], ["plain"]),)), SCHEMA.fields)
    check_scope(proposal(scope=(SSN, LAST4), subjects=None), SCHEMA.fields)


@pytest.mark.parametrize(
    ("entry", "code", "facts"),
    [
        (ScopeEntry([], ["reveal"], ["plain"]), "member_missing", {"member": "scope"}),
        (ScopeEntry(["customer.ssn"], [], ["plain"]), "member_missing", {"member": "scope"}),
        (ScopeEntry(["customer.ssn"], ["reveal"], []), "member_missing", {"member": "scope"}),
        (ScopeEntry(["customer.ssn"], ["derive"], ["plain"]), "member_missing", {"member": "derive"}),
        (ScopeEntry(["customer.ssn"], ["reveal", "use"], ["plain"]), "operation_unsupported", {}),
        (ScopeEntry(["customer.ssn"], ["reveal"], ["posted"]), "operation_unsupported", {}),
        (ScopeEntry(["customer.ssn"], ["reveal"], ["sealed"]), "member_missing", {"member": "seal_to"}),
        (ScopeEntry(["customer.iban"], ["reveal"], ["plain"]), "field_unknown", {}),
        (ScopeEntry(["customer.ssn", "*"], ["reveal"], ["plain"]), "field_unknown", {}),
        (LAST2, "operation_unsupported", {"member": "mask"}),
        (
            ScopeEntry(["customer.name"], ["mask"], ["plain"]),
            "operation_unsupported",
            {"member": "mask", "field": "customer.name"},
        ),
    ],
)
def test_a_line_that_makes_no_sense(entry: ScopeEntry, code: str, facts: dict[str, Any]) -> None:
    assert scope_refused(entry, subjects=None) == (code, facts)
    assert scope_refused(SSN, entry, subjects=None) == (code, facts)


def test_a_scope_without_lines_makes_no_sense() -> None:
    assert scope_refused() == ("member_missing", {"member": "scope"})


def test_subjects_on_a_field_whose_tokens_belong_to_nobody_cannot_be_enforced() -> None:
    expected = ("subjects_unenforceable", {"field": "customer.ssn"})
    assert scope_refused(SSN) == scope_refused(NAME_ONLY, SSN) == scope_refused(SSN, subjects=()) == expected


NAME_ONLY = ScopeEntry(["customer.name"], ["reveal"], ["plain"])

# the caps of a purpose


def test_within_the_caps_of_the_purpose() -> None:
    check_purpose(proposal(uses=50, valid_until=START + 900 * SECOND), SCHEMA.purposes["support"])


def test_over_a_cap_of_the_purpose() -> None:
    purpose = SCHEMA.purposes["support"]
    with pytest.raises(BadInput) as uses:
        check_purpose(proposal(uses=51), purpose)
    assert (uses.value.code, uses.value.facts) == ("limit_invalid", {"member": "uses", "most": 50})
    with pytest.raises(BadInput) as ttl:
        check_purpose(proposal(valid_until=END + 1), purpose)
    assert (ttl.value.code, ttl.value.facts) == ("validity_invalid", {"most_seconds": 900})
    closed = replace(purpose, deliveries=frozenset())
    sealed = ScopeEntry(["customer.ssn"], ["reveal"], ["sealed"])
    check_purpose(proposal(scope=(sealed,)), closed)
    with pytest.raises(Denied, match="plain_delivery_denied"):
        check_purpose(proposal(scope=(SSN, sealed)), closed)


def test_a_keyed_grant_has_no_caps_but_its_creators_and_plain_delivery_by_its_own_list() -> None:
    purpose = SCHEMA.purposes["support"]
    keyed = proposal(uses=51, valid_until=END + 1, keyed=True)
    with pytest.raises(Denied, match="plain_delivery_denied"):
        check_purpose(keyed, purpose)
    check_purpose(keyed, replace(purpose, keyed_deliveries=frozenset({"plain"})))


def test_a_purpose_that_names_no_delivery_allows_none() -> None:
    bare = schema({"purposes/bare": {"legal_basis": "consent"}}).purposes["bare"]
    with pytest.raises(Denied, match="plain_delivery_denied"):
        check_purpose(proposal(), bare)
