"""Every verb of `vault.services` with arguments that succeed, so that a rule can be tried on all of them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

import vault.services
from tests.support.batches import a_batch_to
from tests.support.cells import AGENT, CITY, EMAIL, NAME, SCHEMA, SSN, VISIT, BuiltCell, reveal
from tests.support.holders import a_holder, registering
from tests.support.operators import (
    PASSWORD,
    STEP_S,
    Device,
    create,
    log_in,
    operator,
    passkey,
    with_passkeys,
)
from tests.support.passkeys import Authenticator
from vault.clock import DAY, SECOND, format_time
from vault.config import build
from vault.crypto.signing import Signer
from vault.errors import CoatcheckError, Denied
from vault.identifiers import uuid7
from vault.policy.approval import Approval, When
from vault.policy.grant import ScopeEntry
from vault.policy.policy_cases import PolicyCase
from vault.policy.principal import Ceiling
from vault.secret import Secret
from vault.services.accepting import accept
from vault.services.approvals import (
    ApprovalFilter,
    DecideBody,
    approve,
    deny,
    list_approvals,
    read_approval,
)
from vault.services.audit import AuditQuery, read_audit
from vault.services.break_glass import (
    BreakGlassBody,
    GlassReviewBody,
    break_glass,
    list_break_glass,
    review_break_glass,
)
from vault.services.calendar import RunBody, read_calendar, run_retention
from vault.services.certificates import read_certificate, read_certificate_keys
from vault.services.client_keys import ClientBody, PublicJwk, create_client
from vault.services.coverage import read_coverage
from vault.services.crossing import BatchBody
from vault.services.decrypt import DecryptBody, DecryptItem, decrypt
from vault.services.detokenize import detokenize
from vault.services.disclosures import DisclosuresBody, disclosures_report
from vault.services.due_report import DueQuery, retention_report
from vault.services.encrypt import EncryptBody, EncryptItem, encrypt
from vault.services.enlisting import Enlisting
from vault.services.erasures import (
    ErasureBody,
    SubjectBody,
    list_erasures,
    read_erasure,
    read_status,
    request_erasure,
)
from vault.services.events import EventBody, report_event
from vault.services.explain import TemplateQuestion, explain_field, explain_template
from vault.services.fences import ReopenBody, reopen_subject
from vault.services.field_keys import (
    Attestation,
    DestroyBody,
    ReasonBody,
    compromise_key,
    destroy_key,
    rotate_key,
)
from vault.services.fields import list_fields, read_field
from vault.services.grant_body import GrantBody, GrantLimits
from vault.services.grant_changes import (
    ChangeBody,
    NarrowBody,
    narrow_grant,
    resume_grant,
    revoke_block,
    revoke_grant,
    suspend_grant,
)
from vault.services.grant_usage import read_usage
from vault.services.grant_views import GrantFilter, list_grants, read_grant
from vault.services.grants import create_grant
from vault.services.holder_keys import (
    HolderKeyBody,
    list_holder_keys,
    register_holder_key,
    revoke_holder_key,
)
from vault.services.holds import (
    HoldBody,
    HoldReasonBody,
    approve_release,
    ask_release,
    confirm_hold,
    create_hold,
    keep_hold,
    list_holds,
    read_hold,
)
from vault.services.identities import (
    PrincipalBody,
    create_principal,
    list_principals,
    remove_principal,
    whoami,
)
from vault.services.intake import read_intake_key
from vault.services.introspection import AskForm, introspect, revoke
from vault.services.jobs import cancel_job, list_jobs, read_job, resume_job
from vault.services.keys import KeyFilter, list_stored_keys, read_stored_key
from vault.services.kills import KillBody, lift_kill, list_kills, set_kill
from vault.services.listing import Page
from vault.services.operators import OperatorBody, create_operator, list_operators, reset_mfa
from vault.services.passkeys import (
    RegisterBody,
    list_passkeys,
    register_options,
    register_passkey,
    remove_passkey,
)
from vault.services.policies import (
    PolicyBody,
    apply_policy,
    list_policies,
    plan_policy,
    read_policy,
    show_policy,
)
from vault.services.policy_tests import PolicyTestBody, run_policy_tests
from vault.services.reasons import ExplainBody, explain_decision
from vault.services.regions import LookupBody, list_regions, look_up
from vault.services.rehearse import CheckBody, rehearse
from vault.services.rekey import RekeyBody, rekey, rekey_in_place
from vault.services.replacement import ReplaceBody, replace_key
from vault.services.reports import processing_report
from vault.services.reviews import (
    ItemBody,
    ReviewBody,
    decide_item,
    list_reviews,
    read_review,
    start_review,
)
from vault.services.rewrite import TextColumn, rewrite
from vault.services.schema import (
    SchemaBody,
    apply_schema,
    list_versions,
    plan_schema,
    read_version,
    show_schema,
)
from vault.services.second_factors import (
    CodeBody,
    PasswordBody,
    begin_totp,
    change_password,
    confirm_totp,
    drop_totp,
    new_recovery_codes,
)
from vault.services.service_keys import (
    KeyBody,
    create_key,
    list_keys,
    revoke_key,
)
from vault.services.sessions import (
    LoginBody,
    PasskeyBody,
    StepUpBody,
    end_session,
    list_sessions,
    passkey_options,
    passkey_sign_in,
    sign_in,
    step_up_options,
    step_up_session,
)
from vault.services.simulate import SimulateBody, simulate
from vault.services.tenants import TenantBody, create_tenant, list_tenants
from vault.services.token_endpoint import ACCESS_TOKEN, TokenForm, issue_token
from vault.services.token_exchange import exchange_token, token
from vault.services.tokenize import TokenizeBody, tokenize
from vault.services.transfers import TransferBody, list_moved, read_transfer, start_transfer
from vault.services.turn import TurnBody, list_epochs, start_turn
from vault.services.verify import VerifyBody, verify
from vault.tokens.lines import Lines
from vault.wiring import Wiring

VALUE: Final = "123-45-6789"
RULES: Final = (
    '@id("all") permit (principal, action, resource);'
    '@id("never") forbid (principal, action == Action::"kill:control", resource) when { context.hour > 23 };'
)
VERIFYING: Final = Ceiling(
    fields=[SSN],
    operations=["verify"],
    deliveries=["plain"],
    purposes=["support"],
    agents=[AGENT],
    uses=10,
)
PERSON: Final = "Ada Lovelace"
WORD: Final = Attestation("Ada", "none is left")
NEW_SCHEMA: Final = SCHEMA + '\n[purposes.another]\nlegal_basis = "consent"\n'

PUBLIC: Final = PublicJwk(kty="OKP", crv="Ed25519", x="11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
"""The key of RFC 8037, appendix A.1."""

Made = tuple[str, tuple[Any, ...]]
"""Who calls (a credential), and the verb's arguments."""


