"""Which version of an index key each row is found by, and service keys that are replaced in time.

A migration is a record of the past: it never imports today's tables.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from vault.errors import Misconfigured

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

online = False  # programs from before it write rows by one version of an index key

PREFIXES = {"custody": "cu_", "record": "re_"}
COLUMNS: list[tuple[str, str, str, Any, str | None]] = [
    ("custody", "field_keys", "filling", sa.Integer(), "0"),
    ("custody", "blind_index", "key_version", sa.Integer(), "1"),
    ("custody", "subject_refs", "key_version", sa.Integer(), "1"),
    ("record", "api_keys", "used_at", sa.BigInteger(), "0"),
    ("record", "api_keys", "warned_at", sa.BigInteger(), "0"),
    ("record", "api_keys", "replaced_by", sa.String(32), None),
]


def named(part: str, name: str) -> tuple[str, str | None]:
    """A table's name and schema: a prefix on SQLite, a schema elsewhere."""
    return (PREFIXES[part] + name, None) if op.get_bind().dialect.name == "sqlite" else (name, part)


def table(part: str, name: str, *columns: str) -> Any:
    found, schema = named(part, name)
    return sa.table(found, *(sa.column(column) for column in columns), schema=schema)


def upgrade() -> None:
    for part, name, column, kind, default in COLUMNS:
        found, schema = named(part, name)
        made = sa.Column(column, kind, nullable=default is None, server_default=default)
        op.add_column(found, made, schema=schema)
    label_rows()


def label_rows() -> None:
    """Rows say 1, which is right but for fields whose index key the schema has replaced."""
    keys = table("custody", "field_keys", "tenant", "field", "purpose", "version")
    tokens = table("custody", "tokens", "id", "tenant", "field")
    index = table("custody", "blind_index", "token", "key_version")
    newest = (
        sa.select(keys.c.tenant, keys.c.field, sa.func.max(keys.c.version))
        .where(keys.c.purpose == "blind-index")
        .group_by(keys.c.tenant, keys.c.field)
        .having(sa.func.max(keys.c.version) > 1)
    )
    for tenant, field, version in op.get_bind().execute(newest).all():
        those = sa.select(tokens.c.id).where(tokens.c.tenant == tenant, tokens.c.field == field)
        op.execute(sa.update(index).values(key_version=version).where(index.c.token.in_(those)))


def refuse_if_filling() -> None:
    """An older program looks up in the newest version, whose rows are not all there.

    Raises:
        Misconfigured: `migration_required`.
    """
    keys = table("custody", "field_keys", "filling", "state")
    filled = sa.select(sa.func.count()).where(keys.c.filling != 0, keys.c.state == "active")
    if op.get_bind().execute(filled).scalar():
        reason = "an index key is being rotated; let its job end first"
        raise Misconfigured("migration_required", reason=reason)


def downgrade() -> None:
    refuse_if_filling()
    for part, name, column, _, _ in reversed(COLUMNS):
        found, schema = named(part, name)
        op.drop_column(found, column, schema=schema)
