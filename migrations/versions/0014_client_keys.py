"""Public keys and certificates that services authenticate by in place of a secret.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

online = False  # a backup or a restore by a program from before it would leave them behind


def named(table: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (f"re_{table}", None) if op.get_bind().dialect.name == "sqlite" else (table, "record")


def upgrade() -> None:
    keys, schema = named("api_keys")
    target = f"{keys}.id" if schema is None else f"{schema}.{keys}.id"
    name, _ = named("client_keys")
    op.create_table(
        name,
        sa.Column("id", sa.String(32), sa.ForeignKey(target), primary_key=True),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        schema=schema,
    )


def downgrade() -> None:
    # Without its row here, a key of that kind is one whose secret nobody has: it opens nothing.
    name, schema = named("client_keys")
    op.drop_table(name, schema=schema)
