"""The gate: the one place where a caller is admitted or refused. Every verb begins here.

An authenticated refusal is on the record before the caller learns of it; a request without a valid
credential is counted, and the count is on the record once a minute.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

from vault.audit.event import Event
from vault.authn.identities import Caller, Holder, in_networks, parse_authorization
from vault.authn.sessions import OPERATORS, network_of
from vault.clock import SECOND, Micros
from vault.crypto.base64url import digest
from vault.errors import Denied, Stale, Unauthenticated
from vault.identifiers import new_id
from vault.ledger.command import Command, Committed, Needs, State, Writes
from vault.policy.permissions import ADMINISTRATIVE, kind_of
from vault.policy.principal import Kind, Principal
from vault.policy.proof import check_proof, origin_of, parse_proof
from vault.services.access_tokens import DPOP, access_caller, is_access
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.presented import Presented
from vault.services.ruling import DENIED, refusal
from vault.services.spending import spend
from vault.store.operators import SessionRow
from vault.store.rows import ApiKeyRow

Steps = Generator[Command, Committed, None]
KEYED: Final = "grant "
"""The scheme of a keyed grant, in small letters."""
GRANT_LENGTH: Final = 29


BEFORE_MFA: Final = frozenset(
    {"passkey.list", "session.end", "session.list", "session.step-up", "operator.enrol", "whoami"}
)
"""What an operator may do whose session has seen no second factor."""


@dataclass(slots=True)
class Request:
    """What a door hands to a verb besides the body.

    Attributes:
        authorization: the Authorization header as it came; None for the host.
        origin: where it came from.
        host: the caller when a host verb acts.
        idempotency: the Idempotency-Key, checked, if one came.
        presented: what came with a keyed grant.
        recognised: who was found behind the credential, for the verb's first look; taken by it, so that
            a verb that is made again looks again.
    """

    authorization: str | None = field(repr=False)
    origin: Origin
    host: Caller | None = None
    idempotency: str | None = field(default=None, repr=False)
    recognised: Caller | Holder | None = field(default=None, repr=False, compare=False)
    presented: Presented | None = field(default=None, repr=False)


class CallerCommand(Command):
    """A command of an authenticated caller: binds what the gate found to the locked rows.

    Args:
        caller: who acts.
        schema_head: the cell's schema version that the verb prepared on; None if it does not matter.
    """

    def __init__(self, caller: Caller, schema_head: int | None = None) -> None:
        self.caller = caller
        self.schema_head = schema_head

    def needs(self, needs: Needs) -> None:
        """The caller's rows."""
        if self.caller.in_session:
            needs.principals.add(self.caller.principal.id)
            needs.sessions.add(self.caller.api_key)
        elif self.caller.api_key:
            needs.principals.add(self.caller.principal.id)
            needs.api_keys.add(self.caller.api_key)
        if self.caller.token is not None:
            needs.challenges.add(self.caller.token)

    def check(self, state: State) -> None:
        """Returns if caller and schema are still what the verb was prepared on.

        Raises:
            Stale: they are not.
        """
        if self.schema_head is not None and state.head.schema_version != self.schema_head:
            raise Stale
        if self.caller.api_key:
            row = state.principals.get(self.caller.principal.id)
            key: ApiKeyRow | SessionRow | None
            if self.caller.in_session:
                key = state.sessions.get(self.caller.api_key)
            else:
                key = state.api_keys.get(self.caller.api_key)
            if row is None or row.removed or row.principal.version != self.caller.principal.version:
                raise Stale
            if key is None or key.revoked_at or 0 < key.expires_at <= state.now:
                raise Stale
            if self.caller.token is not None:
                if self.caller.token in state.challenges:
                    raise Stale
                if self.caller.expires_at <= state.now:
                    raise Unauthenticated("credential_invalid")


