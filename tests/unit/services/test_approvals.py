"""Approvals: what waits for one, who gives it, what it is worth, and for how long."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from tests.support.cells import AGENT, CEILING, NAME, SSN, TEXT, BuiltCell
from tests.support.holders import Holding, bound, new_signer
from tests.support.operators import create, enrol, log_in, operator
from vault.clock import SECOND, FixedClock
from vault.errors import BadInput, CoatcheckError, Conflict, Denied, Unauthenticated, Unknown
from vault.policy.approval import Approval, When
from vault.policy.grant import Derived, ScopeEntry
from vault.policy.terms import RateBody
from vault.services import use_grant
from vault.services.approvals import (
    ApprovalAnswer,
    ApprovalFilter,
    DecideBody,
    approve,
    deny,
    list_approvals,
    read_approval,
)
from vault.services.approving import drop_requests
from vault.services.grant_body import GrantBody, GrantLimits
from vault.services.grant_changes import (
    ChangeBody,
    NarrowBody,
    narrow_grant,
    resume_grant,
    revoke_grant,
    suspend_grant,
)
from vault.services.grant_views import read_grant
from vault.services.grants import create_grant
from vault.services.listing import Page
from vault.services.simulate import SimulateBody, simulate
from vault.services.verify import VerifyBody, verify
from vault.wiring import perform

PURPOSE = "files"
EACH = Approval(["role:privacy-officer"], when=When(op="reveal"))


def officer(built: BuiltCell, name: str = "olga", **more: Any) -> str:
    """The session of a privacy officer who has just proved a second factor."""
    session, _ = operator(built, name, **{"roles": ["privacy-officer"], **more})
    return session


def holding(built: BuiltCell, *fields: str, approval: Approval = EACH, **more: Any) -> Holding:
    return Holding.of(built, *(fields or (NAME,)), purpose=PURPOSE, approval=approval, **more)


def ask(built: BuiltCell, by: Holding | str, token: str | None, field: str = NAME, **more: Any) -> Any:
    return built.reveal(by, field, token, purpose=PURPOSE, **more)


def wanted(built: BuiltCell, by: Holding | str, token: str | None, **more: Any) -> dict[str, Any]:
    """What the refusal of a use says of its approval."""
    with pytest.raises(Denied) as refused:
        ask(built, by, token, **more)
    assert refused.value.code == "approval_required"
    need = refused.value.facts["approval"]
    assert isinstance(need, dict)
    return dict(need)


def shown(built: BuiltCell, approval: Any, by: str) -> ApprovalAnswer:
    return built.run(read_approval, approval, by=by)


def decide(built: BuiltCell, verb: Any, approval: Any, by: str, digest: str | None = None) -> ApprovalAnswer:
    seen = shown(built, approval, by).digest if digest is None else digest
    return built.run(verb, approval, DecideBody(str(seen), "looked at"), by=by)  # type: ignore[no-any-return]


def test_a_use_waits_for_somebody_and_is_served_once(built: BuiltCell) -> None:
    olga, token = officer(built), built.token(NAME, "Ada Lovelace", "c1")
    held = holding(built)
    need = wanted(built, held, token)
    assert (need["needed"], need["have"]) == (1, 0)
    assert need["uri"].endswith(f"/approve#eu/{need['id']}")
    assert wanted(built, held, token)["id"] == need["id"]  # the same request has the same approval
    assert built.run(read_grant, held.grant).uses == 0
    seen = shown(built, need["id"], olga)
    assert (seen.state, seen.yours, seen.operation, seen.count) == ("pending", True, "reveal", 1)
    [item] = seen.preview or []
    assert (item.field, item.code) == (NAME, None)
    assert item.shown is not None
    assert "Lovelace" not in item.shown
    approved = decide(built, approve, need["id"], olga)
    assert (approved.state, approved.have) == ("approved", 1)
    assert ask(built, held, token) == ["Ada Lovelace"]
    assert built.run(read_grant, held.grant).uses == 1
    assert shown(built, need["id"], olga).state == "used"
    assert wanted(built, held, token)["id"] != need["id"]  # once is once


def test_what_the_log_says_of_it(built: BuiltCell) -> None:
    olga, token = officer(built), built.token(NAME, "Ada Lovelace", "c1")
    held = holding(built)
    first = built.next_number
    need = wanted(built, held, token)
    decide(built, approve, need["id"], olga)
    ask(built, held, token)
    refused, preview, given, used = built.events(first)
    assert (refused["kind"], refused["code"], refused["check"]) == ("detokenize", "approval_required", 10)
    assert (refused["approval"], refused["charged"]) == (need["id"], 0)
    assert (preview["kind"], preview["actor"], preview["masks"]) == (
        "approval.preview", "operator:olga", ["initial"],
    )  # fmt: skip
    assert (given["kind"], given["mfa"], given["approval"]) == ("approval.approve", "totp", need["id"])
    assert used["approval"] == need["id"]
    assert [vote["mfa"] for vote in used["approved_by"]] == ["totp"]
    assert used["outcome"] == "allowed"


def test_hit_and_miss_look_the_same(built: BuiltCell) -> None:
    held = holding(built)
    hit = wanted(built, held, built.token(NAME, "Ada", "c1"))
    miss = wanted(built, held, "tok_" + "a" * 26)
    assert hit.keys() == miss.keys()
    assert (hit["needed"], hit["have"]) == (miss["needed"], miss["have"])


@pytest.mark.parametrize("other", ["token", "conversation", "operation"])
def test_another_request_needs_another(built: BuiltCell, other: str) -> None:
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    held = holding(built, approval=Approval(["role:privacy-officer"], when=When(fields=[NAME])))
    need = wanted(built, held, token)
    decide(built, approve, need["id"], olga)
    more: dict[str, Any] = {}
    if other == "token":
        token = built.token(NAME, "Eve", "c2")
    elif other == "conversation":
        more = {"conversation": "c-1"}
    else:
        more = {"operation": "mask", "mask": "initial"}
    assert wanted(built, held, token, **more)["id"] != need["id"]


def test_what_does_not_match_waits_for_nobody(built: BuiltCell) -> None:
    held = holding(built)
    token = built.token(NAME, "Ada", "c1")
    assert ask(built, held, token, operation="mask", mask="initial") == ["A."]


def test_a_bearer_grant_and_ciphertexts(built: BuiltCell) -> None:
    olga = officer(built)
    credential = built.grant(TEXT, purpose="support", approval=EACH)
    text = built.ciphertext(TEXT, "a secret word", subject="c1", record="row 7")
    with pytest.raises(Denied) as refused:
        built.decrypt(credential, TEXT, text, subject="c1", record="row 7")
    need: Any = refused.value.facts["approval"]
    [item] = shown(built, need["id"], olga).preview or []
    assert (item.shown, item.code) == (None, "operation_unsupported")  # the field has no mask
    decide(built, approve, need["id"], olga)
    assert built.decrypt(credential, TEXT, text, subject="c1", record="row 7") == ["a secret word"]


def test_denied_is_final_until_it_would_have_ended(built: BuiltCell) -> None:
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    held = holding(built)
    need = wanted(built, held, token)
    assert decide(built, deny, need["id"], olga).state == "denied"
    with pytest.raises(Denied) as refused:
        ask(built, held, token)
    assert refused.value.code == "approval_denied"
    with pytest.raises(Conflict):
        decide(built, approve, need["id"], olga)


def test_two_of_two_are_two_people(built: BuiltCell) -> None:
    olga, oscar, token = officer(built), officer(built, "oscar"), built.token(NAME, "Ada", "c1")
    held = holding(built, approval=Approval(["role:privacy-officer"], 2, When(op="reveal")))
    need = wanted(built, held, token)
    for _ in range(2):  # the same person twice is one
        assert decide(built, approve, need["id"], olga).state == "pending"
    assert wanted(built, held, token)["have"] == 1
    assert decide(built, approve, need["id"], oscar).state == "approved"
    assert ask(built, held, token) == ["Ada"]


def test_nobody_approves_what_is_its_own(built: BuiltCell) -> None:
    token = built.token(NAME, "Ada", "c1")
    olga = officer(built)
    need = wanted(built, holding(built, on_behalf_of="olga"), token)
    with pytest.raises(Denied) as refused:
        decide(built, approve, need["id"], olga)
    assert refused.value.code == "self_approval"
    assert shown(built, need["id"], olga).preview is None
    assert built.events(0, "denied")[-1]["code"] == "self_approval"


def test_only_who_is_asked(built: BuiltCell) -> None:
    token = built.token(NAME, "Ada", "c1")
    need = wanted(built, holding(built, approval=Approval(["operator:oscar"], when=When(op="reveal"))), token)
    olga, oscar = officer(built), officer(built, "oscar")
    assert shown(built, need["id"], olga).preview is None
    with pytest.raises(Denied, match="permission_denied"):
        decide(built, approve, need["id"], olga)
    assert decide(built, approve, need["id"], oscar).state == "approved"


def test_services_approve_nothing(built: BuiltCell) -> None:
    need = wanted(built, holding(built), built.token(NAME, "Ada", "c1"))
    _, service = built.principal("service", "robot", roles=["privacy-officer"])
    with pytest.raises(Unauthenticated, match="credential_invalid"):
        decide(built, approve, need["id"], service, "A" * 43)
    assert shown(built, need["id"], service).preview is None


def test_the_digest_is_that_of_what_was_seen(built: BuiltCell) -> None:
    need = wanted(built, holding(built), built.token(NAME, "Ada", "c1"))
    with pytest.raises(Conflict, match="version_conflict"):
        decide(built, approve, need["id"], officer(built), "A" * 43)


def test_another_tenant_knows_nothing_of_it(built: BuiltCell) -> None:
    need = wanted(built, holding(built), built.token(NAME, "Ada", "c1"))
    other = built.another_tenant("acme")
    eve, _ = operator_of(other)
    with pytest.raises(Unknown):
        other.run(read_approval, need["id"], by=eve)
    with pytest.raises(Unknown):
        other.run(approve, need["id"], DecideBody("A" * 43), by=eve)


def operator_of(built: BuiltCell) -> tuple[str, str]:
    created = create(built, "eve", roles=["privacy-officer"])
    session = log_in(built, f"eve@{built.tenant}").credential or ""
    enrol(built, session)
    return session, created


def test_a_grant_that_was_narrowed_needs_a_new_one(built: BuiltCell) -> None:
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    held = holding(built)
    need = wanted(built, held, token)
    decide(built, approve, need["id"], olga)
    built.run(narrow_grant, held.grant, NarrowBody(1, uses=5))
    assert shown(built, need["id"], olga).state == "void"
    assert wanted(built, held, token)["id"] != need["id"]


def test_a_grant_that_was_revoked_has_none(built: BuiltCell) -> None:
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    held = holding(built)
    need = wanted(built, held, token)
    built.run(revoke_grant, held.grant, ChangeBody())
    with pytest.raises(Conflict):
        decide(built, approve, need["id"], olga)
    with pytest.raises(Unauthenticated, match="grant_invalid"):
        ask(built, held, token)


def test_a_grant_waits_as_a_whole(built: BuiltCell) -> None:
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    approval = Approval(["role:privacy-officer"])
    signer = new_signer()
    body = built.grant_body(NAME, bind=bound(signer), purpose=PURPOSE, approval=approval)
    made = built.run(create_grant, body)
    held = Holding(made.id, signer)
    assert made.state == "pending"
    assert made.approval is not None
    assert wanted(built, held, token)["id"] == made.approval.id
    for verb in (suspend_grant, resume_grant):
        with pytest.raises(Denied, match="approval_required"):
            built.run(verb, made.id, ChangeBody(), by=built.admin)
    assert decide(built, approve, made.approval.id, olga).state == "used"
    assert built.run(read_grant, made.id).state == "active"
    assert ask(built, held, token) == ["Ada"]
    assert ask(built, held, token) == ["Ada"]


def test_a_grant_that_is_denied_is_revoked(built: BuiltCell) -> None:
    made = built.run(create_grant, built.grant_body(NAME, approval=Approval(["role:privacy-officer"])))
    assert made.approval is not None
    decide(built, deny, made.approval.id, officer(built))
    assert built.run(read_grant, made.id).state == "revoked"


def test_no_more_wait_than_people_can_look_at(built: BuiltCell) -> None:
    held = holding(built, uses=100)
    for number in range(20):
        wanted(built, held, f"tok_{number:026}")
    with pytest.raises(CoatcheckError, match="rate_limited"):
        ask(built, held, "tok_" + "a" * 26)


def test_an_approval_costs_rate_and_no_uses(built: BuiltCell) -> None:
    signer = new_signer()
    body = built.grant_body(NAME, bind=bound(signer))
    limits = GrantLimits(10, 1, RateBody(1, 3600))
    made = built.run(
        create_grant,
        GrantBody(body.agent, PURPOSE, body.scope, bind=body.bind, limits=limits, approval=EACH),
    )
    held = Holding(made.id, signer)
    wanted(built, held, built.token(NAME, "Ada", "c1"))
    with pytest.raises(CoatcheckError, match="rate_limited"):
        ask(built, held, built.token(NAME, "Ada", "c1"))
    assert built.run(read_grant, held.grant).uses == 0


def test_what_is_kept_of_a_request_goes_with_it(built: BuiltCell) -> None:
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    held = holding(built)
    need = wanted(built, held, token)
    table = built.cell.store.tables.approvals
    [[sealed]] = built.cell.store.read(select(table.c.sealed))
    assert len(sealed) > 0
    assert token.encode() not in bytes(sealed)
    decide(built, approve, need["id"], olga)
    ask(built, held, token)
    [[sealed]] = built.cell.store.read(select(table.c.sealed))
    assert bytes(sealed) == b""


@pytest.mark.parametrize(
    ("approval", "member"),
    [
        (Approval([]), "of"),
        (Approval(["role:king"]), "of"),
        (Approval(["service:demo"]), "of"),
        (Approval(["operator:"]), "of"),
        (Approval(["role:admin"] * 51), None),  # named twice is named once
        (Approval(["role:admin"], 0), "n"),
        (Approval(["role:admin"], 11), "n"),
        (Approval(["operator:ada"], 2), "n"),
        (Approval(["role:admin"], ttl="PT1S"), "ttl"),
        (Approval(["role:admin"], ttl="P8D"), "ttl"),
        (Approval(["role:admin"], ttl="soon"), "ttl"),
        (Approval(["role:admin"], when=When()), "when"),
        (Approval(["role:admin"], when=When(op="verify")), "when"),
        (Approval(["role:admin"], when=When(fields=["customer.ssn"])), "when"),
    ],
)
def test_what_can_never_be_approved_is_refused(
    built: BuiltCell, approval: Approval, member: str | None
) -> None:
    if member is None:
        holding(built, approval=approval)
        return
    with pytest.raises(BadInput) as refused:
        holding(built, approval=approval)
    assert refused.value.facts["member"] == member


def test_an_approval_ends(ticking: BuiltCell, clock: FixedClock) -> None:
    olga, token = officer(ticking), ticking.token(NAME, "Ada", "c1")
    approval = Approval(["role:privacy-officer"], when=When(op="reveal"), ttl="PT2M")
    held = holding(ticking, approval=approval)
    need = wanted(ticking, held, token)
    decide(ticking, approve, need["id"], olga)
    clock.advance(121 * SECOND)
    assert shown(ticking, need["id"], olga).state == "expired"
    perform(ticking.cell, lambda: drop_requests(ticking.cell))
    assert ticking.cell.store.read(select(ticking.cell.store.tables.approvals.c.sealed)) == [(b"",)]
    later = wanted(ticking, held, token)
    assert later["id"] != need["id"]
    clock.advance(121 * SECOND)
    with pytest.raises(Conflict):
        decide(ticking, approve, later["id"], olga)


def test_an_old_proof_of_a_second_factor_is_not_enough(ticking: BuiltCell, clock: FixedClock) -> None:
    olga, token = officer(ticking), ticking.token(NAME, "Ada", "c1")
    need = wanted(ticking, holding(ticking), token)
    clock.advance(16 * 60 * SECOND)
    with pytest.raises(Unauthenticated, match="insufficient_user_authentication"):
        decide(ticking, approve, need["id"], olga)


def test_the_holder_and_the_creator_see_how_it_stands(built: BuiltCell) -> None:
    token = built.token(NAME, "Ada", "c1")
    credential = built.grant(NAME, approval=EACH)
    with pytest.raises(Denied) as refused:
        built.reveal(credential, NAME, token)
    need: Any = refused.value.facts["approval"]
    for by in (credential, built.service):
        seen = shown(built, need["id"], by)
        assert (seen.state, seen.needed, seen.have) == ("pending", 1, 0)
        assert (seen.digest, seen.preview, seen.fields, seen.votes) == (None, None, None, None)
    with pytest.raises(Unknown):
        shown(built, need["id"], built.grant(NAME))


def test_a_holder_of_whom_nothing_is_known_gets_nothing(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The locked row decides, whatever the door knew of the grant."""
    olga, token = officer(built), built.token(NAME, "Ada", "c1")
    held = holding(built)
    need = wanted(built, held, token)
    decide(built, approve, need["id"], olga)
    monkeypatch.setattr(use_grant, "seek", lambda *_: None)
    with pytest.raises(Denied, match="approval_required"):
        ask(built, held, token)
    monkeypatch.undo()
    assert ask(built, held, token) == ["Ada"]


