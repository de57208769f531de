"""Erasures of people, legal holds, and the references of who was erased.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

online = False  # a program from before it would write for people who are being erased

PREFIXES = {"custody": "cu_", "record": "re_", "values": "va_"}
SCHEMAS = {"custody": "custody", "record": "record", "values": "vals"}


def named(part: str, table: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (
        (PREFIXES[part] + table, None) if op.get_bind().dialect.name == "sqlite" else (table, SCHEMAS[part])
    )


def create(part: str, table: str, *columns: sa.Column[object], rowid: bool = True) -> None:
    name, schema = named(part, table)
    op.create_table(name, *columns, schema=schema, sqlite_with_rowid=rowid)


def index(name: str, part: str, table: str, *columns: str) -> None:
    of, schema = named(part, table)
    op.create_index(name, of, list(columns), schema=schema)


def number(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def text(name: str, length: int | None = None, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.Text() if length is None else sa.String(length), nullable=nullable)


def block(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.LargeBinary(16), nullable=True)


def upgrade() -> None:
    subjects, schema = named("custody", "subjects")
    op.add_column(subjects, text("erasure", 32, nullable=True), schema=schema)
    create(
        "record",
        "erasures",
        sa.Column("id", sa.String(32), primary_key=True),
        text("tenant", 64),
        text("kind", 16),
        text("state", 16),
        block("subject"),
        text("target"),
        text("grounds", 32),
        text("job", 32),
        text("created_by", 80),
        number("created_at"),
        number("keys"),
        text("counts"),
        number("number"),
        number("removed_at"),
        number("events"),
        number("fenced_until"),
        number("reopened_at"),
        text("reopened_by", 80, nullable=True),
    )
    index("ix_erasures_page", "record", "erasures", "tenant", "id")
    index("ix_erasures_fenced", "record", "erasures", "reopened_at", "fenced_until")
    create(
        "custody",
        "suppressions",
        sa.Column("epoch", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("ref", sa.LargeBinary(16), primary_key=True),
        text("erasure", 32),
        sa.Column("key_version", sa.Integer(), nullable=False),
        rowid=False,
    )
    index("ix_suppressions_erasure", "custody", "suppressions", "erasure")
    create(
        "record",
        "holds",
        sa.Column("id", sa.String(32), primary_key=True),
        text("tenant", 64),
        text("kind", 16),
        block("subject"),
        text("name", 64),
        text("state", 16),
        text("reason"),
        text("created_by", 80),
        number("created_at"),
        text("confirmed_by", 80, nullable=True),
        number("confirmed_at"),
        text("release_asked_by", 80, nullable=True),
        number("release_asked_at"),
        text("release_reason", nullable=True),
        text("released_by", 80, nullable=True),
        number("released_at"),
    )
    create(
        "custody",
        "subject_events",
        sa.Column("subject", sa.LargeBinary(16), primary_key=True),
        sa.Column("event", sa.String(64), primary_key=True),
        number("at"),
        rowid=False,
    )
    keys, schema = named("custody", "data_keys")
    dated = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_data_keys_due", keys, ["due_at"], schema=schema, sqlite_where=dated, postgresql_where=dated
    )
    index("ix_claims_key", "values", "claims", "key")
    index("ix_holds_page", "record", "holds", "tenant", "id")
    index("ix_holds_in_force", "record", "holds", "released_at", "tenant")


def downgrade() -> None:
    claims, schema = named("values", "claims")
    op.drop_index("ix_claims_key", claims, schema=schema)
    keys, schema = named("custody", "data_keys")
    op.drop_index("ix_data_keys_due", keys, schema=schema)
    for part, table in (
        ("custody", "subject_events"),
        ("record", "holds"),
        ("custody", "suppressions"),
        ("record", "erasures"),
    ):
        name, schema = named(part, table)
        op.drop_table(name, schema=schema)
    subjects, schema = named("custody", "subjects")
    op.drop_column(subjects, "erasure", schema=schema)
