"""The tables of what leads out of a cell: whom the directory lists, and transfers into other cells.

All of it is custody: references and rows of people, and pairs of token rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Text

if TYPE_CHECKING:
    from vault.store.tables import Tables

CUSTODY: Final = "custody"


def define(tables: Tables) -> None:
    """Adds the tables of this module."""
    tables.directory_removals = tables.table(
        CUSTODY,
        "directory_removals",
        Column("ref", LargeBinary(16), primary_key=True),  # zero bytes: everybody is listed anew
        rowid=False,
    )
    tables.transfers = tables.table(
        CUSTODY,
        "transfers",
        Column("id", String(32), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("subject", LargeBinary(16), nullable=False),
        Column("to", String(64), nullable=False),
        Column("fields", Text, nullable=False),
        Column("legal_basis", String(64), nullable=False),
        Column("mode", String(16), nullable=False),
        Column("job", String(32), nullable=False),
        Column("created_by", String(80), nullable=False),
        Column("created_at", BigInteger, nullable=False),
    )
    tables.arrivals = tables.table(
        CUSTODY,
        "arrivals",
        Column("transfer", String(32), primary_key=True),
        Column("source", LargeBinary(16), primary_key=True),
        Column("field", String(64), nullable=False),
        Column("token", LargeBinary(16), nullable=False),
        Column("code", String(64), nullable=False),
        rowid=False,
    )
    Index("ix_subjects_listed", tables.subjects.c.listed, tables.subjects.c.id)
