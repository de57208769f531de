"""Keyed grants: the holder's key, the terms, and what is counted, seen and forbidden under a grant.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

online = False  # a program from before it would not see what was suspended or killed


def named(name: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (f"re_{name}", None) if op.get_bind().dialect.name == "sqlite" else (name, "record")


def target(name: str, column: str) -> str:
    """The target of a foreign key."""
    table, schema = named(name)
    return f"{table}.{column}" if schema is None else f"{schema}.{table}.{column}"


def create(name: str, *columns: Any, indexes: dict[str, list[str]] | None = None, **options: Any) -> None:
    table, schema = named(name)
    op.create_table(table, *columns, schema=schema, **options)
    for index, of in (indexes or {}).items():
        op.create_index(index, table, of, schema=schema)


def upgrade() -> None:
    table, schema = named("grants")
    op.add_column(table, sa.Column("jkt", sa.String(43)), schema=schema)
    op.add_column(table, sa.Column("terms", sa.Text(), nullable=False, server_default="{}"), schema=schema)
    op.add_column(table, sa.Column("tat", sa.BigInteger(), nullable=False, server_default="0"), schema=schema)
    grant = target("grants", "id")
    create(
        "grant_proofs",
        sa.Column("ref", sa.LargeBinary(16), primary_key=True),
        sqlite_with_rowid=False,
    )
    create(
        "grant_blocks",
        sa.Column("id", sa.LargeBinary(32), primary_key=True),
        sa.Column("grant", sa.String(32), sa.ForeignKey(grant), nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=False),
        indexes={"ix_grant_blocks_grant": ["grant"]},
        sqlite_with_rowid=False,
    )
    create(
        "grant_people",
        sa.Column("grant", sa.String(32), sa.ForeignKey(grant), primary_key=True),
        sa.Column("subject", sa.LargeBinary(16), primary_key=True),
        sqlite_with_rowid=False,
    )
    create(
        "grant_tries",
        sa.Column("ref", sa.LargeBinary(16), primary_key=True),
        sa.Column("grant", sa.String(32), sa.ForeignKey(grant), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        indexes={"ix_grant_tries_grant": ["grant"]},
        sqlite_with_rowid=False,
    )
    create(
        "kills",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("created_by", sa.String(80), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("lifted_at", sa.BigInteger(), nullable=False),
        sa.Column("lifted_by", sa.String(80)),
        indexes={"ix_kills_tenant": ["tenant", "id"], "ix_kills_binding": ["lifted_at", "tenant", "kind"]},
    )


def downgrade() -> None:
    for name in ("kills", "grant_tries", "grant_people", "grant_blocks", "grant_proofs"):
        table, schema = named(name)
        op.drop_table(table, schema=schema)
    table, schema = named("grants")
    for column in ("tat", "terms", "jkt"):
        op.drop_column(table, column, schema=schema)
