"""The tables of forgetting: erasures, legal holds, and the references of people who were erased.

Erasures and holds are record and name people by their rows, which point at nobody once the person is gone.
A suppression is custody: a reference as the person's own was, by which a late write for somebody who was
erased is told from one for somebody new. It is found in an epoch, as references are, and a turn carries it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Text

if TYPE_CHECKING:
    from vault.store.tables import Tables

CUSTODY: Final = "custody"
RECORD: Final = "record"


def define(tables: Tables) -> None:
    """Adds the tables of this module."""
    tables.erasures = tables.table(
        RECORD,
        "erasures",
        Column("id", String(32), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("state", String(16), nullable=False),
        Column("subject", LargeBinary(16)),  # the person's row; absent: nobody was known by that name
        Column("target", Text, nullable=False),  # what else is erased, canonical JSON; of a person, empty
        Column("grounds", String(32), nullable=False),
        Column("job", String(32), nullable=False),
        Column("created_by", String(80), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("keys", BigInteger, nullable=False),  # data keys that were removed
        Column("counts", Text, nullable=False),  # what lay under them
        Column("number", BigInteger, nullable=False),  # of the event that it began with
        Column("removed_at", BigInteger, nullable=False),  # 0: not yet
        Column("events", BigInteger, nullable=False),  # that the log had then: the number of its event
        Column("fenced_until", BigInteger, nullable=False),
        Column("reopened_at", BigInteger, nullable=False),  # 0: late writes are refused
        Column("reopened_by", String(80)),
    )
    Index("ix_erasures_page", tables.erasures.c.tenant, tables.erasures.c.id)
    Index("ix_erasures_fenced", tables.erasures.c.reopened_at, tables.erasures.c.fenced_until)
    tables.suppressions = tables.table(
        CUSTODY,
        "suppressions",
        Column("epoch", Integer, primary_key=True, autoincrement=False),
        Column("ref", LargeBinary(16), primary_key=True),
        Column("erasure", String(32), nullable=False),
        Column("key_version", Integer, nullable=False),  # of the reference's key
        rowid=False,
    )
    Index("ix_suppressions_erasure", tables.suppressions.c.erasure)
    tables.subject_events = tables.table(
        CUSTODY,
        "subject_events",  # what was told of people, from which their values' time counts; goes with them
        Column("subject", LargeBinary(16), primary_key=True),
        Column("event", String(64), primary_key=True),
        Column("at", BigInteger, nullable=False),  # the latest that was told
        rowid=False,
    )
    tables.holds = tables.table(
        RECORD,
        "holds",
        Column("id", String(32), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("kind", String(16), nullable=False),  # subject, class, tenant
        Column("subject", LargeBinary(16)),  # the person's row
        Column("name", String(64), nullable=False),  # of the retention class; else empty
        Column("state", String(16), nullable=False),  # active, releasing, released
        Column("reason", Text, nullable=False),
        Column("created_by", String(80), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("confirmed_by", String(80)),  # the second person who agreed to it
        Column("confirmed_at", BigInteger, nullable=False),  # 0: nobody has
        Column("release_asked_by", String(80)),
        Column("release_asked_at", BigInteger, nullable=False),  # 0: not
        Column("release_reason", Text),
        Column("released_by", String(80)),
        Column("released_at", BigInteger, nullable=False),  # 0: it is in force
    )
    Index("ix_holds_page", tables.holds.c.tenant, tables.holds.c.id)
    Index("ix_holds_in_force", tables.holds.c.released_at, tables.holds.c.tenant)
