"""Attribute rules of a tenant: put in force, binding, asked about; and what they cost who has none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from msgspec import UnsetType

from tests.support.cells import AGENT, EMAIL, HOST, NAME, SSN, VISIT, BuiltCell, reveal
from tests.support.holders import Holding, bound, new_signer
from tests.support.operators import create, log_in, operator
from tests.unit.services.calls import VALUE, grant_id, rows, verifying
from vault.clock import SECOND, FixedClock, format_time
from vault.codes import CODES
from vault.errors import CoatcheckError
from vault.policy.attribute_rules import DEFAULT
from vault.policy.grant import ScopeEntry
from vault.policy.policy_cases import CaseContext, PolicyCase
from vault.policy.terms import Bind, Delegation, RateBody
from vault.services.detokenize import detokenize
from vault.services.encrypt import EncryptBody, EncryptItem, encrypt
from vault.services.grant_body import GrantBody, GrantLimits, Subjects, Validity
from vault.services.grant_changes import ChangeBody, revoke_grant, suspend_grant
from vault.services.grants import create_grant
from vault.services.idempotency import once
from vault.services.identities import list_principals
from vault.services.kills import KillBody, set_kill
from vault.services.listing import Page
from vault.services.policies import (
    PolicyBody,
    apply_policy,
    list_policies,
    plan_policy,
    read_policy,
    show_policy,
)
from vault.services.policy_tests import PolicyTestBody, run_policy_tests
from vault.services.reasons import CHECKS, ExplainAnswer, ExplainBody, explain_decision
from vault.services.service_keys import KeyBody
from vault.services.simulate import SimulateBody, simulate
from vault.services.tokenize import TokenizeBody, tokenize
from vault.services.verify import VerifyBody
from vault.services.verify import verify as verify_token
from vault.wiring import perform


def forbid(name: str, action: str, condition: str = "true", resource: str = "resource") -> str:
    head = f'@id("{name}") forbid (principal, {action}, {resource})'
    return f"{head} when {{ {condition} }};\n"


def put(built: BuiltCell, *texts: str, by: str | None = None) -> int:
    """Rules in force beside the default ones; their version."""
    text = DEFAULT + "".join(texts)
    digest = built.run(plan_policy, PolicyBody(text), by=by or built.admin).digest
    return built.run(apply_policy, PolicyBody(text, digest), by=by or built.admin).version


def refused(act: Callable[[], Any], code: str = "policy_denied") -> CoatcheckError:
    with pytest.raises(CoatcheckError) as refusal:
        act()
    assert refusal.value.code == code
    return refusal.value


def explained(built: BuiltCell, refusal: CoatcheckError) -> ExplainAnswer:
    return built.run(explain_decision, ExplainBody(str(refusal.facts["decision"])), by=built.admin)


def test_nobody_asks_cedar_where_the_default_is_in_force(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cedarpy.is_authorized", None)  # whoever asks fails
    monkeypatch.setattr("vault.services.ruling.hour_and_weekday", None)
    token = built.token(NAME, "Ada")
    assert built.reveal(built.grant(NAME), NAME, token) == ["Ada"]
    assert built.cell.schemas.of("main").rules is None
    built.run(list_principals, Page(), by=built.admin)
    put(built, "// none but this\n")
    assert built.cell.schemas.of("main").rules is not None  # the control
    with pytest.raises(TypeError):
        built.grant(NAME)


def test_a_set_is_shown_planned_applied_and_listed(built: BuiltCell) -> None:
    first = built.run(show_policy, by=built.admin)
    assert (first.version, first.default, first.text, first.applied_by) == (0, True, DEFAULT, None)
    text = DEFAULT + forbid("night", "action", "context.hour < 6")
    plan = built.run(plan_policy, PolicyBody(text), by=built.admin)
    assert (plan.replaces, plan.added, plan.removed, plan.changes) == (0, ["night"], [], True)
    applied = built.run(apply_policy, PolicyBody(text, plan.digest), by=built.admin)
    assert (applied.version, applied.policies) == (1, ["default.permit", "night"])
    [event] = built.events(kind="policy.apply")
    assert (event["version"], event["policies"], event["actor"]) == (1, applied.policies, "operator:admin")
    shown = built.run(show_policy, by=built.admin)
    assert (shown.version, shown.text, shown.applied_by) == (1, text, "operator:admin")
    again = built.run(plan_policy, PolicyBody(text), by=built.admin)
    assert not again.changes
    before = built.next_number
    assert built.run(apply_policy, PolicyBody(text, again.digest), by=built.admin).version == 1
    assert built.next_number == before
    assert put(built) == 2  # back to the default, as a version
    listed = built.run(list_policies, Page(limit=1), by=built.admin)
    assert ([row.version for row in listed.items], listed.next) == ([2], "2")
    assert built.run(read_policy, "1", by=built.admin).text == text
    for named in ("3", "0", "01", "x"):
        refused(partial(built.run, read_policy, named, by=built.admin), "not_found")


def test_what_was_not_planned_or_is_wrong_is_not_applied(built: BuiltCell) -> None:
    text = DEFAULT + forbid("night", "action", "context.hour < 6")
    plan = built.run(plan_policy, PolicyBody(text), by=built.admin)
    for digest in (None, "0" * 64):
        body = PolicyBody(text, digest)
        refused(partial(built.run, apply_policy, body, by=built.admin), "plan_changed")
    put(built, forbid("other", "action", "false"))
    before = rows(built)
    old = PolicyBody(text, plan.digest)
    refused(lambda: built.run(apply_policy, old, by=built.admin), "plan_changed")
    wrong = DEFAULT + forbid("b", "action", "context.nope")
    shown = built.run(plan_policy, PolicyBody(wrong), by=built.admin)
    assert shown.refusals[0].name == "b"
    assert "nope" in (shown.refusals[0].detail or "")
    act = PolicyBody(wrong, shown.digest)
    refusal = refused(lambda: built.run(apply_policy, act, by=built.admin), "policy_refused")
    assert "nope" not in str(refusal.facts)
    assert rows(built) == before


def test_rules_take_away_what_permissions_give(built: BuiltCell) -> None:
    put(
        built,
        forbid("t", 'action == Action::"tokenize"', resource=f'resource == Field::"{EMAIL}"'),
        forbid("e", 'action == Action::"encrypt"'),
        forbid("g", 'action == Action::"grant:create"', resource='resource == Purpose::"files"'),
        forbid("l", 'action == Action::"principal:list"'),
    )
    acts = {
        "t": lambda: built.token(EMAIL, "a@example.org"),
        "e": lambda: built.run(encrypt, EncryptBody([EncryptItem(VISIT, "x", "c1")])),
        "g": lambda: built.grant(NAME, purpose="files"),
        "l": lambda: built.run(list_principals, Page(), by=built.admin),
    }
    for name, act in acts.items():
        before, first = rows(built), built.next_number
        refusal = refused(act)
        assert refusal.facts["policies"] == [name]
        [event] = built.events(first)
        assert (event["kind"], event["code"], event["policies"]) == ("denied", "policy_denied", [name])
        changed = {table for table, value in rows(built).items() if value != before[table]}
        assert changed == {"re_audit", "re_head"}
        told = explained(built, refusal)
        assert (told.check, told.policies, told.outcome) == ("policy", [name], "denied")
    assert built.token(NAME, "Ada")
    assert built.grant(NAME)


def test_a_grant_is_made_by_the_rules_that_its_creator_was_admitted_by(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules that are put in force in between refuse it."""
    between = "vault.services.grants.once"

    def meanwhile(*given: Any) -> Any:
        monkeypatch.setattr(between, once)
        put(built, forbid("g", 'action == Action::"grant:create"'))
        return once(*given)

    monkeypatch.setattr(between, meanwhile)
    assert refused(lambda: built.grant(NAME)).facts["policies"] == ["g"]