class Refused(CallerCommand):
    """Puts an authenticated refusal on the record."""

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        verb: str,
        code: str,
        schema_head: int | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(caller, schema_head)
        self.decision = new_id("dec")
        self._event = Event(
            "denied",
            caller.principal.tenant,
            caller.actor,
            {"verb": verb, "code": code, "credential": caller.api_key, **trace(origin), **facts},
            decision=self.decision,
        )

    def decide(self, state: State, writes: Writes) -> None:
        """Notes the event, if the caller is still who it was."""
        self.check(state)
        writes.event(self._event)


def authenticate(cell: Cell, request: Request, *, fresh: bool = False) -> Caller:
    """The principal that acts.

    Args:
        fresh: for verbs that only read. No command binds them later, so a revoked key must be found here;
            so it is for what may only be answered again.

    Raises:
        Unauthenticated: `credential_missing`, `credential_invalid`; counted.
    """
    if request.host is not None:
        return request.host
    known, request.recognised = request.recognised, None
    fresh = fresh or request.idempotency is not None
    if isinstance(known, Caller) and not fresh:
        return known
    try:
        if is_access(request.authorization):
            return access_caller(cell, request.authorization or "", request.presented, fresh=fresh)
        return cell.identities.caller(parse_authorization(request.authorization), fresh=fresh)
    except Unauthenticated as failure:
        cell.failures.add({failure.code: 1})
        raise


def person(cell: Cell, request: Request) -> Caller:
    """The operator that acts, in a session: what a service may not do with any key.

    Raises:
        Unauthenticated: `credential_missing`, `credential_invalid`; counted.
    """
    caller = authenticate(cell, request)
    if not caller.in_session:
        cell.failures.add({"credential_invalid": 1})
        raise Unauthenticated("credential_invalid")
    return caller


def holder(cell: Cell, request: Request) -> Holder:
    """Whoever presents a grant's credential.

    Raises:
        Unauthenticated: `credential_missing`, `credential_invalid`, `grant_invalid`; counted.
    """
    known, request.recognised = request.recognised, None
    try:
        if is_keyed(request.authorization):
            found = known if isinstance(known, Holder) else _keyed(cell, request)
            _check_request(cell, request, found)
            return found
        if isinstance(known, Holder):
            return known
        return cell.identities.holder(parse_authorization(request.authorization))
    except (Unauthenticated, Denied) as failure:
        cell.failures.add({failure.code: 1})
        if isinstance(known, Holder):  # found to be no proof of this request, whose body is read by now
            cell.pacing.failed(request.origin.address)
        raise


def is_grant(authorization: str | None) -> bool:
    """Whether an Authorization header holds a grant, of either profile."""
    return is_keyed(authorization) or (authorization or "")[7:10] == "cg_"


def is_keyed(authorization: str | None) -> bool:
    """Whether an Authorization header names a keyed grant, or nothing that it could name."""
    return (authorization or "")[: len(KEYED)].lower() == KEYED


def is_proven(authorization: str | None) -> bool:
    """Whether what comes with the header decides too: a proof, or a certificate."""
    return is_keyed(authorization) or is_access(authorization)


def takes_no_stream(authorization: str | None) -> bool:
    """Whether an Authorization header is good for one request at a time: what comes with it is a proof."""
    return is_keyed(authorization) or (authorization or "")[: len(DPOP)].lower() == DPOP


def _keyed(cell: Cell, request: Request) -> Holder:
    """Whoever holds the key of a keyed grant. That the proof is for this request is not looked at yet."""
    presented = request.presented
    grant = (request.authorization or "")[len(KEYED) :]
    if len(grant) != GRANT_LENGTH:  # what else it may be is looked for among the grants
        raise Unauthenticated("grant_invalid")
    if presented is None or presented.proof is None:
        raise Unauthenticated("proof_invalid")
    if presented.parsed is None:
        presented.parsed = parse_proof(presented.proof)
    return cell.identities.keyed(grant, presented.parsed, presented.chain)


