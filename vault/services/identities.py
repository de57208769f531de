"""Principals and their service keys: create, list, remove, revoke; and whoami."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
from msgspec.structs import replace

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import Micros, format_time, parse_time
from vault.crypto.mac import secret_digest
from vault.crypto.randomness import credential_secret
from vault.errors import BadInput, Conflict, Unknown
from vault.identifiers import format_id, new_id, parse_id
from vault.ledger.command import Needs, State, Verb, Writes
from vault.policy.permissions import CELL_WIDE, check_permissions, check_roles, effective
from vault.policy.principal import Ceiling, Kind, full_name
from vault.services.ceilings import check_ceiling, leaf_of
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.initialise import MAIN_TENANT
from vault.services.listing import FIRST_PAGE, Listing, Page, check_page, listing
from vault.services.subjects import enter
from vault.store.rows import decode_principal

MAX_NETWORKS = 50


class PrincipalBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A principal to create."""

    kind: str
    name: str
    roles: list[str] = msgspec.field(default_factory=list)
    permissions: list[str] = msgspec.field(default_factory=list)
    ceiling: Ceiling | None = None


class KeyBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A service key to create: when it expires (RFC 3339), and from where it may be used (CIDRs)."""

    expires: str | None = None
    networks: list[str] = []


class PrincipalAnswer(Replayable, frozen=True):
    """A principal as it is shown."""

    id: str
    kind: str
    name: str
    roles: list[str]
    permissions: list[str]
    ceiling: Ceiling | None = None


class KeyAnswer(Replayable, frozen=True):
    """A service key as it is shown; the credential only in the answer that created it."""

    id: str
    principal: str
    expires: str | None = None
    networks: list[str] | None = None
    credential: str | None = None
    revoked: bool = False


class KeyReplay(KeyAnswer, frozen=True, kw_only=True):
    """The answer to a repeated request for a key: the credential is not shown again."""

    credential: None


class Removed(Replayable, frozen=True):
    """What went with a principal."""

    id: str
    keys_revoked: int
    grants_revoked: int


class WhoAmI(Hidden, frozen=True, omit_defaults=True):
    """The caller, as the gate sees it."""

    principal: str
    name: str
    tenant: str
    region: str
    roles: list[str]
    permissions: list[str]
    ceiling: Ceiling | None = None
    key: str | None = None
    expires: str | None = None


class AdministrativeCommand(CallerCommand):
    """A command with one administrative event."""

    def __init__(self, caller: Caller, origin: Origin, kind: str, **facts: Any) -> None:
        super().__init__(caller)
        self._kind = kind
        self._facts = {**facts, "credential": caller.api_key, **trace(origin)}

    def note(self, writes: Writes, **facts: Any) -> None:
        """Adds the event."""
        tenant = self.caller.principal.tenant
        writes.event(Event(self._kind, tenant, self.caller.actor, {**self._facts, **facts}))


class CreatePrincipal(AdministrativeCommand):
    """Inserts a principal, if its name is free."""

    def __init__(self, caller: Caller, origin: Origin, row: dict[str, Any], ceiling: Ceiling | None) -> None:
        super().__init__(
            caller,
            origin,
            "principal.create",
            principal=row["id"],
            name=row["name"],
            roles=msgspec.json.decode(row["roles"]),
            permissions=msgspec.json.decode(row["permissions"]),
            ceiling=leaf_of(ceiling),
        )
        self._row = row

    def needs(self, needs: Needs) -> None:
        """The caller's rows and whoever has the name."""
        super().needs(needs)
        needs.names.add((self._row["tenant"], self._row["name"]))

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts it."""
        self.check(state)
        named = (self._row["tenant"], self._row["name"])
        if named in state.names:
            raise Conflict("name_taken")
        state.names[named] = self._row["id"]
        writes.insert("principal", **self._row, created_at=state.now)
        self.note(writes)


def insert_key(writes: Writes, row: dict[str, Any], now: Micros) -> None:
    """Notes the insert of a new service key, which nobody has used yet."""
    never = {"revoked_at": 0, "used_at": 0, "warned_at": 0, "replaced_by": None}
    writes.insert("api_key", **row, **never, created_at=now)


class CreateKey(AdministrativeCommand):
    """Inserts a service key of a living principal."""

    def __init__(self, caller: Caller, origin: Origin, row: dict[str, Any]) -> None:
        super().__init__(caller, origin, "apikey.create", key=row["id"], principal=row["principal"])
        self._row = row

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the key's principal."""
        super().needs(needs)
        needs.principals.add(self._row["principal"])

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts it."""
        self.check(state)
        owner = state.principals.get(self._row["principal"])
        if owner is None or owner.removed or owner.principal.tenant != self.caller.principal.tenant:
            raise Unknown("not_found")
        if owner.principal.kind is Kind.AGENT:
            # Agents never hold vault keys (P11): they are handed grants.
            raise BadInput("operation_unsupported", member="kind")
        insert_key(writes, self._row, state.now)
        self.note(writes)


class RevokeKey(AdministrativeCommand):
    """Revokes a service key."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, key: str) -> None:
        super().__init__(caller, origin, "apikey.revoke", key=key)
        self._key = key

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the key."""
        super().needs(needs)
        needs.api_keys.add(self._key)

    def decide(self, state: State, writes: Writes) -> None:
        """Revokes it; revoking twice changes nothing."""
        self.check(state)
        row = state.api_keys.get(self._key)
        if row is None:
            raise Unknown("not_found")
        if row.revoked_at:
            return
        writes.update("revoke_api_key", api_key=self._key, at=state.now)
        writes.fence_by += 1
        self.note(writes, principal=row.principal)


class RemovePrincipal(AdministrativeCommand):
    """Removes a principal, revokes its keys, the grants it created, and those it holds as an agent."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, principal: str) -> None:
        super().__init__(caller, origin, "principal.remove", principal=principal)
        self._principal = principal

    def needs(self, needs: Needs) -> None:
        """The caller's rows, the principal, and what hangs on it."""
        super().needs(needs)
        needs.principals.add(self._principal)
        needs.dependents.add(self._principal)

    def decide(self, state: State, writes: Writes) -> tuple[int, int]:
        """Removes it; how many keys and grants went with it."""
        self.check(state)
        row = state.principals.get(self._principal)
        if row is None or row.removed or row.principal.tenant != self.caller.principal.tenant:
            raise Unknown("not_found")
        writes.update("remove_principal", principal=self._principal, at=state.now)
        writes.update("revoke_api_keys_of", principal_id=self._principal, at=state.now)
        writes.update("revoke_grants_of", principal_id=self._principal, at=state.now)
        writes.fence_by += 1
        keys, grants = state.dependents[self._principal]
        self.note(writes, name=row.principal.name, keys=keys, grants=grants)
        return keys, grants


