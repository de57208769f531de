"""Service keys: create, list, revoke."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec

from vault.authn.identities import Caller
from vault.clock import Micros, format_time
from vault.crypto.mac import secret_digest
from vault.crypto.randomness import credential_secret
from vault.errors import BadInput, Unknown
from vault.identifiers import new_id
from vault.keystate.states import KeyState, move
from vault.ledger.command import Needs, State, Verb, Writes
from vault.policy.principal import Kind
from vault.services.cell import Cell, Origin
from vault.services.gate import Request, admit, authenticate
from vault.services.idempotency import Replayable, once
from vault.services.identities import (
    AdministrativeCommand,
    check_id,
)
from vault.services.key_terms import ends_soon, expiry, key_state
from vault.services.listing import FIRST_PAGE, Listing, Page, check_page, listing

MAX_NETWORKS = 50


class KeyBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A service key to create: when it expires (RFC 3339), and from where it may be used (CIDRs)."""

    expires: str | None = None
    networks: list[str] = []


class KeyAnswer(Replayable, frozen=True):
    """A service key as it is shown; the credential only in the answer that created it.

    Attributes:
        used: when it was last presented, to the hour.
        successor: the key that took its place; it is valid beside that until it expires.
        ends_soon: whether its end is near (`keys.warning`), or was.
        by: what it is presented by: `secret`, `jwk`, `certificate`, or the `name` in one; in lists alone.
    """

    id: str
    principal: str
    expires: str | None = None
    networks: list[str] | None = None
    credential: str | None = None
    revoked: bool = False
    created: str | None = None
    used: str | None = None
    successor: str | None = None
    ends_soon: bool = False
    by: str | None = None


class KeyReplay(KeyAnswer, frozen=True, kw_only=True):
    """The answer to a repeated request for a key: the credential is not shown again."""

    credential: None


def new_key_row(principal: str, networks: list[str], expires: Micros) -> tuple[dict[str, Any], str]:
    """A new key's row, and its credential, which is nowhere else.

    Args:
        expires: when it ends; 0: never.
    """
    secret = credential_secret()
    row = {
        "id": new_id("ck"),
        "principal": principal,
        "digest": secret_digest(secret),
        "networks": msgspec.json.encode(networks).decode(),
        "expires_at": expires,
    }
    return row, f"{row['id']}_{secret}"


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
        move(key_state(row.expires_at, 0, state.now), KeyState.DESTROYED)
        writes.update("revoke_api_key", api_key=self._key, at=state.now)
        writes.fence_by += 1
        self.note(writes, principal=row.principal)


def create_key(cell: Cell, request: Request, principal: str, body: KeyBody) -> Verb[KeyAnswer]:
    """Creates a service key; its credential is in this answer and nowhere else."""
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "apikey.create", "principal:write")
    check_id("pr", principal)
    repeat = once(cell, request, caller, "apikey.create", KeyReplay, principal, body)
    if repeat.replay is not None:
        return repeat.replay
    expires = expiry(cell.terms, body.expires, cell.clock.now())
    networks = check_networks(body.networks)
    row, credential = new_key_row(principal, networks, expires)
    answer = KeyAnswer(
        id=str(row["id"]),
        principal=principal,
        expires=None if not expires else format_time(expires),
        networks=networks,
        credential=credential,
    )
    yield repeat.keep(CreateKey(caller, request.origin, row), answer)
    return answer


def list_keys(cell: Cell, request: Request, principal: str, page: Page = FIRST_PAGE) -> Verb[Listing]:
    """A principal's service keys, newest first, without their secrets."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "apikey.list", "principal:list")
    check_id("pr", principal)
    params = {
        "principal_id": principal,
        "tenant": caller.principal.tenant,
        "below": check_page(page, "ck"),
        "most": page.limit + 1,
    }
    rows = cell.store.read(cell.store.record.keys_of, params)
    ids = [row[0] for row in rows]
    kinds = {row[0]: row[1] for row in cell.store.read_keys(cell.store.operators.client_keys, ids)}
    items = [
        KeyAnswer(
            id=row[0],
            principal=row[1],
            expires=None if not row[3] else format_time(row[3]),
            networks=msgspec.json.decode(row[2], type=list[str]),
            revoked=row[4] != 0,
            created=format_time(row[5]),
            used=format_time(row[6]) if row[6] else None,
            successor=row[7],
            ends_soon=not row[4] and ends_soon(cell.terms, row[3], cell.clock.now()),
            by=kinds.get(row[0], "secret"),
        )
        for row in rows
    ]
    return listing(list(items), ids, page)


def revoke_key(cell: Cell, request: Request, key: str) -> Verb[KeyAnswer]:
    """Revokes a service key of the tenant."""
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "apikey.revoke", "principal:write")
    check_id("ck", key)
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


def check_networks(networks: list[str]) -> list[str]:
    """The networks that a key may be used from, each in its one spelling.

    Raises:
        BadInput: `limit_invalid`.
    """
    if len(networks) > MAX_NETWORKS:
        raise BadInput("limit_invalid", member="networks", most=MAX_NETWORKS)
    try:
        return [str(ipaddress.ip_network(network)) for network in networks]
    except ValueError:
        raise BadInput("limit_invalid", member="networks") from None
