"""Grants: create, read, list, revoke. Bearer profile: the credential is shown once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from vault.audit.event import Event, listed
from vault.authn.identities import Caller
from vault.clock import SECOND, Micros, format_time, parse_period, parse_time
from vault.crypto.mac import secret_digest
from vault.crypto.randomness import credential_secret
from vault.errors import BadInput, CoatcheckError, Denied, Unknown
from vault.identifiers import format_id, new_id
from vault.ledger.command import ROWS_A_WEIGHT, Needs, State, Verb, Writes
from vault.policy.grant import (
    GrantState,
    Proposal,
    ScopeEntry,
    check_accounting,
    check_ceiling,
    check_purpose,
    check_scope,
)
from vault.policy.principal import Ceiling, Kind, full_name
from vault.schema.document import Purpose, Schema
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Refused, Request, admit, authenticate, trace
from vault.services.grant_views import GrantAnswer, GrantReplay, shown_row, visible
from vault.services.hidden import Hidden
from vault.services.idempotency import once
from vault.services.subjects import MAX_SUBJECTS, check_subject, enter, find
from vault.store.rows import GrantRow

MAX_TEXT = 500
MAX_SCOPE = 100
MAX_SCOPE_NAMES = 1_000
MAX_KEY_VERSION = 2**31 - 1
USES_PER_DAY = "grant-uses"
END_OF_TIME: Final[Micros] = parse_time("9999-12-31T23:59:59Z")


class Subjects(Hidden, forbid_unknown_fields=True, frozen=True, rename={"in_": "in"}):
    """The data subjects a grant is for."""

    in_: list[str]


class GrantLimits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How much a grant gives: values in all, and values in one request."""

    uses: int = 1
    batch: int | None = None


class Validity(msgspec.Struct, forbid_unknown_fields=True, frozen=True, rename={"from_": "from"}):
    """From when to when, RFC 3339."""

    from_: str | None = None
    until: str | None = None


class GrantBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A grant to create, in the bearer profile."""

    agent: str
    purpose: str
    scope: list[ScopeEntry]
    subjects: Subjects | None = None
    limits: GrantLimits = GrantLimits()
    valid: Validity = Validity()
    on_behalf_of: str | None = None
    reason: str | None = None


class RevokeBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """Why a grant is revoked."""

    reason: str | None = None


class CreateGrant(CallerCommand):
    """Inserts a grant, inside the creator's ceiling, and charges the ceiling's day."""

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        schema_head: int,
        proposal: Proposal,
        validity: Validity,
        purpose: Purpose,
        row: dict[str, Any],
        subjects: list[bytes],
    ) -> None:
        super().__init__(caller, schema_head)
        self.decision = new_id("dec")
        self._origin = origin
        self._proposal = proposal
        self._validity = validity
        self._purpose = purpose
        self._row = row
        self._subjects = subjects
        self.weight = 1 + len(subjects) // ROWS_A_WEIGHT

    def needs(self, needs: Needs) -> None:
        """The caller's rows, the agent, and the creator's counter of the day."""
        super().needs(needs)
        needs.names.add((self.caller.principal.tenant, self._proposal.agent))
        needs.counters.add(self._counter)

    @property
    def _counter(self) -> tuple[str, str]:
        return (self.caller.principal.id, USES_PER_DAY)

    def decide(self, state: State, writes: Writes) -> tuple[CoatcheckError | None, Proposal]:
        """The refusal, if the ceiling says no, on the record either way; and the grant as it stands."""
        self.check(state)
        proposal = self._timed(state.now)
        tenant = self.caller.principal.tenant
        agent_id = state.names.get((tenant, self._proposal.agent))
        if agent_id is None or state.principals[agent_id].removed:
            raise BadInput("agent_unknown")
        ceiling = self.caller.principal.ceiling
        refusal: CoatcheckError | None = None
        try:
            check_purpose(proposal, self._purpose)
            check_ceiling(proposal, ceiling, state.counters.get(self._counter, 0))
        except Denied as denied:
            refusal = denied
        else:
            times = {
                "valid_from": proposal.valid_from,
                "valid_until": proposal.valid_until,
                "created_at": state.now,
            }
            writes.insert("grant", **self._row, **times, agent_id=agent_id)
            for subject in self._subjects:
                writes.insert("grant_subject", grant=self._row["id"], subject=subject)
            writes.count(self._counter, proposal.uses)
        writes.event(self._event(refusal, proposal))
        return refusal, proposal

    def _timed(self, now: Micros) -> Proposal:
        """The proposal by the ledger's clock, which is not the clock it was prepared by."""
        proposal = self._proposal
        start = now if self._validity.from_ is None else proposal.valid_from
        until = proposal.valid_until
        if self._validity.until is None:
            until = max(start, now) + _longest(self._purpose, self.caller.principal.ceiling)
        return replace(proposal, valid_from=start, valid_until=_within(start, until, now))

    def _event(self, refusal: CoatcheckError | None, proposal: Proposal) -> Event:
        facts: dict[str, Any] = {
            "purpose": proposal.purpose,
            "agent": proposal.agent,
            "fields": sorted({name for entry in proposal.scope for name in entry.fields}),
            "operations": sorted({name for entry in proposal.scope for name in entry.operations}),
            "delivery": sorted({name for entry in proposal.scope for name in entry.delivery}),
            "uses": proposal.uses,
            "valid_until": format_time(proposal.valid_until),
            "any_subject": 1 if proposal.subjects is None else 0,
            "credential": self.caller.api_key,
            "outcome": "denied" if refusal else "allowed",
            **trace(self._origin),
        }
        if refusal is None:
            facts["grant"] = self._row["id"]
        else:
            facts |= {"code": refusal.code, "member": str(refusal.facts.get("member", ""))}
        texts = {name: self._row[name] for name in ("on_behalf_of", "reason") if self._row[name] is not None}
        if self._subjects:
            texts["subjects"] = listed([format_id("sub", row) for row in self._subjects])
        return Event(
            "grant.create", self.caller.principal.tenant, self.caller.actor, facts, texts, self.decision
        )


