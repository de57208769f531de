"""Statements on what operators prove themselves by, and on their sessions: parts of the record."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Integer, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from vault.clock import Micros
from vault.store.custody import keys
from vault.store.session import Statement, StatementFamily
from vault.store.tables import SQLITE, Tables


class PasswordRow(NamedTuple):
    """An operator's password, in the order of `OperatorStatements.passwords`."""

    principal: str
    hash: str
    version: int
    changed_at: Micros

    def __repr__(self) -> str:
        return "<PasswordRow>"


class TotpRow(NamedTuple):
    """A TOTP device, in the order of `OperatorStatements.totp`."""

    principal: str
    pending: int
    sealed: bytes
    step: int

    def __repr__(self) -> str:
        return "<TotpRow>"


class RecoveryRow(NamedTuple):
    """A recovery code, in the order of `OperatorStatements.recovery_codes`."""

    digest: bytes
    principal: str
    used_at: Micros


class PasskeyRow(NamedTuple):
    """A passkey, in the order of `OperatorStatements.passkeys`."""

    id: str
    principal: str
    credential: bytes
    public_key: bytes
    sign_count: int
    transports: str
    label: str
    created_at: Micros
    used_at: Micros


class SessionRow(NamedTuple):
    """An operator's session, in the order of `OperatorStatements.sessions`."""

    id: str
    principal: str
    digest: bytes
    network: str
    created_at: Micros
    seen_at: Micros
    expires_at: Micros
    revoked_at: Micros
    mfa_at: Micros
    mfa_by: str

    def __repr__(self) -> str:
        return f"<SessionRow {self.id}>"


class ClientKeyRow(NamedTuple):
    """What a service key is in place of a secret, in the order of `OperatorStatements.client_keys`.

    Attributes:
        method: `jwk`, `certificate` or `name`.
        document: the JWK, the certificate's thumbprint, or the name in it.
    """

    id: str
    method: str
    document: str


