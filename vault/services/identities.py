"""Principals: create, list, remove; and whoami."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.authn.sessions import network_of
from vault.clock import format_time
from vault.errors import BadInput, Conflict, Unknown
from vault.identifiers import format_id, new_id, parse_id
from vault.ledger.command import Needs, State, Verb, Writes
from vault.policy.permissions import CELL_WIDE, check_duties, check_permissions, check_roles, effective
from vault.policy.principal import Ceiling, Kind, full_name
from vault.services.ceilings import check_ceiling, leaf_of
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.initialise import MAIN_TENANT
from vault.services.key_terms import ends_soon
from vault.services.listing import Listing, Page, check_page, listing
from vault.services.subjects import enter
from vault.store.rows import decode_principal


class PrincipalBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A principal to create."""

    kind: str
    name: str
    roles: list[str] = msgspec.field(default_factory=list)
    permissions: list[str] = msgspec.field(default_factory=list)
    ceiling: Ceiling | None = None


class PrincipalAnswer(Replayable, frozen=True):
    """A principal as it is shown."""

    id: str
    kind: str
    name: str
    roles: list[str]
    permissions: list[str]
    ceiling: Ceiling | None = None


class Removed(Replayable, frozen=True):
    """What went with a principal."""

    id: str
    keys_revoked: int
    grants_revoked: int


class WhoAmI(Hidden, frozen=True, omit_defaults=True):
    """The caller, as the gate sees it.

    Attributes:
        key: the service key, or the session.
        ends_soon: whether the end of the key is near: it is time to ask for a successor.
        mfa: by which second factor the session was proved, and until when that is fresh.
    """

    principal: str
    name: str
    tenant: str
    region: str
    roles: list[str]
    permissions: list[str]
    ceiling: Ceiling | None = None
    key: str | None = None
    expires: str | None = None
    ends_soon: bool = False
    mfa: str | None = None
    fresh_until: str | None = None


class AdministrativeCommand(CallerCommand):
    """A command with one administrative event.

    Attributes:
        network: that it comes from.
    """

    def __init__(self, caller: Caller, origin: Origin, kind: str, **facts: Any) -> None:
        super().__init__(caller)
        self.network = network_of(origin.address)
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
        writes.update("revoke_sessions_of", of_principal=self._principal, but_session="", at=state.now)
        for statement in ("drop_password_of", "drop_totp_of", "drop_passkeys_of"):
            writes.update(statement, of_principal=self._principal)
        writes.update("drop_recovery_codes_before", of_principal=self._principal, at=state.now + 1)
        writes.fence_by += 1
        keys, grants = state.dependents[self._principal]
        self.note(writes, name=row.principal.name, keys=keys, grants=grants)
        return keys, grants


def create_principal(cell: Cell, request: Request, body: PrincipalBody) -> Verb[PrincipalAnswer]:
    """Creates a principal.

    Raises:
        BadInput: `name_invalid`, `permission_unknown`, `duties_conflict`, `limit_invalid`, `subject_invalid`.
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
    check_id("pr", principal)
    repeat = once(cell, request, caller, "principal.remove", Removed, principal)
    if repeat.replay is not None:
        return repeat.replay
    done = yield repeat.keep(
        RemovePrincipal(caller, request.origin, principal), lambda gone, _: Removed(principal, *gone)
    )
    cell.identities.forget()  # so that nothing is even prepared for who is gone
    return Removed(principal, *done.value)


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
        ends_soon=_is_key(caller) and ends_soon(cell.terms, caller.expires_at, cell.clock.now()),
        mfa=caller.mfa_by or None,
        fresh_until=format_time(caller.mfa_at + cell.sign_in.fresh) if caller.mfa_at else None,
    )


def _is_key(caller: Caller) -> bool:
    """Whether it came with a service key itself: what ends is then the key."""
    return not caller.in_session and caller.token is None


def _principal_row(caller: Caller, body: PrincipalBody) -> dict[str, Any]:
    try:
        kind = Kind(body.kind)
        name = full_name(kind, body.name)
    except ValueError:
        raise BadInput("name_invalid") from None
    roles, permissions = check_roles(body.roles), check_permissions(body.permissions)
    if caller.principal.tenant != MAIN_TENANT and not CELL_WIDE.isdisjoint(effective(roles, permissions)):
        raise BadInput("permission_unknown")
    check_duties(effective(roles, permissions))
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


def check_id(prefix: str, text: str) -> None:
    """Returns if a text is an id of a kind.

    Raises:
        Unknown: `not_found`.
    """
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