def create_principal(cell: Cell, request: Request, body: PrincipalBody) -> Verb[PrincipalAnswer]:
    """Creates a principal.

    Raises:
        BadInput: `name_invalid`, `permission_unknown`, `limit_invalid`, `subject_invalid`.
        Conflict: `name_taken`.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "principal.create", "principal:write")
    repeat = once(cell, request, caller, "principal.create", PrincipalAnswer, body)
    if repeat.replay is not None:
        return repeat.replay
    row = _principal_row(caller, body)
    ceiling = body.ceiling
    if ceiling is not None and ceiling.subjects is not None:
        people = yield from enter(cell, caller, request.origin, ceiling.subjects)
        ceiling = replace(ceiling, subjects=sorted({format_id("sub", row) for row in people.values()}))
    row["ceiling"] = None if ceiling is None else msgspec.json.encode(ceiling).decode()
    answer = PrincipalAnswer(
        row["id"], row["kind"], row["name"], sorted(body.roles), sorted(body.permissions), ceiling
    )
    yield repeat.keep(CreatePrincipal(caller, request.origin, row, ceiling), answer)
    return answer


def list_principals(cell: Cell, request: Request, page: Page) -> Verb[Listing]:
    """The tenant's living principals, newest first."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "principal.list", "principal:list")
    params = {"tenant": caller.principal.tenant, "below": check_page(page, "pr"), "most": page.limit + 1}
    rows = cell.store.read(cell.store.record.principals_page, params)
    shown = [_shown(decode_principal(row).principal) for row in rows]
    return listing(shown, [row.id for row in shown], page)


def remove_principal(cell: Cell, request: Request, principal: str) -> Verb[Removed]:
    """Removes a principal, with its keys and its grants."""
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "principal.remove", "principal:write")
    _check_id("pr", principal)
    repeat = once(cell, request, caller, "principal.remove", Removed, principal)
    if repeat.replay is not None:
        return repeat.replay
    done = yield repeat.keep(
        RemovePrincipal(caller, request.origin, principal), lambda gone, _: Removed(principal, *gone)
    )
    cell.identities.forget()  # so that nothing is even prepared for who is gone
    return Removed(principal, *done.value)


