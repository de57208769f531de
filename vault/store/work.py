"""Statements on jobs, on the processes that hold keys, and on what turns left: parts of the record."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    and_,
    bindparam,
    case,
    delete,
    insert,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from vault.clock import Micros
from vault.store.custody import keys
from vault.store.session import Statement, StatementFamily
from vault.store.tables import SQLITE, Tables

UNENDED = ("queued", "running", "waiting", "failed", "cancelled")
DUE = ("queued", "running", "waiting")
"""States in which a worker may take a job up; `running` once its lease has lapsed."""


class JobRow(NamedTuple):
    """A job, in the order of `WorkStatements.jobs`."""

    id: str
    tenant: str
    kind: str
    state: str
    step: str
    params: str
    cursor: str
    done: int
    total: int
    rate: int
    waits_for: str
    error: str
    created_by: str
    created_at: Micros
    due_at: Micros
    updated_at: Micros
    ended_at: Micros
    runner: bytes | None
    lease_until: Micros


class ProcessRow(NamedTuple):
    """A process that holds keys, in the order of `WorkStatements.processes`."""

    id: bytes
    kind: str
    pid: int
    lease_until: Micros
    opened: int
    dropped: int
    destroyed: int


def _one_of(column: ColumnElement[str], names: tuple[str, ...]) -> ColumnElement[bool]:
    """IN, spelled so that its text does not depend on when it is run."""
    return or_(*(column == name for name in names))


class WorkStatements:
    """All statements on jobs, processes and turns, compiled for one dialect."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._dialect = dialect
        self._jobs(tables)
        self._processes(tables)
        self._turns(tables)

    def _compiled(self, element: ClauseElement, *, locks: bool = False) -> Statement:
        return Statement(element, self._dialect, locks=locks)

    def _jobs(self, t: Tables) -> None:
        j = t.jobs.c
        job = (
            j.id, j.tenant, j.kind, j.state, j.step, j.params, j.cursor, j.done, j.total, j.rate,
            j.waits_for, j.error, j.created_by, j.created_at, j.due_at, j.updated_at, j.ended_at, j.runner,
            j.lease_until,
        )  # fmt: skip
        self.insert_job = self._compiled(insert(t.jobs))
        self.jobs = StatementFamily(
            lambda size: select(*job).where(j.id.in_(keys(size))).order_by(j.id), self._dialect, locks=True
        )
        self.jobs_unended = self._compiled(
            select(*job).where(j.kind == bindparam("kind"), _one_of(j.state, UNENDED)).order_by(j.id)
        )
        live = select(t.processes.c.id).where(t.processes.c.lease_until >= bindparam("at"))
        free = or_(j.lease_until < bindparam("at"), j.runner.is_(None), j.runner.not_in(live))
        due = (
            select(*job)
            .where(_one_of(j.state, DUE), j.due_at <= bindparam("at", type_=BigInteger), free)
            .order_by(j.due_at, j.id)
            .limit(1)
        )
        # A job that another worker is just taking is passed over, not waited for.
        self.job_due = self._compiled(due if t.dialect == SQLITE else due.with_for_update(skip_locked=True))
        self.jobs_page = self._compiled(
            select(*job)
            .where(j.tenant == bindparam("tenant"), j.id < bindparam("below"))
            .order_by(j.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        held = and_(j.id == bindparam("job"), j.runner == bindparam("by"), j.state == "running")
        progress: dict[str, Any] = {
            name: bindparam(f"new_{name}")
            for name in ("state", "step", "cursor", "done", "total", "rate", "waits_for", "error", "due_at")
        }
        progress |= {
            "updated_at": bindparam("at"),
            "lease_until": bindparam("until"),
            "ended_at": bindparam("new_ended_at"),
        }
        self.take_job = self._compiled(
            update(t.jobs)
            .values(
                state="running", runner=bindparam("by"), lease_until=bindparam("until"),
                updated_at=bindparam("at"),
            )
            .where(j.id == bindparam("job"))
        )  # fmt: skip
        self.advance_job = self._compiled(update(t.jobs).values(progress).where(held))
        self.release_job = self._compiled(update(t.jobs).values({**progress, "runner": null()}).where(held))
        self.steer_job = self._compiled(
            update(t.jobs)
            .values(
                state=bindparam("to"), due_at=bindparam("at"), updated_at=bindparam("at"), runner=null(),
                waits_for="", error=bindparam("with_error"), ended_at=0, lease_until=0,
            )
            .where(j.id == bindparam("job"), j.state == bindparam("was"))
        )  # fmt: skip

    def _processes(self, t: Tables) -> None:
        p = t.processes.c
        on_conflict: Any = sqlite.insert if t.dialect == SQLITE else postgresql.insert
        kept = on_conflict(t.processes).values(
            {column.name: bindparam(column.name) for column in t.processes.columns}
        )
        self.insert_process = self._compiled(
            kept.on_conflict_do_update(
                index_elements=["id"],
                set_={
                    name: kept.excluded[name] for name in ("lease_until", "opened", "dropped", "destroyed")
                },
            )
        )
        self.processes = self._compiled(
            select(p.id, p.kind, p.pid, p.lease_until, p.opened, p.dropped, p.destroyed).order_by(p.id)
        )
        self.drop_process = self._compiled(delete(t.processes).where(p.id == bindparam("process")))
        self.drop_other_processes = self._compiled(delete(t.processes).where(p.id != bindparam("process")))
        self.drop_dead_processes = self._compiled(
            delete(t.processes).where(p.lease_until < bindparam("before"))
        )

    def _turns(self, t: Tables) -> None:
        u = t.turns.c
        self.insert_turn = self._compiled(insert(t.turns))
        self.turns = self._compiled(
            select(u.opens, u.closes, u.job, u.steps, u.evidence, u.started_at, u.ended_at).order_by(u.opens)
        )
        self.note_turn = self._compiled(
            update(t.turns)
            .values(
                steps=bindparam("new_steps"),
                evidence=bindparam("new_evidence"),
                ended_at=case((u.ended_at > 0, u.ended_at), else_=bindparam("at", type_=BigInteger)),
            )
            .where(u.opens == bindparam("of_turn"))
        )
