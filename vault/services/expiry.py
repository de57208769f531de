"""What falls due: found by the schedule, denied at once, and removed by the job of an erasure.

A due period ends as one: its row says so, and whatever lies under its keys is denied from then on, however
much it is. Keys whose date moves end by their dates, those of a class together. A legal hold keeps either at
`requested`, as it does everything that is to be removed.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import Micros, format_time, parse_time, utc_date
from vault.identifiers import new_id
from vault.keyring.hierarchy import Purpose
from vault.ledger.command import Needs, State, Verb, Writes
from vault.retention.period import falls_due
from vault.services.cell import Cell, Origin
from vault.services.erasure_kinds import DATES, ERASURE, PERIOD, RETENTION, encode_target
from vault.services.gate import CallerCommand, trace, without_credential
from vault.services.jobs import enter_job, job_row
from vault.services.own_keys import ensure
from vault.store.forgetting import REQUESTED

SCHEDULE: Final = "schedule"
MAX_PERIODS: Final = 1_000  # of one look
REMOVE: Final = "remove"


class BeginExpiry(CallerCommand):
    """Ends a due period, or the keys of a class whose date has come: denied from now on. Bumps the fence.

    Returns from `decide`: the erasure's id. Stale if somebody else was first.

    Args:
        kind: `period` or `dates`.
        target: which.
    """

    alone = True

    def __init__(self, caller: Caller, origin: Origin, kind: str, target: dict[str, Any]) -> None:
        super().__init__(caller)
        self.decision = new_id("dec")
        self._origin = origin
        self._kind = kind
        self._target = target
        self._job = job_row(ERASURE, caller.principal.tenant, caller.actor, {"erasure": new_id("er")}, REMOVE)

    def needs(self, needs: Needs) -> None:
        """The caller's rows. No key is made meanwhile."""
        super().needs(needs)
        needs.settled = True

    def decide(self, state: State, writes: Writes) -> str:
        """Notes it."""
        self.check(state)
        tenant, target = self.caller.principal.tenant, self._target
        erasure: str = msgspec.json.decode(self._job["params"])["erasure"]
        of = {"of_tenant": tenant, "of_class": target["class"]}
        if self._kind == PERIOD:
            writes.change("suspend_period", [{**of, "of_due": target["due"]}])
        else:
            writes.update("suspend_dates", **of, until=parse_time(target["until"]))
        enter_job(writes, self._job, state.now)
        writes.insert(
            "erasure",
            id=erasure,
            tenant=tenant,
            kind=self._kind,
            state=REQUESTED,
            subject=None,
            target=encode_target(target),
            grounds=RETENTION,
            job=self._job["id"],
            created_by=self.caller.actor,
            created_at=state.now,
            keys=0,
            counts=encode_target({"classes": [target["class"]], "shared": 0, "values": {}}),
            number=state.head.next,
            removed_at=0,
            events=0,
            fenced_until=0,
            reopened_at=0,
            reopened_by=None,
        )
        writes.fence_by += 1
        facts = {"erasure": erasure, "job": self._job["id"], **target, **trace(self._origin)}
        writes.event(Event("retention.expire", tenant, self.caller.actor, facts, {}, self.decision))
        return erasure


class Due(msgspec.Struct, frozen=True):
    """What is due: a period, or the keys of a class by their dates."""

    tenant: str
    kind: str
    target: dict[str, Any]


def due_now(cell: Cell, now: Micros, tenant: str | None = None) -> list[Due]:
    """What is due by now and not yet begun, the oldest first.

    Args:
        tenant: only of this one.
    """
    read, statements = cell.store.read, cell.store.expiring
    day = utc_date(now).isoformat()
    found = [
        Due(of, PERIOD, {"class": class_, "due": due})
        for of, class_, due, _ in read(statements.periods_until, {"until": day, "most": MAX_PERIODS})
        if falls_due(due) <= now
    ]
    found += [
        Due(of, DATES, {"class": class_, "until": format_time(now)})
        for of, class_, _ in read(statements.dates_until, {"until": now})
    ]
    return [one for one in found if tenant in (None, one.tenant)]


def expire_due(cell: Cell) -> Verb[int]:
    """Ends what is due; how many periods and classes. Each in a transaction of its own."""
    begun = 0
    for one in due_now(cell, cell.clock.now()):
        caller, origin = without_credential(SCHEDULE, one.tenant), Origin(SCHEDULE, new_id("req"))
        yield from ensure(cell, caller, origin, Purpose.CERTIFICATES)
        yield BeginExpiry(caller, origin, one.kind, one.target)
        begun += 1
    if begun:
        cell.keyring.forget_data()
    return begun