def test_it_is_told_before_it_is_asked(built: BuiltCell) -> None:
    held = holding(built)
    answer = built.run(simulate, SimulateBody(held.grant, PURPOSE, [NAME]), by=built.admin)
    assert (answer.allowed, answer.code, answer.check, answer.charged) == (False, "approval_required", 10, 0)


@pytest.mark.parametrize("what", ["verify", "derive"])
def test_other_operations_of_vaultless_tokens(built: BuiltCell, what: str) -> None:
    olga, token = officer(built), built.token(SSN, "123-45-6789")
    ceiling = msgspec.structs.replace(CEILING, operations=["verify", "derive"])
    permissions = [f"grant:create:{PURPOSE}"]
    _, by = built.principal("service", "other", permissions=permissions, ceiling=ceiling)
    derive = [Derived("last4")] if what == "derive" else []
    scope = [ScopeEntry([SSN], [what], [] if what == "verify" else ["plain"], key_version=1, derive=derive)]
    approval = Approval(["role:privacy-officer"], when=When(op=what))
    body = GrantBody(AGENT, PURPOSE, scope, limits=GrantLimits(5), approval=approval)
    credential = built.run(create_grant, body, by=by).credential or ""

    def use() -> Any:
        if what == "verify":
            asked = VerifyBody(PURPOSE, SSN, token, "123-45-6789")
            return built.run(verify, asked, by=credential).match
        more = {"operation": "derive", "derive": Derived("last4")}
        return built.reveal(credential, SSN, token, purpose=PURPOSE, **more)

    with pytest.raises(Denied) as refused:
        use()
    need: Any = refused.value.facts["approval"]
    [item] = shown(built, need["id"], olga).preview or []
    assert (item.mask, item.shown) == ("last4", "***-**-6789")
    decide(built, approve, need["id"], olga)
    assert use() == (True if what == "verify" else ["6789"])


def test_lists(built: BuiltCell) -> None:
    olga = officer(built)
    held = holding(built)
    needs = [wanted(built, held, built.token(NAME, name, "c1"))["id"] for name in ("Ada", "Eve")]
    listed = built.run(list_approvals, Page(), ApprovalFilter(), by=olga).items
    assert [one.id for one in listed] == needs[::-1]
    assert all(one.preview is None for one in listed)
    first = built.run(list_approvals, Page(1), ApprovalFilter("pending"), by=olga)
    assert [one.id for one in first.items] == [needs[1]]
    with pytest.raises(Denied):
        built.run(list_approvals, Page(), ApprovalFilter())