@dataclass(frozen=True)
class Call:
    """One way to call a verb.

    Attributes:
        prepare: makes the caller's credential and the arguments, in a populated cell.
        commits: how many transactions it writes.
        needs: the permission it takes, without what it is for; empty if none.
    """

    verb: Callable[..., Any]
    prepare: Callable[[BuiltCell], Made]
    commits: int
    needs: str = ""


def grant_id(credential: str) -> str:
    """The id of the grant that a credential names."""
    return "gr_" + credential.split("_")[1]


def _exchange(built: BuiltCell) -> Made:
    details = {
        "type": "coatcheck_grant",
        "agent": AGENT,
        "purpose": "support",
        "scope": [{"fields": [SSN], "operations": ["reveal"], "delivery": ["plain"]}],
    }
    form = TokenForm(
        subject_token=access_token(built),
        subject_token_type=ACCESS_TOKEN,
        authorization_details=msgspec.json.encode([details]).decode(),
    )
    return built.service, (form,)


def _vaulted(built: BuiltCell) -> Made:
    return built.service, (TokenizeBody(field=NAME, values=[PERSON, "Bob"], subjects=["new-person", None]),)


def _rewrite(built: BuiltCell) -> Made:
    lines = Lines.of([VALUE] * 50)  # fewer are taken out
    return built.service, ([TextColumn(SSN, lines.texts, lines.like())],)


def _reveal(built: BuiltCell) -> Made:
    return built.grant(SSN), (reveal(SSN, [built.token(SSN, VALUE)]),)


def _reveal_vaulted(built: BuiltCell) -> Made:
    return built.grant(NAME), (reveal(NAME, [built.token(NAME, PERSON, "c1")]),)


def _mask(built: BuiltCell) -> Made:
    return built.grant(SSN), (reveal(SSN, [built.token(SSN, VALUE)], operation="mask", mask="last4"),)


def _decrypt(built: BuiltCell) -> Made:
    item = DecryptItem(VISIT, built.ciphertext(VISIT, PERSON, subject="c1"))
    return built.grant(VISIT), (DecryptBody("support", [item]),)


def _apply(built: BuiltCell) -> Made:
    digest = built.run(plan_schema, SchemaBody(toml=NEW_SCHEMA), by=built.admin).digest
    return built.admin, (SchemaBody(toml=NEW_SCHEMA, digest=digest),)


def _stored_key(built: BuiltCell) -> str:
    keys = built.run(list_stored_keys, Page(limit=1), KeyFilter(), by=built.admin).items
    return str(keys[0].id)


HELD: Final = Signer(Secret(bytes(range(32))))
"""The same key for each call, so that two calls leave the same."""


def _field_key(built: BuiltCell, *, ended: bool = False) -> str:
    """The SSN field's FF1 key; with `ended`, one that a newer version has replaced."""
    key = _stored_key_of(built, SSN)
    if ended:
        built.run(rotate_key, key, ReasonBody(), by=built.admin)
    return key


