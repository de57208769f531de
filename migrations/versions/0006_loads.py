"""Restores and copies that are under way, and indexes that find a person by their key.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

online = False  # programs from before it would serve a cell that is not whole

INDEXES = (("ix_subjects_key", "subjects", "key"), ("ix_subject_refs_subject", "subject_refs", "subject"))


def placed(part: str, name: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (f"{part[:2]}_{name}", None) if op.get_bind().dialect.name == "sqlite" else (name, part)


def upgrade() -> None:
    table, schema = placed("record", "loads")
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("progress", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        schema=schema,
    )
    for name, of, column in INDEXES:
        table, schema = placed("custody", of)
        op.create_index(name, table, [column], schema=schema)


def downgrade() -> None:
    for name, of, _ in INDEXES:
        table, schema = placed("custody", of)
        op.drop_index(name, table, schema=schema)
    table, schema = placed("record", "loads")
    op.drop_table(table, schema=schema)
