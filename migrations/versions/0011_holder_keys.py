"""Keys that agents hold.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

online = False  # a program from before it would bind grants to keys that nobody registered


def named(name: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (f"re_{name}", None) if op.get_bind().dialect.name == "sqlite" else (name, "record")


def upgrade() -> None:
    table, schema = named("holder_keys")
    principals, where = named("principals")
    target = f"{principals}.id" if where is None else f"{where}.{principals}.id"
    op.create_table(
        table,
        sa.Column("principal", sa.String(32), sa.ForeignKey(target), primary_key=True),
        sa.Column("jkt", sa.String(43), primary_key=True),
        sa.Column("x", sa.String(43), nullable=False),
        sa.Column("label", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=False),
        schema=schema,
    )


def downgrade() -> None:
    table, schema = named("holder_keys")
    op.drop_table(table, schema=schema)
