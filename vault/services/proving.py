"""What an operator proves itself by: a password, a TOTP code, a recovery code, a passkey.

For whoever is not there, as much is done as for whoever is: one hash, one secret opened, one code compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from vault.authn.passkeys import challenge_in, check_assertion, credential_in
from vault.clock import Micros
from vault.crypto.mac import secret_digest
from vault.crypto.passwords import (
    RFC9106_LOW_MEMORY,
    check_password,
    hash_password,
    parameters_of,
    prepare_password,
)
from vault.crypto.randomness import new_key
from vault.crypto.totp import is_code, new_totp, step_of
from vault.errors import BadInput, Stale, Unauthenticated
from vault.identifiers import is_name
from vault.keyring.authenticators import Authenticators, authenticators_from
from vault.ledger.command import Needs, State, Writes
from vault.policy.principal import Kind, Principal, full_name
from vault.secret import Secret
from vault.services.cell import Cell
from vault.services.challenges import Answered, check_challenge, keys_of
from vault.store.operators import PasskeyRow, PasswordRow, TotpRow
from vault.store.rows import decode_principal

TOTP: Final = "totp"
RECOVERY: Final = "recovery"
PASSKEY: Final = "passkey"


@dataclass(frozen=True, slots=True, repr=False)
class Operator:
    """Somebody who may sign in, as last read.

    Attributes:
        passkeys: all that it has.
    """

    principal: Principal
    password: PasswordRow | None
    totp: TotpRow | None
    passkeys: tuple[PasskeyRow, ...]

    @property
    def has_second_factor(self) -> bool:
        """Whether a password alone is not enough."""
        return self.totp is not None or bool(self.passkeys)


@dataclass(frozen=True, slots=True, repr=False)
class Proof:
    """What was proved, and what the ledger has to find unchanged.

    Attributes:
        principal: whose.
        password: its version, and a hash at today's cost if that has grown; None: no password was asked for.
        by: the second factor; empty: none.
        step: of the TOTP code, and what its secret was sealed as.
        recovery: the digest of a recovery code.
        passkey: its row, the count that it now has, and the challenge that it answered.
    """

    principal: str
    password: tuple[int, str | None] | None = None
    by: str = ""
    step: tuple[int, bytes] | None = None
    recovery: bytes | None = None
    passkey: tuple[PasskeyRow, int, Answered] | None = None

    def needs(self, needs: Needs) -> None:
        """The rows of what was proved."""
        needs.principals.add(self.principal)
        needs.operators.add(self.principal)
        if self.recovery is not None:
            needs.recovery_codes.add(self.recovery)
        if self.passkey is not None:
            needs.passkeys.add(self.passkey[0].id)
            self.passkey[2].needs(needs)

    def spend(self, state: State, writes: Writes) -> None:
        """Uses up what is good for once.

        Raises:
            Stale: the password or a device is another by now.
            Unauthenticated: `login_refused`: a code was used before.
            BadInput: `passkey_invalid`: a challenge was.
        """
        if self.password is not None:
            self._check_password(*self.password, state, writes)
        if self.step is not None:
            self._use_step(*self.step, state, writes)
        if self.recovery is not None:
            self._use_recovery(self.recovery, state, writes)
        if self.passkey is not None:
            self._use_passkey(*self.passkey, state, writes)

    def _check_password(self, version: int, rehashed: str | None, state: State, writes: Writes) -> None:
        row = state.passwords.get(self.principal)
        if row is None or row.version != version:
            raise Stale
        if rehashed is not None:
            writes.update("rehash_password", of_principal=self.principal, was=version, rehashed=rehashed)

    def _use_step(self, step: int, sealed: bytes, state: State, writes: Writes) -> None:
        row = state.totp.get((self.principal, 0))
        if row is None or bytes(row.sealed) != sealed:
            raise Stale
        if row.step >= step:
            raise Unauthenticated("login_refused")
        state.totp[self.principal, 0] = row._replace(step=step)
        writes.update("use_totp", of_principal=self.principal, used=step)

    def _use_recovery(self, digest: bytes, state: State, writes: Writes) -> None:
        row = state.recovery_codes.get(digest)
        if row is None or row.principal != self.principal or row.used_at:
            raise Unauthenticated("login_refused")
        state.recovery_codes[digest] = row._replace(used_at=state.now)
        writes.update("use_recovery_code", of_digest=digest, at=state.now)

    def _use_passkey(
        self, seen: PasskeyRow, counted: int, answered: Answered, state: State, writes: Writes
    ) -> None:
        row = state.passkeys.get(seen.id)
        if row is None or row.principal != self.principal:
            raise Unauthenticated("login_refused")
        if row.sign_count != seen.sign_count:
            raise Stale
        answered.spend(state, writes)
        state.passkeys[seen.id] = row._replace(sign_count=counted)
        writes.update("use_passkey", passkey=seen.id, counted=counted, at=state.now)


def operator_named(cell: Cell, tenant: str, name: str) -> Operator | None:
    """The operator of a tenant that has a name; None: there is none."""
    try:
        full = full_name(Kind.OPERATOR, name) if is_name(tenant) else ""
    except ValueError:
        full = ""
    rows = cell.store.read(cell.store.operators.operator_named, {"tenant": tenant, "named": full})
    return _operator(cell, decode_principal(rows[0]).principal if rows else None)


def operator_of(cell: Cell, principal: str) -> Operator | None:
    """A principal as an operator; None: it is none, or gone."""
    rows = cell.store.read_keys(cell.store.record.principals, [principal])
    found = decode_principal(rows[0]) if rows else None
    living = found is not None and not found.removed and found.principal.kind is Kind.OPERATOR
    return _operator(cell, found.principal if living and found is not None else None)


def _operator(cell: Cell, principal: Principal | None) -> Operator | None:
    operators = cell.store.operators
    of = "" if principal is None else str(principal.id)
    passwords = cell.store.read_keys(operators.passwords, [of])
    devices = [TotpRow(*row) for row in cell.store.read_keys(operators.totp, [of])]
    passkeys = tuple(PasskeyRow(*row) for row in cell.store.read(operators.passkeys_of, {"of_principal": of}))
    if principal is None:
        return None
    return Operator(
        principal,
        PasswordRow(*passwords[0]) if passwords else None,
        next((row for row in devices if not row.pending), None),
        passkeys,
    )


def prove(cell: Cell, operator: Operator | None, password: str, code: str | None) -> Proof:
    """Proves a password and a code.

    Raises:
        Unauthenticated: `login_refused`: whatever of it is wrong.
    """
    wrong = Unauthenticated("login_refused")
    there = operator if operator is not None and operator.password is not None else None
    try:
        proved = _prove_password(there, password)
    except Unauthenticated:
        proved = None
    try:
        second = prove_code(cell, there, code)
    except Unauthenticated:
        second = None
    if there is None or proved is None:
        raise wrong
    if second is None:
        if code is not None or there.has_second_factor:
            # Somebody knows the password of this operator: that is worth being on the record.
            cell.failures.add({f"second_factor_refused:{there.principal.id}": 1})
            raise wrong
        return Proof(str(there.principal.id), proved)
    return Proof(str(there.principal.id), proved, second.by, second.step, second.recovery)


def _prove_password(there: Operator | None, password: str) -> tuple[int, str | None]:
    row = there.password if there is not None else None
    try:
        prepared = prepare_password(password)
    except BadInput:
        prepared = new_key()  # nobody's
    stored = row.hash if row is not None else _nobodys_hash()
    check_password(prepared, stored)
    outgrown = parameters_of(stored) != RFC9106_LOW_MEMORY
    return (row.version if row is not None else 0), hash_password(prepared) if outgrown else None


def prove_code(cell: Cell, operator: Operator | None, code: str | None) -> Proof:
    """Proves a TOTP code or a recovery code.

    Raises:
        Unauthenticated: `login_refused`.
    """
    principal = "" if operator is None else str(operator.principal.id)
    device = operator.totp if operator is not None else None
    text = code or ""
    if device is not None:
        keys, of, sealed, after = keys_of(cell), principal, bytes(device.sealed), device.step
    else:
        keys, of, sealed, after = *_nobodys_device(), -1
    recovery = _recovery(cell, principal, text)
    step = _step(keys.open(of, sealed), text, cell.clock.now(), after)
    if device is not None and step is not None:
        return Proof(principal, by=TOTP, step=(step, sealed))
    if recovery is not None:
        return Proof(principal, by=RECOVERY, recovery=recovery)
    raise Unauthenticated("login_refused")


def _step(secret: Secret, code: str, at: Micros, after: int) -> int | None:
    try:
        return step_of(secret, code if is_code(code) else "", at, after)
    except Unauthenticated:
        return None


def _recovery(cell: Cell, principal: str, code: str) -> bytes | None:
    """The digest of a recovery code of the operator's that was not used yet."""
    digest = recovery_digest(code)
    rows = cell.store.read_keys(cell.store.operators.recovery_codes, [digest])
    fits = bool(rows) and rows[0][1] == principal and not rows[0][2]
    return digest if fits else None


