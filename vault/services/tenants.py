"""Tenants: create and list. Only the tenant main may; to every other one there is none but itself."""

from __future__ import annotations

from typing import Any

import msgspec

from vault.authn.identities import Caller
from vault.clock import format_time
from vault.errors import BadInput, Conflict, Denied, Stale, Unknown
from vault.identifiers import is_name, new_id
from vault.ledger.command import State, Verb, Writes
from vault.policy.principal import Kind, full_name
from vault.services.cell import Cell, Origin
from vault.services.gate import Refused, Request, Steps, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.identities import (
    AdministrativeCommand,
)
from vault.services.initialise import MAIN_TENANT, tenant_keys
from vault.services.listing import Listing, Page, check_page, listing
from vault.services.service_keys import (
    insert_key,
    new_key_row,
)
from vault.store.cell import Store
from vault.store.custody import FieldKeyRow

FIRST_ADMIN = "admin"


class TenantBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """A tenant to create."""

    name: str


class FirstAdmin(Hidden, frozen=True):
    """The operator that a new tenant begins with, and its service key."""

    principal: str
    name: str
    key: str


class TenantAnswer(Replayable, frozen=True):
    """A tenant as it is shown; its first admin and the credential only in the answer that created it."""

    id: str
    name: str
    state: str
    created: str
    admin: FirstAdmin | None = None
    credential: str | None = None


class TenantReplay(TenantAnswer, frozen=True, kw_only=True):
    """The answer to a repeated request for a tenant: the credential is not shown again."""

    credential: None


class CreateTenant(AdministrativeCommand):
    """Inserts a tenant with its keys, its first admin and that one's service key."""

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        tenant: dict[str, Any],
        keys: list[FieldKeyRow],
        admin: dict[str, Any],
        api_key: dict[str, Any],
    ) -> None:
        facts = {"created": tenant["name"], "principal": admin["id"], "key": api_key["id"]}
        super().__init__(caller, origin, "tenant.create", id=tenant["id"], keys=len(keys), **facts)
        self._tenant = tenant
        self._keys = keys
        self._admin = admin
        self._api_key = api_key

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts everything. A name that was taken meanwhile is found when the verb is made again."""
        self.check(state)
        if any(key.epoch != state.head.write_epoch for key in self._keys):
            raise Stale
        writes.insert("tenant", **self._tenant, created_at=state.now)
        for key in self._keys:
            writes.insert("field_key", **key._asdict(), created_at=state.now)
        writes.insert("principal", **self._admin, created_at=state.now)
        insert_key(writes, self._api_key, state.now)
        self.note(writes, epoch=state.head.write_epoch)


def create_tenant(cell: Cell, request: Request, body: TenantBody) -> Verb[TenantAnswer]:
    """Creates a tenant; the credential of its first admin is in this answer and nowhere else.

    Raises:
        BadInput: `name_invalid`.
        Conflict: `name_taken`.
    """
    caller = authenticate(cell, request)
    yield from _admit(cell, caller, request.origin, "tenant.create", "tenant:create")
    repeat = once(cell, request, caller, "tenant.create", TenantReplay, body)
    if repeat.replay is not None:
        return repeat.replay
    if not is_name(body.name):
        raise BadInput("name_invalid")
    if cell.store.read(cell.store.record.tenant_named, {"named": body.name}):
        raise Conflict("name_taken")
    tenant = {"id": new_id("tn"), "name": body.name, "state": "active"}
    admin = _first_admin(caller, body.name)
    api_key, credential = new_key_row(admin["id"], [], 0)
    keys = tenant_keys(cell.keyring.epoch(cell.keyring.write_epoch), body.name)

    def answer(_: object, at: int) -> TenantAnswer:
        first = FirstAdmin(admin["id"], admin["name"], api_key["id"])
        return TenantAnswer(tenant["id"], tenant["name"], tenant["state"], format_time(at), first, credential)

    done = yield repeat.keep(CreateTenant(caller, request.origin, tenant, keys, admin, api_key), answer)
    return answer(None, done.at)


def list_tenants(cell: Cell, request: Request, page: Page) -> Verb[Listing]:
    """The cell's tenants, newest first."""
    caller = authenticate(cell, request, fresh=True)
    yield from _admit(cell, caller, request.origin, "tenant.list", "tenant:read")
    params = {"below": check_page(page, "tn"), "most": page.limit + 1}
    rows = cell.store.read(cell.store.record.tenants_page, params)
    items = [TenantAnswer(row[0], row[1], row[2], format_time(row[3])) for row in rows]
    return listing(list(items), [row[0] for row in rows], page)


def check_tenant(store: Store, name: str) -> None:
    """Returns if there is such a tenant; for the host.

    Raises:
        Unknown: `not_found`.
    """
    if not store.read(store.record.tenant_named, {"named": name}):
        raise Unknown("not_found")


def _admit(cell: Cell, caller: Caller, origin: Origin, verb: str, needed: str) -> Steps:
    """Returns if the caller may, and is of the tenant that the cell began with.

    No principal of another tenant can be given such a permission; that none acts on one is decided here.
    """
    yield from admit(cell, caller, origin, verb, needed)
    if caller.principal.tenant != MAIN_TENANT:
        refused = Refused(caller, origin, verb, "permission_denied")
        yield refused
        raise Denied("permission_denied", decision=refused.decision)


def _first_admin(caller: Caller, tenant: str) -> dict[str, Any]:
    return {
        "id": new_id("pr"),
        "tenant": tenant,
        "kind": Kind.OPERATOR.value,
        "name": full_name(Kind.OPERATOR, FIRST_ADMIN),
        "roles": msgspec.json.encode(["admin"]).decode(),
        "permissions": "[]",
        "ceiling": None,
        "version": 1,
        "created_by": caller.actor,
        "removed_at": 0,
    }
