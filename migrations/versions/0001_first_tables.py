"""The first tables of a cell, in its three parts.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PREFIXES = {"custody": "cu_", "record": "re_", "values": "va_"}
SCHEMAS = {"custody": "custody", "record": "record", "values": "vals"}
ORDER = [
    ("custody", "audit_items"),
    ("custody", "data_keys"),
    ("custody", "due_periods"),
    ("custody", "epochs"),
    ("custody", "field_keys"),
    ("custody", "tokens"),
    ("record", "audit"),
    ("record", "counters"),
    ("record", "head"),
    ("record", "principals"),
    ("record", "schemas"),
    ("record", "tenants"),
    ("values", "claims"),
    ("custody", "subjects"),
    ("record", "api_keys"),
    ("record", "grants"),
    ("custody", "subject_refs"),
    ("record", "grant_subjects"),
]  # parents first


def sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def named(part: str, name: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (PREFIXES[part] + name, None) if sqlite() else (name, SCHEMAS[part])


def target(part: str, name: str, column: str) -> str:
    table, schema = named(part, name)
    return f"{schema}.{table}.{column}" if schema else f"{table}.{column}"


def create(part: str, name: str, *columns: Any, rowid: bool = True) -> None:
    table, schema = named(part, name)
    options: dict[str, Any] = {"sqlite_with_rowid": rowid} if sqlite() else {}
    op.create_table(table, *columns, schema=schema, **options)


def index(index_name: str, part: str, name: str, columns: list[str]) -> None:
    table, schema = named(part, name)
    op.create_index(index_name, table, columns, schema=schema)


def upgrade() -> None:
    if not sqlite():
        for schema in SCHEMAS.values():
            op.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
    create(
        "custody",
        "epochs",
        sa.Column("epoch", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("id", sa.LargeBinary(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sealed_half", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    create(
        "custody",
        "due_periods",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("class", sa.String(64), primary_key=True),
        sa.Column("due", sa.String(10), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
    )
    create(
        "custody",
        "data_keys",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("subject", sa.LargeBinary(16), nullable=False),
        sa.Column("class", sa.String(64), nullable=False),
        sa.Column("due", sa.String(10), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("tenant", "subject", "class", "due", name="uq_data_keys_slot"),
        rowid=False,
    )
    create(
        "custody",
        "field_keys",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("field", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("tenant", "field", "purpose", "version", name="uq_field_keys_version"),
    )
    create(
        "custody",
        "subjects",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column(
            "key", sa.LargeBinary(16), sa.ForeignKey(target("custody", "data_keys", "id")), nullable=False
        ),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        rowid=False,
    )
    create(
        "custody",
        "subject_refs",
        sa.Column("epoch", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("ref", sa.LargeBinary(16), primary_key=True),
        sa.Column(
            "subject", sa.LargeBinary(16), sa.ForeignKey(target("custody", "subjects", "id")), nullable=False
        ),
        rowid=False,
    )
    create(
        "custody",
        "tokens",
        sa.Column("id", sa.LargeBinary(16), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("field", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        rowid=False,
    )
    create(
        "custody",
        "audit_items",
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("salt", sa.LargeBinary(32), nullable=False),
        sa.Column("items", sa.LargeBinary(), nullable=False),
    )
    create(
        "record",
        "head",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("region", sa.String(64), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("write_epoch", sa.Integer(), nullable=False),
        sa.Column("read_epoch", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("schema_version", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_head_one_row"),
    )
    create(
        "record",
        "tenants",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    create(
        "record",
        "principals",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("permissions", sa.Text(), nullable=False),
        sa.Column("ceiling", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(80), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("tenant", "name", "removed_at", name="uq_principals_name"),
    )
    create(
        "record",
        "api_keys",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column(
            "principal", sa.String(32), sa.ForeignKey(target("record", "principals", "id")), nullable=False
        ),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("networks", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=False),
    )
    index("ix_re_api_keys_principal", "record", "api_keys", ["principal"])
    create(
        "record",
        "grants",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant", sa.String(64), nullable=False),
        sa.Column("agent", sa.String(80), nullable=False),
        sa.Column(
            "agent_id", sa.String(32), sa.ForeignKey(target("record", "principals", "id")), nullable=False
        ),
        sa.Column(
            "created_by", sa.String(32), sa.ForeignKey(target("record", "principals", "id")), nullable=False
        ),
        sa.Column("purpose", sa.String(64), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("any_subject", sa.Integer(), nullable=False),
        sa.Column("on_behalf_of", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        sa.Column("max_uses", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("uses >= 0 AND uses <= max_uses", name="ck_grants_budget"),
    )
    index("ix_grants_agent_id", "record", "grants", ["agent_id"])
    index("ix_grants_created_by", "record", "grants", ["created_by"])
    create(
        "record",
        "grant_subjects",
        sa.Column("grant", sa.String(32), sa.ForeignKey(target("record", "grants", "id")), primary_key=True),
        sa.Column("subject", sa.LargeBinary(16), primary_key=True),
    )
    create(
        "record",
        "counters",
        sa.Column("principal", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(32), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("used", sa.BigInteger(), nullable=False),
    )
    create(
        "record",
        "audit",
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("leaf", sa.LargeBinary(32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    create(
        "record",
        "schemas",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("version", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("applied_by", sa.String(80), nullable=False),
        sa.Column("applied_at", sa.BigInteger(), nullable=False),
    )
    create(
        "values",
        "claims",
        sa.Column("token", sa.LargeBinary(16), primary_key=True),
        sa.Column("key", sa.LargeBinary(16), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        rowid=False,
    )


def downgrade() -> None:
    for part, name in reversed(ORDER):
        table, schema = named(part, name)
        op.drop_table(table, schema=schema)
    if not sqlite():
        for schema in SCHEMAS.values():
            op.execute(sa.schema.DropSchema(schema))
