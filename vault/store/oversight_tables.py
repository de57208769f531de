"""The tables of oversight: a tenant's attribute rules, and the reviews of who has which access.

All of it is record. Whoever decides on an item of a review changes it only while it is open, so that of two
one comes back stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Text

if TYPE_CHECKING:
    from vault.store.tables import Tables

RECORD: Final = "record"


def define(tables: Tables) -> None:
    """Adds the tables of this module."""
    tables.policies = tables.table(
        RECORD,
        "policies",
        Column("tenant", String(64), primary_key=True),
        Column("version", BigInteger, primary_key=True, autoincrement=False),
        Column("digest", String(64), nullable=False),  # SHA-256 of the text
        Column("body", Text, nullable=False),  # Cedar
        Column("applied_by", String(80), nullable=False),
        Column("applied_at", BigInteger, nullable=False),
    )
    tables.reviews = tables.table(
        RECORD,
        "reviews",
        Column("id", String(32), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("scope", Text, nullable=False),
        Column("due_at", BigInteger, nullable=False),
        Column("reviewer", String(32), nullable=False),  # a principal; so are the next
        Column("deputy", String(32)),  # for what the reviewer gave away or has
        Column("items", Integer, nullable=False),
        Column("created_by", String(80), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("closed_at", BigInteger, nullable=False),  # 0: it is open
    )
    Index("ix_reviews_page", tables.reviews.c.tenant, tables.reviews.c.id)
    Index("ix_reviews_due", tables.reviews.c.closed_at, tables.reviews.c.due_at)
    tables.review_items = tables.table(
        RECORD,
        "review_items",
        Column("review", String(32), ForeignKey(tables.key(RECORD, "reviews", "id")), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),  # from 1
        Column("kind", String(16), nullable=False),
        Column("target", String(32), nullable=False),  # the principal, key or grant that has it
        Column("principal", String(32), nullable=False),  # whose access it is
        Column("what", Text, nullable=False),  # the role or permission; else empty
        Column("snapshot", Text, nullable=False),  # as it was when the review began
        Column("reviewer", String(32), nullable=False),  # who decides: the reviewer, or the deputy
        Column("state", String(16), nullable=False),
        Column("decided_by", String(80)),
        Column("decided_at", BigInteger, nullable=False),  # 0: not
        Column("reason", Text),
    )
    i = tables.review_items.c
    Index("ix_review_items_state", i.review, i.state, i.number)
