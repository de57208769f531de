"""An operator's own password, TOTP device and recovery codes."""

from __future__ import annotations

from typing import Any

from vault.authn.identities import Caller
from vault.authn.sessions import network_of
from vault.crypto.passwords import check_password, check_unforeseen, hash_password, prepare_password
from vault.crypto.randomness import recovery_code
from vault.crypto.totp import is_code, new_totp, provisioning_uri, spelled, step_of
from vault.errors import BadInput, Conflict, Stale, Unauthenticated
from vault.ledger.command import Needs, State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.challenges import keys_of
from vault.services.gate import Request, Steps, demand_fresh
from vault.services.hidden import Hidden
from vault.services.identities import AdministrativeCommand
from vault.services.proving import TOTP, Operator, operator_of, recovery_digest
from vault.services.sessions import in_session, refuse, step_up
from vault.store.operators import TotpRow

ISSUER = "Coatcheck"
RECOVERY_CODES = 10


class PasswordBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """A password in place of another."""

    password: str
    new_password: str


class TotpAnswer(Hidden, frozen=True):
    """A new device's secret, in base32 and as a URI. It is shown only here."""

    secret: str
    uri: str


class CodeBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """A code of the device."""

    code: str


class RecoveryCodes(Hidden, frozen=True):
    """Codes that are each used once in place of a device. They are shown only here."""

    codes: list[str]


class Changed(Hidden, frozen=True):
    """What an operator proves itself by now.

    Attributes:
        sessions_ended: whether all other sessions are over.
    """

    totp: bool
    passkeys: int
    sessions_ended: bool = False


class OwnCommand(AdministrativeCommand):
    """A command of an operator about itself, with one event."""

    def needs(self, needs: Needs) -> None:
        """The caller's rows, and what it proves itself by."""
        super().needs(needs)
        needs.operators.add(self.caller.principal.id)


