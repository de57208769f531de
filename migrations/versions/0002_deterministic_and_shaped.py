"""Blind index, registered surrogates, counts of what was issued, data keys with a date that moves, and
answers kept for requests that are repeated.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import sqlalchemy as sa
from alembic import op

from vault.errors import Misconfigured

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

PREFIXES = {"custody": "cu_", "record": "re_", "values": "va_"}
SCHEMAS = {"custody": "custody", "record": "record", "values": "vals"}
ORDER = [
    ("custody", "blind_index"),
    ("custody", "idempotency"),
    ("custody", "issued"),
    ("custody", "surrogates"),
]
PAGED = [("custody", "data_keys"), ("record", "grants"), ("record", "principals")]


def sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def named(part: str, name: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (PREFIXES[part] + name, None) if sqlite() else (name, SCHEMAS[part])


def create(part: str, name: str, *columns: Any, rowid: bool = True) -> sa.Table:
    table, schema = named(part, name)
    options: dict[str, Any] = {"sqlite_with_rowid": rowid} if sqlite() else {}
    return op.create_table(table, *columns, schema=schema, **options)


def add(part: str, name: str, column: sa.Column[Any]) -> None:
    table, schema = named(part, name)
    op.add_column(table, column, schema=schema)


def alter(part: str, name: str, column: str, **change: Any) -> None:
    table, schema = named(part, name)
    with op.batch_alter_table(table, schema=schema) as batch:
        batch.alter_column(column, **change)


def upgrade() -> None:
    create(
        "custody",
        "blind_index",
        sa.Column("epoch", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("entry", sa.LargeBinary(16), primary_key=True),
        sa.Column("token", sa.LargeBinary(16), nullable=False),
        rowid=False,
    )
    create(
        "custody",
        "surrogates",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("field", sa.String(64), primary_key=True),
        sa.Column("surrogate", sa.String(256), primary_key=True),
        sa.Column("token", sa.LargeBinary(16), nullable=False),
        rowid=False,
    )
    create(
        "custody",
        "idempotency",
        sa.Column("epoch", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("ref", sa.LargeBinary(16), primary_key=True),
        sa.Column("fingerprint", sa.LargeBinary(32), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
    )
    table, schema = named("custody", "idempotency")
    op.create_index("ix_idempotency_expires_at", table, ["expires_at"], schema=schema)
    issued = create(
        "custody",
        "issued",
        sa.Column("tenant", sa.String(64), primary_key=True),
        sa.Column("field", sa.String(64), primary_key=True),
        sa.Column("key_version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
    )
    add("custody", "tokens", sa.Column("surrogate", sa.String(256), nullable=True))
    add("custody", "data_keys", sa.Column("due_at", sa.BigInteger(), nullable=True))
    alter("record", "counters", "kind", type_=sa.String(80), existing_type=sa.String(32))
    for part, name in PAGED:
        table, schema = named(part, name)
        op.create_index(f"ix_{name}_page", table, ["tenant", "id"], schema=schema)
    grants, schema = named("record", "grants")
    op.create_index("ix_grants_valid_until", grants, ["valid_until"], schema=schema)
    count_what_was_issued(issued)


def count_what_was_issued(issued: sa.Table) -> None:
    """What the log says was tokenized, by field and key version; 0 stands for a field without versions."""
    table, schema = named("record", "audit")
    audit = sa.table(table, sa.column("number"), sa.column("body"), schema=schema)
    counts: Counter[tuple[str, str, int]] = Counter()
    connection = op.get_bind()
    for (body,) in connection.execute(sa.select(audit.c.body).order_by(audit.c.number)):
        event = json.loads(bytes(body))
        if event["kind"] == "tokenize":
            for entry in event["fields"]:
                counts[event["tenant"], entry["field"], entry.get("key_version", 0)] += entry["values"]
    rows = [
        {"tenant": tenant, "field": field, "key_version": version, "issued": count, "last_at": 0}
        for (tenant, field, version), count in sorted(counts.items())
    ]
    if rows:
        op.bulk_insert(issued, rows)


def refuse_if_held() -> None:
    """An older program could not find these tokens again, nor tell later which surrogates were issued.

    Raises:
        Misconfigured: `migration_required`.
    """
    for name in ("blind_index", "surrogates"):
        table, schema = named("custody", name)
        held = sa.select(sa.literal(1)).select_from(sa.table(table, schema=schema)).limit(1)
        if op.get_bind().execute(held).first() is not None:
            reason = "tokens of deterministic or shaped fields would be lost; nothing was changed"
            raise Misconfigured("migration_required", reason=reason)


def downgrade() -> None:
    refuse_if_held()
    for part, name in PAGED:
        table, schema = named(part, name)
        op.drop_index(f"ix_{name}_page", table, schema=schema)
    grants, schema = named("record", "grants")
    op.drop_index("ix_grants_valid_until", grants, schema=schema)
    table, schema = named("record", "counters")
    counters = sa.table(table, sa.column("kind", sa.String()), schema=schema)
    op.execute(counters.delete().where(sa.func.length(counters.c.kind) > 32))  # budgets of fields
    alter("record", "counters", "kind", type_=sa.String(32), existing_type=sa.String(80))
    for part, name, column in (("custody", "data_keys", "due_at"), ("custody", "tokens", "surrogate")):
        table, schema = named(part, name)
        op.drop_column(table, column, schema=schema)
    for part, name in reversed(ORDER):
        table, schema = named(part, name)
        op.drop_table(table, schema=schema)
