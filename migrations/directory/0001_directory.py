"""The directory: its keys, the regions that report to it, and in which of them people are.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "directory_keys",
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sealed_half", sa.LargeBinary(), nullable=False),
        sa.Column("proof", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "directory_regions",
        sa.Column("region", sa.String(64), primary_key=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("through", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("runner", sa.LargeBinary(16), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "directory_entries",
        sa.Column("ref", sa.LargeBinary(16), primary_key=True),
        sa.Column("region", sa.String(64), primary_key=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_directory_entries_generation", "directory_entries", ["region", "generation"])


def downgrade() -> None:
    op.drop_index("ix_directory_entries_generation", "directory_entries")
    op.drop_table("directory_entries")
    op.drop_table("directory_regions")
    op.drop_table("directory_keys")
