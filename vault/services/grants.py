"""Creating grants. A bearer grant's credential is shown once; a keyed grant has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from vault.audit.event import Event, listed
from vault.authn.identities import Caller
from vault.clock import Micros, format_time
from vault.crypto.mac import secret_digest
from vault.crypto.randomness import credential_secret
from vault.errors import BadInput, CoatcheckError, Denied, Stale
from vault.identifiers import format_id, new_id
from vault.keyring.hierarchy import Purpose as KeyPurpose
from vault.ledger.command import ROWS_A_WEIGHT, Needs, State, Verb, Writes
from vault.policy.grant import GrantState, Proposal, check_ceiling, check_purpose
from vault.policy.principal import Ceiling, Kind
from vault.policy.terms import NONE, encode_terms
from vault.schema.document import Purpose
from vault.services.approving import pending_grant
from vault.services.binding import bound_schema
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.comparing import compares
from vault.services.gate import CallerCommand, Refused, Request, admit, authenticate, trace
from vault.services.grant_body import GrantBody, Validity, longest, propose, within
from vault.services.grant_views import GrantAnswer, GrantReplay
from vault.services.holder_keys import bound
from vault.services.idempotency import Once, once
from vault.services.message_keys import delivery_keys
from vault.services.own_keys import ensure
from vault.services.subjects import enter, find

USES_PER_DAY = "grant-uses"
Along = Callable[[Micros, Writes, Proposal], None]
"""What is written with a grant, at the ledger's time."""
Glass = Callable[[Micros, Writes, Proposal, str], None]
"""The same, with the grant's id."""


@dataclass(frozen=True, slots=True, repr=False)
class Bounds:
    """The most that a grant may be.

    Attributes:
        verb: as refusals name it.
        ceiling: how long it lasts if nobody says, and inside what it is to be.
        past: whether it may lie outside the ceiling in all but that.
    """

    verb: str
    ceiling: Ceiling | None
    past: bool = False

    def check(self, proposal: Proposal, given_today: int) -> None:
        """Returns if a grant lies inside.

        Raises:
            Denied: as `check_ceiling`.
        """
        if not self.past:
            check_ceiling(proposal, self.ceiling, given_today)


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
        bounds: Bounds,
        along: Along,
        holder: str | None = None,
    ) -> None:
        super().__init__(caller, schema_head)
        self._bounds = bounds
        self._along = along
        self._holder = holder
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
        if self._holder is not None:
            needs.holders.add(self._holder)

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
        if self._row["jkt"] is not None:
            proposal = self._held(proposal, agent_id, state)
        refusal: CoatcheckError | None = None
        try:
            check_purpose(proposal, self._purpose)
            self._bounds.check(proposal, state.counters.get(self._counter, 0))
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
            self._along(state.now, writes, proposal)
        writes.event(self._event(refusal, proposal))
        return refusal, proposal

    def _timed(self, now: Micros) -> Proposal:
        """The proposal by the ledger's clock, which is not the clock it was prepared by."""
        proposal = self._proposal
        start = now if self._validity.from_ is None else proposal.valid_from
        until = proposal.valid_until
        if self._validity.until is None:
            until = max(start, now) + longest(self._purpose, self._bounds.ceiling)
        return replace(proposal, valid_from=start, valid_until=within(start, until, now))

    def _held(self, proposal: Proposal, agent: str, state: State) -> Proposal:
        """The proposal, which ends no later than the key that it is bound to."""
        if agent != self._holder:
            raise Stale
        latest = bound(state.holders.get(agent, {}), self._row["jkt"], state.now)
        if not latest or proposal.valid_until <= latest:
            return proposal
        if self._validity.until is not None:
            raise BadInput("validity_invalid", member="until", latest=format_time(latest))
        return replace(proposal, valid_until=within(proposal.valid_from, latest, state.now))

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
            "profile": "keyed" if proposal.keyed else "bearer",
            "credential": self.caller.api_key,
            "outcome": "denied" if refusal else "allowed",
            **trace(self._origin),
        }
        if refusal is None:
            facts["grant"] = self._row["id"]
            if self._row["jkt"] is not None:
                facts["holder"] = self._row["jkt"]
            if proposal.terms.break_glass:
                facts["break_glass"] = 1
            if proposal.terms.approval is not None:
                facts["approval"] = "each use" if proposal.terms.approval.when else "once"
        else:
            facts |= {"code": refusal.code, "member": str(refusal.facts.get("member", ""))}
        texts = {name: self._row[name] for name in ("on_behalf_of", "reason") if self._row[name] is not None}
        if self._subjects:
            texts["subjects"] = listed([format_id("sub", row) for row in self._subjects])
        return Event(
            "grant.create", self.caller.principal.tenant, self.caller.actor, facts, texts, self.decision
        )


def create_grant(cell: Cell, request: Request, body: GrantBody) -> Verb[GrantAnswer]:
    """Creates a grant.

    Raises:
        BadInput: the grant makes no sense in this schema, or is out of its purpose's caps.
        Denied: the caller may not create it, or not one that wide; on the record.
    """
    caller = authenticate(cell, request)
    tenant = bound_schema(cell, request, caller)
    needed = f"grant:create:{body.purpose}"
    yield from admit(cell, caller, request.origin, "grant.create", needed, schema=tenant)
    repeat = once(cell, request, caller, "grant.create", GrantReplay, body)
    if repeat.replay is not None:
        return repeat.replay
    if caller.principal.name in (body.agent, f"{Kind.AGENT}:{body.agent}"):
        yield from _refuse(caller, request.origin, "self_approval")
    bounds = Bounds("grant.create", caller.principal.ceiling)
    return (yield from make_grant(cell, caller, request, tenant, body, bounds, repeat))


