"""Suppressions of erased people: ended by their time, or by somebody with a reason."""

from __future__ import annotations

from typing import Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import Micros
from vault.errors import BadInput, Conflict, Unknown
from vault.identifiers import new_id
from vault.ledger.command import State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.erasures import ErasureAnswer, describe
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace, without_credential
from vault.services.grant_body import check_text
from vault.services.hidden import Hidden
from vault.services.idempotency import once
from vault.services.levels import reached, turns_of
from vault.services.selecting import erased_as, held_by, person_of
from vault.services.subjects import check_subject
from vault.store.forgetting import ErasureRow, erasure_row

MAX_ENDED: Final = 100  # of one look of the schedule
SCHEDULE: Final = "schedule"


class ReopenBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A person who was erased, and why they may be entered anew."""

    subject: str
    reason: str


class OpenFence(CallerCommand):
    """Lets a person who was erased be entered anew. Bumps the fence."""

    alone = True

    def __init__(
        self, caller: Caller, origin: Origin, row: ErasureRow, reason: str | None, because: str
    ) -> None:
        super().__init__(caller)
        self.decision = new_id("dec")
        self._origin = origin
        self._row = row
        self._reason = reason
        self._because = because

    def decide(self, state: State, writes: Writes) -> None:
        """Drops the suppressions."""
        self.check(state)
        row = self._row
        writes.change("open_fence", [{"of_erasure": row.id, "at": state.now, "by": self.caller.actor}])
        writes.update("drop_suppressions_of", of_erasure=row.id)
        writes.fence_by += 1
        facts = {"erasure": row.id, "because": self._because, **trace(self._origin)}
        items = {} if self._reason is None else {"reason": self._reason}
        writes.event(Event("erasure.fence", row.tenant, self.caller.actor, facts, items, self.decision))


def reopen_subject(cell: Cell, request: Request, body: ReopenBody) -> Verb[ErasureAnswer]:
    """Lets a person who was erased be entered anew, under new keys: what was erased stays so.

    Raises:
        Unknown: `not_found`: no erasure stands in the way.
        Conflict: `hold_active`, `job_running`: what is to be erased is not gone yet.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "subject.reopen", "subject:reopen")
    repeat = once(cell, request, caller, "subject.reopen", ErasureAnswer, body)
    if repeat.replay is not None:
        return repeat.replay
    reason = check_text(body.reason)
    if not reason:
        raise BadInput("member_missing", member="reason")
    person, epochs = person_of(cell, caller.principal.tenant, check_subject(body.subject))
    row = erased_as(cell, person, epochs)
    if row is None:
        raise Unknown("not_found")
    if not row.removed_at:
        held = held_by(cell, row)
        raise Conflict("hold_active", held_by=held) if held else Conflict("job_running", job=row.job)
    command = OpenFence(caller, request.origin, row, reason, "reopened")
    turns, now = turns_of(cell.store), cell.clock.now()

    def answer(_: None, at: Micros) -> ErasureAnswer:
        opened = row._replace(reopened_at=at, reopened_by=caller.actor)
        return msgspec.structs.replace(
            describe(opened, reached(opened, turns, now), []), decision=command.decision
        )

    done = yield repeat.keep(command, answer)
    return answer(done.value, done.at)


def end_fences(cell: Cell) -> Verb[int]:
    """Ends suppressions whose time is over; how many there were."""
    over = {"at": cell.clock.now(), "most": MAX_ENDED}
    rows = [erasure_row(row) for row in cell.store.read(cell.store.forgetting.erasures_over, over)]
    for row in rows:
        caller, origin = without_credential(SCHEDULE, row.tenant), Origin(SCHEDULE, new_id("req"))
        yield OpenFence(caller, origin, row, None, "time")
    return len(rows)
