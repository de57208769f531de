"""The tables of what is done to a cell, and by whom: jobs, processes that hold keys, turns, loads, programs.

All of it is record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, String, Text

if TYPE_CHECKING:
    from vault.store.tables import Tables

RECORD: Final = "record"


def define(tables: Tables) -> None:
    """Adds the tables of this module."""
    # Written by migrations: the oldest program, by the newest migration that it knows, that may serve.
    tables.program = tables.table(
        RECORD,
        "program",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("oldest", String(16), nullable=False),
        CheckConstraint("id = 1", name="ck_program_one_row"),
    )
    tables.jobs = tables.table(
        RECORD,
        "jobs",
        Column("id", String(32), primary_key=True),
        Column("tenant", String(64), nullable=False),
        Column("kind", String(32), nullable=False),
        Column("state", String(16), nullable=False),
        Column("step", String(32), nullable=False),
        Column("params", Text, nullable=False),
        Column("cursor", Text, nullable=False),
        Column("done", BigInteger, nullable=False),
        Column("total", BigInteger, nullable=False),
        Column("rate", BigInteger, nullable=False),  # a second, in thousandths
        Column("waits_for", String(64), nullable=False),
        Column("error", String(64), nullable=False),
        Column("created_by", String(80), nullable=False),
        Column("created_at", BigInteger, nullable=False),
        Column("due_at", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Column("ended_at", BigInteger, nullable=False),  # 0: not yet
        Column("runner", LargeBinary(16)),  # the process that has it
        Column("lease_until", BigInteger, nullable=False),
    )
    Index("ix_jobs_page", tables.jobs.c.tenant, tables.jobs.c.id)
    Index("ix_jobs_due", tables.jobs.c.state, tables.jobs.c.due_at)
    tables.processes = tables.table(
        RECORD,
        "processes",
        Column("id", LargeBinary(16), primary_key=True),
        Column("kind", String(16), nullable=False),
        Column("pid", Integer, nullable=False),
        Column("started_at", BigInteger, nullable=False),
        Column("lease_until", BigInteger, nullable=False),
        Column("opened", Integer, nullable=False),  # the newest epoch whose canary it has opened
        Column("dropped", Integer, nullable=False),  # it holds no key of this epoch and those before
        Column("destroyed", Integer, nullable=False),  # nor have its half-stores a half of these
    )
    tables.turns = tables.table(
        RECORD,
        "turns",
        Column("opens", Integer, primary_key=True, autoincrement=False),
        Column("closes", Integer, nullable=False),
        Column("job", String(32), nullable=False),
        Column("steps", Text, nullable=False),
        Column("evidence", Text, nullable=False),
        Column("started_at", BigInteger, nullable=False),
        Column("ended_at", BigInteger, nullable=False),  # 0: not yet
    )
    # One row while a restore or a copy into this cell is under way: nothing serves it meanwhile.
    tables.loads = tables.table(
        RECORD,
        "loads",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("kind", String(16), nullable=False),
        Column("source", String(64), nullable=False),  # a digest: what is being loaded
        Column("progress", Text, nullable=False),
        Column("started_at", BigInteger, nullable=False),
    )