def make_grant(
    cell: Cell,
    caller: Caller,
    request: Request,
    tenant: TenantSchema,
    body: GrantBody,
    bounds: Bounds,
    repeat: Once[GrantReplay],
    glass: Glass | None = None,
) -> Verb[GrantAnswer]:
    """Creates a grant inside some bounds.

    Args:
        tenant: the schema with the rules that the caller was admitted by; the command is bound to it.
        glass: what else is written with a grant that is past its creator's ceiling; it is marked as one.

    Raises:
        BadInput: the grant makes no sense in this schema, or is out of its purpose's caps.
        Denied: it is too wide; on the record.
    """
    proposal = propose(body, tenant.schema, bounds.ceiling, cell.clock.now())
    if glass is not None:
        terms = msgspec.structs.replace(proposal.terms, break_glass=True)
        proposal = replace(proposal, terms=terms)
    named = proposal.subjects or ()
    purpose = tenant.schema.purposes[proposal.purpose]
    try:
        check_purpose(proposal, purpose)
        # Before a person is entered for a grant that can never be; decided again under the lock.
        known = find(cell, caller.principal.tenant, named)
        bounds.check(_by_row(proposal, known), given_today=0)
    except Denied as denied:
        member = str(denied.facts.get("member", ""))
        yield from _refuse(caller, request.origin, denied.code, tenant.head, verb=bounds.verb, member=member)
    people = yield from enter(cell, caller, request.origin, named)
    proposal = _by_row(proposal, people)
    if proposal.terms.seal_to is not None:
        yield from ensure(cell, caller, request.origin, KeyPurpose.DELIVERY)
    if compares(proposal):
        yield from ensure(cell, caller, request.origin, KeyPurpose.ATTEMPTS)
    approval = proposal.terms.approval
    if approval is not None:
        yield from ensure(cell, caller, request.origin, KeyPurpose.APPROVALS)
    secret = None if proposal.keyed else credential_secret()
    row = _row(caller, proposal, body, b"" if secret is None else secret_digest(secret))
    subjects = sorted(set(people.values()))
    waiting = pending_grant(cell, row["tenant"], row["id"], approval)
    if waiting is not None:
        row["state"] = GrantState.PENDING.value

    def along(now: Micros, writes: Writes, proposal: Proposal) -> None:
        if waiting is not None:
            waiting.write(now, writes, proposal)
        if glass is not None:
            glass(now, writes, proposal, row["id"])

    holder = _agent(cell, row) if proposal.keyed else None
    command = CreateGrant(
        caller,
        request.origin,
        tenant.head,
        proposal,
        body.valid,
        purpose,
        row,
        subjects,
        bounds,
        along,
        holder,
    )

    def answer(decided: tuple[CoatcheckError | None, Proposal], at: Micros) -> GrantAnswer | None:
        refusal, proposal = decided
        if refusal is not None:
            return None
        shown = GrantAnswer(
            id=row["id"],
            state="active" if waiting is None and proposal.valid_from <= at else "pending",
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
            credential=None if secret is None else f"cg_{row['id'].removeprefix('gr_')}_{secret}",
            decision=command.decision,
            jkt=row["jkt"],
            terms=None if proposal.terms == NONE else proposal.terms,
            approval=None if waiting is None else waiting.need,
        )
        return msgspec.structs.replace(shown, **delivery_keys(cell, proposal.terms))

    done = yield repeat.keep(command, answer)
    made = answer(done.value, done.at)
    if made is None:
        refusal = done.value[0]
        refusal.facts["decision"] = command.decision
        raise refusal
    return made


def _agent(cell: Cell, row: dict[str, Any]) -> str:
    """The id of a grant's agent."""
    named = cell.store.record.principals_by_name
    found = cell.store.read_keys(named, [row["agent"]], tenant=row["tenant"])
    if not found:
        raise BadInput("agent_unknown")
    return str(found[0][0])


def _by_row(proposal: Proposal, people: dict[str, bytes]) -> Proposal:
    """The proposal with its people by our own ids, as ceilings name them; whoever is not known has none."""
    if proposal.subjects is None:
        return proposal
    ids = (format_id("sub", people[name]) if name in people else "" for name in proposal.subjects)
    return replace(proposal, subjects=tuple(ids))


def _refuse(
    caller: Caller,
    origin: Origin,
    code: str,
    schema_head: int | None = None,
    verb: str = "grant.create",
    **facts: Any,
) -> Verb[None]:
    refused = Refused(caller, origin, verb, code, schema_head, **facts)
    yield refused
    raise Denied(code, decision=refused.decision, **facts)


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
        "jkt": None if body.bind.cnf is None else body.bind.cnf.jkt,
        "terms": encode_terms(proposal.terms),
        "tat": 0,
        "uses": 0,
        "max_uses": proposal.uses,
        "batch": proposal.batch,
        "state": GrantState.ACTIVE.value,
        "version": 1,
    }
