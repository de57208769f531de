"""Break-glass: past a ceiling, for a short time, marked wherever it is used, reviewed by somebody else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.cells import AGENT, NAME, PHONE, SSN, BuiltCell
from tests.support.operators import operator
from vault.clock import SECOND, FixedClock, format_time
from vault.errors import BadInput, CoatcheckError, Conflict, Denied, Unauthenticated
from vault.policy.approval import Approval
from vault.policy.grant import ScopeEntry
from vault.policy.terms import Delegation
from vault.services.break_glass import (
    BreakGlassAnswer,
    BreakGlassBody,
    GlassReviewBody,
    break_glass,
    list_break_glass,
    overdue,
    review_break_glass,
)
from vault.services.grant_body import GrantLimits, Validity
from vault.services.grants import create_grant
from vault.services.listing import Page

HOUR = 3_600 * SECOND


def breaker(built: BuiltCell, name: str = "bea") -> str:
    session, _ = operator(built, name, roles=["auditor"], permissions=["break-glass:create"])
    return session


def reviewer(built: BuiltCell, name: str = "rex") -> str:
    session, _ = operator(built, name, roles=["privacy-officer"])
    return session


def body(built: BuiltCell, **more: Any) -> BreakGlassBody:
    members: dict[str, Any] = {
        "agent": AGENT,
        "purpose": "support",
        "scope": [ScopeEntry([NAME], ["reveal"], ["plain"])],
        "limits": GrantLimits(5),
        "reason": "the on-call system is down",
        "review_by": format_time(built.cell.clock.now() + 24 * HOUR),
    }
    return BreakGlassBody(**{**members, **more})


def listed(built: BuiltCell, by: str, *, overdue: bool = False) -> list[BreakGlassAnswer]:
    return built.run(
        lambda cell, request: list_break_glass(cell, request, Page(), overdue=overdue), by=by
    ).items


def test_it_is_past_the_ceiling_and_marked(built: BuiltCell) -> None:
    bea = breaker(built)
    with pytest.raises(Denied):  # without breaking the glass she may grant nothing
        built.run(create_grant, built.grant_body(NAME), by=bea)
    made = built.run(break_glass, body(built), by=bea)
    assert made.state == "active"
    assert made.terms is not None
    assert made.terms.break_glass
    token = built.token(NAME, "Ada", "c1")
    first = built.next_number
    assert built.reveal(str(made.credential), NAME, token) == ["Ada"]
    [used] = built.events(first)
    assert used["break_glass"] == 1
    assert built.events(0, "grant.create")[-1]["break_glass"] == 1


def test_somebody_else_reviews_it(built: BuiltCell) -> None:
    session, _ = operator(
        built, "bea", roles=["auditor"], permissions=["break-glass:create", "break-glass:review"]
    )
    rex = reviewer(built)
    made = built.run(break_glass, body(built), by=session)
    with pytest.raises(Denied, match="self_approval"):
        built.run(review_break_glass, made.id, GlassReviewBody("justified"), by=session)
    with pytest.raises(BadInput):
        built.run(review_break_glass, made.id, GlassReviewBody("fine"), by=rex)
    found = built.run(review_break_glass, made.id, GlassReviewBody("unjustified", "no outage"), by=rex)
    assert (found.verdict, found.note, found.overdue) == ("unjustified", "no outage", False)
    with pytest.raises(Conflict):
        built.run(review_break_glass, made.id, GlassReviewBody("justified"), by=rex)
    assert [one.verdict for one in listed(built, session)] == ["unjustified"]
    event = built.events(0, "break-glass.review")[-1]
    assert (event["grant"], event["verdict"], event["late"]) == (made.id, "unjustified", 0)


def test_a_review_that_is_late_is_listed(ticking: BuiltCell, clock: FixedClock) -> None:
    bea, rex = breaker(ticking), reviewer(ticking)
    made = ticking.run(break_glass, body(ticking, review_by=format_time(clock.now() + 600 * SECOND)), by=bea)
    assert listed(ticking, bea, overdue=True) == []
    clock.advance(601 * SECOND)
    assert [one.grant for one in listed(ticking, bea, overdue=True)] == [made.id]
    assert overdue(ticking.cell) == 1
    ticking.run(review_break_glass, made.id, GlassReviewBody("justified"), by=rex)
    assert listed(ticking, bea, overdue=True) == []
    assert overdue(ticking.cell) == 0
    assert ticking.events(0, "break-glass.review")[-1]["late"] == 1


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"reason": None}, "member_missing"),
        ({"approval": Approval(["role:admin"])}, "operation_unsupported"),
        ({"delegation": Delegation(1)}, "operation_unsupported"),
        ({"valid": Validity(from_="2100-01-01T00:00:00Z")}, "operation_unsupported"),
        ({"valid": Validity(until="2100-01-01T00:00:00Z")}, "validity_invalid"),
        ({"limits": GrantLimits(101)}, "limit_invalid"),
        ({"review_by": "2020-01-01T00:00:00Z"}, "validity_invalid"),
        ({"review_by": "2100-01-01T00:00:00Z"}, "validity_invalid"),
        ({"scope": [ScopeEntry([PHONE], ["mask"], ["plain"])]}, "operation_unsupported"),
    ],
)
def test_what_it_cannot_be(built: BuiltCell, more: dict[str, Any], code: str) -> None:
    with pytest.raises(BadInput) as refused:
        built.run(break_glass, body(built, **more), by=breaker(built))
    assert refused.value.code == code


def test_it_lasts_an_hour_at_most_if_nobody_says(built: BuiltCell) -> None:
    made = built.run(break_glass, body(built, purpose="files"), by=breaker(built))
    assert made.valid_until <= format_time(built.cell.clock.now() + HOUR)


def test_purposes_bind_it_too(built: BuiltCell) -> None:
    with pytest.raises(Denied, match="plain_delivery_denied"):
        built.run(break_glass, body(built, purpose="sealed"), by=breaker(built))


def test_it_is_for_people_with_the_permission(built: BuiltCell) -> None:
    with pytest.raises(Unauthenticated, match="credential_invalid"):
        built.run(break_glass, body(built), by=built.admin)
    with pytest.raises(Denied, match="permission_denied"):
        built.run(break_glass, body(built), by=reviewer(built))


def test_it_asks_for_a_fresh_second_factor(ticking: BuiltCell, clock: FixedClock) -> None:
    bea = breaker(ticking)
    clock.advance(16 * 60 * SECOND)
    with pytest.raises(CoatcheckError, match="insufficient_user_authentication"):
        ticking.run(break_glass, body(ticking, scope=[ScopeEntry([SSN], ["reveal"], ["plain"])]), by=bea)
