"""Beginning the rotation of an index key: its new version and the job that writes rows by it, in one."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.audit.event import Event, listed
from vault.authn.identities import Caller
from vault.errors import Conflict, Stale
from vault.identifiers import format_id, new_id
from vault.keyring.hierarchy import Purpose
from vault.keystate.states import KeyState, move
from vault.ledger.command import Needs, State, Writes
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, trace
from vault.services.jobs import insert_job, job_row
from vault.services.reindex import FIRST_STEP, KIND
from vault.store.custody import FieldKeyRow
from vault.store.work import JobRow

INDEXED: Final = frozenset({Purpose.BLIND_INDEX, Purpose.SUBJECT_REFERENCE})
"""Purposes whose keys find rows: a new version finds them once a job has written them by it."""


class BeginReindex(CallerCommand):
    """Enters the new version and its job, unless one of the same index has not ended.

    Raises from `decide`:
        Conflict: `job_running`.
    """

    alone = True

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        head: int,
        key: FieldKeyRow,
        new: FieldKeyRow,
        job: dict[str, Any],
        items: dict[str, Any],
        *,
        compromised: bool = False,
    ) -> None:
        super().__init__(caller, head)
        self.decision = new_id("dec")
        self._origin = origin
        self._key = key
        self._new = new._replace(filling=1)
        self._job = job
        self._items = items
        self._to = move(KeyState(key.state), KeyState.COMPROMISED) if compromised else None

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the jobs that have not ended, when nobody else can begin one any more."""
        super().needs(needs)
        needs.settled = True
        needs.unended.add(KIND)

    def decide(self, state: State, writes: Writes) -> None:
        """Enters them. Keys are changed under the head alone, so what was read still stands."""
        self.check(state)
        key, new = self._key, self._new
        running = job_of(state.unended.get(KIND, ()), key)
        if running is not None:
            raise Conflict("job_running", job=running.id, state=running.state)
        if new.epoch != state.head.write_epoch:
            raise Stale
        writes.insert("field_key", **new._asdict(), created_at=state.now)
        if self._to is not None:
            writes.change("move_field_key", [{"key_id": key.id, "was": key.state, "to": self._to.value}])
        insert_job(writes, self._job, state.now)
        writes.schema_by += 1
        writes.fence_by += 1
        facts = {
            "field": key.field,
            "purpose": key.purpose,
            "key_version": key.version,
            "new_version": new.version,
            "job": self._job["id"],
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        kind = "key.rotate" if self._to is None else "key.compromise"
        items = {"keys": listed([format_id("key", key.id)]), **self._items}
        tenant = self.caller.principal.tenant
        writes.event(Event(kind, tenant, self.caller.actor, facts, items, self.decision))


def reindex_job(cell: Cell, caller: Caller, new: FieldKeyRow) -> dict[str, Any]:
    """The row of a job that writes an index by a new version of its key."""
    params = {"field": new.field, "purpose": new.purpose, "to": new.version}
    params["key"] = format_id("key", new.id)
    row = job_row(KIND, new.tenant, caller.actor, params, FIRST_STEP)
    entries, references = cell.store.read(
        cell.store.indexes.rows_of_epoch, {"epoch": cell.keyring.in_use.read}
    )[0]
    return {**row, "total": 2 * (entries if new.field else references)}  # filled, then swept, at most


def job_of(jobs: Any, key: FieldKeyRow) -> JobRow | None:
    """The job among these that writes the index of a key anew."""
    for job in jobs:
        params = msgspec.json.decode(job.params)
        if (job.tenant, params["field"], params["purpose"]) == (key.tenant, key.field, key.purpose):
            return JobRow(*job)
    return None


def unended_job(cell: Cell, key: FieldKeyRow) -> JobRow | None:
    """The job that writes the index of a key anew and has not ended."""
    rows = cell.store.read(cell.store.work.jobs_unended, {"kind": KIND})
    return job_of([JobRow(*row) for row in rows], key)