def create_key(cell: Cell, request: Request, principal: str, body: KeyBody) -> Verb[KeyAnswer]:
    """Creates a service key; its credential is in this answer and nowhere else."""
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "apikey.create", "principal:write")
    _check_id("pr", principal)
    repeat = once(cell, request, caller, "apikey.create", KeyReplay, principal, body)
    if repeat.replay is not None:
        return repeat.replay
    expires = 0
    if body.expires is not None:
        try:
            expires = parse_time(body.expires)
        except ValueError:
            raise BadInput("validity_invalid", member="expires") from None
        if expires <= cell.clock.now():
            raise BadInput("validity_invalid", member="expires")
    networks = _networks(body.networks)
    secret = credential_secret()
    row = {
        "id": new_id("ck"),
        "principal": principal,
        "digest": secret_digest(secret),
        "networks": msgspec.json.encode(networks).decode(),
        "expires_at": expires,
    }
    answer = KeyAnswer(
        id=str(row["id"]),
        principal=principal,
        expires=None if not expires else format_time(expires),
        networks=networks,
        credential=f"{row['id']}_{secret}",
    )
    yield repeat.keep(CreateKey(caller, request.origin, row), answer)
    return answer


def list_keys(cell: Cell, request: Request, principal: str, page: Page = FIRST_PAGE) -> Verb[Listing]:
    """A principal's service keys, newest first, without their secrets."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "apikey.list", "principal:list")
    _check_id("pr", principal)
    params = {
        "principal_id": principal,
        "tenant": caller.principal.tenant,
        "below": check_page(page, "ck"),
        "most": page.limit + 1,
    }
    rows = cell.store.read(cell.store.record.keys_of, params)
    items = [
        KeyAnswer(
            id=row[0],
            principal=row[1],
            expires=None if not row[3] else format_time(row[3]),
            networks=msgspec.json.decode(row[2], type=list[str]),
            revoked=row[4] != 0,
        )
        for row in rows
    ]
    return listing(list(items), [row[0] for row in rows], page)


def revoke_key(cell: Cell, request: Request, key: str) -> Verb[KeyAnswer]:
    """Revokes a service key of the tenant."""
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "apikey.revoke", "principal:write")
    _check_id("ck", key)
    rows = cell.store.read(cell.store.record.key_owner, {"key_id": key})
    if not rows or rows[0][1] != caller.principal.tenant:
        raise Unknown("not_found")
    repeat = once(cell, request, caller, "apikey.revoke", KeyAnswer, key)
    if repeat.replay is not None:
        return repeat.replay
    answer = KeyAnswer(id=key, principal=rows[0][0], revoked=True)
    yield repeat.keep(RevokeKey(caller, request.origin, key), answer)
    cell.identities.forget()  # so that nothing is even prepared for whoever holds it
    return answer


def whoami(cell: Cell, request: Request) -> Verb[WhoAmI]:
    """The caller."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "whoami")
    principal = caller.principal
    return WhoAmI(
        principal=principal.id,
        name=principal.name,
        tenant=principal.tenant,
        region=cell.region,
        roles=sorted(principal.roles),
        permissions=sorted(principal.held),
        ceiling=principal.ceiling,
        key=caller.api_key,
        expires=format_time(caller.expires_at) if caller.expires_at else None,
    )


def _principal_row(caller: Caller, body: PrincipalBody) -> dict[str, Any]:
    try:
        kind = Kind(body.kind)
        name = full_name(kind, body.name)
    except ValueError:
        raise BadInput("name_invalid") from None
    roles, permissions = check_roles(body.roles), check_permissions(body.permissions)
    if caller.principal.tenant != MAIN_TENANT and not CELL_WIDE.isdisjoint(effective(roles, permissions)):
        raise BadInput("permission_unknown")
    if kind is Kind.AGENT and (roles or permissions or body.ceiling is not None):
        raise BadInput("permission_unknown", member="kind")
    if body.ceiling is not None:
        check_ceiling(body.ceiling)
    return {
        "id": new_id("pr"),
        "tenant": caller.principal.tenant,
        "kind": kind.value,
        "name": name,
        "roles": msgspec.json.encode(sorted(roles)).decode(),
        "permissions": msgspec.json.encode(sorted(permissions)).decode(),
        "version": 1,
        "created_by": caller.actor,
        "removed_at": 0,
    }


def _networks(networks: list[str]) -> list[str]:
    if len(networks) > MAX_NETWORKS:
        raise BadInput("limit_invalid", member="networks", most=MAX_NETWORKS)
    try:
        return [str(ipaddress.ip_network(network)) for network in networks]
    except ValueError:
        raise BadInput("limit_invalid", member="networks") from None


def _check_id(prefix: str, text: str) -> None:
    try:
        parse_id(prefix, text)
    except ValueError:
        raise Unknown("not_found") from None


def _shown(principal: Any) -> PrincipalAnswer:
    return PrincipalAnswer(
        id=principal.id,
        kind=principal.kind.value,
        name=principal.name,
        roles=sorted(principal.roles),
        permissions=sorted(principal.permissions),
        ceiling=principal.ceiling,
    )