def test_rules_give_nothing(built: BuiltCell) -> None:
    put(built, '@id("more") permit (principal is Service, action, resource);')
    refused(lambda: built.run(list_principals, Page()), "permission_denied")
    token = built.token(NAME, "Ada")
    refused(lambda: built.reveal(built.grant(SSN), NAME, token), "scope_denied")


def test_a_refused_use_costs_and_shows_nothing(built: BuiltCell) -> None:
    token = built.token(NAME, "Ada", "c1")
    masked = built.grant(NAME, uses=6)
    put(built, forbid("no.reveal", 'action == Action::"reveal"', resource='resource in Group::"customer"'))
    first = built.next_number
    refusal = refused(lambda: built.reveal(masked, NAME, token, token))
    assert refusal.facts["policies"] == ["no.reveal"]
    [event] = built.events(first)
    assert (event["kind"], event["check"], event["charged"]) == ("detokenize", 8, 2)
    assert (event["outcome"], event["policies"]) == ("denied", ["no.reveal"])
    asked = reveal(NAME, [token], operation="mask", mask="initial")
    shown = built.run(detokenize, asked, by=masked).grant
    assert not isinstance(shown, UnsetType)
    assert shown.uses_left == 3
    simulated = SimulateBody(grant_id(masked), "support", [NAME])
    told = built.run(simulate, simulated, by=built.admin)
    assert (told.allowed, told.code, told.check, told.policies) == (False, "policy_denied", 8, ["no.reveal"])
    assert built.run(simulate, SimulateBody(grant_id(masked), "support", [VISIT]), by=built.admin).code == (
        "scope_denied"
    )


