"""Keys that agents hold: registered, so that grants are bound to them and to no others.

An agent that ever had a registered key is given keyed grants for registered keys only. A grant ends no later
than the key that it is bound to; to revoke the key ends all of them at once.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.authn.identities import Caller
from vault.clock import Micros, format_time
from vault.crypto.base64url import decode
from vault.crypto.signing import is_public, thumbprint
from vault.errors import BadInput, Conflict, Unknown
from vault.ledger.command import Needs, State, Verb, Writes
from vault.policy.principal import Kind
from vault.policy.terms import is_thumbprint
from vault.services.cell import Cell, Origin
from vault.services.gate import Request, admit, authenticate
from vault.services.grant_body import check_text
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.identities import AdministrativeCommand, check_id
from vault.services.key_terms import expiry, overlap_end
from vault.services.listing import Listing
from vault.store.granting import HolderRow

MAX_KEYS: Final = 100
"""Keys of one agent, revoked and expired ones among them: the newest are listed, and all are kept."""


class PublicKey(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """An Ed25519 public key as a JWK (RFC 8037, section 2)."""

    kty: str
    crv: str
    x: str


class HolderKeyBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A key to register.

    Attributes:
        expires: when it ends, RFC 3339; grants bound to it end no later.
        replaces: the thumbprint of the key whose place it takes; that one ends when `overlap` is over.
        label: for people: which worker, which host.
    """

    key: PublicKey
    expires: str | None = None
    replaces: str | None = None
    overlap: str | None = None
    label: str | None = None


class HolderKeyAnswer(Replayable, frozen=True, omit_defaults=True):
    """A registered key, by its thumbprint (RFC 7638)."""

    jkt: str
    agent: str
    created: str | None = None
    expires: str | None = None
    label: str | None = None
    revoked: bool = False


class _OfAgent(AdministrativeCommand):
    """A command on the keys of an agent of the caller's tenant, whose row's lock it has."""

    def __init__(self, caller: Caller, origin: Origin, kind: str, agent: str, **facts: Any) -> None:
        super().__init__(caller, origin, kind, principal=agent, **facts)
        self._agent = agent

    def needs(self, needs: Needs) -> None:
        """The caller's rows, the agent, and its keys."""
        super().needs(needs)
        needs.principals.add(self._agent)
        needs.holders.add(self._agent)

    def keys(self, state: State) -> dict[str, HolderRow]:
        """The agent's keys, by thumbprint.

        Raises:
            BadInput: `operation_unsupported`: no agent.
            Unknown: `not_found`.
        """
        self.check(state)
        row = state.principals.get(self._agent)
        if row is None or row.removed or row.principal.tenant != self.caller.principal.tenant:
            raise Unknown("not_found")
        if row.principal.kind is not Kind.AGENT:
            raise BadInput("operation_unsupported", member="kind")
        return state.holders.setdefault(self._agent, {})


class RegisterKey(_OfAgent):
    """Registers a key, and gives the one that it replaces an end."""

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        row: HolderRow,
        replaces: str | None,
        until: Micros,
    ) -> None:
        facts = {} if replaces is None else {"replaces": replaces}
        super().__init__(caller, origin, "agent-key.create", row.principal, holder=row.jkt, **facts)
        self._row, self._replaces, self._until = row, replaces, until

    def decide(self, state: State, writes: Writes) -> None:
        """Registers it.

        Raises:
            BadInput: `limit_invalid`: too many.
            Conflict: `name_taken`: it is registered, or was.
            Unknown: `not_found`: what it replaces is no valid key of the agent.
        """
        keys = self.keys(state)
        if self._row.jkt in keys:
            raise Conflict("name_taken")
        if len(keys) >= MAX_KEYS:
            raise BadInput("limit_invalid", member="key", most=MAX_KEYS)
        if self._replaces is not None:
            old = keys.get(self._replaces)
            if old is None or not old.valid(state.now):
                raise Unknown("not_found")
            end = min(old.expires_at or self._until, self._until)
            keys[self._replaces] = old._replace(expires_at=end)
            writes.update("end_holder_key", of_principal=self._agent, of_jkt=self._replaces, at=end)
        keys[self._row.jkt] = row = self._row._replace(created_at=state.now)
        writes.insert("holder_key", **row._asdict())
        self.note(writes)