class OperatorStatements:
    """All statements of this module, compiled for one dialect."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._dialect = dialect
        self._upsert = sqlite.insert if tables.dialect == SQLITE else postgresql.insert
        self._passwords(tables)
        self._second_factors(tables)
        self._passkeys(tables)
        self._sessions(tables)

    def _compiled(self, element: ClauseElement) -> Statement:
        return Statement(element, self._dialect)

    def _passwords(self, t: Tables) -> None:
        w, p = t.passwords.c, t.principals.c
        made = self._upsert(t.passwords).values({column.name: bindparam(column.name) for column in w})
        self.insert_password = self._compiled(
            made.on_conflict_do_update(
                index_elements=["principal"],
                set_={name: made.excluded[name] for name in ("hash", "version", "changed_at")},
            )
        )
        self.passwords = StatementFamily(
            lambda size: (
                select(w.principal, w["hash"], w.version, w.changed_at)
                .where(w.principal.in_(keys(size)))
                .order_by(w.principal)
            ),
            self._dialect,
            locks=True,
        )
        # A hash of the same password at a larger cost, unless another password has come meanwhile.
        self.rehash_password = self._compiled(
            update(t.passwords)
            .values(hash=bindparam("rehashed"))
            .where(w.principal == bindparam("of_principal"), w.version == bindparam("was"))
        )
        self.drop_password_of = self._compiled(
            delete(t.passwords).where(w.principal == bindparam("of_principal"))
        )
        self.operator_named = self._compiled(
            select(
                p.id, p.tenant, p.kind, p.name, p.roles, p.permissions, p.ceiling, p.version, p.removed_at
            ).where(p.tenant == bindparam("tenant"), p.name == bindparam("named"), p.removed_at == 0)
        )
        second = select(t.totp.c.principal).where(t.totp.c.principal == p.id, t.totp.c.pending == 0).exists()
        third = select(t.passkeys.c.id).where(t.passkeys.c.principal == p.id).exists()
        self.operators_page = self._compiled(
            select(p.id, p.name, p.roles, w.changed_at, second, third)
            .outerjoin(t.passwords, w.principal == p.id)
            .where(
                p.tenant == bindparam("tenant"),
                p.kind == "operator",
                p.removed_at == 0,
                p.id < bindparam("below"),
            )
            .order_by(p.id.desc())
            .limit(bindparam("most", type_=Integer))
        )

    def _second_factors(self, t: Tables) -> None:
        d, r = t.totp.c, t.recovery_codes.c
        made = self._upsert(t.totp).values({column.name: bindparam(column.name) for column in d})
        self.insert_totp = self._compiled(
            made.on_conflict_do_update(
                index_elements=["principal", "pending"],
                set_={name: made.excluded[name] for name in ("sealed", "step", "created_at")},
            )
        )
        self.totp = StatementFamily(
            lambda size: (
                select(d.principal, d.pending, d.sealed, d.step)
                .where(d.principal.in_(keys(size)))
                .order_by(d.principal, d.pending)
            ),
            self._dialect,
        )
        self.confirm_totp = self._compiled(
            update(t.totp)
            .values(pending=0, step=bindparam("used"))
            .where(d.principal == bindparam("of_principal"), d.pending == 1)
        )
        self.use_totp = self._compiled(
            update(t.totp)
            .values(step=bindparam("used"))
            .where(d.principal == bindparam("of_principal"), d.pending == 0, d.step < bindparam("used"))
        )
        self.drop_confirmed_totp = self._compiled(
            delete(t.totp).where(d.principal == bindparam("of_principal"), d.pending == 0)
        )
        self.drop_totp_of = self._compiled(delete(t.totp).where(d.principal == bindparam("of_principal")))
        self.insert_recovery_code = self._compiled(insert(t.recovery_codes))
        self.recovery_codes = StatementFamily(
            lambda size: (
                select(r.digest, r.principal, r.used_at).where(r.digest.in_(keys(size))).order_by(r.digest)
            ),
            self._dialect,
        )
        self.recovery_codes_left = self._compiled(
            select(func.count()).where(r.principal == bindparam("of_principal"), r.used_at == 0)
        )
        self.use_recovery_code = self._compiled(
            update(t.recovery_codes)
            .values(used_at=bindparam("at"))
            .where(r.digest == bindparam("of_digest"), r.used_at == 0)
        )
        self.drop_recovery_codes_before = self._compiled(
            delete(t.recovery_codes).where(
                r.principal == bindparam("of_principal"), r.created_at < bindparam("at")
            )
        )

    def _passkeys(self, t: Tables) -> None:
        k = t.passkeys.c
        row = (
            k.id, k.principal, k.credential, k.public_key, k.sign_count, k.transports, k.label, k.created_at,
            k.used_at,
        )  # fmt: skip
        self.insert_passkey = self._compiled(insert(t.passkeys))
        self.passkeys = StatementFamily(
            lambda size: select(*row).where(k.id.in_(keys(size))).order_by(k.id), self._dialect, locks=True
        )
        self.passkeys_of = self._compiled(
            select(*row).where(k.principal == bindparam("of_principal")).order_by(k.id)
        )
        self.passkey_named = self._compiled(select(*row).where(k.credential == bindparam("named")))
        self.use_passkey = self._compiled(
            update(t.passkeys)
            .values(sign_count=bindparam("counted"), used_at=bindparam("at"))
            .where(k.id == bindparam("passkey"))
        )
        self.drop_passkey = self._compiled(delete(t.passkeys).where(k.id == bindparam("passkey")))
        self.drop_passkeys_of = self._compiled(
            delete(t.passkeys).where(k.principal == bindparam("of_principal"))
        )
        a = t.client_keys.c
        self.insert_client_key = self._compiled(insert(t.client_keys))
        self.client_keys = StatementFamily(
            lambda size: select(a.id, a.method, a.document).where(a.id.in_(keys(size))).order_by(a.id),
            self._dialect,
        )
        c = t.challenges.c
        self.insert_challenge = self._compiled(insert(t.challenges))
        self.challenges = StatementFamily(
            lambda size: select(c.digest).where(c.digest.in_(keys(size))), self._dialect
        )
        self.drop_challenges = self._compiled(delete(t.challenges).where(c.expires_at <= bindparam("at")))

    def _sessions(self, t: Tables) -> None:
        s = t.sessions.c
        row = (
            s.id, s.principal, s.digest, s.network, s.created_at, s.seen_at, s.expires_at, s.revoked_at,
            s.mfa_at, s.mfa_by,
        )  # fmt: skip
        self.insert_session = self._compiled(insert(t.sessions))
        self.sessions = StatementFamily(
            lambda size: select(*row).where(s.id.in_(keys(size))).order_by(s.id), self._dialect, locks=True
        )
        self.sessions_page = self._compiled(
            select(*row)
            .where(
                s.principal == bindparam("of_principal"),
                s.revoked_at == 0,
                s.expires_at > bindparam("at"),
                s.id < bindparam("below"),
            )
            .order_by(s.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        # Whether somebody began a session of this operator's from there, and had a second factor.
        self.known_network = self._compiled(
            select(func.count()).where(
                s.principal == bindparam("of_principal"),
                s.network == bindparam("from_network"),
                s.mfa_at > 0,
            )
        )
        ended: dict[str, Any] = {"revoked_at": bindparam("at")}
        self.revoke_session = self._compiled(
            update(t.sessions).values(ended).where(s.id == bindparam("session"), s.revoked_at == 0)
        )
        self.revoke_sessions_of = self._compiled(
            update(t.sessions)
            .values(ended)
            .where(
                s.principal == bindparam("of_principal"),
                s.id != bindparam("but_session"),
                s.revoked_at == 0,
            )
        )
        self.step_up_session = self._compiled(
            update(t.sessions)
            .values(mfa_at=bindparam("at"), mfa_by=bindparam("by"), network=bindparam("from_network"))
            .where(s.id == bindparam("session"))
        )
        self.note_session_seen = self._compiled(
            update(t.sessions)
            .values(seen_at=bindparam("seen"))
            .where(s.id == bindparam("session"), s.seen_at < bindparam("seen"))
        )
        self.drop_sessions = self._compiled(delete(t.sessions).where(s.expires_at <= bindparam("before")))
        # After a restore of a record that may not be the newest: nobody gets in by what it has.
        self.revoke_every_session = self._compiled(update(t.sessions).values(ended).where(s.revoked_at == 0))
        self.drop_every_password = self._compiled(delete(t.passwords))
        self.drop_every_totp = self._compiled(delete(t.totp))
        self.drop_every_recovery_code = self._compiled(delete(t.recovery_codes))
        self.drop_every_passkey = self._compiled(delete(t.passkeys))