def test_a_large_batch_is_refused_the_same(built: BuiltCell) -> None:
    """The rows of many tokens are read only where the grant covers them."""
    tokens = [built.token(NAME, "Ada", "c1")] * 70
    credential = built.grant(NAME, uses=1_000, purpose="files", batch=100)
    put(built, forbid("no.reveal", 'action == Action::"reveal"'))
    assert refused(lambda: built.reveal(credential, NAME, *tokens, purpose="files")).facts["policies"]


def test_the_ledger_s_hour_counts(ticking: BuiltCell, clock: FixedClock) -> None:
    token = ticking.token(NAME, "Ada")
    credential = ticking.grant(NAME, purpose="files", valid=Validity(until="2026-11-25T00:00:00Z"))
    put(ticking, forbid("noon", 'action == Action::"reveal"', "context.hour == 12"))
    refused(lambda: ticking.reveal(credential, NAME, token, purpose="files"))
    clock.advance(3_599 * SECOND)
    refused(lambda: ticking.reveal(credential, NAME, token, purpose="files"))
    clock.advance(SECOND)
    assert ticking.reveal(credential, NAME, token, purpose="files") == ["Ada"]
    put(ticking, forbid("monday", 'action == Action::"reveal"', "context.weekday == 1"))
    refused(lambda: ticking.reveal(credential, NAME, token, purpose="files"))
    clock.advance(11 * 3_600 * SECOND)
    assert ticking.reveal(credential, NAME, token, purpose="files") == ["Ada"]


def test_another_tenant_s_rules_bind_nobody_here(built: BuiltCell) -> None:
    other = built.another_tenant("acme")
    put(other, forbid("all", "action"))
    refused(lambda: other.token(NAME, "Ada"))
    assert built.token(NAME, "Ada")
    assert built.run(show_policy, by=built.admin).version == 0
    refused(lambda: built.run(read_policy, "1", by=built.admin), "not_found")
    decision = str(refused(lambda: other.token(NAME, "Ada")).facts["decision"])
    refused(lambda: built.run(explain_decision, ExplainBody(decision), by=built.admin), "not_found")
    assert other.run(explain_decision, ExplainBody(decision), by=other.admin).policies == ["all"]


def test_whoever_mends_the_rules_is_never_locked_out(built: BuiltCell) -> None:
    put(built, forbid("all", "action"))
    refused(lambda: built.run(list_principals, Page(), by=built.admin))
    assert put(built) == 2
    built.run(list_principals, Page(), by=built.admin)
    put(built, forbid("all", "action"), by=HOST)
    assert built.run(list_principals, Page(), by=HOST).items  # the host is no caller of rules


def test_the_age_of_a_second_factor_and_the_network_count(built: BuiltCell) -> None:
    session, _ = operator(built, roles=["admin"])
    stops = 'action == Action::"kill:control"'
    put(
        built,
        forbid("old", stops, "context has mfa_age_s && context.mfa_age_s > 10000"),
        forbid("keys", stops, "!context.session"),
        forbid("away", stops, 'context has ip && context.ip.isInRange(ip("198.51.100.0/24"))'),
    )  # fmt: skip
    kill = KillBody(conversation="c")
    assert refused(lambda: built.run(set_kill, kill, by=built.admin)).facts["policies"] == ["keys"]
    assert built.run(set_kill, kill, by=session).id
    for address in ("198.51.100.7", "::ffff:198.51.100.7"):
        away = refused(partial(built.run, set_kill, kill, by=session, address=address))
        assert away.facts["policies"] == ["away"]


