"""Grants that are bound to a holder's key: what is worth nothing without it, and what is decided with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import ADDRESS, NAME, NOTE, SSN, BuiltCell, any_cell, reveal
from tests.support.holders import URL, Holding, bound, new_signer, sealing
from vault.clock import SECOND, format_time
from vault.crypto import hpke
from vault.crypto.base64url import decode
from vault.crypto.delivery import info, signed_bytes
from vault.crypto.signing import thumbprint, verify
from vault.errors import CoatcheckError
from vault.policy.grant import ScopeEntry
from vault.policy.terms import Delegation, RateBody
from vault.services.delivery import Sealed
from vault.services.detokenize import detokenize
from vault.services.gate import Request
from vault.services.grant_body import GrantBody, GrantLimits, Subjects, Validity
from vault.services.grant_changes import (
    ChangeBody,
    NarrowBody,
    narrow_grant,
    resume_grant,
    revoke_block,
    revoke_grant,
    suspend_grant,
)
from vault.services.grant_views import read_grant
from vault.services.grants import create_grant
from vault.services.kills import KillBody, lift_kill, list_kills, set_kill
from vault.services.listing import Page
from vault.services.presented import Presented
from vault.services.simulate import SimulateBody, simulate
from vault.services.use_grant import GrantUse
from vault.wiring import perform

ADA = "Ada Lovelace"


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as cell:
        yield cell


def refused(code: str, work: Any, **facts: Any) -> CoatcheckError:
    """The refusal of some work, by its code and some of its facts."""
    with pytest.raises(CoatcheckError) as found:
        work()
    assert found.value.code == code, found.value.facts
    assert {name: found.value.facts.get(name) for name in facts} == facts
    return found.value


def uses_left(built: BuiltCell, holder: Holding) -> int:
    """What the grant has left."""
    return built.run(read_grant, holder.grant).uses_left


def last(built: BuiltCell, kind: str) -> dict[str, Any]:
    """The newest event of a kind."""
    return built.events(kind=kind)[-1]


def test_the_holder_gets_the_value_and_the_event_names_its_key(built: BuiltCell) -> None:
    token = built.token(NAME, ADA)
    holder = Holding.of(built, NAME)
    assert built.reveal(holder, NAME, token) == [ADA]
    event = last(built, "detokenize")
    assert event["holder"] == thumbprint(holder.signer.public)
    assert event["charged"] == 1
    shown = built.run(read_grant, holder.grant, by=holder)
    assert (shown.uses, shown.jkt, shown.credential) == (1, event["holder"], None)


def test_a_grants_id_is_worth_nothing_without_its_key(built: BuiltCell) -> None:
    token = built.token(NAME, ADA)
    holder = Holding.of(built, NAME)
    thief = replace(holder, signer=new_signer())
    refused("proof_invalid", lambda: built.reveal(thief, NAME, token))
    bare = Request(f"Grant {holder.grant}", built.request(holder).origin)
    body = reveal(NAME, [token])
    refused("proof_invalid", lambda: perform(built.cell, lambda: detokenize(built.cell, bare, body)))
    unproved = replace(bare, presented=Presented(None, None, "POST", (URL,)))
    refused("proof_invalid", lambda: perform(built.cell, lambda: detokenize(built.cell, unproved, body)))
    bearer = built.grant(NAME)
    named = replace(holder, grant="gr_" + bearer.split("_")[1])
    refused("grant_invalid", lambda: built.reveal(named, NAME, token))
    unknown = replace(holder, grant="gr_" + "0" * 26)
    refused("grant_invalid", lambda: built.reveal(unknown, NAME, token))
    assert uses_left(built, holder) == 10


@pytest.mark.parametrize("seconds", [-62, 62])
def test_an_old_proof_and_one_of_the_future_are_refused(built: BuiltCell, seconds: int) -> None:
    token = built.token(NAME, ADA)
    holder = Holding.of(built, NAME)
    refused("proof_expired", lambda: built.reveal(replace(holder, seconds=seconds), NAME, token))
    assert uses_left(built, holder) == 10


def test_a_proof_is_for_one_request(built: BuiltCell) -> None:
    token = built.token(NAME, ADA)
    holder = Holding.of(built, NAME)
    request = built.request(holder)
    assert request.presented is not None
    body = reveal(NAME, [token])
    for other in (
        {"method": "GET"},
        {"urls": (URL + "/stream",)},
        {"body": b'{"another":"body"}'},
        {"chain": "a.b.c"},
    ):
        moved = replace(request, presented=replace(request.presented, **other))
        code = "delegation_denied" if "chain" in other else "proof_invalid"
        refused(code, lambda moved=moved: perform(built.cell, lambda: detokenize(built.cell, moved, body)))
    assert perform(built.cell, lambda: detokenize(built.cell, request, body)).values == [ADA]


def test_a_proof_is_taken_once(built: BuiltCell) -> None:
    token = built.token(NAME, ADA)
    holder = Holding.of(built, NAME)
    now = built.cell.clock.now()
    request = holder.request(built, ADDRESS, None, jti="x" * 43, at=now)
    body = reveal(NAME, [token])
    assert perform(built.cell, lambda: detokenize(built.cell, request, body)).values == [ADA]
    error = refused(
        "proof_replayed", lambda: perform(built.cell, lambda: detokenize(built.cell, request, body))
    )
    assert "decision" in error.facts
    again = holder.request(built, ADDRESS, None, jti="x" * 43, at=now)  # of the same second
    refused("proof_replayed", lambda: perform(built.cell, lambda: detokenize(built.cell, again, body)))
    assert last(built, "detokenize")["code"] == "proof_replayed"
    assert uses_left(built, holder) == 9
    other = Holding.of(built, NAME)  # the same name under another grant is another proof
    elsewhere = other.request(built, ADDRESS, None, jti="x" * 43)
    assert perform(built.cell, lambda: detokenize(built.cell, elsewhere, body)).values == [ADA]


def test_a_refused_use_spends_its_proof_too(built: BuiltCell) -> None:
    token = built.token(NAME, ADA)
    holder = Holding.of(built, NAME)
    request = holder.request(built, ADDRESS, None)
    wrong = reveal(NAME, [token], purpose="files")
    refused("purpose_mismatch", lambda: perform(built.cell, lambda: detokenize(built.cell, request, wrong)))
    right = reveal(NAME, [token])
    refused("proof_replayed", lambda: perform(built.cell, lambda: detokenize(built.cell, request, right)))


def test_where_from_and_in_which_conversation(built: BuiltCell) -> None:
    token = built.token(NAME, ADA)
    holder = Holding.of(built, NAME, bound={"networks": ["192.0.2.0/28"], "conversation": "conv-7"})
    named = reveal(NAME, [token], conversation="conv-7")
    outside = "198.51.100.1"
    refused("network_denied", lambda: built.run(detokenize, named, by=holder, address=outside))
    refused("scope_denied", lambda: built.reveal(holder, NAME, token), member="conversation")
    other = reveal(NAME, [token], conversation="conv-8")
    refused("scope_denied", lambda: built.run(detokenize, other, by=holder), member="conversation")
    assert built.run(detokenize, named, by=holder).values == [ADA]
    assert uses_left(built, holder) == 6  # each was decided, and cost what it asked for
    assert "conv-7" not in json.dumps(
        {name: value for name, value in last(built, "detokenize").items() if name != "items"}
    )


def test_a_rate_is_kept(built: BuiltCell) -> None:
    tokens = built.tokens(NAME, *[f"Person {n}" for n in range(5)])
    limits = GrantLimits(uses=100, rate=RateBody(count=5, per_s=3_600))
    signer = new_signer()
    made = built.run(create_grant, GrantBody(
        agent="agent:demo", purpose="support", scope=[ScopeEntry([NAME], ["reveal"], ["plain"])],
        limits=limits, bind=bound(signer),
    ))  # fmt: skip
    assert made.batch == 5
    holder = Holding(made.id, signer)
    assert len(built.reveal(holder, NAME, *tokens) or []) == 5
    error = refused("rate_limited", lambda: built.reveal(holder, NAME, tokens[0]))
    assert isinstance(error.facts["retry_after"], int)
    assert 700 < error.facts["retry_after"] <= 720
    assert uses_left(built, holder) == 95


def test_a_batch_that_the_rate_can_never_take_is_refused_at_once(built: BuiltCell) -> None:
    body = built.grant_body(NAME, bind=bound(new_signer()))
    body = GrantBody(
        agent=body.agent, purpose=body.purpose, scope=body.scope, bind=body.bind,
        limits=GrantLimits(uses=10, batch=6, rate=RateBody(count=5, per_s=60)),
    )  # fmt: skip
    refused("limit_invalid", lambda: built.run(create_grant, body), member="rate")


def test_no_more_people_than_the_grant_is_for(built: BuiltCell) -> None:
    people = ["cust-1", "cust-2", "cust-3"]
    tokens = built.tokens(NAME, *[f"Name of {one}" for one in people], subjects=[*people])
    nobodys = built.token(NAME, "Nobody's")
    holder = Holding.of(built, NAME, subjects=None, uses=30)
    signer = new_signer()
    body = built.grant_body(NAME, uses=30, bind=bound(signer))
    body = GrantBody(
        agent=body.agent, purpose=body.purpose, scope=body.scope, bind=body.bind, limits=body.limits,
        subjects=Subjects(max_distinct=2),
    )  # fmt: skip
    holder = Holding(built.run(create_grant, body).id, signer)
    assert built.reveal(holder, NAME, tokens[0]) == ["Name of cust-1"]
    refused("budget_exhausted", lambda: built.reveal(holder, NAME, *tokens), member="max_distinct")
    refused("budget_exhausted", lambda: built.reveal(holder, NAME, nobodys), member="max_distinct")
    assert built.reveal(holder, NAME, tokens[0], tokens[1]) == ["Name of cust-1", "Name of cust-2"]
    refused("budget_exhausted", lambda: built.reveal(holder, NAME, tokens[2]), member="max_distinct")
    assert built.reveal(holder, NAME, tokens[1]) == ["Name of cust-2"]
    vaultless = replace_scope(body, [ScopeEntry([SSN], ["reveal"], ["plain"])])
    refused("subjects_unenforceable", lambda: built.run(create_grant, vaultless), member="max_distinct")


def replace_scope(body: GrantBody, scope: list[ScopeEntry]) -> GrantBody:
    return GrantBody(
        agent=body.agent, purpose=body.purpose, scope=scope, bind=body.bind, limits=body.limits,
        subjects=body.subjects,
    )  # fmt: skip


def test_a_suspended_grant_waits_and_a_revoked_one_has_ended(built: BuiltCell) -> None:
    token = built.token(NAME, ADA)
    holder = Holding.of(built, NAME)
    assert built.run(suspend_grant, holder.grant, ChangeBody("looks odd")).state == "suspended"
    error = refused("grant_suspended", lambda: built.reveal(holder, NAME, token))
    assert error.facts["retry_after"] == 60
    refused("permission_denied", lambda: built.run(resume_grant, holder.grant, ChangeBody()))
    assert built.run(resume_grant, holder.grant, ChangeBody(), by=built.admin).state == "active"
    assert built.reveal(holder, NAME, token) == [ADA]
    built.run(revoke_grant, holder.grant, ChangeBody())
    refused("grant_invalid", lambda: built.reveal(holder, NAME, token))
    refused("grant_ended", lambda: built.run(suspend_grant, holder.grant, ChangeBody()))
    refused("grant_ended", lambda: built.run(resume_grant, holder.grant, ChangeBody(), by=built.admin))


def test_narrowing_leaves_less_and_never_more(built: BuiltCell) -> None:
    token = built.token(NAME, ADA, "cust-1")
    holder = Holding.of(built, NAME, NOTE, uses=10)
    narrowed = built.run(
        narrow_grant,
        holder.grant,
        NarrowBody(
            version=1,
            scope=[ScopeEntry([NAME], ["reveal"], ["plain"])],
            subjects=Subjects(["cust-1"]),
            uses=3,
            batch=2,
            networks=["192.0.2.0/24"],
            conversation="conv-1",
        ),
    )
    assert (narrowed.version, narrowed.uses_left, narrowed.batch) == (2, 3, 2)
    assert narrowed.terms is not None
    assert (narrowed.terms.networks, narrowed.terms.conversation) == (["192.0.2.0/24"], "conv-1")
    refused("version_conflict", lambda: built.run(narrow_grant, holder.grant, NarrowBody(version=1, uses=2)))
    wider: list[tuple[str, NarrowBody]] = [
        ("uses", NarrowBody(version=2, uses=4)),
        ("batch", NarrowBody(version=2, batch=3)),
        ("scope", NarrowBody(version=2, scope=[ScopeEntry([NAME, NOTE], ["reveal"], ["plain"])])),
        ("scope", NarrowBody(version=2, scope=[ScopeEntry([NAME], ["mask"], ["plain"])])),
        ("scope", NarrowBody(version=2, scope=[])),
        ("subjects", NarrowBody(version=2, subjects=Subjects(["cust-1", "cust-2"]))),
        ("until", NarrowBody(version=2, until=format_time(built.cell.clock.now() + 10**6 * SECOND))),
        ("networks", NarrowBody(version=2, networks=["192.0.0.0/16"])),
        ("networks", NarrowBody(version=2, networks=[])),
        ("conversation", NarrowBody(version=2, conversation="conv-2")),
    ]
    for member, body in wider:
        refused(
            "widening_refused", lambda body=body: built.run(narrow_grant, holder.grant, body), member=member
        )
    named = reveal(NAME, [token], conversation="conv-1")
    assert built.run(detokenize, named, by=holder).values == [ADA]
    other = built.token(NAME, "Grace Hopper", "cust-2")
    foreign = reveal(NAME, [other], conversation="conv-1")
    refused("token_unknown", lambda: built.run(detokenize, foreign, by=holder))


def test_windows_of_the_week(built: BuiltCell) -> None:
    from vault.policy.windows import DAYS, Window

    token = built.token(NAME, ADA)
    open_ = Validity(windows=(Window(DAYS, "00:00", "24:00", "UTC"),))
    assert built.reveal(Holding.of(built, NAME, valid=open_), NAME, token) == [ADA]
    now = built.cell.clock.now()
    hour = (now // (3600 * SECOND) + 6) % 24
    shut = Validity(windows=(Window(DAYS, f"{hour:02}:00", f"{hour:02}:01", "UTC"),))
    holder = Holding.of(built, NAME, valid=shut)
    refused("outside_window", lambda: built.reveal(holder, NAME, token))
    assert uses_left(built, holder) == 10


@pytest.mark.parametrize("kind", ["agent", "conversation", "holder", "purpose", "tenant"])
def test_a_kill_switch_stops_what_it_is_set_for_until_it_is_lifted(built: BuiltCell, kind: str) -> None:
    token = built.token(NAME, ADA)
    holder = Holding.of(built, NAME)
    other = Holding.of(built, NAME, purpose="files")
    body = reveal(NAME, [token], conversation="conv-1")
    assert built.run(detokenize, body, by=holder).values == [ADA]
    target: dict[str, Any] = {
        "agent": "demo",
        "conversation": "conv-1",
        "holder": thumbprint(holder.signer.public),
        "purpose": "support",
        "tenant": True,
    }
    member = "everything" if kind == "tenant" else kind
    made = built.run(set_kill, KillBody(**{member: target[kind]}, reason="an incident"), by=built.admin)
    refused("grant_suspended", lambda: built.run(detokenize, body, by=holder))
    assert uses_left(built, holder) == 9
    elsewhere = reveal(NAME, [token], purpose="files", conversation="conv-2")
    if kind in ("agent", "tenant"):
        refused("grant_suspended", lambda: built.run(detokenize, elsewhere, by=other))
    listed = built.run(list_kills, Page(10, None), by=built.admin).items
    assert [(row.id, row.kind, row.lifted_at) for row in listed] == [(made.id, kind, None)]
    lifted = built.run(lift_kill, made.id, by=built.admin)
    assert lifted.lifted_at is not None
    assert built.run(lift_kill, made.id, by=built.admin).lifted_at == lifted.lifted_at
    assert built.run(detokenize, body, by=holder).values == [ADA]
    refused("permission_denied", lambda: built.run(set_kill, KillBody(everything=True)))


def test_a_sealed_answer_is_for_one_key_and_by_the_cell(built: BuiltCell) -> None:
    token = built.token(NAME, ADA, "cust-1")
    private, seal_to = sealing()
    signer = new_signer()
    scope = [ScopeEntry([NAME], ["reveal"], ["sealed"])]
    body = GrantBody(
        agent="agent:demo", purpose="sealed", scope=scope, limits=GrantLimits(5), bind=bound(signer),
        seal_to=seal_to,
    )  # fmt: skip
    made = built.run(create_grant, body)
    assert made.delivery_key is not None
    holder = Holding(made.id, signer)
    challenge = "n" * 22
    request = holder.request(built, ADDRESS, None, jti="j" * 43)
    more: dict[str, Any] = {"purpose": "sealed", "delivery": "sealed", "challenge": challenge}
    asked = reveal(NAME, [token], subjects=["cust-1"], **more)
    answer = perform(built.cell, lambda: detokenize(built.cell, request, asked))
    sealed = answer.sealed
    assert isinstance(sealed, Sealed)
    assert isinstance(answer.items, list)
    assert [item.status for item in answer.items] == ["sealed"]
    assert ADA not in repr(answer)
    enc_ct = decode(sealed.enc_ct)
    signed = signed_bytes(
        cell="eu", grant=made.id, challenge=challenge, decision=answer.decision,
        suite=sealed.suite, kid=sealed.kid, enc_ct=enc_ct,
    )  # fmt: skip
    public = decode(made.delivery_key.x)
    verify(public, signed, decode(sealed.sig))
    assert sealed.kid == thumbprint(decode(seal_to.x), "X25519")
    opened = json.loads(hpke.open_sealed(private, info(sealed.suite, made.id, "j" * 43), enc_ct))
    assert opened == {
        "decision": answer.decision,
        "jti": "j" * 43,
        "items": [{"field": NAME, "of": token, "subject": "cust-1", "value": ADA}],
    }
    plain = reveal(NAME, [token], purpose="sealed")
    refused("scope_denied", lambda: built.run(detokenize, plain, by=holder))
    unnamed = reveal(NAME, [token], purpose="sealed", delivery="sealed")
    refused("member_missing", lambda: built.run(detokenize, unnamed, by=holder), member="challenge")


def test_what_cannot_be_sealed_to_is_refused(built: BuiltCell) -> None:
    scope = [ScopeEntry([NAME], ["reveal"], ["sealed"])]
    body = GrantBody(agent="agent:demo", purpose="sealed", scope=scope, bind=bound(new_signer()))
    refused("member_missing", lambda: built.run(create_grant, body), member="seal_to")
    from vault.policy.terms import SealTo

    for x in ("A" * 43, "short", "AQ" + "A" * 41):
        bad = GrantBody(
            agent="agent:demo", purpose="sealed", scope=scope, bind=bound(new_signer()),
            seal_to=SealTo("OKP", "X25519", x),
        )  # fmt: skip
        refused("limit_invalid", lambda bad=bad: built.run(create_grant, bad), member="seal_to")


class TestDelegations:
    def grant(self, built: BuiltCell, *fields: str, **more: Any) -> Holding:
        return Holding.of(built, *fields, delegation=Delegation(3, 300), **more)

    def test_a_delegate_may_what_was_left_to_it(self, built: BuiltCell) -> None:
        now = built.cell.clock.now()
        token, note = built.token(NAME, ADA), built.token(NOTE, "a note")
        holder = self.grant(built, NAME, NOTE)
        first = holder.hand_on(now, fields=(NAME,), operations=("reveal",))
        second = first.hand_on(now, uses=2)
        third = second.hand_on(now)
        left = [built.run(read_grant, holder.grant, by=one).uses_left for one in (holder, first, second)]
        assert left == [10, 10, 2]
        told = built.run(detokenize, reveal(NAME, [token]), by=third).grant
        assert told == GrantUse(holder.grant, 1)
        left = [built.run(read_grant, holder.grant, by=one).uses_left for one in (holder, second, third)]
        assert left == [9, 1, 1]
        event = last(built, "detokenize")
        assert len(event["chain"]) == 3
        assert event["holder"] == thumbprint(third.signer.public)
        refused("scope_denied", lambda: built.reveal(first, NOTE, note), member="field")
        assert built.reveal(holder, NOTE, note) == ["a note"]
        assert built.reveal(second, NAME, token) == [ADA]
        refused("budget_exhausted", lambda: built.reveal(third, NAME, token))
        assert built.reveal(first, NAME, token) == [ADA]

    def test_nobody_but_the_holder_makes_a_chain_longer(self, built: BuiltCell) -> None:
        now = built.cell.clock.now()
        token = built.token(NAME, ADA)
        holder = self.grant(built, NAME)
        first = holder.hand_on(now)
        thief = replace(first, signer=new_signer())  # it has the chain, and no key of it
        refused("proof_invalid", lambda: built.reveal(thief, NAME, token))
        refused("delegation_denied", lambda: built.reveal(thief.hand_on(now), NAME, token))
        other = self.grant(built, NAME)
        moved = replace(first, grant=other.grant)
        refused("delegation_denied", lambda: built.reveal(moved, NAME, token))
        alone = Holding.of(built, NAME)
        refused("delegation_denied", lambda: built.reveal(alone.hand_on(now), NAME, token), member="depth")

    def test_one_delegation_can_be_revoked_alone(self, built: BuiltCell) -> None:
        now = built.cell.clock.now()
        token = built.token(NAME, ADA)
        holder = self.grant(built, NAME)
        first, other = holder.hand_on(now), holder.hand_on(now)
        below = first.hand_on(now, uses=5)
        assert built.reveal(below, NAME, token) == [ADA]
        block = last(built, "detokenize")["chain"][0]
        answer = built.run(revoke_block, holder.grant, block, ChangeBody("gone"))
        assert built.run(revoke_block, holder.grant, block, ChangeBody()).revoked_at == answer.revoked_at
        for gone in (first, below, below.hand_on(now)):
            refused("grant_invalid", lambda gone=gone: built.reveal(gone, NAME, token))
        assert built.reveal(other, NAME, token) == [ADA]
        assert built.reveal(holder, NAME, token) == [ADA]

    def test_people_of_a_delegation(self, built: BuiltCell) -> None:
        now = built.cell.clock.now()
        tokens = built.tokens(NAME, ADA, "Grace Hopper", subjects=["cust-1", "cust-2"])
        number = built.token(SSN, "123-45-6789")
        holder = self.grant(built, NAME, SSN, uses=50)
        first = holder.hand_on(now, subjects=("cust-1", "cust-9"))
        assert built.reveal(first, NAME, tokens[0]) == [ADA]
        refused("token_unknown", lambda: built.reveal(first, NAME, tokens[1]))
        refused("subjects_unenforceable", lambda: built.reveal(first, SSN, number))
        nobody = first.hand_on(now, subjects=("cust-9",))
        refused("token_unknown", lambda: built.reveal(nobody, NAME, tokens[0]))
        wider = first.hand_on(now, subjects=("cust-2",))
        refused("delegation_denied", lambda: built.reveal(wider, NAME, tokens[1]), member="subjects")

    def test_a_delegation_ends(self, built: BuiltCell) -> None:
        token = built.token(NAME, ADA)
        holder = self.grant(built, NAME)
        old = holder.hand_on(built.cell.clock.now() - 301 * SECOND)
        refused("grant_invalid", lambda: built.reveal(old, NAME, token))
        late = holder.hand_on(built.cell.clock.now() + 120 * SECOND)
        refused("delegation_denied", lambda: built.reveal(late, NAME, token), member="iat")


def test_what_a_use_would_be_answered_costs_nothing(built: BuiltCell) -> None:
    holder = Holding.of(built, NAME, uses=4)
    asked = SimulateBody(holder.grant, "support", [NAME], items=3)
    answer = built.run(simulate, asked, by=built.admin)
    assert (answer.allowed, answer.charged, answer.uses_left) == (True, 3, 4)
    dear = built.run(simulate, SimulateBody(holder.grant, "support", [NAME], items=5), by=built.admin)
    assert (dear.allowed, dear.code, dear.charged) == (False, "budget_exhausted", 0)
    other = built.run(simulate, SimulateBody(holder.grant, "support", [NOTE]), by=built.admin)
    assert (other.code, other.check, other.member) == ("scope_denied", 8, "field")
    built.run(set_kill, KillBody(holder=thumbprint(holder.signer.public)), by=built.admin)
    assert built.run(simulate, asked, by=built.admin).code == "grant_suspended"
    assert uses_left(built, holder) == 4
