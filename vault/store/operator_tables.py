"""The tables of operators: what they prove themselves by, and the sessions that come of it.

All of it is record, beside the principals. One secret of theirs is kept so that it can be used, and is
sealed: that of a TOTP device. Of the rest there are hashes, digests and public keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Text

if TYPE_CHECKING:
    from vault.store.tables import Tables

RECORD: Final = "record"


def define(tables: Tables) -> None:
    """Adds the tables of this module."""
    tables.passwords = tables.table(
        RECORD,
        "passwords",
        _principal(tables, primary_key=True),
        Column("hash", Text, nullable=False),  # Argon2id with its salt and cost
        Column("version", Integer, nullable=False),
        Column("changed_at", BigInteger, nullable=False),
    )
    tables.totp = tables.table(
        RECORD,
        "totp",
        _principal(tables, primary_key=True),
        # 1: shown, and not confirmed with a code yet
        Column("pending", Integer, primary_key=True, autoincrement=False),
        Column("sealed", LargeBinary, nullable=False),
        Column("step", BigInteger, nullable=False),  # the newest one whose code was taken
        Column("created_at", BigInteger, nullable=False),
    )
    tables.recovery_codes = tables.table(
        RECORD,
        "recovery_codes",
        Column("digest", LargeBinary(32), primary_key=True),
        _principal(tables),
        Column("created_at", BigInteger, nullable=False),
        Column("used_at", BigInteger, nullable=False),  # 0: not yet
    )
    Index("ix_recovery_codes_principal", tables.recovery_codes.c.principal)
    tables.passkeys = tables.table(
        RECORD,
        "passkeys",
        Column("id", String(32), primary_key=True),
        _principal(tables),
        Column("credential", LargeBinary, nullable=False, unique=True),  # as the authenticator names it
        Column("public_key", LargeBinary, nullable=False),
        Column("sign_count", BigInteger, nullable=False),  # 0: of an authenticator that does not count
        Column("transports", Text, nullable=False),
        Column("label", String(80), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("used_at", BigInteger, nullable=False),  # 0: never
    )
    Index("ix_passkeys_principal", tables.passkeys.c.principal)
    tables.sessions = tables.table(
        RECORD,
        "sessions",
        Column("id", String(32), primary_key=True),
        _principal(tables),
        Column("digest", LargeBinary(32), nullable=False),
        Column("network", String(64), nullable=False),  # that it was begun from, or mfa_at was at
        Column("created_at", BigInteger, nullable=False),
        Column("seen_at", BigInteger, nullable=False),  # to a minute or so
        Column("expires_at", BigInteger, nullable=False),
        Column("revoked_at", BigInteger, nullable=False),  # 0: not
        Column("mfa_at", BigInteger, nullable=False),  # when a second factor was last proved; 0: never
        Column("mfa_by", String(16), nullable=False),
    )
    # What a service key is in place of a secret: a public key, or a certificate.
    tables.client_keys = tables.table(
        RECORD,
        "client_keys",
        Column("id", String(32), ForeignKey(tables.api_keys.c.id), primary_key=True),
        Column("method", String(16), nullable=False),
        Column("document", Text, nullable=False),
    )
    s = tables.sessions.c
    Index("ix_sessions_principal", s.principal, s.id)
    Index("ix_sessions_expires_at", s.expires_at)
    # Answered challenges, until nobody could answer them any more.
    tables.challenges = tables.table(
        RECORD,
        "challenges",
        Column("digest", LargeBinary(32), primary_key=True),
        Column("expires_at", BigInteger, nullable=False),
    )
    Index("ix_challenges_expires_at", tables.challenges.c.expires_at)


def _principal(tables: Tables, *, primary_key: bool = False) -> Column[str]:
    target = tables.principals.c.id
    return Column("principal", String(32), ForeignKey(target), primary_key=primary_key, nullable=False)