def test_cases_are_tried_and_cost_one_event(built: BuiltCell) -> None:
    put(built, forbid("night", 'action in Action::"use"', "context.hour < 6"))
    day = PolicyCase(AGENT, "reveal", NAME, expect="permit")
    night = PolicyCase(AGENT, "reveal", NAME, context=CaseContext(hour=3), expect="permit")
    before, first = rows(built), built.next_number
    told = built.run(run_policy_tests, PolicyTestBody([day, night]), by=built.admin)
    assert [(one.decision, one.policies, one.right) for one in told.cases] == [
        ("permit", ["default.permit"], True),
        ("forbid", ["night"], False),
    ]
    assert told.wrong == 1
    [event] = built.events(first)
    assert (event["kind"], event["cases"], event["wrong"]) == ("policy.test", 2, 1)
    assert {table for table, value in rows(built).items() if value != before[table]} == {
        "re_audit",
        "re_head",
    }
    draft = built.run(run_policy_tests, PolicyTestBody([night], DEFAULT), by=built.admin)
    assert draft.wrong == 0
    what_if = built.run(explain_decision, ExplainBody(case=night), by=built.admin)
    assert (what_if.outcome, what_if.check, what_if.policies) == ("denied", "policy", ["night"])
    assert (
        built.run(explain_decision, ExplainBody(case=night, text=DEFAULT), by=built.admin).outcome
        == "allowed"
    )
    for body in (ExplainBody(), ExplainBody("dec_x", night)):
        refused(partial(built.run, explain_decision, body, by=built.admin), "member_missing")
    bad = PolicyTestBody([day, PolicyCase(AGENT, "shred", NAME)])
    assert (
        refused(lambda: built.run(run_policy_tests, bad, by=built.admin), "operation_unsupported").facts[
            "case"
        ]
        == 2
    )


# What refuses, and how: check -> reason -> an act that is refused by exactly that.
Act = Callable[[BuiltCell], Callable[[], Any]]


def _use(*, purpose: str = "support", **more: Any) -> Act:
    """A use of a grant that is made with these members."""

    def made(built: BuiltCell) -> Callable[[], Any]:
        token, credential = built.token(NAME, "Ada", "c1"), built.grant(NAME, **more)
        return lambda: built.reveal(credential, NAME, token, purpose=purpose)

    return made


def _changed(change: Callable[[BuiltCell, str], Any]) -> Act:
    def made(built: BuiltCell) -> Callable[[], Any]:
        token, credential = built.token(NAME, "Ada", "c1"), built.grant(NAME)
        change(built, grant_id(credential))
        return lambda: built.reveal(credential, NAME, token)

    return made


def _policy(action: str, act: Callable[[BuiltCell], Any]) -> Act:
    def made(built: BuiltCell) -> Callable[[], Any]:
        put(built, forbid("p", f'action == Action::"{action}"'))
        return lambda: act(built)

    return made


def _ruled_use(built: BuiltCell) -> Callable[[], Any]:
    token, credential = built.token(NAME, "Ada", "c1"), built.grant(NAME)
    put(built, forbid("p", 'action == Action::"reveal"'))
    return lambda: built.reveal(credential, NAME, token)


def _exhausted(built: BuiltCell) -> Callable[[], Any]:
    token, credential = built.token(NAME, "Ada", "c1"), built.grant(NAME, uses=1)
    return lambda: built.reveal(credential, NAME, token, token)


def _too_large(built: BuiltCell) -> Callable[[], Any]:
    token, credential = built.token(NAME, "Ada", "c1"), built.grant(NAME, batch=1)
    return lambda: built.reveal(credential, NAME, token, token)


