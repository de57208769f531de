"""Operators as the host sees them: give a password, list, take second factors away. No route leads here."""

from __future__ import annotations

from typing import Any

import msgspec

from vault.authn.identities import Caller
from vault.clock import format_time
from vault.errors import Conflict, Unknown
from vault.keyring.hierarchy import Purpose
from vault.ledger.command import Needs, State, Verb, Writes
from vault.policy.principal import Principal
from vault.services.cell import Cell, Origin
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.identities import AdministrativeCommand, PrincipalBody, create_principal
from vault.services.listing import FIRST_PAGE, Listing, Page, check_page, listing
from vault.services.own_keys import insert_own, missing
from vault.services.proving import operator_named
from vault.services.second_factors import new_hash
from vault.store.custody import FieldKeyRow


class OperatorBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """An operator to create."""

    name: str
    password: str
    roles: list[str] = msgspec.field(default_factory=list)
    permissions: list[str] = msgspec.field(default_factory=list)


class OperatorAnswer(Hidden, frozen=True, omit_defaults=True):
    """An operator as the host sees it.

    Attributes:
        password: when it was last changed; none: it cannot sign in.
        totp, passkeys: whether it has such a second factor.
    """

    id: str
    name: str
    roles: list[str]
    password: str | None = None
    totp: bool = False
    passkeys: bool = False


class OperatorReset(Hidden, frozen=True):
    """What an operator no longer has."""

    id: str
    name: str
    password: bool


class GivePassword(AdministrativeCommand):
    """Gives an operator its first password, and the cell its key over authenticators if it has none."""

    def __init__(
        self, caller: Caller, origin: Origin, principal: str, hashed: str, key: FieldKeyRow | None
    ) -> None:
        super().__init__(caller, origin, "operator.password", principal=principal)
        self._principal = principal
        self._hashed = hashed
        self._key = key

    def needs(self, needs: Needs) -> None:
        """The operator's rows."""
        super().needs(needs)
        needs.principals.add(self._principal)
        needs.operators.add(self._principal)

    def decide(self, state: State, writes: Writes) -> None:
        """Gives it."""
        self.check(state)
        owner = state.principals.get(self._principal)
        if owner is None or owner.removed or owner.principal.tenant != self.caller.principal.tenant:
            raise Unknown("not_found")
        if self._principal in state.passwords:
            raise Conflict("name_taken")
        if self._key is not None:
            insert_own(state, writes, self._key)
        writes.insert(
            "password", principal=self._principal, hash=self._hashed, version=1, changed_at=state.now
        )
        self.note(writes, name=owner.principal.name)


class ResetOperator(AdministrativeCommand):
    """Takes an operator's second factors and sessions away, and gives it another password if one is given."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, principal: str, hashed: str | None) -> None:
        super().__init__(caller, origin, "operator.reset-mfa", principal=principal)
        self._principal = principal
        self._hashed = hashed

    def needs(self, needs: Needs) -> None:
        """The operator's rows."""
        super().needs(needs)
        needs.principals.add(self._principal)
        needs.operators.add(self._principal)

    def decide(self, state: State, writes: Writes) -> None:
        """Does it."""
        self.check(state)
        owner = state.principals.get(self._principal)
        if owner is None or owner.removed or owner.principal.tenant != self.caller.principal.tenant:
            raise Unknown("not_found")
        of: dict[str, Any] = {"of_principal": self._principal}
        for statement in ("drop_totp_of", "drop_passkeys_of"):
            writes.update(statement, **of)
        writes.update("drop_recovery_codes_before", **of, at=state.now + 1)
        writes.update("revoke_sessions_of", **of, but_session="", at=state.now)
        if self._hashed is not None:
            row = state.passwords.get(self._principal)
            version = 1 if row is None else row.version + 1
            writes.insert(
                "password",
                principal=self._principal,
                hash=self._hashed,
                version=version,
                changed_at=state.now,
            )
        writes.fence_by += 1
        self.note(writes, name=owner.principal.name, password=self._hashed is not None)


def create_operator(cell: Cell, request: Request, body: OperatorBody) -> Verb[OperatorAnswer]:
    """Creates an operator with a password; one that there is without a password gets it.

    Raises:
        BadInput: `password_unfit`, `password_foreseen`, `name_invalid`, `permission_unknown`.
        Conflict: `name_taken`.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "operator.create", "principal:write")
    tenant = caller.principal.tenant
    hashed = new_hash(body.password, body.name, tenant)
    operator = operator_named(cell, tenant, body.name)
    if operator is not None and (operator.password is not None or not _is_asked(operator.principal, body)):
        raise Conflict("name_taken")  # what a principal holds is fixed when it is created
    if operator is None:
        asked = PrincipalBody("operator", body.name, body.roles, body.permissions)
        made = yield from create_principal(cell, request, asked)
        id_, name, roles = made.id, made.name, made.roles
    else:
        id_, name = str(operator.principal.id), operator.principal.name
        roles = sorted(operator.principal.roles)
    done = yield GivePassword(caller, request.origin, id_, hashed, missing(cell, Purpose.AUTHENTICATORS))
    cell.keyring.forget()
    return OperatorAnswer(id_, name, roles, format_time(done.at))


def _is_asked(principal: Principal, body: OperatorBody) -> bool:
    """Whether a principal without a password is the one that is asked for: named alone, or with all it holds.

    So that what was broken off between the principal and its password can be asked for again.
    """
    named = (set(body.roles), set(body.permissions))
    return named in ((set(), set()), (set(principal.roles), set(principal.permissions)))


def list_operators(cell: Cell, request: Request, page: Page = FIRST_PAGE) -> Verb[Listing]:
    """The tenant's operators, newest first, and what they prove themselves by."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "operator.list", "principal:list")
    params = {"tenant": caller.principal.tenant, "below": check_page(page, "pr"), "most": page.limit + 1}
    shown = [
        OperatorAnswer(
            id_,
            name,
            msgspec.json.decode(roles, type=list[str]),
            format_time(changed_at) if changed_at else None,
            bool(totp),
            bool(passkeys),
        )
        for id_, name, roles, changed_at, totp, passkeys in cell.store.read(
            cell.store.operators.operators_page, params
        )
    ]
    return listing(list(shown), [row.id for row in shown], page)


def reset_mfa(cell: Cell, request: Request, name: str, password: str | None = None) -> Verb[OperatorReset]:
    """Takes an operator's TOTP device, passkeys, recovery codes and sessions away.

    Args:
        password: in place of the one that it had; None: that one stays.

    Raises:
        BadInput: `password_unfit`, `password_foreseen`.
        Unknown: `not_found`.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "operator.reset-mfa", "principal:write")
    tenant = caller.principal.tenant
    operator = operator_named(cell, tenant, name)
    if operator is None:
        raise Unknown("not_found")
    hashed = None if password is None else new_hash(password, name, tenant)
    yield ResetOperator(caller, request.origin, str(operator.principal.id), hashed)
    cell.identities.forget()
    return OperatorReset(str(operator.principal.id), operator.principal.name, hashed is not None)
