"""Jobs: work that takes longer than a request, in small transactions that each move the job's cursor.

A job is a row. A worker takes it under a lease and does it piece by piece; each piece is one transaction with
the row's progress, so that whoever goes on after a kill goes on exactly there. Stopping a job is a change of
its row too: the next piece finds that it is no longer the worker's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import SECOND, Micros, format_time
from vault.errors import BadInput, Conflict, Unknown
from vault.identifiers import new_id, parse_id
from vault.ledger.command import Command, Needs, State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.listing import Listing, Page, check_page, listing
from vault.store.work import JobRow

MAX_REASON: Final = 500  # characters, as of a grant's
LEASE_S: Final = 60  # each piece renews it
QUEUED: Final = "queued"
RUNNING: Final = "running"
WAITING: Final = "waiting"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
DONE: Final = "done"
STATES: Final = {
    QUEUED: "a worker takes it up when it is due",
    RUNNING: "a worker is at it",
    WAITING: "it goes on by itself: `waits_for` says after what, `error` what was out of reach",
    FAILED: "it needs a person: `error` says why; it goes on when it is resumed",
    CANCELLED: "somebody stopped it where it stood; it goes on when it is resumed",
    DONE: "it has ended",
}
UNSTOPPABLE: Final = frozenset({"erasure"})
"""Kinds of jobs that nobody stops: what was promised to a person is not for an operator to undo."""
_ENDED: Final = frozenset({DONE})
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class JobAnswer(Replayable, frozen=True, omit_defaults=True, kw_only=True):
    """A job.

    Attributes:
        kind: what is done: `epoch.turn`; `key.reindex`: the rotation of an index key; `transfer`;
            `erasure`.
        step: where it is in that.
        of: what it is done to, such as the two epochs of a turn.
        rate: rows a second, lately.
        eta: seconds until `done` is `total` at that rate.
        waits_for: `processes`, `replays`, `key_store`, ...
        error: the code of what last went wrong.
    """

    id: str
    kind: str
    state: str
    step: str
    of: dict[str, Any]
    done: int
    total: int
    created: str
    created_by: str
    updated: str
    rate: float | None = None
    eta: int | None = None
    due: str | None = None
    ended: str | None = None
    waits_for: str | None = None
    error: str | None = None


class SteerBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """Why a job is stopped, or goes on."""

    reason: str | None = None


@dataclass(slots=True, repr=False)
class Progress:
    """How far a job is: what its row says besides what never changes."""

    state: str
    step: str
    cursor: dict[str, Any]
    done: int
    total: int
    rate: int  # thousandths of a row a second
    waits_for: str = ""
    error: str = ""
    due_at: Micros = 0
    ended_at: Micros = 0

    @classmethod
    def of(cls, row: JobRow) -> Progress:
        """What a row says."""
        return cls(
            row.state, row.step, msgspec.json.decode(row.cursor), row.done, row.total, row.rate,
            row.waits_for, row.error, row.due_at, row.ended_at,
        )  # fmt: skip


@dataclass(slots=True, repr=False)
class Work:
    """A job in the hands of a worker.

    Attributes:
        by: the process that has it.
        progress: as last committed.
        moved_at: monotonic seconds of this worker's last piece that moved rows; 0: none yet.
    """

    id: str
    tenant: str
    kind: str
    params: dict[str, Any]
    by: bytes
    actor: str
    progress: Progress
    created_at: Micros = 0
    moved_at: float = 0.0

    @classmethod
    def of(cls, row: JobRow, by: bytes) -> Work:
        """A job that was taken."""
        return cls(
            row.id, row.tenant, row.kind, msgspec.json.decode(row.params), by, row.created_by,
            Progress.of(row), row.created_at,
        )  # fmt: skip


class Piece(Command):
    """One piece of a job: its effects, and the job's progress, in one transaction.

    Returns from `decide`: the ledger's time.

    Args:
        work: the job.
        then: its progress afterwards.
    """

    def __init__(self, work: Work, then: Progress) -> None:
        self.work = work
        self.then = then

    def needs(self, needs: Needs) -> None:
        """The job's row."""
        needs.jobs.add(self.work.id)

    def check(self, state: State) -> JobRow:
        """The job's row, if it is still this worker's.

        Raises:
            Conflict: `version_conflict`: it was stopped, or another worker has it.
        """
        row = state.jobs.get(self.work.id)
        if row is None or row.runner != self.work.by or row.state != RUNNING:
            raise Conflict("version_conflict")
        return row

    def decide(self, state: State, writes: Writes) -> Any:
        """Does the piece and notes the progress."""
        self.check(state)
        self.effect(state, writes)
        self.advance(state, writes)
        return state.now

    def effect(self, state: State, writes: Writes) -> None:
        """What the piece does."""

    def advance(self, state: State, writes: Writes) -> None:
        """Notes the progress. A job that is not running afterwards is given back."""
        then = self.then
        held = then.state == RUNNING
        writes.change(
            "advance_job" if held else "release_job",
            [
                {
                    "job": self.work.id,
                    "by": self.work.by,
                    "at": state.now,
                    "until": state.now + LEASE_S * SECOND if held else 0,
                    "new_state": then.state,
                    "new_step": then.step,
                    "new_cursor": _encode(then.cursor).decode(),
                    "new_done": then.done,
                    "new_total": then.total,
                    "new_rate": then.rate,
                    "new_waits_for": then.waits_for,
                    "new_error": then.error,
                    "new_due_at": then.due_at or state.now,
                    "new_ended_at": state.now if then.state in _ENDED else 0,
                }
            ],
        )
        if then.state in (FAILED, DONE):
            facts = {"job": self.work.id, "of": self.work.kind, "state": then.state, "step": then.step}
            if then.error:
                facts["code"] = then.error
            writes.event(Event("job.end", self.work.tenant, self.work.actor, facts))