def _stored_key_of(built: BuiltCell, field_: str) -> str:
    keys = built.run(list_stored_keys, Page(limit=500), KeyFilter(kind="ff1"), by=built.admin).items
    return next(str(key.id) for key in keys if key.field == field_ and key.state == "active")


def _rekey(built: BuiltCell) -> Made:
    token = built.token(SSN, VALUE)
    _field_key(built, ended=True)
    return built.service, (RekeyBody(SSN, [token, None], 1),)


def _rekey_in_place(built: BuiltCell) -> Made:
    lines = Lines.of(built.tokens(SSN, *[VALUE] * 50))
    _field_key(built, ended=True)
    return built.service, ([TextColumn(SSN, lines.texts, lines.like())], 1)


def a_job(built: BuiltCell) -> str:
    """A turn that nobody does."""
    return str(built.run(start_turn, TurnBody(), by=built.admin).id)


def a_stopped_job(built: BuiltCell) -> str:
    return str(built.run(cancel_job, a_job(built), by=built.admin).id)


def with_directory(built: BuiltCell) -> str:
    """Gives the cell a directory, which lists a person; that person."""
    if built.cell.directory is None:
        settings = {
            "database": "sqlite:///directory.db",
            "kms": "local:keys/directory",
            "half_stores": ["keys/directory"],
            "key_file": "keys/directory/development.key",
        }
        config = build({"mode": "development", "directory": settings}, {}, built.config.path("."))
        wiring = Wiring(config)
        wiring.create_directory()
        built.cell.directory = wiring.directory()
    assert built.cell.directory is not None
    built.token(CITY, "Rom", PERSON)
    listing = Enlisting(built.cell, built.cell.directory, uuid7())
    for _ in range(3):
        listing.run()
    return PERSON


def with_neighbour(built: BuiltCell) -> dict[str, Any]:
    """Lets values of a person go into another cell, a fake: it is the same one. A body to ask with."""
    built.token(CITY, "Rom", PERSON)
    built.cell.regions = {"eu": "http://eu.example", "us": "http://us.example"}
    built.cell.transfer_to = frozenset({"us"})
    built.cell.neighbours["us"] = built.cell
    return {"subject": PERSON, "to": "us", "legal_basis": "contract", "fields": [CITY]}


def _transfer(built: BuiltCell) -> TransferBody:
    return msgspec.convert(with_neighbour(built), TransferBody)


def a_batch(built: BuiltCell) -> BatchBody:
    """A batch as the service of another region sends it."""
    built.cell.regions = {"eu": "http://eu.example", "us": "http://us.example"}
    return a_batch_to(built.run(read_intake_key).x, built.tenant, CITY, "Rom", PERSON)


def a_transfer(built: BuiltCell) -> str:
    """A transfer that nobody does."""
    return str(built.run(start_transfer, _transfer(built), by=built.admin).id)


def planned(built: BuiltCell) -> PolicyBody:
    """Rules that refuse what nobody asks for, with the digest of their plan."""
    plan = built.run(plan_policy, PolicyBody(RULES), by=built.admin)
    return PolicyBody(RULES, plan.digest)


def a_review_body(built: BuiltCell) -> dict[str, Any]:
    """A review of the service's ceiling, and who is to do it."""
    names = built.cell.store.record.principals_by_name
    if not built.cell.store.read_keys(names, ["operator:eve"], tenant=built.tenant):
        built.principal("operator", "eve", roles=["reviewer"])
    scope = {"kinds": ["ceiling"], "principals": ["service:demo"]}
    due = format_time(built.cell.clock.now() + 90 * DAY)
    return {"due": due, "reviewer": "operator:eve", "scope": scope}


def a_review(built: BuiltCell) -> tuple[str, str]:
    """The credential of the reviewer, and a review with one item."""
    _, reviewer = built.principal("operator", "eve", roles=["reviewer"])
    body = msgspec.convert(a_review_body(built), ReviewBody)
    return reviewer, built.run(start_review, body, by=built.admin).id


def _start_review(built: BuiltCell) -> Made:
    return built.admin, (msgspec.convert(a_review_body(built), ReviewBody),)


def _decide(built: BuiltCell) -> Made:
    reviewer, review = a_review(built)
    return reviewer, (review, "1", ItemBody("remove", "ticket 7"))


def _denied(built: BuiltCell) -> str:
    """A decision that was refused."""
    try:
        built.run(set_kill, KillBody(agent="demo"), by=built.service)
    except CoatcheckError as refusal:
        return str(refusal.facts["decision"])
    raise AssertionError("it was taken")


def _sign_in(built: BuiltCell) -> Made:
    _, device = operator(built)
    return "", (LoginBody("ada", PASSWORD, device.code(built)),)


