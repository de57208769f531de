"""The oldest program that a cell's database serves, so that a program may go on beside a newer one.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

online = False  # programs from before it do not know the table


def named() -> tuple[str, str | None]:
    """The table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return ("re_program", None) if op.get_bind().dialect.name == "sqlite" else ("program", "record")


def upgrade() -> None:
    table, schema = named()
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("oldest", sa.String(16), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_program_one_row"),
        schema=schema,
    )


def downgrade() -> None:
    table, schema = named()
    op.drop_table(table, schema=schema)