class RevokeGrant(CallerCommand):
    """Revokes a grant: binds every request that starts after it is committed."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, grant: str, reason: str | None) -> None:
        super().__init__(caller)
        self.decision = new_id("dec")
        self._origin = origin
        self._grant = grant
        self._reason = reason

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the grant."""
        super().needs(needs)
        needs.grants.add(self._grant)

    def decide(self, state: State, writes: Writes) -> GrantRow:
        """The grant as it stands then; revoking twice changes nothing."""
        self.check(state)
        row = state.grants.get(self._grant)
        if row is None or row.grant.tenant != self.caller.principal.tenant:
            raise Unknown("not_found")
        if row.grant.state is GrantState.REVOKED:
            return row
        row.grant = replace(row.grant, state=GrantState.REVOKED, version=row.grant.version + 1)
        writes.update("revoke_grant", grant_id=self._grant)
        writes.fence_by += 1
        writes.event(
            Event(
                "grant.revoke",
                self.caller.principal.tenant,
                self.caller.actor,
                {"grant": self._grant, "credential": self.caller.api_key, **trace(self._origin)},
                {} if self._reason is None else {"reason": self._reason},
                self.decision,
            )
        )
        return row


def create_grant(cell: Cell, request: Request, body: GrantBody) -> Verb[GrantAnswer]:
    """Creates a grant.

    Raises:
        BadInput: the grant makes no sense in this schema, or is out of its purpose's caps.
        Denied: the caller may not create it, or not one that wide; on the record.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "grant.create", f"grant:create:{body.purpose}")
    repeat = once(cell, request, caller, "grant.create", GrantReplay, body)
    if repeat.replay is not None:
        return repeat.replay
    if caller.principal.name in (body.agent, f"{Kind.AGENT}:{body.agent}"):
        yield from _refuse(caller, request.origin, "self_approval")
    tenant = cell.schemas.of(caller.principal.tenant)
    proposal = _proposal(body, tenant.schema, caller.principal.ceiling, cell.clock.now())
    named = proposal.subjects or ()
    purpose = tenant.schema.purposes[proposal.purpose]
    try:
        check_purpose(proposal, purpose)
        # Before a person is entered for a grant that can never be; decided again under the lock.
        known = find(cell, caller.principal.tenant, named)
        check_ceiling(_by_row(proposal, known), caller.principal.ceiling, given_today=0)
    except Denied as denied:
        member = str(denied.facts.get("member", ""))
        yield from _refuse(caller, request.origin, denied.code, tenant.head, member=member)
    people = yield from enter(cell, caller, request.origin, named)
    proposal = _by_row(proposal, people)
    secret = credential_secret()
    row = _row(caller, proposal, body, secret_digest(secret))
    subjects = sorted(set(people.values()))
    command = CreateGrant(caller, request.origin, tenant.head, proposal, body.valid, purpose, row, subjects)

    def answer(decided: tuple[CoatcheckError | None, Proposal], at: Micros) -> GrantAnswer | None:
        refusal, proposal = decided
        if refusal is not None:
            return None
        return GrantAnswer(
            id=row["id"],
            state="active" if proposal.valid_from <= at else "pending",
            version=1,
            agent=proposal.agent,
            purpose=proposal.purpose,
            scope=list(proposal.scope),
            uses=0,
            uses_left=proposal.uses,
            batch=proposal.batch,
            created_by=caller.principal.id,
            valid_from=format_time(proposal.valid_from),
            valid_until=format_time(proposal.valid_until),
            credential="cg_" + row["id"].removeprefix("gr_") + "_" + secret,
            decision=command.decision,
        )

    done = yield repeat.keep(command, answer)
    made = answer(done.value, done.at)
    if made is None:
        refusal = done.value[0]
        refusal.facts["decision"] = command.decision
        raise refusal
    return made


def revoke_grant(cell: Cell, request: Request, grant: str, body: RevokeBody) -> Verb[GrantAnswer]:
    """Revokes a grant: its creator may, and whoever holds `grant:revoke`."""
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "grant.revoke")
    row = visible(cell, caller, grant)
    reason = check_text(body.reason)
    if row is None:
        raise Unknown("not_found")
    if row.created_by != caller.principal.id:
        yield from admit(cell, caller, request.origin, "grant.revoke", "grant:revoke")
    repeat = once(cell, request, caller, "grant.revoke", GrantAnswer, grant, body)
    if repeat.replay is not None:
        return repeat.replay
    done = yield repeat.keep(RevokeGrant(caller, request.origin, grant, reason), shown_row)
    return shown_row(done.value, done.at)


def _by_row(proposal: Proposal, people: dict[str, bytes]) -> Proposal:
    """The proposal with its people by our own ids, as ceilings name them; whoever is not known has none."""
    if proposal.subjects is None:
        return proposal
    ids = (format_id("sub", people[name]) if name in people else "" for name in proposal.subjects)
    return replace(proposal, subjects=tuple(ids))


def _refuse(
    caller: Caller, origin: Origin, code: str, schema_head: int | None = None, **facts: Any
) -> Verb[None]:
    refused = Refused(caller, origin, "grant.create", code, schema_head, **facts)
    yield refused
    raise Denied(code, decision=refused.decision, **facts)


def _proposal(body: GrantBody, schema: Schema, ceiling: Ceiling | None, now: Micros) -> Proposal:
    """The grant that a body asks for, checked against the schema.

    Raises:
        BadInput: something in it makes no sense.
    """
    if body.purpose not in schema.purposes:
        raise BadInput("purpose_unknown")
    try:
        agent = full_name(Kind.AGENT, body.agent)
    except ValueError:
        raise BadInput("agent_unknown") from None
    named = sum(len(entry.fields) + len(entry.operations) + len(entry.delivery) for entry in body.scope)
    if len(body.scope) > MAX_SCOPE or named > MAX_SCOPE_NAMES:
        raise BadInput("limit_invalid", member="scope", most=MAX_SCOPE)
    if any(
        entry.key_version is not None and not 1 <= entry.key_version <= MAX_KEY_VERSION
        for entry in body.scope
    ):
        raise BadInput("key_version_unknown")
    check_text(body.reason)
    check_text(body.on_behalf_of)
    purpose = schema.purposes[body.purpose]
    start = now if body.valid.from_ is None else _instant(body.valid.from_, "from")
    until = (
        max(start, now) + _longest(purpose, ceiling)
        if body.valid.until is None
        else _instant(body.valid.until, "until")
    )
    batch = body.limits.uses if body.limits.batch is None else body.limits.batch
    if not 1 <= body.limits.uses <= 10**12 or not 1 <= batch <= body.limits.uses:
        raise BadInput("limit_invalid", member="limits")
    subjects = None if body.subjects is None else tuple(dict.fromkeys(body.subjects.in_))
    if subjects is not None and not 1 <= len(subjects) <= MAX_SUBJECTS:
        raise BadInput("limit_invalid", member="subjects", most=MAX_SUBJECTS)
    for subject in subjects or ():
        check_subject(subject)
    proposal = Proposal(
        agent=agent,
        purpose=body.purpose,
        scope=tuple(body.scope),
        subjects=subjects,
        uses=body.limits.uses,
        batch=min(batch, 2**31 - 1),
        valid_from=start,
        valid_until=_within(start, until, now),
    )
    check_scope(proposal, schema.fields)
    check_accounting(proposal, purpose, schema.fields)
    return proposal


def _longest(purpose: Purpose, ceiling: Ceiling | None) -> Micros:
    """How long a grant that names no end is valid: as long as its purpose and its creator's ceiling allow."""
    seconds = purpose.max_ttl_s
    if ceiling is not None:
        seconds = min(seconds, parse_period(ceiling.ttl).shortest_seconds)
    return seconds * SECOND