class RevokeHolderKey(_OfAgent):
    """Revokes a key, and every grant that is bound to it."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, agent: str, jkt: str) -> None:
        super().__init__(caller, origin, "agent-key.revoke", agent, holder=jkt)
        self._jkt = jkt

    def decide(self, state: State, writes: Writes) -> HolderRow:
        """The key. To revoke it twice changes nothing."""
        row = self.keys(state).get(self._jkt)
        if row is None:
            raise Unknown("not_found")
        if not row.revoked_at:
            writes.update("revoke_holder_key", of_principal=self._agent, of_jkt=self._jkt, at=state.now)
            writes.update("revoke_grants_of_holder", of_agent=self._agent, of_jkt=self._jkt)
            writes.fence_by += 1
            self.note(writes)
        return row


def register_holder_key(
    cell: Cell, request: Request, agent: str, body: HolderKeyBody
) -> Verb[HolderKeyAnswer]:
    """Registers a key of an agent.

    Raises:
        BadInput: `limit_invalid`: no Ed25519 public key; `validity_invalid`.
        Conflict: `name_taken`.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "agent-key.create", "principal:write")
    check_id("pr", agent)
    repeat = once(cell, request, caller, "agent-key.create", HolderKeyAnswer, agent, body)
    if repeat.replay is not None:
        return repeat.replay
    now = cell.clock.now()
    if body.overlap is not None and body.replaces is None:
        raise BadInput("member_missing", member="replaces")
    row = HolderRow(
        principal=agent,
        jkt=_thumbprint(body.key),
        x=body.key.x,
        label=check_text(body.label),
        created_at=0,
        expires_at=expiry(cell.terms, body.expires, now),
        revoked_at=0,
    )
    until = overlap_end(cell.terms, body.overlap, now)
    command = RegisterKey(caller, request.origin, row, body.replaces, until)
    done = yield repeat.keep(command, lambda _, at: _shown(row._replace(created_at=at)))
    return _shown(row._replace(created_at=done.at))


def list_holder_keys(cell: Cell, request: Request, agent: str) -> Verb[Listing]:
    """An agent's keys, newest first."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "agent-key.list", "principal:list")
    check_id("pr", agent)
    params = {"of_principal": agent, "of_tenant": caller.principal.tenant}
    rows = [HolderRow(*row) for row in cell.store.read(cell.store.granting.holder_keys_page, params)]
    return Listing([_shown(row) for row in rows], None)


def revoke_holder_key(cell: Cell, request: Request, agent: str, jkt: str) -> Verb[HolderKeyAnswer]:
    """Revokes a key of an agent and every grant that is bound to it. It binds at once, and for good."""
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "agent-key.revoke", "principal:write")
    check_id("pr", agent)
    if not is_thumbprint(jkt):
        raise Unknown("not_found")
    repeat = once(cell, request, caller, "agent-key.revoke", HolderKeyAnswer, agent, jkt)
    if repeat.replay is not None:
        return repeat.replay

    def answer(row: HolderRow, at: Micros) -> HolderKeyAnswer:
        return _shown(row._replace(revoked_at=row.revoked_at or at))

    done = yield repeat.keep(RevokeHolderKey(caller, request.origin, agent, jkt), answer)
    return answer(done.value, done.at)


def bound(keys: dict[str, HolderRow], jkt: str, now: Micros) -> Micros:
    """Until when a grant may be bound to a key of an agent at most; 0: for ever.

    Args:
        keys: all that the agent ever had registered; none: it may be bound to any.

    Raises:
        BadInput: `holder_unknown`: there are keys, and this is none of them that is valid.
    """
    if not keys:
        return 0
    row = keys.get(jkt)
    if row is None or not row.valid(now):
        raise BadInput("holder_unknown")
    return row.expires_at


def _thumbprint(key: PublicKey) -> str:
    if (key.kty, key.crv) != ("OKP", "Ed25519") or not is_thumbprint(key.x) or not is_public(decode(key.x)):
        raise BadInput("limit_invalid", member="key")
    return thumbprint(decode(key.x))


def _shown(row: HolderRow) -> HolderKeyAnswer:
    return HolderKeyAnswer(
        jkt=row.jkt,
        agent=row.principal,
        created=format_time(row.created_at),
        expires=format_time(row.expires_at) if row.expires_at else None,
        label=row.label,
        revoked=row.revoked_at != 0,
    )
