"""One use of a grant: the order of checks, what is charged, and never more than the grant has."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.policy.grants import END, START, grant, request
from vault.policy.decision import Decision, UseRequest, decide_use
from vault.policy.grant import GrantState, ScopeEntry

LAST4 = ScopeEntry(["customer.ssn"], ["mask"], ["plain"], mask="last4")

# (what is wrong, grant, uses, now, request, decision): in the order in which checks are made
WRONG: list[tuple[str, dict[str, Any], dict[str, Any], Decision]] = [
    ("revoked", {"state": GrantState.REVOKED}, {}, Decision("grant_invalid", 0, 6)),
    ("expired", {"valid_until": START}, {}, Decision("grant_invalid", 0, 6)),
    ("too early", {"valid_from": START + 1}, {}, Decision("outside_window", 0, 6)),
    ("too dear", {"max_uses": 6}, {}, Decision("budget_exhausted", 0, 11)),
    ("another purpose", {}, {"purpose": "fraud"}, Decision("purpose_mismatch", 3, 7)),
    ("too many at once", {"batch": 2}, {}, Decision("scope_denied", 3, 8, "batch")),
    ("another field", {}, {"fields": ("customer.iban",)}, Decision("scope_denied", 3, 8, "field")),
]


def decide(wrongs: list[tuple[str, dict[str, Any], dict[str, Any], Decision]]) -> Decision:
    """Three items on a grant that was used four times, with everything wrong at once."""
    of_grant: dict[str, Any] = {}
    of_request: dict[str, Any] = {"items": 3}
    for _, grant_changes, request_changes, _ in wrongs:
        of_grant |= grant_changes
        of_request |= request_changes
    return decide_use(grant(**of_grant), 4, START, request(**of_request))


def test_a_use_that_is_allowed_costs_its_items() -> None:
    assert decide([]) == Decision(None, 3)
    assert decide_use(grant(), 6, END - 1, request(items=4)) == Decision(None, 4)
    assert decide_use(grant(), 10, START, request(items=0, fields=())) == Decision(None, 0)


@pytest.mark.parametrize("size", range(1, len(WRONG) + 1))
def test_of_everything_that_is_wrong_the_first_check_answers(size: int) -> None:
    for wrongs in itertools.combinations(WRONG, size):
        assert decide(list(wrongs)) == wrongs[0][3], [wrong[0] for wrong in wrongs]


@pytest.mark.parametrize(
    "changes",
    [
        {"operation": "use"},
        {"operation": "mask", "mask": "last4"},
        {"delivery": "sealed"},
        {"fields": ("customer.ssn", "customer.iban")},
        {"fields": ("customer.iban", "customer.ssn")},
    ],
    ids=str,
)
def test_what_the_scope_does_not_cover_is_denied_and_charged(changes: dict[str, Any]) -> None:
    assert decide_use(grant(), 0, START, request(**changes)) == Decision("scope_denied", 1, 8, "field")


@pytest.mark.parametrize(
    ("mask", "code"), [("last4", None), ("last2", "scope_denied"), (None, "scope_denied")]
)
def test_a_pinned_mask_is_the_only_one(mask: str | None, code: str | None) -> None:
    asked = request(operation="mask", mask=mask)
    assert decide_use(grant(scope=(LAST4,)), 0, START, asked).code == code


def test_a_second_line_of_the_scope_may_allow_what_the_first_does_not() -> None:
    last2 = ScopeEntry(["customer.ssn"], ["mask"], ["plain"], mask="last2")
    for mask in ("last4", "last2"):
        asked = request(operation="mask", mask=mask)
        assert decide_use(grant(scope=(LAST4, last2)), 0, START, asked) == Decision(None, 1)


requests = st.builds(
    UseRequest,
    operation=st.sampled_from(["reveal", "mask", "use"]),
    delivery=st.sampled_from(["plain", "sealed"]),
    purpose=st.sampled_from(["support", "fraud"]),
    mask=st.none() | st.sampled_from(["last4", "last2"]),
    fields=st.lists(st.sampled_from(["customer.ssn", "customer.name", "customer.iban"]), unique=True).map(
        tuple
    ),
    items=st.integers(0, 6),
)


@given(
    st.lists(requests, max_size=12),
    st.integers(0, 6),
    st.integers(1, 6),
    st.lists(st.integers(START - 2, END + 2), min_size=12, max_size=12),
)
def test_whatever_is_asked_a_grant_never_gives_more_than_it_has(
    asked: list[UseRequest], max_uses: int, batch: int, times: list[int]
) -> None:
    held, uses = grant(max_uses=max_uses, batch=batch, scope=(LAST4, *grant().scope)), 0
    for one, now in zip(asked, sorted(times), strict=False):
        decision = decide_use(held, uses, now, one)
        assert decision.charged in (0, one.items)
        if decision.code in ("grant_invalid", "outside_window", "budget_exhausted"):
            assert decision.charged == 0
        else:
            assert decision.charged == one.items
        if decision.code is None:
            assert START <= now < END
            assert (one.purpose, one.items <= batch) == ("support", True)
        uses += decision.charged
        assert uses <= max_uses


def test_every_way_to_spend_a_small_grant() -> None:
    """The whole model: all sequences of up to five uses, allowed and denied, of a grant of up to four."""
    asked = [request(items=items, purpose=purpose) for items in range(4) for purpose in ("support", "fraud")]
    for max_uses, batch in itertools.product(range(5), range(1, 4)):
        held = grant(max_uses=max_uses, batch=batch)
        reached = {(0, 0)}  # (charged, values given)
        for _ in range(5):
            for (uses, given_), one in itertools.product(sorted(reached), asked):
                decision = decide_use(held, uses, START, one)
                shown = one.items if decision.code is None else 0
                assert shown <= decision.charged <= max_uses - uses
                assert (decision.code == "budget_exhausted") == (one.items > max_uses - uses)
                reached.add((uses + decision.charged, given_ + shown))
        assert max(uses for uses, _ in reached) == max_uses
        assert max(given_ for _, given_ in reached) == max_uses
        assert all(given_ <= uses for uses, given_ in reached)