def _check_request(cell: Cell, request: Request, who: Holder) -> None:
    """Returns if the holder's proof is one for this request, of which the body has been read."""
    presented = request.presented
    if presented is None or who.proof is None:
        raise Unauthenticated("proof_invalid")
    url = who.proof.htu
    if url not in presented.urls:  # else it may be the same but for the case of its host
        asked = origin_of(url)
        url = next((url for url in presented.urls if origin_of(url) == asked), presented.urls[0])
    check_proof(
        who.proof,
        method=presented.method,
        url=url,
        grant=who.credential.id,
        body_digest=digest(presented.body or b""),
        chain_digest=None if presented.chain is None else digest(presented.chain.encode()),
        now=cell.clock.now(),
    )


def recognise(cell: Cell, request: Request, who: tuple[str, ...]) -> None:
    """Returns if somebody known stands behind a request, before its body is read.

    Args:
        who: the kinds of credential that the route takes: `key` (of a service, or a session), `session`,
            `grant`; none: it is for whoever has none yet.

    Raises:
        Unauthenticated: counted.
        Unavailable: `rate_limited`: too much failed at that network, and nobody known is there.
    """
    if not who:
        return
    address = request.origin.address
    cell.pacing.check_network(address, request.authorization)
    try:
        _recognise(cell, request, who)
    except (Unauthenticated, Denied):
        cell.pacing.failed(address)
        raise
    cell.pacing.proved(request.authorization)


def under_way(cell: Cell, request: Request) -> AbstractContextManager[None]:
    """A request of whoever was recognised, while it is answered.

    Raises:
        Unavailable: `rate_limited`, when it is entered.
    """
    who = request.recognised
    if isinstance(who, Caller):
        return cell.pacing.under_way(who.principal.tenant, who.principal.name)
    if isinstance(who, Holder):
        return cell.pacing.under_way(who.tenant, who.agent)
    return nullcontext()


def _recognise(cell: Cell, request: Request, who: tuple[str, ...]) -> None:
    if "grant" in who and is_keyed(request.authorization):
        try:
            request.recognised = _keyed(cell, request)
        except (Unauthenticated, Denied) as failure:
            cell.failures.add({failure.code: 1})
            raise
    elif "grant" in who and ("key" not in who or is_grant(request.authorization)):
        request.recognised = holder(cell, request)
    else:
        caller = authenticate(cell, request)
        if "key" not in who and not caller.in_session:
            cell.failures.add({"credential_invalid": 1})
            raise Unauthenticated("credential_invalid")
        request.recognised = caller


def admit(
    cell: Cell, caller: Caller, origin: Origin, verb: str, *needed: str, schema: TenantSchema | None = None
) -> Steps:
    """Returns if the caller may do this from where it is.

    Args:
        needed: permissions, all of which it must hold.
        schema: what the verb's command is bound to; None: the rules in force are looked up, whatever is
            remembered.

    Raises:
        Denied: `network_denied`, `permission_denied`, `policy_denied`; on the record.
        Unauthenticated: `insufficient_user_authentication`; on the record. `proof_invalid`: used before.
    """
    if caller.proof is not None:
        yield from spend(cell, caller.proof)
    if caller.api_key and not in_networks(caller.networks, origin.address):
        refused = Refused(caller, origin, verb, "network_denied")
        yield refused
        raise Denied("network_denied", decision=refused.decision)
    if caller.api_key and not caller.in_session:
        cell.seen.note(caller.api_key, cell.clock.now())
    if caller.api_key and not caller.principal.held.issuperset(needed):
        # What is missing is named for the auditor by the permission's kind, without what it is for:
        # a caller may have asked for a field that does not exist.
        missing = sorted({name.split(":")[0] for name in set(needed) - caller.principal.held})
        refused = Refused(caller, origin, verb, "permission_denied", missing=missing)
        yield refused
        raise Denied("permission_denied", decision=refused.decision)
    yield from _demand(cell, caller, origin, verb, needed)
    if caller.api_key and needed:
        yield from _ask_rules(cell, caller, origin, verb, needed, schema)


