"""Jobs, the processes that hold keys, pages of data keys, and what the turn of an epoch writes.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from vault.errors import Misconfigured

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PREFIXES = {"custody": "cu_", "record": "re_", "values": "va_"}
SCHEMAS = {"custody": "custody", "record": "record", "values": "vals"}
TABLES = [("custody", "key_pages"), ("record", "jobs"), ("record", "processes"), ("record", "turns")]
COLUMNS: list[tuple[str, str, str, Any]] = [
    ("custody", "epochs", "sealed_canary", sa.LargeBinary()),
    ("custody", "epochs", "activated_at", sa.BigInteger()),
    ("custody", "epochs", "destroy_at", sa.BigInteger()),
    ("custody", "data_keys", "page", sa.LargeBinary(16)),
]
INDEXES = [
    ("custody", "data_keys", "ix_data_keys_epoch", ["epoch", "tenant", "class", "due"]),
    ("custody", "key_pages", "ix_key_pages_period", ["tenant", "class", "due"]),
    ("custody", "key_pages", "ix_key_pages_epoch", ["epoch", "id"]),
    ("record", "jobs", "ix_jobs_page", ["tenant", "id"]),
    ("record", "jobs", "ix_jobs_due", ["state", "due_at"]),
]
OF_PAGE = "ix_data_keys_of_page"


def sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def named(part: str, name: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (PREFIXES[part] + name, None) if sqlite() else (name, SCHEMAS[part])


def create(part: str, name: str, *columns: Any) -> None:
    table, schema = named(part, name)
    op.create_table(table, *columns, schema=schema)


def upgrade() -> None:
    create(
        "custody",
        "key_pages",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("class", sa.String(64), nullable=False),
        sa.Column("due", sa.String(10), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("keys", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
    create(
        "record",
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("step", sa.String(32), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("rate", sa.BigInteger(), nullable=False),
        sa.Column("waits_for", sa.String(64), nullable=False),
        sa.Column("error", sa.String(64), nullable=False),
        sa.Column("created_by", sa.String(80), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("runner", sa.LargeBinary(16), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
    )
    create(
        "record",
        "processes",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("dropped", sa.Integer(), nullable=False),
        sa.Column("destroyed", sa.Integer(), nullable=False),
    )
    create(
        "record",
        "turns",
        sa.Column("opens", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("closes", sa.Integer(), nullable=False),
        sa.Column("job", sa.String(32), nullable=False),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
    )
    for part, name, column, kind in COLUMNS:
        table, schema = named(part, name)
        op.add_column(table, sa.Column(column, kind, nullable=True), schema=schema)
    for part, name, index, columns in INDEXES:
        table, schema = named(part, name)
        op.create_index(index, table, columns, schema=schema)
    table, schema = named("custody", "data_keys")
    paged = sa.column("page").is_not(None)
    op.create_index(OF_PAGE, table, ["page"], schema=schema, sqlite_where=paged, postgresql_where=paged)


def refuse_if_turned() -> None:
    """An older program knows no pages, opens no second epoch, and would go on with no turn.

    Raises:
        Misconfigured: `migration_required`.
    """
    table, schema = named("custody", "epochs")
    epochs = sa.table(table, sa.column("epoch"), schema=schema)
    if (op.get_bind().execute(sa.select(sa.func.max(epochs.c.epoch))).scalar() or 0) > 1:
        reason = "the keys were turned, or are being turned; nothing was changed"
        raise Misconfigured("migration_required", reason=reason)


def downgrade() -> None:
    refuse_if_turned()
    table, schema = named("custody", "data_keys")
    op.drop_index(OF_PAGE, table, schema=schema)
    for part, name, index, _ in reversed(INDEXES):
        table, schema = named(part, name)
        op.drop_index(index, table, schema=schema)
    for part, name, column, _ in reversed(COLUMNS):
        table, schema = named(part, name)
        op.drop_column(table, column, schema=schema)
    for part, name in reversed(TABLES):
        table, schema = named(part, name)
        op.drop_table(table, schema=schema)