def _options(built: BuiltCell) -> Made:
    with_passkeys(built)
    return "", ()


def _passkey_sign_in(built: BuiltCell) -> Made:
    made = passkey(built, operator(built)[0])
    return "", (PasskeyBody(made.sign(built.run(passkey_options, by="").options)),)


def signed_in(built: BuiltCell) -> str:
    """The session of an operator with a device and a passkey."""
    session = operator(built)[0]
    passkey(built, session)
    return session


def _step_up(built: BuiltCell) -> Made:
    session, device = operator(built)
    return session, (StepUpBody(code=device.code(built)),)


def _confirm_totp(built: BuiltCell) -> Made:
    create(built)
    session = log_in(built).credential or ""
    device = Device(
        built.run(begin_totp, by=session).secret, last=built.cell.clock.now() // SECOND // STEP_S - 1
    )
    return session, (CodeBody(device.code(built)),)  # of this step: good for another half minute at least


def _register(built: BuiltCell) -> Made:
    session = operator(built)[0]
    with_passkeys(built)
    answer = Authenticator().register(built.run(register_options, by=session).options)
    return session, (RegisterBody(answer, "laptop"),)


def _remove_passkey(built: BuiltCell) -> Made:
    session = signed_in(built)
    return session, (built.run(list_passkeys, by=session).items[0].id,)


def _reset(built: BuiltCell) -> Made:
    operator(built)
    return built.admin, ("ada", "quartz meadow thimble")


def _key_of(credential: str) -> str:
    return "_".join(credential.split("_")[:2])


def an_approval(built: BuiltCell) -> str:
    """A use that waits for an approval of an operator `olga`, or of a privacy officer."""
    approval = Approval(["operator:olga", "role:privacy-officer"], when=When(op="reveal"))
    credential = built.grant(NAME, approval=approval)
    token = built.token(NAME, PERSON, "c1")
    try:
        built.reveal(credential, NAME, token)
    except Denied as refused:
        need: Any = refused.facts["approval"]
        return str(need["id"])
    raise AssertionError("it waits for nobody")


def an_approver(built: BuiltCell, name: str = "olga") -> str:
    """The session of somebody who approves, breaks glasses, and reviews."""
    permissions = ["break-glass:create", "break-glass:review"]
    return operator(built, name, roles=["approver"], permissions=permissions)[0]


def decision_on(built: BuiltCell, approval: str, by: str) -> DecideBody:
    """The body that decides on an approval, looked at by somebody who is asked."""
    return DecideBody(str(built.run(read_approval, approval, by=by).digest), "looked at")


def _decision(built: BuiltCell) -> Made:
    session, approval = an_approver(built), an_approval(built)
    return session, (approval, decision_on(built, approval, session))


def glass_body(built: BuiltCell) -> BreakGlassBody:
    """A grant past a ceiling."""
    scope = [ScopeEntry([NAME], ["reveal"], ["plain"])]
    review_by = format_time(built.cell.clock.now() + 3_600 * SECOND)
    return BreakGlassBody(AGENT, "support", scope, reason="an outage", review_by=review_by)


def a_broken_glass(built: BuiltCell) -> str:
    """The id of a grant past a ceiling that nobody has reviewed."""
    return built.run(break_glass, glass_body(built), by=an_approver(built)).id


def _review(built: BuiltCell) -> Made:
    grant = a_broken_glass(built)
    return an_approver(built, "rex"), (grant, GlassReviewBody("justified", "there was one"))


def an_erasure(built: BuiltCell, subject: str = "nobody") -> str:
    """The id of an erasure; of somebody whom nobody knows, its keys are removed at once."""
    return str(built.run(request_erasure, ErasureBody(subject, "objection"), by=built.admin).id)


def _reopen(built: BuiltCell) -> Made:
    an_erasure(built)
    return built.admin, (ReopenBody("nobody", "came back"),)


def _run_retention(built: BuiltCell) -> Made:
    make_due(built)
    return built.admin, (RunBody(),)


def make_due(built: BuiltCell) -> None:
    """Lets a key be due."""
    built.run(encrypt, EncryptBody([EncryptItem(VISIT, PERSON, "another", "row 9")]))
    keys = built.cell.store.tables.data_keys
    with built.cell.store.engine.begin() as connection:
        connection.execute(keys.update().where(keys.c.due_at.is_not(None)).values(due_at=1))


def with_event(built: BuiltCell) -> dict[str, str]:
    """An event that a retention class counts from, of somebody who is known."""
    built.token(NAME, PERSON, "another")
    built.apply(SCHEMA + '\n[retention.closed]\nkeep = "P1M"\nfrom = "event:closed"\nmax = "P1Y"\n')
    return {"event": "closed", "subject": "another"}


def _report_event(built: BuiltCell) -> Made:
    return built.admin, (EventBody(**with_event(built)),)


