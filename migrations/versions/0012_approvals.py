"""Approvals of grants and of their uses, what is told of them, and grants made past a ceiling.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

online = False  # a program from before it cannot read the terms of a grant that needs an approval


def named(name: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (f"re_{name}", None) if op.get_bind().dialect.name == "sqlite" else (name, "record")


def of(name: str, column: str) -> sa.ForeignKey:
    """The target of a foreign key."""
    table, schema = named(name)
    return sa.ForeignKey(f"{table}.{column}" if schema is None else f"{schema}.{table}.{column}")


def create(name: str, *columns: Any, indexes: dict[str, list[str]]) -> None:
    table, schema = named(name)
    op.create_table(table, *columns, schema=schema)
    for index, those in indexes.items():
        op.create_index(index, table, those, schema=schema)


def text(name: str, length: int, **more: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=False, **more)


def number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def count(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), nullable=False)


def upgrade() -> None:
    create(
        "approvals",
        sa.Column("id", sa.String(32), primary_key=True),
        text("tenant", 64),
        sa.Column("grant", sa.String(32), of("grants", "id"), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        count("version"),
        text("verb", 16),
        text("operation", 16),
        text("delivery", 16),
        sa.Column("fields", sa.Text(), nullable=False),
        count("items"),
        count("needed"),
        text("state", 16),
        number("created_at"),
        number("expires_at"),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        indexes={
            "ix_approvals_digest": ["digest"],
            "ix_approvals_page": ["tenant", "id"],
            "ix_approvals_grant": ["grant"],
            "ix_approvals_expires_at": ["expires_at"],
        },
    )
    create(
        "approval_votes",
        sa.Column("approval", sa.String(32), of("approvals", "id"), primary_key=True),
        sa.Column("principal", sa.String(32), of("principals", "id"), primary_key=True),
        text("name", 80),
        text("verdict", 16),
        sa.Column("reason", sa.Text()),
        text("mfa_by", 16),
        number("mfa_at"),
        number("at"),
        indexes={"ix_approval_votes_principal": ["principal"]},
    )
    create(
        "notices",
        sa.Column("id", sa.String(32), primary_key=True),
        text("tenant", 64),
        text("channel", 16),
        text("kind", 32),
        text("about", 32),
        text("agent", 80),
        text("purpose", 64),
        text("state", 16),
        count("tries"),
        number("created_at"),
        number("next_at"),
        text("error", 64),
        indexes={"ix_notices_due": ["state", "next_at"]},
    )
    create(
        "break_glass",
        sa.Column("grant", sa.String(32), of("grants", "id"), primary_key=True),
        text("tenant", 64),
        sa.Column("created_by", sa.String(32), of("principals", "id"), nullable=False),
        number("created_at"),
        number("review_by"),
        number("reviewed_at"),
        sa.Column("reviewed_by", sa.String(32), of("principals", "id")),
        text("verdict", 16),
        sa.Column("note", sa.Text()),
        indexes={
            "ix_break_glass_page": ["tenant", "grant"],
            "ix_break_glass_open": ["reviewed_at", "review_by"],
            "ix_break_glass_created_by": ["created_by"],
            "ix_break_glass_reviewed_by": ["reviewed_by"],
        },
    )


def downgrade() -> None:
    for name in ("break_glass", "notices", "approval_votes", "approvals"):
        table, schema = named(name)
        op.drop_table(table, schema=schema)
