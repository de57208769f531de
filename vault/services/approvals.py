"""Approvals as people see them: list, look at one, approve or deny.

Only who is asked, and asks nothing for itself, sees a masked preview of what was asked, and decides. The one
who decides is a person in a session with a fresh second factor.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import Micros, format_time
from vault.crypto.base64url import encode
from vault.crypto.mac import same
from vault.errors import Conflict, Denied, Unauthenticated, Unknown
from vault.identifiers import new_id, parse_id
from vault.ledger.command import Needs, State, Verb, Writes
from vault.policy.approval import is_asked, is_own
from vault.policy.grant import Grant, GrantState
from vault.services.approving import stands
from vault.services.cell import Cell, Origin
from vault.services.gate import (
    CallerCommand,
    Refused,
    Request,
    admit,
    authenticate,
    holder,
    is_grant,
    person,
    trace,
)
from vault.services.grant_body import check_text
from vault.services.grant_views import read_row
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.listing import Listing, Page, check_page
from vault.services.previews import PreviewItem, preview
from vault.store.approving import APPROVE, APPROVED, DENIED, DENY, PENDING, USED, ApprovalRow, Vote
from vault.store.rows import GrantRow


class DecideBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What is approved or denied: exactly what was looked at.

    Attributes:
        digest: of the approval, as it was shown.
    """

    digest: str
    reason: str | None = None


class VoteAnswer(Hidden, frozen=True, omit_defaults=True):
    """What somebody said, and by which second factor it was known who they are."""

    by: str
    verdict: str
    mfa: str
    at: str
    reason: str | None = None


class ApprovalAnswer(Replayable, frozen=True, omit_defaults=True):
    """An approval.

    Attributes:
        state: `pending`, `approved`, `denied`, `used`, `expired`, or `void`: the grant is another by now.
        operation: what a use asks for; absent where the grant itself is to be approved.
        count: how many values are asked for.
        digest: of what was asked; whoever decides sends it back.
        yours: whether the caller is asked, and has not answered.
        preview: what a mask shows of the values, for whoever is asked.
    """

    id: str
    state: str
    grant: str
    agent: str
    purpose: str
    needed: int
    have: int
    created_at: str
    expires_at: str
    operation: str | None = None
    delivery: str | None = None
    fields: list[str] | None = None
    count: int = 0
    digest: str | None = None
    on_behalf_of: str | None = None
    votes: list[VoteAnswer] | None = None
    yours: bool = False
    preview: list[PreviewItem] | None = None
    decision: str | None = None


class ApprovalFilter(msgspec.Struct, frozen=True):
    """Which approvals a list shows."""

    state: str | None = None