def a_hold(built: BuiltCell, *, releasing: bool = False) -> str:
    """The id of a legal hold on the tenant; or of one whose end is asked for."""
    made = built.run(create_hold, HoldBody(reason="a case", everything=True), by=built.admin).id
    if releasing:
        built.run(ask_release, made, HoldReasonBody("it is closed"), by=built.admin)
    return made


def an_officer(built: BuiltCell) -> str:
    """The session of a privacy officer."""
    return operator(built, "pia", roles=["privacy-officer"])[0]


CALLS: Final[dict[str, Call]] = {
    "read_calendar": Call(read_calendar, lambda b: (b.admin, (None,)), 0, "retention:read"),
    "run_retention": Call(run_retention, _run_retention, 2, "retention:run"),
    "report_event": Call(report_event, _report_event, 1, "event:report"),
    "request_erasure": Call(
        request_erasure, lambda b: (b.admin, (ErasureBody("nobody", "objection"),)), 2, "erasure:create"
    ),
    "read_erasure": Call(read_erasure, lambda b: (b.admin, (an_erasure(b),)), 0, "erasure:read"),
    "read_certificate": Call(read_certificate, lambda b: (b.admin, (an_erasure(b),)), 0, "erasure:read"),
    "read_certificate_keys": Call(read_certificate_keys, lambda b: (b.admin, ()), 0, "erasure:read"),
    "list_erasures": Call(list_erasures, lambda b: (b.admin, (Page(),)), 0, "erasure:read"),
    "read_status": Call(read_status, lambda b: (b.admin, (SubjectBody("nobody"),)), 0, "erasure:read"),
    "processing_report": Call(processing_report, lambda b: (b.admin, ()), 0, "report:read"),
    "retention_report": Call(retention_report, lambda b: (b.admin, (DueQuery(),)), 0, "report:read"),
    "disclosures_report": Call(
        disclosures_report, lambda b: (b.admin, (DisclosuresBody("nobody"),)), 0, "report:read"
    ),
    "reopen_subject": Call(reopen_subject, _reopen, 1, "subject:reopen"),
    "create_hold": Call(
        create_hold, lambda b: (b.admin, (HoldBody(reason="a case", everything=True),)), 1, "hold:create"
    ),
    "read_hold": Call(read_hold, lambda b: (b.admin, (a_hold(b),)), 0, "erasure:read"),
    "list_holds": Call(list_holds, lambda b: (b.admin, (Page(),)), 0, "erasure:read"),
    "confirm_hold": Call(confirm_hold, lambda b: (an_officer(b), (a_hold(b), HoldReasonBody("seen"))), 1),
    "ask_release": Call(
        ask_release, lambda b: (b.admin, (a_hold(b), HoldReasonBody("it is closed"))), 1, "hold:decide"
    ),
    "approve_release": Call(
        approve_release, lambda b: (an_officer(b), (a_hold(b, releasing=True), HoldReasonBody("seen"))), 1
    ),
    "keep_hold": Call(
        keep_hold,
        lambda b: (b.admin, (a_hold(b, releasing=True), HoldReasonBody("not yet"))),
        1,
        "hold:decide",
    ),
    "list_approvals": Call(
        list_approvals, lambda b: (b.admin, (Page(), ApprovalFilter())), 0, "approval:read"
    ),
    "read_approval": Call(read_approval, lambda b: (b.service, (an_approval(b),)), 0),
    "approve": Call(approve, _decision, 1),
    "deny": Call(deny, _decision, 1),
    "break_glass": Call(break_glass, lambda b: (an_approver(b), (glass_body(b),)), 1),
    "list_break_glass": Call(list_break_glass, lambda b: (b.admin, (Page(),)), 0, "grant:list"),
    "review_break_glass": Call(review_break_glass, _review, 1),
    "tokenize vaultless": Call(
        tokenize,
        lambda b: (b.service, (TokenizeBody(field=SSN, values=[VALUE, None]),)),
        1,
        "tokenize",
    ),
    "tokenize vaulted": Call(tokenize, _vaulted, 3, "tokenize"),
    "detokenize vaultless": Call(detokenize, _reveal, 1),
    "detokenize vaulted": Call(detokenize, _reveal_vaulted, 1),
    "detokenize masked": Call(detokenize, _mask, 1),
    "tokenize deterministic": Call(
        tokenize,
        lambda b: (
            b.service,
            (TokenizeBody(field=EMAIL, values=["ada@example.org"], subjects=["new-person"]),),
        ),
        3,
        "tokenize",
    ),
    "rekey": Call(rekey, _rekey, 1, "rekey"),
    "rekey_in_place": Call(rekey_in_place, _rekey_in_place, 1, "rekey"),
    "rewrite": Call(rewrite, _rewrite, 1, "tokenize"),
    "rehearse": Call(
        rehearse, lambda b: (b.service, (CheckBody(SSN, [VALUE, None, PERSON]),)), 0, "tokenize"
    ),
    "encrypt": Call(
        encrypt,
        lambda b: (b.service, (EncryptBody([EncryptItem(VISIT, PERSON, "new-person", "row 7")]),)),
        3,
        "encrypt",
    ),
    "decrypt": Call(decrypt, _decrypt, 1),
    "create_grant": Call(
        create_grant,
        lambda b: (b.service, (b.grant_body(NAME, subjects=["new-person"], reason="ticket 7"),)),
        2,
        "grant:create",
    ),
    "suspend_grant": Call(suspend_grant, lambda b: (b.admin, (grant_id(b.grant(SSN)), ChangeBody("odd"))), 1),
    "resume_grant": Call(
        resume_grant, lambda b: (b.admin, (_suspended(b), ChangeBody("fine"))), 1, "grant:revoke"
    ),
    "narrow_grant": Call(
        narrow_grant, lambda b: (b.admin, (grant_id(b.grant(SSN)), NarrowBody(version=1, uses=3))), 1
    ),
    "revoke_block": Call(
        revoke_block, lambda b: (b.admin, (grant_id(b.grant(SSN)), "A" * 43, ChangeBody("gone"))), 1
    ),
    "simulate": Call(
        simulate,
        lambda b: (b.admin, (SimulateBody(grant_id(b.grant(SSN)), "support", [SSN]),)),
        0,
        "grant:list",
    ),
    "set_kill": Call(set_kill, lambda b: (b.admin, (KillBody(agent="demo"),)), 1, "kill:control"),
    "lift_kill": Call(lift_kill, lambda b: (b.admin, (a_kill(b),)), 1, "kill:control"),
    "list_kills": Call(list_kills, lambda b: (b.admin, (Page(),)), 0, "grant:list"),
    "show_policy": Call(show_policy, lambda b: (b.admin, ()), 0, "policy:read"),
    "list_policies": Call(list_policies, lambda b: (b.admin, (Page(),)), 0, "policy:read"),
    "read_policy": Call(
        read_policy,
        lambda b: (b.admin, (str(b.run(apply_policy, planned(b), by=b.admin).version),)),
        0,
        "policy:read",
    ),
    "plan_policy": Call(plan_policy, lambda b: (b.admin, (PolicyBody(RULES),)), 0, "policy:read"),
    "apply_policy": Call(apply_policy, lambda b: (b.admin, (planned(b),)), 1, "policy:apply"),
    "run_policy_tests": Call(
        run_policy_tests,
        lambda b: (b.admin, (PolicyTestBody([PolicyCase(AGENT, "reveal", NAME)]),)),
        1,
        "policy:read",
    ),
    "explain_decision": Call(
        explain_decision, lambda b: (b.admin, (ExplainBody(_denied(b)),)), 0, "policy:read"
    ),
    "start_review": Call(start_review, _start_review, 1, "review:start"),
    "list_reviews": Call(list_reviews, lambda b: (b.admin, (Page(),)), 0, "review:read"),
    "read_review": Call(read_review, lambda b: (b.admin, (a_review(b)[1],)), 0),
    "decide_item": Call(decide_item, _decide, 1, "review:decide"),
    "verify": Call(
        verify,
        lambda b: (
            verifying(b),
            (VerifyBody("support", SSN, b.token(SSN, VALUE), VALUE, key_version=1),),
        ),
        1,
    ),
    "revoke_grant": Call(revoke_grant, lambda b: (b.admin, (grant_id(b.grant(SSN)), ChangeBody("gone"))), 1),
    "read_grant": Call(read_grant, lambda b: (b.service, (grant_id(b.grant(SSN)),)), 0),
    "list_grants": Call(list_grants, lambda b: (b.admin, (Page(), GrantFilter())), 0, "grant:list"),
    "create_principal": Call(
        create_principal,
        lambda b: (b.admin, (PrincipalBody("service", "another"),)),
        1,
        "principal:write",
    ),
    "list_principals": Call(list_principals, lambda b: (b.admin, (Page(),)), 0, "principal:list"),
    "remove_principal": Call(remove_principal, lambda b: (b.admin, (b.service_id,)), 1, "principal:write"),
    "create_client": Call(
        create_client, lambda b: (b.admin, (b.service_id, ClientBody(PUBLIC))), 1, "principal:write"
    ),
    "issue_token": Call(issue_token, lambda b: (b.service, (TokenForm(),)), 2),
    "token": Call(token, lambda b: (b.service, (TokenForm(grant_type="client_credentials"),)), 2),
    "exchange_token": Call(exchange_token, _exchange, 1),  # needs grant:create, for a subject of its own
    "introspect": Call(introspect, lambda b: (b.service, (AskForm(token=access_token(b)),)), 0),
    "revoke": Call(revoke, lambda b: (b.service, (AskForm(token=access_token(b)),)), 1),
    "create_key": Call(create_key, lambda b: (b.admin, (b.service_id, KeyBody())), 1, "principal:write"),
    "list_keys": Call(list_keys, lambda b: (b.admin, (b.service_id,)), 0, "principal:list"),
    "replace_key": Call(
        replace_key, lambda b: (b.admin, (_key_of(b.service), ReplaceBody("P1D"))), 1, "principal:write"
    ),
    "revoke_key": Call(revoke_key, lambda b: (b.admin, (_key_of(b.service),)), 1, "principal:write"),
    "whoami": Call(whoami, lambda b: (b.service, ()), 0),
    "show_schema": Call(show_schema, lambda b: (b.admin, ()), 0, "schema:read"),
    "plan_schema": Call(plan_schema, lambda b: (b.admin, (SchemaBody(toml=NEW_SCHEMA),)), 0, "schema:read"),
    "apply_schema": Call(apply_schema, _apply, 1, "schema:apply"),
    "list_versions": Call(list_versions, lambda b: (b.admin, (Page(),)), 0, "schema:read"),
    "read_version": Call(read_version, lambda b: (b.admin, ("1",)), 0, "schema:read"),
    "list_fields": Call(list_fields, lambda b: (b.service, ()), 0),
    "read_field": Call(read_field, lambda b: (b.service, (SSN,)), 0),
    "explain_template": Call(explain_template, lambda b: (b.service, ("ssn", TemplateQuestion())), 0),
    "explain_field": Call(explain_field, lambda b: (b.service, (SSN,)), 0),
    "create_tenant": Call(create_tenant, lambda b: (b.admin, (TenantBody("acme"),)), 1, "tenant:create"),
    "list_tenants": Call(list_tenants, lambda b: (b.admin, (Page(),)), 0, "tenant:read"),
    "list_stored_keys": Call(
        list_stored_keys, lambda b: (b.admin, (Page(), KeyFilter(state="active"))), 0, "key:read"
    ),
    "read_stored_key": Call(read_stored_key, lambda b: (b.admin, (_stored_key(b),)), 0, "key:read"),
    "read_coverage": Call(read_coverage, lambda b: (b.admin, (_field_key(b),)), 0, "key:read"),
    "rotate_key": Call(rotate_key, lambda b: (b.admin, (_field_key(b), ReasonBody("due"))), 1, "key:rotate"),
    "compromise_key": Call(
        compromise_key, lambda b: (b.admin, (_field_key(b), ReasonBody("a leak"))), 1, "key:rotate"
    ),
    "destroy_key": Call(
        destroy_key, lambda b: (b.admin, (_field_key(b, ended=True), DestroyBody(WORD))), 1, "key:destroy"
    ),
    "start_turn": Call(start_turn, lambda b: (b.admin, (TurnBody(),)), 1, "epoch:turn"),
    "list_epochs": Call(list_epochs, lambda b: (b.admin, ()), 0, "key:read"),
    "list_regions": Call(list_regions, lambda b: (b.service, ()), 0),
    "look_up": Call(look_up, lambda b: (b.admin, (LookupBody(with_directory(b)),)), 1, "directory:lookup"),
    "start_transfer": Call(start_transfer, lambda b: (b.admin, (_transfer(b),)), 1, "transfer:create"),
    "accept": Call(accept, lambda b: (b.admin, (a_batch(b),)), 3, "transfer:receive"),
    "read_transfer": Call(read_transfer, lambda b: (b.admin, (a_transfer(b),)), 0, "transfer:read"),
    "list_moved": Call(list_moved, lambda b: (b.admin, (a_transfer(b), Page())), 0, "transfer:read"),
    "read_usage": Call(read_usage, lambda b: (b.service, (grant_id(b.grant(SSN)),)), 0),
    "read_intake_key": Call(read_intake_key, lambda b: (b.service, ()), 1),
    "register_holder_key": Call(
        register_holder_key,
        lambda b: (b.admin, (b.agent_id, msgspec.convert(registering(HELD), HolderKeyBody))),
        1,
        "principal:write",
    ),
    "list_holder_keys": Call(list_holder_keys, lambda b: (b.admin, (b.agent_id,)), 0, "principal:list"),
    "revoke_holder_key": Call(
        revoke_holder_key, lambda b: (b.admin, (b.agent_id, a_holder(b, HELD))), 1, "principal:write"
    ),
    "list_jobs": Call(list_jobs, lambda b: (b.admin, (Page(),)), 0, "job:read"),
    "read_job": Call(read_job, lambda b: (b.admin, (a_job(b),)), 0, "job:read"),
    "cancel_job": Call(cancel_job, lambda b: (b.admin, (a_job(b),)), 1, "job:control"),
    "resume_job": Call(resume_job, lambda b: (b.admin, (a_stopped_job(b),)), 1, "job:control"),
    "sign_in": Call(sign_in, _sign_in, 1),
    "passkey_options": Call(passkey_options, _options, 0),
    "passkey_sign_in": Call(passkey_sign_in, _passkey_sign_in, 1),
    "list_sessions": Call(list_sessions, lambda b: (signed_in(b), ()), 0),
    "end_session": Call(end_session, lambda b: (signed_in(b), ()), 1),
    "step_up_options": Call(step_up_options, lambda b: (signed_in(b), ()), 0),
    "step_up_session": Call(step_up_session, _step_up, 1),
    "change_password": Call(
        change_password, lambda b: (signed_in(b), (PasswordBody(PASSWORD, "quartz meadow thimble"),)), 1
    ),
    "begin_totp": Call(begin_totp, lambda b: (signed_in(b), ()), 1),
    "confirm_totp": Call(confirm_totp, _confirm_totp, 1),
    "drop_totp": Call(drop_totp, lambda b: (signed_in(b), ()), 1),
    "new_recovery_codes": Call(new_recovery_codes, lambda b: (signed_in(b), ()), 1),
    "register_options": Call(register_options, lambda b: (signed_in(b), ()), 0),
    "register_passkey": Call(register_passkey, _register, 1),
    "list_passkeys": Call(list_passkeys, lambda b: (signed_in(b), ()), 0),
    "remove_passkey": Call(remove_passkey, _remove_passkey, 1),
    "create_operator": Call(
        create_operator,
        lambda b: (b.admin, (OperatorBody("grace", PASSWORD, ["auditor"]),)),
        2,
        "principal:write",
    ),
    "list_operators": Call(list_operators, lambda b: (b.admin, ()), 0, "principal:list"),
    "reset_mfa": Call(reset_mfa, _reset, 1, "principal:write"),
    "read_audit": Call(read_audit, lambda b: (b.admin, (AuditQuery(),)), 0, "audit:read"),
}

