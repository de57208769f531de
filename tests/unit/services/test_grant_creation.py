"""Grants that make no sense are refused when they are created, and leave nothing behind."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.cells import AGENT, NAME, NOTE, PAN, SSN, BuiltCell, any_cell, development_cell
from tests.unit.services.calls import grant_id, rows
from vault.clock import DAY, SECOND, FixedClock, format_time
from vault.errors import BadInput, CoatcheckError, Denied
from vault.policy.grant import ScopeEntry
from vault.policy.principal import Ceiling
from vault.services.grant_body import MAX_SCOPE, Validity
from vault.services.grant_changes import ChangeBody, revoke_grant
from vault.services.grant_views import GrantFilter, list_grants, read_grant
from vault.services.grants import create_grant
from vault.services.identities import (
    remove_principal,
)
from vault.services.listing import Page
from vault.services.subjects import MAX_SUBJECTS

START = 1_795_000_000 * SECOND


def entry(*fields: str, operations: list[str] | None = None, **more: Any) -> list[ScopeEntry]:
    """A scope of one line."""
    given = {"fields": list(fields), "operations": operations or ["reveal"], "delivery": ["plain"]}
    return [ScopeEntry(**{**given, **more})]


def refused(built: BuiltCell, **changes: Any) -> CoatcheckError:
    """The refusal of a grant on the SSN field with some changes; nothing has changed."""
    before = rows(built)
    fields = changes.pop("fields", [SSN])
    with pytest.raises(CoatcheckError) as refusal:
        built.run(create_grant, built.grant_body(*fields, **changes))
    assert rows(built) == before
    return refusal.value


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "an unknown field": ("field_unknown", {"scope": entry("no.such.field")}),
    "an unknown field among others": ("field_unknown", {"scope": entry(SSN, "no.such.field")}),
    "no scope": ("member_missing", {"scope": []}),
    "no fields": ("member_missing", {"scope": entry()}),
    "no operations": ("member_missing", {"scope": [ScopeEntry([SSN], [], ["plain"])]}),
    "no delivery": ("member_missing", {"scope": entry(SSN, delivery=[])}),
    "an unknown operation": ("operation_unsupported", {"scope": entry(SSN, operations=["guess"])}),
    "an unknown delivery": ("operation_unsupported", {"scope": entry(SSN, delivery=["posted"])}),
    "a mask that the field lacks": (
        "operation_unsupported",
        {"scope": entry(NAME, operations=["mask"], mask="last4")},
    ),
    "mask on a field without masks": ("operation_unsupported", {"scope": entry(NOTE, operations=["mask"])}),
    "a key version of none": ("key_version_unknown", {"scope": entry(SSN, key_version=0)}),
    "a key version far out": ("key_version_unknown", {"scope": entry(SSN, key_version=2**31)}),
    "too many lines": ("limit_invalid", {"scope": entry(SSN) * (MAX_SCOPE + 1)}),
    "subjects on a vaultless field": ("subjects_unenforceable", {"subjects": ["c1"]}),
    "subjects on one vaultless field of two": (
        "subjects_unenforceable",
        {"fields": [NAME, PAN], "subjects": ["c1"]},
    ),
    "no subjects at all": ("limit_invalid", {"fields": [NAME], "subjects": []}),
    "too many subjects": (
        "limit_invalid",
        {"fields": [NAME], "subjects": [f"c{n}" for n in range(MAX_SUBJECTS + 1)]},
    ),
    "an empty subject": ("subject_invalid", {"fields": [NAME], "subjects": [""]}),
    "a subject too long": ("subject_invalid", {"fields": [NAME], "subjects": ["x" * 257]}),
    "a subject too long in bytes": ("subject_invalid", {"fields": [NAME], "subjects": ["é" * 129]}),
    "a subject not in NFC": ("subject_invalid", {"fields": [NAME], "subjects": ["e\u0301"]}),
    "a subject with NUL": ("subject_invalid", {"fields": [NAME], "subjects": ["c\x00"]}),
    "a subject with a lone surrogate": ("subject_invalid", {"fields": [NAME], "subjects": ["c\ud800"]}),
    "an unknown agent": ("agent_unknown", {"agent": "agent:absent"}),
    "an agent that is a service": ("agent_unknown", {"agent": "service:other"}),
    "an agent that is no name": ("agent_unknown", {"agent": "agent:A B"}),
    "no uses": ("limit_invalid", {"uses": 0}),
    "negative uses": ("limit_invalid", {"uses": -1}),
    "a batch above the uses": ("limit_invalid", {"uses": 3, "batch": 4}),
    "no batch": ("limit_invalid", {"batch": 0}),
    "more uses than there are": ("limit_invalid", {"uses": 10**12 + 1}),
    "more uses than the purpose allows": ("limit_invalid", {"uses": 51}),
    "no RFC 3339 from": ("validity_invalid", {"valid": Validity("yesterday")}),
    "no RFC 3339 until": ("validity_invalid", {"valid": Validity(None, "2026-02-30T00:00:00Z")}),
    "over before it begins": (
        "validity_invalid",
        {"valid": Validity(format_time(START + 60 * SECOND), format_time(START + 60 * SECOND))},
    ),
    "over already": ("validity_invalid", {"valid": Validity(None, format_time(START))}),
    "longer than the purpose allows": (
        "validity_invalid",
        {"valid": Validity(None, format_time(START + 901 * SECOND))},
    ),
    "beyond the calendar": (
        "validity_invalid",
        {"purpose": "files", "valid": Validity("9999-12-31T00:00:00Z")},
    ),
    "a reason too long": ("limit_invalid", {"reason": "x" * 501}),
    "a reason with control characters": ("limit_invalid", {"reason": "x\x1b[31m"}),
    "a person with control characters": ("limit_invalid", {"on_behalf_of": "x\n"}),
}


@pytest.fixture
def at(tmp_path: Path) -> Any:
    with development_cell(tmp_path, FixedClock(START)) as made:
        yield made


@pytest.mark.parametrize("case", CASES)
def test_is_refused(at: BuiltCell, case: str) -> None:
    code, changes = CASES[case]
    refusal = refused(at, **changes)
    assert refusal.code == code
    assert isinstance(refusal, BadInput)


def test_a_purpose_that_the_schema_lost(at: BuiltCell) -> None:
    _, credential = at.principal("service", "late", permissions=["grant:create:no-such"])
    with pytest.raises(BadInput, match="purpose_unknown"):
        at.run(create_grant, at.grant_body(SSN, purpose="no-such"), by=credential)


def test_bounds_are_included(at: BuiltCell) -> None:
    until = Validity(None, format_time(START + 900 * SECOND))
    assert at.grant(SSN, uses=50, batch=50, valid=until, reason="x" * 500)
    people = [f"c{n}" for n in range(MAX_SUBJECTS)]
    assert at.grant(NAME, subjects=people)
    assert len(rows(at)["re_grant_subjects"]) == MAX_SUBJECTS


def test_subjects_that_repeat_count_once(at: BuiltCell) -> None:
    assert at.grant(NAME, subjects=["c1"] * (MAX_SUBJECTS + 1))
    assert len(rows(at)["re_grant_subjects"]) == 1
    assert at.grant(NAME, subjects=["c1"])
    assert len(rows(at)["cu_subjects"]) == 1


def test_the_answer_says_what_was_given(at: BuiltCell) -> None:
    body = at.grant_body(
        NAME, uses=7, batch=3, subjects=["customer one"], on_behalf_of="user:u1", reason="ticket 7"
    )
    answer = at.run(create_grant, body)
    assert (answer.state, answer.version, answer.uses, answer.uses_left, answer.batch) == (
        "active", 1, 0, 7, 3,
    )  # fmt: skip
    assert (answer.valid_from, answer.valid_until) == (
        format_time(START),
        format_time(START + 900 * SECOND),
    )
    read = at.run(read_grant, answer.id)
    assert read.credential is None
    assert read.subjects is not None
    assert read.subjects[0].startswith("sub_")
    assert (read.agent, read.purpose, read.scope) == (AGENT, "support", list(body.scope))
    held = at.run(read_grant, answer.id, by=answer.credential)
    assert (held.id, held.uses_left) == (answer.id, 7)
    (event,) = at.events(kind="grant.create")
    assert (event["grant"], event["decision"], event["uses"]) == (answer.id, answer.decision, 7)
    for text in ("customer one", "user:u1", "ticket 7"):
        assert text not in str(event)


def test_a_grant_can_begin_later(at: BuiltCell) -> None:
    begins = START + 60 * SECOND
    answer = at.run(create_grant, at.grant_body(SSN, valid=Validity(format_time(begins))))
    assert (answer.state, answer.valid_until) == ("pending", format_time(begins + 900 * SECOND))
    clock = at.cell.clock
    assert isinstance(clock, FixedClock)
    clock.advance(60 * SECOND)
    assert at.run(read_grant, answer.id).state == "active"


@pytest.mark.parametrize("skew", [-3_600, 3_600])
def test_validity_and_days_go_by_the_clock_of_the_ledger(tmp_path: Path, skew: int) -> None:
    """This process's clock is an hour off the database's: a grant is valid at once, and all its time."""
    clock = FixedClock(time.time_ns() // 1_000 + skew * SECOND)
    with any_cell("postgresql", tmp_path, clock) as built:
        answer = built.run(create_grant, built.grant_body(SSN))
        assert answer.credential is not None
        assert built.reveal(answer.credential, SSN, built.token(SSN, "123-45-6789")) == ["123-45-6789"]
        assert answer.state == "active"
        columns = built.cell.store.tables.grants.c
        ((begins, ends, created),) = built.cell.store.read(
            select(columns.valid_from, columns.valid_until, columns.created_at)
        )
        assert (begins, ends) == (created, created + 900 * SECOND)
        assert abs(created - clock.now()) > 3_000 * SECOND


def test_a_day_has_its_own_budget(at: BuiltCell) -> None:
    ceiling = Ceiling(
        fields=[SSN], operations=["reveal"], deliveries=["plain"], purposes=["support"], agents=[AGENT],
        uses=10, uses_per_day=15,
    )  # fmt: skip
    _, credential = at.principal("service", "daily", permissions=["grant:create:support"], ceiling=ceiling)
    body = at.grant_body(SSN, uses=10, operations=["reveal"])
    at.run(create_grant, body, by=credential)
    with pytest.raises(Denied, match="budget_exhausted"):
        at.run(create_grant, body, by=credential)
    at.run(create_grant, at.grant_body(SSN, uses=5, operations=["reveal"]), by=credential)
    clock = at.cell.clock
    assert isinstance(clock, FixedClock)
    clock.advance(DAY)
    at.run(create_grant, body, by=credential)
    assert [row[3] for row in rows(at)["re_counters"] if row[0] != at.service_id] == [15, 10]


def test_an_agent_that_was_removed_is_given_nothing(at: BuiltCell) -> None:
    at.run(remove_principal, at.agent_id, by=at.admin)
    assert refused(at).code == "agent_unknown"


class TestListing:
    def test_who_may_see_a_grant(self, built: BuiltCell) -> None:
        credential, other = built.grant(SSN), built.grant(SSN)
        name = grant_id(credential)
        _, stranger = built.principal("service", "stranger")
        for by in (built.service, built.admin, credential, "host"):
            assert built.run(read_grant, name, by=by).id == name
        for by in (stranger, other):
            with pytest.raises(CoatcheckError, match="not_found"):
                built.run(read_grant, name, by=by)

    @pytest.mark.parametrize("name", ["", "gr_", "gr_x", "x", "gr_" + "0" * 26, "gr_" + "0" * 25 + "Z\x00"])
    def test_what_is_not_there_looks_the_same(self, built: BuiltCell, name: str) -> None:
        for verb, arguments in ((read_grant, (name,)), (revoke_grant, (name, ChangeBody()))):
            with pytest.raises(CoatcheckError) as refusal:
                built.run(verb, *arguments)
            assert (refusal.value.code, refusal.value.facts) == ("not_found", {})

    def test_pages_and_filters(self, built: BuiltCell) -> None:
        made = [grant_id(built.grant(SSN)) for _ in range(7)]
        built.run(revoke_grant, made[2], ChangeBody())
        seen: list[str] = []
        page = Page(limit=3)
        while True:
            listing = built.run(list_grants, page, GrantFilter(), by=built.admin)
            seen += [grant.id for grant in listing.items]
            if listing.next is None:
                break
            page = Page(limit=3, cursor=listing.next)
        assert seen == made[::-1]
        revoked = built.run(list_grants, Page(), GrantFilter(state="revoked"), by=built.admin)
        assert [grant.id for grant in revoked.items] == [made[2]]
        active = built.run(list_grants, Page(limit=2), GrantFilter(state="active"), by=built.admin)
        assert [grant.id for grant in active.items] == [made[6], made[5]]
        none = built.run(list_grants, Page(), GrantFilter(agent="agent:other"), by=built.admin)
        assert none.items == []
        assert built.run(list_grants, Page(), GrantFilter(purpose="support"), by=built.admin).next is None

    @pytest.mark.parametrize("page", [Page(0), Page(501), Page(-1), Page(1, "x"), Page(1, "pr_" + "0" * 26)])
    def test_pages_out_of_range(self, built: BuiltCell, page: Page) -> None:
        with pytest.raises(BadInput, match="parameter_invalid"):
            built.run(list_grants, page, GrantFilter(), by=built.admin)