def _ask_rules(
    cell: Cell,
    caller: Caller,
    origin: Origin,
    verb: str,
    needed: tuple[str, ...],
    schema: TenantSchema | None,
) -> Steps:
    """Returns if the tenant's attribute rules do not refuse what the caller holds the permissions for."""
    if schema is None:  # a file has one process, which knows what it applied
        schema = cell.schemas.of(caller.principal.tenant, fresh=not cell.store.is_file)
    verdict = refusal(cell, schema, caller, origin.address, needed)
    if verdict is not None:
        named = list(verdict.policies)
        refused = Refused(caller, origin, verb, DENIED, schema.head, policies=named)
        yield refused
        raise Denied(DENIED, decision=refused.decision, policies=named)


def _demand(cell: Cell, caller: Caller, origin: Origin, verb: str, needed: tuple[str, ...]) -> Steps:
    """Returns if the caller has proved to be who it is as strongly as this asks for (RFC 9470).

    A session in which no second factor was ever proved is good for getting one, and for nothing else.
    """
    administrative = [name for name in map(kind_of, needed) if name in ADMINISTRATIVE]
    if caller.in_session:
        if administrative:
            yield from demand_fresh(cell, caller, origin, verb)
        elif verb not in BEFORE_MFA and not (caller.mfa_at or cell.identities.proved(caller.api_key)[0]):
            yield from _insufficient(cell, caller, origin, verb)
    elif caller.api_key and cell.sign_in.admin == OPERATORS and any(map(ADMINISTRATIVE.get, administrative)):
        if caller.principal.kind is Kind.OPERATOR:
            yield from _insufficient(cell, caller, origin, verb)
        refused = Refused(caller, origin, verb, "permission_denied", missing=sorted(administrative))
        yield refused
        raise Denied("permission_denied", decision=refused.decision)


def demand_fresh(cell: Cell, caller: Caller, origin: Origin, verb: str) -> Steps:
    """Returns if a second factor was proved in the session not long ago, from the network that this comes
    from, and not too much was done since: a session that was carried off is good for nothing elsewhere.

    Raises:
        Unauthenticated: `insufficient_user_authentication`; on the record.
    """
    here = network_of(origin.address)

    def proved(at: Micros, network: str) -> bool:
        return at > cell.clock.now() - cell.sign_in.fresh and network == here

    session, at = caller.api_key, caller.mfa_at
    if not proved(at, caller.network):
        # It may have been proved to another process, or since the caller was last looked at.
        at, network = cell.identities.proved(session)
        if not proved(at, network):
            yield from _insufficient(cell, caller, origin, verb)
    if cell.identities.acts.count(session, at) > cell.sign_in.acts:
        at, network = cell.identities.proved(session)
        if not proved(at, network) or cell.identities.acts.count(session, at) > cell.sign_in.acts:
            yield from _insufficient(cell, caller, origin, verb)


def _insufficient(cell: Cell, caller: Caller, origin: Origin, verb: str) -> Steps:
    code = "insufficient_user_authentication"
    refused = Refused(caller, origin, verb, code)
    yield refused
    max_age = cell.sign_in.fresh // SECOND
    raise Unauthenticated(code, decision=refused.decision, max_age=max_age)


def trace(origin: Origin) -> dict[str, str]:
    """Where a request came from, as every event says it."""
    return {"address": origin.address, "request": origin.request}


def host_caller(uid: int, tenant: str) -> Caller:
    """The caller of host verbs: whoever may open the cell's files. It holds no credential."""
    return without_credential(f"host:{uid}", tenant)


def without_credential(name: str, tenant: str) -> Caller:
    """A caller that the cell's own process is: this host's user, or the schedule."""
    principal = Principal(
        id="",  # type: ignore[arg-type]
        tenant=tenant,
        kind=Kind.OPERATOR,
        name=name,
        roles=(),
        permissions=(),
        ceiling=None,
        version=0,
    )
    return Caller(principal, "", 0)