WRITERS: Final = [name for name, call in CALLS.items() if call.commits]
READERS: Final = [name for name, call in CALLS.items() if not call.commits]
_GRANTED: Final = (detokenize, decrypt, verify)
NOBODY: Final = ("sign_in", "passkey_options", "passkey_sign_in")
_IN_SESSION: Final = (
    *("list_sessions", "end_session", "step_up_options", "step_up_session", "change_password", "begin_totp"),
    *("confirm_totp", "drop_totp", "new_recovery_codes", "register_options", "register_passkey"),
    *("list_passkeys", "remove_passkey", "approve", "deny", "break_glass", "review_break_glass"),
    *("approve_release", "confirm_hold"),
)
BY_KEY: Final = [
    name for name, call in CALLS.items() if call.verb not in _GRANTED and name not in (*NOBODY, *_IN_SESSION)
]
BY_GRANT: Final = [name for name, call in CALLS.items() if call.verb in _GRANTED]


def access_token(built: BuiltCell) -> str:
    """An access token of the service's."""
    return built.run(issue_token, TokenForm()).access_token


def a_kill(built: BuiltCell) -> str:
    """The id of a kill switch that is set for another agent."""
    return built.run(set_kill, KillBody(agent="other"), by=built.admin).id


def verifying(built: BuiltCell) -> str:
    """The credential of a grant under which tokens are verified, of a service of its own."""
    body = PrincipalBody("service", "verifier", permissions=["grant:create:support"], ceiling=VERIFYING)
    by = built.key(built.run(create_principal, body, by=built.admin).id)
    scope = [ScopeEntry([SSN], ["verify"], [])]
    made = built.run(create_grant, GrantBody(AGENT, "support", scope, limits=GrantLimits(5)), by=by)
    assert made.credential is not None
    return made.credential


def _suspended(built: BuiltCell) -> str:
    grant = grant_id(built.grant(SSN))
    built.run(suspend_grant, grant, ChangeBody(), by=built.admin)
    return grant


def verbs() -> set[Callable[..., Any]]:
    """Every verb there is: the public functions of `vault.services` that take a cell and a request."""
    found = set()
    for info in pkgutil.iter_modules(vault.services.__path__, "vault.services."):
        module = importlib.import_module(info.name)
        for name, thing in vars(module).items():
            if name.startswith("_") or not inspect.isgeneratorfunction(thing):
                continue
            if list(inspect.signature(thing).parameters)[:2] == ["cell", "request"]:
                found.add(thing)
    return found


def rows(built: BuiltCell) -> dict[str, list[Any]]:
    """Every row of every table."""
    store = built.cell.store
    with store.engine.connect() as connection:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(table.select()))
            for table in store.tables.metadata.sorted_tables
        }


__all__ = [
    "AGENT", "BY_GRANT", "BY_KEY", "CALLS", "NOBODY", "READERS", "WRITERS", "grant_id", "rows", "verbs",
]  # fmt: skip