def _too_fast(built: BuiltCell) -> Callable[[], Any]:
    token = built.token(NAME, "Ada", "c1")
    limits = GrantLimits(10, 1, RateBody(count=1, per_s=86_400, burst=1))
    body = built.grant_body(NAME)
    made = built.run(create_grant, GrantBody(body.agent, body.purpose, body.scope, limits=limits))
    built.reveal(str(made.credential), NAME, token)
    return lambda: built.reveal(str(made.credential), NAME, token)


def _too_many_people(built: BuiltCell) -> Callable[[], Any]:
    tokens = built.tokens(NAME, "Ada", "Eve", subjects=["c1", "c2"])
    body = built.grant_body(NAME)
    made = built.run(
        create_grant, GrantBody(body.agent, body.purpose, body.scope, subjects=Subjects(max_distinct=1))
    )
    return lambda: built.reveal(str(made.credential), NAME, *tokens)


def _replayed(built: BuiltCell) -> Callable[[], Any]:
    token, signer = built.token(NAME, "Ada", "c1"), new_signer()
    body = built.grant_body(NAME, bind=bound(signer), purpose="files")
    holder = Holding(built.run(create_grant, body).id, signer)
    request = holder.request(built, "192.0.2.7", None, jti="j" * 43)
    asked = reveal(NAME, [token], purpose="files")

    def act() -> Any:
        again = holder.request(built, "192.0.2.7", None, jti="j" * 43)
        return perform(built.cell, lambda: detokenize(built.cell, again, asked))

    perform(built.cell, lambda: detokenize(built.cell, request, asked))
    return act


def _delegated(built: BuiltCell) -> Callable[[], Any]:
    token, signer = built.token(NAME, "Ada", "c1"), new_signer()
    body = built.grant_body(NAME, bind=bound(signer), purpose="files", delegation=Delegation(1, 60))
    holder = Holding(built.run(create_grant, body).id, signer)
    delegate = holder.hand_on(built.cell.clock.now(), uses=10**6)
    return lambda: built.reveal(delegate, NAME, token, purpose="files")


def _tries(built: BuiltCell) -> Callable[[], Any]:
    body = VerifyBody("support", SSN, built.token(SSN, VALUE), "123-45-6780", key_version=1)
    credential = verifying(built)
    for _ in range(3):
        built.run(verify_token, body, by=credential)
    return lambda: built.run(verify_token, body, by=credential)


def _ceiling(**more: Any) -> Act:
    return lambda built: lambda: built.grant(NAME, **more)


def _to_itself(built: BuiltCell) -> Callable[[], Any]:
    return lambda: built.grant(NAME, agent="service:demo")


def _session_without_factor(built: BuiltCell) -> Callable[[], Any]:
    create(built)
    session = log_in(built).credential or ""
    return lambda: built.run(list_principals, Page(), by=session)


def _key_from_elsewhere(built: BuiltCell) -> Callable[[], Any]:
    key = built.key(built.service_id, KeyBody(networks=["198.51.100.0/24"]))
    return lambda: built.run(tokenize, TokenizeBody(field=NAME, values=["x"]), by=key)


def _later(built: BuiltCell) -> Validity:
    start = built.cell.clock.now() + 60 * SECOND
    return Validity(from_=format_time(start), until=format_time(start + 60 * SECOND))


def _pending(built: BuiltCell) -> Callable[[], Any]:
    token, credential = built.token(NAME, "Ada", "c1"), built.grant(NAME, valid=_later(built))
    return lambda: built.reveal(credential, NAME, token)


def _bound_to(**bind: Any) -> Act:
    return _use(bind=Bind(**bind))


def _sealed_scope(built: BuiltCell) -> Callable[[], Any]:
    token = built.token(NAME, "Ada", "c1")
    scope = [ScopeEntry([NAME], ["mask"], ["plain"], mask="initial")]
    made = built.run(create_grant, GrantBody(AGENT, "support", scope))
    return lambda: built.reveal(str(made.credential), NAME, token)