class Release(Piece):
    """Gives a job back: for later, for good, or for a person to look at.

    Args:
        after_s: in how many seconds it is due again.
    """

    def __init__(self, work: Work, then: Progress, after_s: float = 0) -> None:
        super().__init__(work, then)
        self._after = round(after_s * SECOND)

    def effect(self, state: State, writes: Writes) -> None:
        """Says when it is due, by the ledger's clock."""
        self.then = replace(self.then, due_at=max(self.then.due_at, state.now + self._after))


class Take(Command):
    """Takes the job that is due longest and that nobody has. Returns from `decide`: its row, or None."""

    def __init__(self, by: bytes) -> None:
        self._by = by

    def needs(self, needs: Needs) -> None:
        """The job."""
        needs.due_job = True

    def decide(self, state: State, writes: Writes) -> JobRow | None:
        """Takes it."""
        row = state.due_job
        if row is None:
            return None
        state.due_job = None
        until = state.now + LEASE_S * SECOND
        writes.update("take_job", job=row.id, by=self._by, at=state.now, until=until)
        return row._replace(state=RUNNING, runner=self._by, lease_until=until)


def job_row(kind: str, tenant: str, actor: str, params: dict[str, Any], step: str) -> dict[str, Any]:
    """A new job's row without its times."""
    return {
        "id": new_id("job"),
        "tenant": tenant,
        "kind": kind,
        "state": QUEUED,
        "step": step,
        "params": _encode(params).decode(),
        "cursor": "{}",
        "done": 0,
        "total": 0,
        "rate": 0,
        "waits_for": "",
        "error": "",
        "created_by": actor,
        "ended_at": 0,
        "runner": None,
        "lease_until": 0,
    }


def enter_job(writes: Writes, row: dict[str, Any], now: Micros) -> JobRow:
    """Notes the insert of a new job, which is due at once; the event is the caller's."""
    times: dict[str, Any] = {"created_at": now, "due_at": now, "updated_at": now}
    writes.insert("job", **row, **times)
    return JobRow(**row, **times)


def insert_job(writes: Writes, row: dict[str, Any], now: Micros, **facts: Any) -> None:
    """Notes the insert of a new job, which is due at once, and its event."""
    enter_job(writes, row, now)
    facts = {"job": row["id"], "of": row["kind"], **facts}
    writes.event(Event("job.create", row["tenant"], row["created_by"], facts))