class ChangePassword(OwnCommand):
    """Replaces a password and ends all other sessions."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, was: int, hashed: str) -> None:
        super().__init__(caller, origin, "operator.password", principal=caller.principal.id)
        self._was = was
        self._hashed = hashed

    def decide(self, state: State, writes: Writes) -> None:
        """Replaces it, if it is still the one that was proved."""
        self.check(state)
        principal = self.caller.principal.id
        row = state.passwords.get(principal)
        if row is None or row.version != self._was:
            raise Stale
        writes.insert(
            "password", principal=principal, hash=self._hashed, version=row.version + 1, changed_at=state.now
        )
        writes.update(
            "revoke_sessions_of", of_principal=principal, but_session=self.caller.api_key, at=state.now
        )
        writes.fence_by += 1
        self.note(writes)


class BeginTotp(OwnCommand):
    """Keeps the secret of a device that is not confirmed yet."""

    def __init__(self, caller: Caller, origin: Origin, sealed: bytes) -> None:
        super().__init__(caller, origin, "operator.enrol", principal=caller.principal.id, factor="totp.begin")
        self._sealed = sealed

    def decide(self, state: State, writes: Writes) -> None:
        """Keeps it, in place of one that was begun before."""
        self.check(state)
        principal = self.caller.principal.id
        state.totp[principal, 1] = TotpRow(principal, 1, self._sealed, 0)
        writes.insert(
            "totp", principal=principal, pending=1, sealed=self._sealed, step=0, created_at=state.now
        )
        self.note(writes)


class ConfirmTotp(OwnCommand):
    """Takes a device whose first code was right, in place of the one before. It is a proof, too."""

    def __init__(self, caller: Caller, origin: Origin, sealed: bytes, step: int) -> None:
        super().__init__(caller, origin, "operator.enrol", principal=caller.principal.id, factor=TOTP)
        self._sealed = sealed
        self._step = step

    def decide(self, state: State, writes: Writes) -> None:
        """Takes it."""
        self.check(state)
        principal = self.caller.principal.id
        row = state.totp.pop((principal, 1), None)
        if row is None or bytes(row.sealed) != self._sealed:
            raise Stale
        state.totp[principal, 0] = row._replace(pending=0, step=self._step)
        writes.update("drop_confirmed_totp", of_principal=principal)
        writes.update("confirm_totp", of_principal=principal, used=self._step)
        step_up(self.caller, TOTP, self.network, state, writes)
        self.note(writes)


class DropTotp(OwnCommand):
    """Removes the device."""

    def __init__(self, caller: Caller, origin: Origin) -> None:
        super().__init__(caller, origin, "operator.unenrol", principal=caller.principal.id, factor=TOTP)

    def decide(self, state: State, writes: Writes) -> None:
        """Removes it; to remove it twice changes nothing."""
        self.check(state)
        principal = self.caller.principal.id
        if (principal, 0) in state.totp:
            del state.totp[principal, 0]
            writes.update("drop_totp_of", of_principal=principal)
            self.note(writes)


class ReplaceRecoveryCodes(OwnCommand):
    """New recovery codes; the old ones are void."""

    def __init__(self, caller: Caller, origin: Origin, digests: list[bytes]) -> None:
        super().__init__(caller, origin, "operator.enrol", principal=caller.principal.id, factor="recovery")
        self._digests = digests

    def decide(self, state: State, writes: Writes) -> None:
        """Replaces them."""
        self.check(state)
        principal = self.caller.principal.id
        for digest in self._digests:
            row: dict[str, Any] = {"digest": digest, "principal": principal}
            writes.insert("recovery_code", **row, created_at=state.now, used_at=0)
        writes.update("drop_recovery_codes_before", of_principal=principal, at=state.now)
        self.note(writes, count=len(self._digests))


def own(cell: Cell, caller: Caller) -> Operator:
    """The operator that acts.

    Raises:
        BadInput: `operation_unsupported`: it is none.
    """
    operator = operator_of(cell, caller.principal.id)
    if operator is None:
        raise BadInput("operation_unsupported")
    return operator


def may_enrol(cell: Cell, caller: Caller, origin: Origin, operator: Operator) -> Steps:
    """Returns if the operator may change its second factors: the first one freely, then by one that it has.

    Raises:
        Unauthenticated: `insufficient_user_authentication`; on the record.
    """
    if operator.has_second_factor:
        yield from demand_fresh(cell, caller, origin, "operator.enrol")


def change_password(cell: Cell, request: Request, body: PasswordBody) -> Verb[Changed]:
    """Replaces the operator's own password; all its other sessions end.

    Raises:
        BadInput: `password_unfit`, `password_foreseen`.
        Unauthenticated: `login_refused`: the old one is wrong; on the record.
        Unavailable: `rate_limited`, `too_busy`.
    """
    caller = yield from in_session("operator.enrol", cell, request)
    operator = own(cell, caller)
    yield from may_enrol(cell, caller, request.origin, operator)
    hashed = new_hash(body.new_password, operator.principal.name, operator.principal.tenant)
    if operator.password is None:
        raise BadInput("operation_unsupported")
    account, network = f"step-up\n{operator.principal.id}", network_of(request.origin.address)
    cell.throttle.enter(account, network, known=False)
    try:
        check_password(_prepared(body.password), operator.password.hash)
    except Unauthenticated as failure:
        yield from refuse(caller, request.origin, "operator.password", failure)
        raise
    cell.throttle.succeeded(account, network)
    yield ChangePassword(caller, request.origin, operator.password.version, hashed)
    cell.identities.forget()  # so that nothing is even prepared for the other sessions
    return _changed(operator, sessions_ended=True)


def new_hash(password: str, name: str, tenant: str) -> str:
    """The hash of a new password.

    Raises:
        BadInput: `password_unfit`, `password_foreseen`.
        Unavailable: `too_busy`.
    """
    prepared = prepare_password(password)
    plain = name.rpartition(":")[2]
    check_unforeseen(password, plain, *plain.split("."), tenant)
    return hash_password(prepared)


def _prepared(password: str) -> Any:
    try:
        return prepare_password(password)
    except BadInput:
        raise Unauthenticated("login_refused") from None


def begin_totp(cell: Cell, request: Request) -> Verb[TotpAnswer]:
    """A secret for a new device. It counts once a code of it has confirmed it."""
    caller = yield from in_session("operator.enrol", cell, request)
    operator = own(cell, caller)
    yield from may_enrol(cell, caller, request.origin, operator)
    secret = new_totp()
    sealed = keys_of(cell).seal(caller.principal.id, secret)
    yield BeginTotp(caller, request.origin, sealed)
    account = f"{operator.principal.name.rpartition(':')[2]}@{operator.principal.tenant}.{cell.region}"
    return TotpAnswer(spelled(secret), provisioning_uri(secret, account, ISSUER))


def confirm_totp(cell: Cell, request: Request, body: CodeBody) -> Verb[Changed]:
    """Confirms the new device by a code of it; from now on it is asked for.

    Raises:
        BadInput: `code_invalid`.
        Conflict: `version_conflict`: no device was begun.
    """
    caller = yield from in_session("operator.enrol", cell, request)
    operator = own(cell, caller)
    yield from may_enrol(cell, caller, request.origin, operator)
    principal = caller.principal.id
    rows = [TotpRow(*row) for row in cell.store.read_keys(cell.store.operators.totp, [principal])]
    begun = next((row for row in rows if row.pending), None)
    if begun is None:
        raise Conflict("version_conflict")
    secret = keys_of(cell).open(principal, bytes(begun.sealed))
    try:
        step = step_of(secret, body.code if is_code(body.code) else "", cell.clock.now(), -1)
    except Unauthenticated:
        raise BadInput("code_invalid") from None
    yield ConfirmTotp(caller, request.origin, bytes(begun.sealed), step)
    cell.identities.drop(caller.api_key)
    return Changed(totp=True, passkeys=len(operator.passkeys))


def drop_totp(cell: Cell, request: Request) -> Verb[Changed]:
    """Removes the operator's TOTP device."""
    caller = yield from in_session("operator.enrol", cell, request)
    operator = own(cell, caller)
    yield from may_enrol(cell, caller, request.origin, operator)
    yield DropTotp(caller, request.origin)
    return Changed(totp=False, passkeys=len(operator.passkeys))


def new_recovery_codes(cell: Cell, request: Request) -> Verb[RecoveryCodes]:
    """Ten codes for when the device is lost. Those from before are void.

    Raises:
        Conflict: `version_conflict`: there is no second factor that they could stand in for.
    """
    caller = yield from in_session("operator.enrol", cell, request)
    operator = own(cell, caller)
    if not operator.has_second_factor:
        raise Conflict("version_conflict")
    yield from may_enrol(cell, caller, request.origin, operator)
    codes = [recovery_code() for _ in range(RECOVERY_CODES)]
    yield ReplaceRecoveryCodes(caller, request.origin, [recovery_digest(code) for code in codes])
    return RecoveryCodes(codes)


def _changed(operator: Operator, *, sessions_ended: bool = False) -> Changed:
    return Changed(operator.totp is not None, len(operator.passkeys), sessions_ended)
