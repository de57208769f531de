"""What operators prove themselves by, and their sessions.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

online = False  # a backup or a restore by a program from before it would leave operators behind


def named(table: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (f"re_{table}", None) if op.get_bind().dialect.name == "sqlite" else (table, "record")


def create(table: str, *columns: sa.Column[object]) -> None:
    name, schema = named(table)
    op.create_table(name, *columns, schema=schema)


def principal(*, primary_key: bool = False) -> sa.Column[object]:
    name, schema = named("principals")
    target = f"{name}.id" if schema is None else f"{schema}.{name}.id"
    return sa.Column(
        "principal", sa.String(32), sa.ForeignKey(target), primary_key=primary_key, nullable=False
    )


def index(name: str, table: str, *columns: str) -> None:
    of, schema = named(table)
    op.create_index(name, of, list(columns), schema=schema)


def number(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def upgrade() -> None:
    create(
        "passwords",
        principal(primary_key=True),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        number("changed_at"),
    )
    create(
        "totp",
        principal(primary_key=True),
        sa.Column("pending", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        number("step"),
        number("created_at"),
    )
    create(
        "recovery_codes",
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        principal(),
        number("created_at"),
        number("used_at"),
    )
    index("ix_recovery_codes_principal", "recovery_codes", "principal")
    create(
        "passkeys",
        sa.Column("id", sa.String(32), primary_key=True),
        principal(),
        sa.Column("credential", sa.LargeBinary(), nullable=False, unique=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        number("sign_count"),
        sa.Column("transports", sa.Text(), nullable=False),
        sa.Column("label", sa.String(80), nullable=False),
        number("created_at"),
        number("used_at"),
    )
    index("ix_passkeys_principal", "passkeys", "principal")
    create(
        "sessions",
        sa.Column("id", sa.String(32), primary_key=True),
        principal(),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("network", sa.String(64), nullable=False),
        number("created_at"),
        number("seen_at"),
        number("expires_at"),
        number("revoked_at"),
        number("mfa_at"),
        sa.Column("mfa_by", sa.String(16), nullable=False),
    )
    index("ix_sessions_principal", "sessions", "principal", "id")
    index("ix_sessions_expires_at", "sessions", "expires_at")
    create("challenges", sa.Column("digest", sa.LargeBinary(32), primary_key=True), number("expires_at"))
    index("ix_challenges_expires_at", "challenges", "expires_at")


def downgrade() -> None:
    for table in ("challenges", "sessions", "passkeys", "recovery_codes", "totp", "passwords"):
        name, schema = named(table)
        op.drop_table(name, schema=schema)