def _instant(text: str, member: str) -> Micros:
    try:
        return parse_time(text)
    except ValueError:
        raise BadInput("validity_invalid", member=member) from None


def _within(start: Micros, until: Micros, now: Micros) -> Micros:
    """The end of a validity.

    Raises:
        BadInput: `validity_invalid`: it is over before it begins, or beyond the calendar.
    """
    if until <= max(start, now) or until >= END_OF_TIME:
        raise BadInput("validity_invalid")
    return until


def check_text(text: str | None) -> str | None:
    """A caller's short text: printable, at most 500 characters."""
    if text is not None and (len(text) > MAX_TEXT or not text.isprintable()):
        raise BadInput("limit_invalid", member="text", most=MAX_TEXT)
    return text


def _row(caller: Caller, proposal: Proposal, body: GrantBody, digest: bytes) -> dict[str, Any]:
    return {
        "id": new_id("gr"),
        "tenant": caller.principal.tenant,
        "agent": proposal.agent,
        "created_by": caller.principal.id,
        "purpose": proposal.purpose,
        "scope": msgspec.json.encode(list(proposal.scope)).decode(),
        "any_subject": 1 if proposal.subjects is None else 0,
        "on_behalf_of": body.on_behalf_of,
        "reason": body.reason,
        "digest": digest,
        "uses": 0,
        "max_uses": proposal.uses,
        "batch": proposal.batch,
        "state": "active",
        "version": 1,
    }