def recovery_digest(code: str) -> bytes:
    """The digest of a recovery code, however it is spelt: hyphens, spaces and small letters do not count."""
    plain = code[:100].upper().replace("-", "").replace(" ", "")
    return secret_digest(plain.encode("utf-8", "replace").decode())


def prove_passkey(
    cell: Cell, answer: dict[str, Any], use: str, of: str = "", owner: str | None = None
) -> tuple[Proof, Operator]:
    """Proves a passkey; whose it is.

    Args:
        use, of: what its challenge is for.
        owner: the principal whose it has to be; None: whoever's it is.

    Raises:
        BadInput: `passkey_invalid`: as an answer it cannot be taken, to this challenge or at all.
        Unauthenticated: `login_refused`: nobody has such a passkey.
    """
    party = cell.sign_in.party
    if party is None:
        raise BadInput("passkeys_unavailable")
    challenge = challenge_in(answer)
    answered = check_challenge(cell, challenge, use, of)
    rows = cell.store.read(cell.store.operators.passkey_named, {"named": credential_in(answer)})
    row = PasskeyRow(*rows[0]) if rows else None
    operator = operator_of(cell, row.principal) if row is not None else None
    if row is None or operator is None or owner not in (None, row.principal):
        raise Unauthenticated("login_refused")
    counted = check_assertion(party, answer, challenge, bytes(row.public_key), row.sign_count)
    return Proof(row.principal, by=PASSKEY, passkey=(row, counted, answered)), operator


@cache
def _nobodys_hash() -> str:
    """A hash that no password has."""
    return hash_password(new_key())


@cache
def _nobodys_device() -> tuple[Authenticators, str, bytes]:
    """A device that nobody has, and what opens its secret."""
    keys = authenticators_from(new_key(), "")
    return keys, "", keys.seal("", new_totp())
