"""Attribute rules of tenants, and reviews of who has which access.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

online = False  # a program from before it would not ask the rules


def named(table: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (f"re_{table}", None) if op.get_bind().dialect.name == "sqlite" else (table, "record")


def create(table: str, *columns: sa.Column[object]) -> None:
    name, schema = named(table)
    op.create_table(name, *columns, schema=schema)


def index(name: str, table: str, *columns: str) -> None:
    of, schema = named(table)
    op.create_index(name, of, list(columns), schema=schema)


def number(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def text(name: str, length: int | None = None, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.Text() if length is None else sa.String(length), nullable=nullable)


def upgrade() -> None:
    create(
        "policies",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("version", sa.BigInteger(), primary_key=True, autoincrement=False),
        text("digest", 64),
        text("body"),
        text("applied_by", 80),
        number("applied_at"),
    )
    create(
        "reviews",
        sa.Column("id", sa.String(32), primary_key=True),
        text("tenant", 64),
        text("scope"),
        number("due_at"),
        text("reviewer", 32),
        text("deputy", 32, nullable=True),
        sa.Column("items", sa.Integer(), nullable=False),
        text("created_by", 80),
        number("created_at"),
        number("closed_at"),
    )
    index("ix_reviews_page", "reviews", "tenant", "id")
    index("ix_reviews_due", "reviews", "closed_at", "due_at")
    name, schema = named("reviews")
    target = f"{name}.id" if schema is None else f"{schema}.{name}.id"
    create(
        "review_items",
        sa.Column("review", sa.String(32), sa.ForeignKey(target), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        text("kind", 16),
        text("target", 32),
        text("principal", 32),
        text("what"),
        text("snapshot"),
        text("reviewer", 32),
        text("state", 16),
        text("decided_by", 80, nullable=True),
        number("decided_at"),
        text("reason", nullable=True),
    )
    index("ix_review_items_state", "review_items", "review", "state", "number")


def downgrade() -> None:
    for table in ("review_items", "reviews", "policies"):
        name, schema = named(table)
        op.drop_table(name, schema=schema)
