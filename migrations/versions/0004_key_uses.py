"""What became of surrogates that callers keep: how many were rekeyed, and when a key version was last used.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def named() -> tuple[str, str | None]:
    """The table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return ("cu_key_uses", None) if op.get_bind().dialect.name == "sqlite" else ("key_uses", "custody")


def upgrade() -> None:
    table, schema = named()
    op.create_table(
        table,
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("field", sa.String(64), primary_key=True),
        sa.Column("key_version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("rekeyed", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        schema=schema,
    )


def downgrade() -> None:
    table, schema = named()
    op.drop_table(table, schema=schema)