MATRIX: dict[tuple[str, str], tuple[str, Act]] = {
    ("permission", "none"): ("permission_denied", lambda b: lambda: b.run(list_principals, Page())),
    ("network", "of a key"): ("network_denied", _key_from_elsewhere),
    ("second factor", "none"): ("insufficient_user_authentication", _session_without_factor),
    ("duties", "to itself"): ("self_approval", _to_itself),
    ("ceiling", "purpose's delivery"): ("plain_delivery_denied", _ceiling(purpose="sealed")),
    ("ceiling", "uses"): ("delegation_denied", _ceiling(purpose="files", uses=200_000)),
    ("policy", "tokenize"): ("policy_denied", _policy("tokenize", lambda b: b.token(NAME, "x"))),
    ("policy", "grant:create"): ("policy_denied", _policy("grant:create", lambda b: b.grant(NAME))),
    ("policy", "reveal"): ("policy_denied", _ruled_use),
    ("delegation", "wider"): ("delegation_denied", _delegated),
    ("state", "revoked"): (
        "grant_invalid", _changed(lambda b, g: b.run(revoke_grant, g, ChangeBody(), by=b.admin))
    ),
    ("state", "suspended"): (
        "grant_suspended", _changed(lambda b, g: b.run(suspend_grant, g, ChangeBody(), by=b.admin))
    ),
    ("state", "stopped"): (
        "grant_suspended", _changed(lambda b, _: b.run(set_kill, KillBody(agent="demo"), by=b.admin))
    ),
    ("state", "pending"): ("outside_window", _pending),
    ("place", "network"): ("network_denied", _bound_to(networks=["198.51.100.0/24"])),
    ("place", "conversation"): ("scope_denied", _bound_to(conversation="c9")),
    ("place", "task"): ("scope_denied", _bound_to(task="t9")),
    ("place", "purpose"): ("purpose_mismatch", _use(purpose="files")),
    ("scope", "operation"): ("scope_denied", _sealed_scope),
    ("scope", "batch"): ("scope_denied", _too_large),
    ("budget", "uses"): ("budget_exhausted", _exhausted),
    ("budget", "rate"): ("rate_limited", _too_fast),
    ("budget", "people"): ("budget_exhausted", _too_many_people),
    ("budget", "replayed"): ("proof_replayed", _replayed),
    ("budget", "tries"): ("budget_exhausted", _tries),
}  # fmt: skip


@pytest.mark.parametrize(("check", "reason"), MATRIX)
def test_explain_names_the_check_that_refused(built: BuiltCell, check: str, reason: str) -> None:
    code, make = MATRIX[check, reason]
    act = make(built)
    first = built.next_number
    refusal = refused(act, code)
    assert built.next_number == first + 1
    told = explained(built, refusal)
    assert (told.outcome, told.code, told.check) == ("denied", code, check)
    assert told.of == CHECKS[check]
    assert (told.sentence, told.retry) == (CODES[code].sentence, CODES[code].retry)
    assert told.policies == (["p"] if check == "policy" else [])
    assert told.actor
    if check == "permission":
        assert told.missing == ["principal"]


def test_explain_says_which_items_were_refused_and_what_was_allowed(built: BuiltCell) -> None:
    token, credential = built.token(NAME, "Ada"), built.grant(NAME)
    asked = reveal(NAME, [token, "tok_" + "a" * 26], on_error="report")
    decision = str(built.run(detokenize, asked, by=credential).decision)
    told = built.run(explain_decision, ExplainBody(decision), by=built.admin)
    assert (told.outcome, told.check, told.number) == ("failed", "items", 9)
    assert [(one.field, one.codes) for one in told.items] == [(NAME, {"token_unknown": 1})]
    made = built.run(tokenize, TokenizeBody(field=NAME, values=["x"]))
    allowed = built.run(explain_decision, ExplainBody(str(made.decision)), by=built.admin)
    assert (allowed.outcome, allowed.check, allowed.code) == ("allowed", None, None)


def test_who_may_not_see_rules_gets_no_reasons(built: BuiltCell) -> None:
    refused(lambda: built.run(explain_decision, ExplainBody("dec_x")), "permission_denied")
    _, auditor = built.principal("operator", "auditor", roles=["auditor"])
    decision = str(refused(lambda: built.run(list_principals, Page()), "permission_denied").facts["decision"])
    assert built.run(explain_decision, ExplainBody(decision), by=auditor).check == "permission"
    for named in ("dec_01M84HD64DFW18BYTQYF0BJRJQ", "gr_01M84HD64DFW18BYTQYF0BJRJQ", "x", ""):
        refused(partial(built.run, explain_decision, ExplainBody(named), by=auditor), "not_found")
