"""Whom the directory lists, and transfers into other cells.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def named(name: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (f"cu_{name}", None) if op.get_bind().dialect.name == "sqlite" else (name, "custody")


def create(name: str, *columns: Any, **options: Any) -> None:
    table, schema = named(name)
    op.create_table(table, *columns, schema=schema, **options)


def upgrade() -> None:
    table, schema = named("subjects")
    column = sa.Column("listed", sa.Integer(), nullable=False, server_default="0")
    op.add_column(table, column, schema=schema)
    op.create_index("ix_subjects_listed", table, ["listed", "id"], schema=schema)
    create(
        "directory_removals",
        sa.Column("ref", sa.LargeBinary(16), primary_key=True),
        sqlite_with_rowid=False,
    )
    create(
        "transfers",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("subject", sa.LargeBinary(16), nullable=False),
        sa.Column("to", sa.String(64), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("legal_basis", sa.String(64), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("job", sa.String(32), nullable=False),
        sa.Column("created_by", sa.String(80), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    create(
        "arrivals",
        sa.Column("transfer", sa.String(32), primary_key=True),
        sa.Column("source", sa.LargeBinary(16), primary_key=True),
        sa.Column("field", sa.String(64), nullable=False),
        sa.Column("token", sa.LargeBinary(16), nullable=False),
        sa.Column("code", sa.String(64), nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for name in ("arrivals", "transfers", "directory_removals"):
        table, schema = named(name)
        op.drop_table(table, schema=schema)
    table, schema = named("subjects")
    op.drop_index("ix_subjects_listed", table, schema=schema)
    op.drop_column(table, "listed", schema=schema)