class Steer(CallerCommand):
    """Stops a job, or lets it go on. Returns from `decide`: its row as it then is."""

    def __init__(self, caller: Caller, origin: Origin, job: str, reason: str | None, *, resume: bool) -> None:
        super().__init__(caller)
        self._origin = origin
        self._job = job
        self._items = {} if reason is None else {"reason": reason}
        self._resume = resume

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the job."""
        super().needs(needs)
        needs.jobs.add(self._job)

    def decide(self, state: State, writes: Writes) -> JobRow:
        """Changes its state; one that is so already stays so, without an event."""
        self.check(state)
        row = state.jobs.get(self._job)
        if row is None or row.tenant != self.caller.principal.tenant:
            raise Unknown("not_found")
        if row.state == DONE:
            raise Conflict("version_conflict", state=row.state)
        if row.kind in UNSTOPPABLE and not self._resume:
            raise BadInput("operation_unsupported", kind=row.kind)
        takes = (FAILED, CANCELLED, WAITING) if self._resume else (QUEUED, RUNNING, WAITING, FAILED)
        if row.state not in takes:
            return row
        to = QUEUED if self._resume else CANCELLED
        error = "" if self._resume else row.error
        change = {"job": row.id, "was": row.state, "to": to, "at": state.now, "with_error": error}
        writes.change("steer_job", [change])
        kind = "job.resume" if self._resume else "job.cancel"
        facts = {"job": row.id, "of": row.kind, "step": row.step, "was": row.state, **trace(self._origin)}
        writes.event(Event(kind, row.tenant, self.caller.actor, facts, self._items))
        return row._replace(
            state=to, waits_for="", error=error, due_at=state.now, updated_at=state.now, ended_at=0
        )


def list_jobs(cell: Cell, request: Request, page: Page) -> Verb[Listing]:
    """The tenant's jobs, newest first."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "job.list", "job:read")
    params = {"tenant": caller.principal.tenant, "below": check_page(page, "job"), "most": page.limit + 1}
    rows = [JobRow(*row) for row in cell.store.read(cell.store.work.jobs_page, params)]
    return listing([shown_job(row) for row in rows], [row.id for row in rows], page)


def read_job(cell: Cell, request: Request, job: str) -> Verb[JobAnswer]:
    """One job."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "job.read", "job:read")
    for row in cell.store.read_keys(cell.store.work.jobs, [_checked(job)]):
        found = JobRow(*row)
        if found.tenant == caller.principal.tenant:
            return shown_job(found)
    raise Unknown("not_found")


def cancel_job(cell: Cell, request: Request, job: str, body: SteerBody | None = None) -> Verb[JobAnswer]:
    """Stops a job where it stands, whoever is at it."""
    answer = yield from _steer(cell, request, job, body, resume=False)
    return answer


def resume_job(cell: Cell, request: Request, job: str, body: SteerBody | None = None) -> Verb[JobAnswer]:
    """Lets a job go on that failed, was stopped, or waits: now."""
    answer = yield from _steer(cell, request, job, body, resume=True)
    return answer


def _steer(
    cell: Cell, request: Request, job: str, body: SteerBody | None, *, resume: bool
) -> Verb[JobAnswer]:
    verb = "job.resume" if resume else "job.cancel"
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, verb, "job:control")
    repeat = once(cell, request, caller, verb, JobAnswer, job, body)
    if repeat.replay is not None:
        return repeat.replay
    reason = None if body is None else body.reason
    if reason is not None and (len(reason) > MAX_REASON or not reason.isprintable()):
        raise BadInput("limit_invalid", member="reason", most=MAX_REASON)
    command = Steer(caller, request.origin, _checked(job), reason, resume=resume)
    done = yield repeat.keep(command, lambda row, _at: shown_job(row))
    return shown_job(done.value)


def _checked(job: str) -> str:
    try:
        parse_id("job", job)
    except ValueError:
        raise Unknown("not_found") from None
    return job


def shown_job(row: JobRow) -> JobAnswer:
    """A job as it is shown."""
    rate = row.rate / 1000 if row.state == RUNNING and row.rate else None
    left = max(row.total - row.done, 0)
    return JobAnswer(
        id=row.id,
        kind=row.kind,
        state=row.state,
        step=row.step,
        of=msgspec.json.decode(row.params),
        done=row.done,
        total=row.total,
        created=format_time(row.created_at),
        created_by=row.created_by,
        updated=format_time(row.updated_at),
        rate=rate,
        eta=None if rate is None else round(left / rate),
        due=format_time(row.due_at) if row.state in (QUEUED, WAITING) else None,
        ended=format_time(row.ended_at) if row.ended_at else None,
        waits_for=row.waits_for or None,
        error=row.error or None,
    )
