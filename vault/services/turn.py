"""Turning a cell's epoch: asking for it, when it is due, and what there is to see of it."""

from __future__ import annotations

from typing import Any

import msgspec

from vault.authn.identities import Caller
from vault.clock import Micros, Period, format_time
from vault.errors import BadInput, Conflict, Denied, Stale
from vault.keyring.epoch import StoredEpoch, stored_epochs
from vault.keystate.states import KeyState
from vault.ledger.command import Command, Needs, State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Refused, Request, admit, authenticate, trace
from vault.services.hidden import Hidden
from vault.services.idempotency import once
from vault.services.initialise import MAIN_TENANT
from vault.services.jobs import JobAnswer, insert_job, job_row, shown_job
from vault.services.listing import Listing
from vault.services.turning import DROP, KEEP, KIND
from vault.store.cell import Store
from vault.store.work import JobRow

SCHEDULE = "schedule"
FIRST_STEP = "create"


class TurnBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """How to turn.

    Attributes:
        replays: what becomes of answers that are kept for repeated requests, which lie under the old epoch:
            `keep` waits until they end, a day at most, before the old epoch is closed; `drop` does not, and
            a request that is repeated after the close is done again.
    """

    replays: str = KEEP


class TurnAnswer(Hidden, frozen=True, omit_defaults=True):
    """A turn, as the record has it: when each step ended, and what was shown."""

    job: str
    started: str
    steps: dict[str, str]
    evidence: dict[str, Any]
    ended: str | None = None


class EpochAnswer(Hidden, frozen=True, omit_defaults=True):
    """An epoch.

    Attributes:
        state: of its key, by SP 800-57.
        writes: whether new keys are sealed under it; `reads` whether look-ups are made in it.
        period_end: when its cryptoperiod ends, if the cell has one.
        turn: the one that opened it.
    """

    epoch: int
    state: str
    created: str
    writes: bool = False
    reads: bool = False
    activated: str | None = None
    period_end: str | None = None
    turn: TurnAnswer | None = None


class StartTurn(CallerCommand):
    """Enters the job of a turn, unless one has not ended. Returns from `decide`: its row."""

    def __init__(self, caller: Caller, origin: Origin, row: dict[str, Any]) -> None:
        super().__init__(caller)
        self._origin = origin
        self._row = row

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the turns that have not ended, when nobody else can begin one any more."""
        super().needs(needs)
        needs.settled = True
        needs.unended.add(KIND)

    def decide(self, state: State, writes: Writes) -> JobRow:
        """Enters it."""
        self.check(state)
        facts = {"credential": self.caller.api_key, **trace(self._origin)}
        return _enter(state, writes, self._row, facts)


class ScheduledTurn(Command):
    """The same, because it is due. Returns from `decide`: whether it was entered."""

    def __init__(self, row: dict[str, Any]) -> None:
        self._row = row

    def needs(self, needs: Needs) -> None:
        """The turns that have not ended, when nobody else can begin one any more."""
        needs.settled = True
        needs.unended.add(KIND)

    def decide(self, state: State, writes: Writes) -> bool:
        """Enters it, if none is under way."""
        if state.unended.get(KIND):
            return False
        _enter(state, writes, self._row, {})
        return True


def _enter(state: State, writes: Writes, row: dict[str, Any], facts: dict[str, Any]) -> JobRow:
    for job in state.unended.get(KIND, ()):
        raise Conflict("job_running", job=job.id, state=job.state)
    of = msgspec.json.decode(row["params"])
    if (state.head.write_epoch, state.head.read_epoch) != (of["from"], of["from"]):
        raise Stale
    insert_job(writes, row, state.now, **{"from": of["from"], "to": of["to"]}, **facts)
    made = JobRow(**row, created_at=state.now, due_at=state.now, updated_at=state.now)
    state.unended[KIND] = [made]
    return made


def _new(cell: Cell, actor: str, replays: str) -> dict[str, Any]:
    """The row of a turn of the epoch that is sealed under now."""
    epoch = cell.keyring.write_epoch
    params = {"from": epoch, "to": epoch + 1, "replays": replays}
    return job_row(KIND, MAIN_TENANT, actor, params, FIRST_STEP)


def start_turn(cell: Cell, request: Request, body: TurnBody) -> Verb[JobAnswer]:
    """Begins a turn of the cell's epoch; a worker does it.

    Raises:
        Conflict: `job_running`: one has not ended.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "epoch.turn", "epoch:turn")
    if caller.principal.tenant != MAIN_TENANT:
        refused = Refused(caller, request.origin, "epoch.turn", "permission_denied")
        yield refused
        raise Denied("permission_denied", decision=refused.decision)
    repeat = once(cell, request, caller, "epoch.turn", JobAnswer, body)
    if repeat.replay is not None:
        return repeat.replay
    if body.replays not in (KEEP, DROP):
        raise BadInput("operation_unsupported", member="replays")
    row = _new(cell, caller.actor, body.replays)
    done = yield repeat.keep(StartTurn(caller, request.origin, row), lambda made, _at: shown_job(made))
    return shown_job(done.value)


def schedule_turn(cell: Cell) -> Verb[bool]:
    """Begins a turn if the epoch's cryptoperiod is over and none is under way; whether one was begun."""
    if not overdue(cell.store, cell.working.rotation, cell.clock.now()):
        return False
    if cell.store.read(cell.store.work.jobs_unended, {"kind": KIND}):
        return False
    done = yield ScheduledTurn(_new(cell, SCHEDULE, KEEP))
    return bool(done.value)


def period_end(row: StoredEpoch, rotation: Period | None) -> Micros | None:
    """When an epoch's cryptoperiod ends; None without one, or while it protects nothing yet."""
    if rotation is None or row.state == KeyState.PRE_ACTIVE:
        return None
    began = row.created_at if row.activated_at is None else row.activated_at
    return rotation.after(began)


def overdue(store: Store, rotation: Period | None, now: Micros) -> bool:
    """Whether the epoch that is sealed under has been for longer than its cryptoperiod."""
    active = [row for row in stored_epochs(store) if row.state == KeyState.ACTIVE]
    ends = [period_end(row, rotation) for row in active]
    return any(end is not None and end <= now for end in ends)


def list_epochs(cell: Cell, request: Request) -> Verb[Listing]:
    """All epochs of the cell, newest first, each with the turn that opened it."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "epoch.list", "key:read")
    return Listing(list(shown_epochs(cell.store, cell.working.rotation)), None)


def shown_epochs(store: Store, rotation: Period | None) -> list[EpochAnswer]:
    """Epochs as they are shown."""
    head = store.read(store.record.head)[0]
    turns = {row[0]: row for row in store.read(store.work.turns)}
    shown = []
    for row in reversed(stored_epochs(store)):
        end = period_end(row, rotation) if row.state == KeyState.ACTIVE else None
        shown.append(
            EpochAnswer(
                epoch=row.number,
                state=row.state,
                created=format_time(row.created_at),
                writes=row.number == head[2],
                reads=row.number == head[3],
                activated=None if row.activated_at is None else format_time(row.activated_at),
                period_end=None if end is None else format_time(end),
                turn=_turn(turns.get(row.number)),
            )
        )
    return shown


def _turn(row: Any) -> TurnAnswer | None:
    if row is None:
        return None
    _, _, job, steps, evidence, started_at, ended_at = row
    return TurnAnswer(
        job,
        format_time(started_at),
        msgspec.json.decode(steps),
        msgspec.json.decode(evidence),
        format_time(ended_at) if ended_at else None,
    )
