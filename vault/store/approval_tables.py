"""The tables of approvals: what is to be approved, by whom it was, what is told of it, and what was done
without one.

All of it is record. Whoever decides on a row of `approvals` or `approval_votes` holds the lock of its grant's
row, so neither needs one of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Text

if TYPE_CHECKING:
    from vault.store.tables import Tables

RECORD: Final = "record"


def define(tables: Tables) -> None:
    """Adds the tables of this module."""
    principal = tables.key(RECORD, "principals", "id")
    grant = tables.key(RECORD, "grants", "id")
    tables.approvals = tables.table(
        RECORD,
        "approvals",
        Column("id", String(32), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("grant", String(32), ForeignKey(grant), nullable=False),
        Column("digest", LargeBinary(32), nullable=False),  # keyed, of what was asked
        Column("version", Integer, nullable=False),  # of the grant: of another, this is void
        Column("verb", String(16), nullable=False),  # empty: the grant itself
        Column("operation", String(16), nullable=False),
        Column("delivery", String(16), nullable=False),
        Column("fields", Text, nullable=False),
        Column("items", Integer, nullable=False),
        Column("needed", Integer, nullable=False),
        Column("state", String(16), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        Column("sealed", LargeBinary, nullable=False),  # what is shown of it; empty: gone, or nothing is
    )
    a = tables.approvals.c
    Index("ix_approvals_digest", a.digest)
    Index("ix_approvals_page", a.tenant, a.id)
    Index("ix_approvals_grant", a.grant)
    Index("ix_approvals_expires_at", a.expires_at)
    tables.approval_votes = tables.table(
        RECORD,
        "approval_votes",
        Column("approval", String(32), ForeignKey(tables.key(RECORD, "approvals", "id")), primary_key=True),
        Column("principal", String(32), ForeignKey(principal), primary_key=True),
        Column("name", String(80), nullable=False),
        Column("verdict", String(16), nullable=False),
        Column("reason", Text),
        Column("mfa_by", String(16), nullable=False),
        Column("mfa_at", BigInteger, nullable=False),
        Column("at", BigInteger, nullable=False),
    )
    Index("ix_approval_votes_principal", tables.approval_votes.c.principal)
    tables.notices = tables.table(
        RECORD,
        "notices",
        Column("id", String(32), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("channel", String(16), nullable=False),  # webhook, mail
        Column("kind", String(32), nullable=False),
        Column("about", String(32), nullable=False),  # the id of an approval or a grant
        Column("agent", String(80), nullable=False),
        Column("purpose", String(64), nullable=False),
        Column("state", String(16), nullable=False),
        Column("tries", Integer, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("next_at", BigInteger, nullable=False),  # of a try; of an ended one, when it ended
        Column("error", String(64), nullable=False),
    )
    n = tables.notices.c
    Index("ix_notices_due", n.state, n.next_at)
    tables.break_glass = tables.table(
        RECORD,
        "break_glass",
        Column("grant", String(32), ForeignKey(grant), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("created_by", String(32), ForeignKey(principal), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("review_by", BigInteger, nullable=False),
        Column("reviewed_at", BigInteger, nullable=False),  # 0: it is not
        Column("reviewed_by", String(32), ForeignKey(principal)),
        Column("verdict", String(16), nullable=False),
        Column("note", Text),
    )
    b = tables.break_glass.c
    Index("ix_break_glass_page", b.tenant, b.grant)
    Index("ix_break_glass_open", b.reviewed_at, b.review_by)
    Index("ix_break_glass_created_by", b.created_by)
    Index("ix_break_glass_reviewed_by", b.reviewed_by)
