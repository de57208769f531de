"""The tables of grants: the grants, and what is counted, seen and forbidden under them.

All of it is record. Whoever decides on a row of `grant_people`, `grant_blocks`, `grant_tries` or
`grant_proofs` holds the lock of its grant's row, so none of them needs one of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
)

if TYPE_CHECKING:
    from vault.store.tables import Tables

RECORD: Final = "record"


def define(tables: Tables) -> None:
    """Adds the tables of this module."""
    principal = tables.key(RECORD, "principals", "id")
    grant = tables.key(RECORD, "grants", "id")
    tables.grants = tables.table(
        RECORD,
        "grants",
        Column("id", String(32), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("agent", String(80), nullable=False),
        Column("agent_id", String(32), ForeignKey(principal), nullable=False),
        Column("created_by", String(32), ForeignKey(principal), nullable=False),
        Column("purpose", String(64), nullable=False),
        Column("scope", Text, nullable=False),
        Column("any_subject", Integer, nullable=False),
        Column("on_behalf_of", Text),
        Column("reason", Text),
        Column("digest", LargeBinary(32), nullable=False),  # of the bearer's secret; empty: a keyed grant
        Column("uses", BigInteger, nullable=False),
        Column("max_uses", BigInteger, nullable=False),
        Column("batch", Integer, nullable=False),
        Column("valid_from", BigInteger, nullable=False),
        Column("valid_until", BigInteger, nullable=False),
        Column("state", String(16), nullable=False),
        Column("version", Integer, nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("jkt", String(43)),  # thumbprint of the holder's key; absent: a bearer grant
        Column("terms", Text, nullable=False, server_default="{}"),
        Column("tat", BigInteger, nullable=False, server_default="0"),  # of its rate (GCRA)
        CheckConstraint("uses >= 0 AND uses <= max_uses", name="ck_grants_budget"),
    )
    Index("ix_grants_created_by", tables.grants.c.created_by)
    Index("ix_grants_agent_id", tables.grants.c.agent_id)
    Index("ix_grants_page", tables.grants.c.tenant, tables.grants.c.id)
    Index("ix_grants_valid_until", tables.grants.c.valid_until)  # those that live are few
    tables.grant_subjects = tables.table(
        RECORD,
        "grant_subjects",
        Column("grant", String(32), ForeignKey(grant), primary_key=True),
        Column("subject", LargeBinary(16), primary_key=True),
    )
    tables.grant_proofs = tables.table(
        RECORD,
        "grant_proofs",
        # The proof's second, big-endian, and a digest: rows of a time lie together, and go together.
        Column("ref", LargeBinary(16), primary_key=True),
        rowid=False,
    )
    tables.grant_blocks = tables.table(
        RECORD,
        "grant_blocks",
        Column("id", LargeBinary(32), primary_key=True),  # SHA-256 of what the delegation's holder signed
        Column("grant", String(32), ForeignKey(grant), nullable=False),
        Column("uses", BigInteger, nullable=False),
        Column("revoked_at", BigInteger, nullable=False),  # 0: not
        rowid=False,
    )
    Index("ix_grant_blocks_grant", tables.grant_blocks.c.grant)
    tables.grant_people = tables.table(
        RECORD,
        "grant_people",
        Column("grant", String(32), ForeignKey(grant), primary_key=True),
        Column("subject", LargeBinary(16), primary_key=True),
        rowid=False,
    )
    tables.grant_tries = tables.table(
        RECORD,
        "grant_tries",
        Column("ref", LargeBinary(16), primary_key=True),  # keyed digest of the grant and the token
        Column("grant", String(32), ForeignKey(grant), nullable=False),
        Column("tries", Integer, nullable=False),
        rowid=False,
    )
    Index("ix_grant_tries_grant", tables.grant_tries.c.grant)
    # Keys that agents hold; whoever decides on them holds the lock of the agent's row.
    tables.holder_keys = tables.table(
        RECORD,
        "holder_keys",
        Column("principal", String(32), ForeignKey(principal), primary_key=True),
        Column("jkt", String(43), primary_key=True),  # JWK thumbprint (RFC 7638)
        Column("x", String(43), nullable=False),  # the public key, base64url
        Column("label", Text),
        Column("created_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),  # 0: never
        Column("revoked_at", BigInteger, nullable=False),  # 0: not
    )
    tables.kills = tables.table(
        RECORD,
        "kills",
        Column("id", String(32), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("name", Text, nullable=False),  # of what; empty where the tenant itself is meant
        Column("reason", Text),
        Column("created_by", String(80), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("lifted_at", BigInteger, nullable=False),  # 0: it binds
        Column("lifted_by", String(80)),
    )
    Index("ix_kills_tenant", tables.kills.c.tenant, tables.kills.c.id)
    Index("ix_kills_binding", tables.kills.c.lifted_at, tables.kills.c.tenant, tables.kills.c.kind)