class DecideApproval(CallerCommand):
    """Approves or denies. With the last of those that are needed, what was asked is approved."""

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        row: ApprovalRow,
        verdict: str,
        reason: str | None,
        oldest: Micros,
    ) -> None:
        super().__init__(caller)
        self.decision = new_id("dec")
        self._origin = origin
        self._seen = row
        self._verdict = verdict
        self._reason = reason
        self._oldest = oldest

    def needs(self, needs: Needs) -> None:
        """The caller's rows, the grant and the approval."""
        super().needs(needs)
        needs.grants.add(self._seen.grant)
        needs.approvals.add(self._seen.digest)

    def decide(self, state: State, writes: Writes) -> tuple[ApprovalRow, GrantRow]:
        """The approval and its grant as they stand then. To say the same twice changes nothing.

        Raises:
            Conflict: `version_conflict`: it is no longer waiting.
            Denied: `permission_denied`, `self_approval`.
            Unauthenticated: `insufficient_user_authentication`.
        """
        self.check(state)
        session = state.sessions[self.caller.api_key]
        if session.mfa_at <= self._oldest:
            raise Unauthenticated("insufficient_user_authentication")
        row, held = state.approvals.get(self._seen.digest), state.grants.get(self._seen.grant)
        if row is None or held is None or row.id != self._seen.id:
            raise Conflict("version_conflict")
        grant, who = held.grant, self.caller.principal
        code = _refusal(grant, self.caller)
        if code is not None:
            raise Denied(code)
        before = next((vote for vote in row.votes if vote.principal == who.id), None)
        if before is not None and before.verdict == self._verdict:
            return row, held
        if before is not None or _state(row, grant, state.now) != PENDING:
            raise Conflict("version_conflict")
        vote = Vote(
            row.id, who.id, who.name, self._verdict, self._reason, session.mfa_by, session.mfa_at, state.now
        )
        row.votes = [*row.votes, vote]
        writes.insert("approval_vote", **vote._asdict())
        if self._verdict == DENY:
            row.state = DENIED
            writes.update("end_approval", approval_id=row.id, seen=PENDING, to=DENIED)
        elif row.have >= row.needed:
            row.state = APPROVED if row.verb else USED
            if row.verb:
                writes.update("approve_approval", approval_id=row.id)
            else:
                writes.update("end_approval", approval_id=row.id, seen=PENDING, to=USED)
        if not row.verb and row.state != PENDING:
            to = GrantState.ACTIVE if row.state == USED else GrantState.REVOKED
            writes.update("set_grant_state", grant_id=grant.id, seen=grant.version, to=to.value)
            held.grant = replace(grant, state=to, version=grant.version + 1)
        self._note(state, writes, row, grant)
        return row, held

    def _note(self, state: State, writes: Writes, row: ApprovalRow, grant: Grant) -> None:
        session = state.sessions[self.caller.api_key]
        facts: dict[str, Any] = {
            "approval": row.id,
            "grant": grant.id,
            "grant_version": row.version,
            "have": row.have,
            "needed": row.needed,
            "mfa": session.mfa_by,
            "mfa_at": format_time(session.mfa_at),
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        texts = {} if self._reason is None else {"reason": self._reason}
        tenant, actor = self.caller.principal.tenant, self.caller.actor
        writes.event(Event(f"approval.{self._verdict}", tenant, actor, facts, texts, self.decision))


def _refusal(grant: Grant, caller: Caller) -> str | None:
    """Why somebody may not decide; None if they may."""
    approval = grant.terms.approval
    if approval is None or not is_asked(approval, caller.principal):
        return "permission_denied"
    if is_own(approval, caller.principal, grant.created_by, grant.on_behalf_of):
        return "self_approval"
    return None


def _state(row: ApprovalRow, grant: Grant, now: Micros) -> str:
    """What an approval is now."""
    if row.state not in (PENDING, APPROVED):
        return row.state
    if now >= row.expires_at:
        return "expired"
    if not stands(row, grant, now) or grant.state_at(now, 0) in ("revoked", "expired"):
        return "void"
    return row.state


def list_approvals(cell: Cell, request: Request, page: Page, only: ApprovalFilter) -> Verb[Listing]:
    """Approvals of the tenant, newest first, without previews."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "approval.list", "approval:read")
    params = {"tenant": caller.principal.tenant, "below": check_page(page, "apr"), "most": page.limit + 1}
    rows = [ApprovalRow(*row) for row in cell.store.read(cell.store.approving.approvals_page, params)]
    shown = _with_votes(cell, rows[: page.limit])
    grants = {row.grant: read_row(cell, row.tenant, row.grant) for row in shown}
    answers = []
    for row in shown:
        grant = grants[row.grant]
        if grant is not None:
            answer = _shown(row, grant.grant, cell.clock.now(), caller)
            if only.state in (None, answer.state):
                answers.append(answer)
    return Listing(list(answers), shown[-1].id if len(rows) > page.limit else None)


def read_approval(cell: Cell, request: Request, approval: str) -> Verb[ApprovalAnswer]:
    """One approval: for its grant's holder and creator how it stands; for whoever holds `approval:read` all
    of it, and for whoever is asked, a preview.
    """
    if is_grant(request.authorization):
        who = holder(cell, request)
        row, grant = _read(cell, who.tenant, approval)
        if grant.id != who.credential.id:
            raise Unknown("not_found")
        return _shown(row, grant, cell.clock.now(), None)
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "approval.read")
    row, grant = _read(cell, caller.principal.tenant, approval)
    if grant.created_by != caller.principal.id:
        yield from admit(cell, caller, request.origin, "approval.read", "approval:read")
    elif "approval:read" not in caller.principal.held:
        return _shown(row, grant, cell.clock.now(), None)
    shown = _shown(row, grant, cell.clock.now(), caller)
    if not caller.in_session or _refusal(grant, caller) is not None or not row.verb or not row.sealed:
        return shown
    if shown.state not in (PENDING, APPROVED):
        return shown
    decision, items = yield from preview(cell, caller, request.origin, row, grant)
    return msgspec.structs.replace(shown, preview=items, decision=decision)


def approve(cell: Cell, request: Request, approval: str, body: DecideBody) -> Verb[ApprovalAnswer]:
    """Approves what was asked: a use once, or a grant.

    Raises:
        Conflict: `version_conflict`: the digest is another's, or it does not wait any more.
        Denied: `self_approval`; `permission_denied`: not asked.
    """
    return (yield from _decide(cell, request, approval, body, APPROVE))


def deny(cell: Cell, request: Request, approval: str, body: DecideBody) -> Verb[ApprovalAnswer]:
    """Denies what was asked: until it would have ended; a grant for good."""
    return (yield from _decide(cell, request, approval, body, DENY))


def _decide(
    cell: Cell, request: Request, approval: str, body: DecideBody, verdict: str
) -> Verb[ApprovalAnswer]:
    verb = f"approval.{verdict}"
    caller = person(cell, request)
    yield from admit(cell, caller, request.origin, verb, "approval:decide")
    reason = check_text(body.reason)
    row, grant = _read(cell, caller.principal.tenant, approval)
    code = _refusal(grant, caller)
    if code is not None:
        refused = Refused(caller, request.origin, verb, code, approval=row.id, grant=grant.id)
        yield refused
        raise Denied(code, decision=refused.decision)
    repeat = once(cell, request, caller, verb, ApprovalAnswer, approval, body)
    if repeat.replay is not None:
        return repeat.replay
    if not same(encode(row.digest).encode(), body.digest.encode("ascii", "replace")):
        raise Conflict("version_conflict")
    oldest = cell.clock.now() - cell.sign_in.fresh
    command = DecideApproval(caller, request.origin, row, verdict, reason, oldest)

    def answer(decided: tuple[ApprovalRow, GrantRow], at: Micros) -> ApprovalAnswer:
        decided_row, held = decided
        shown = _shown(decided_row, held.grant, at, caller)
        return msgspec.structs.replace(shown, decision=command.decision)

    done = yield repeat.keep(command, answer)
    return answer(done.value, done.at)


def _read(cell: Cell, tenant: str, approval: str) -> tuple[ApprovalRow, Grant]:
    """An approval of a tenant with its votes, and its grant.

    Raises:
        Unknown: `not_found`.
    """
    try:
        parse_id("apr", approval)
    except ValueError:
        raise Unknown("not_found") from None
    rows = cell.store.read(cell.store.approving.approval, {"approval_id": approval})
    if not rows or rows[0][1] != tenant:
        raise Unknown("not_found")
    [row] = _with_votes(cell, [ApprovalRow(*rows[0])])
    row.digest, row.sealed = bytes(row.digest), bytes(row.sealed)
    held = read_row(cell, tenant, row.grant)
    if held is None:
        raise Unknown("not_found")
    return row, held.grant


def _with_votes(cell: Cell, rows: list[ApprovalRow]) -> list[ApprovalRow]:
    by_id = {row.id: row for row in rows}
    for found in cell.store.read_keys(cell.store.approving.votes, sorted(by_id)) if by_id else ():
        by_id[found[0]].votes.append(Vote(*found))
    return rows


def _shown(row: ApprovalRow, grant: Grant, now: Micros, caller: Caller | None) -> ApprovalAnswer:
    """An approval as it is shown; to somebody without the permission, how it stands."""
    state = _state(row, grant, now)
    shown = ApprovalAnswer(
        id=row.id,
        state=state,
        grant=row.grant,
        agent=grant.agent,
        purpose=grant.purpose,
        needed=row.needed,
        have=row.have,
        created_at=format_time(row.created_at),
        expires_at=format_time(row.expires_at),
    )
    if caller is None:
        return shown
    answered = any(vote.principal == caller.principal.id for vote in row.votes)
    return msgspec.structs.replace(
        shown,
        operation=row.operation or None,
        delivery=row.delivery or None,
        fields=msgspec.json.decode(row.fields, type=list[str]) or None,
        count=row.items,
        digest=encode(bytes(row.digest)),
        on_behalf_of=grant.on_behalf_of,
        votes=[
            VoteAnswer(vote.name, vote.verdict, vote.mfa_by, format_time(vote.at), vote.reason)
            for vote in row.votes
        ]
        or None,
        yours=state == PENDING and not answered and _refusal(grant, caller) is None,
    )
