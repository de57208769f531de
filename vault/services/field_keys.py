"""Field keys turned over by hand or on schedule: rotated, declared compromised, destroyed.

A change of keys is a change of the schema's head: what was prepared under the keys before comes back stale,
in this process and in every other one, and is prepared again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from vault.audit.event import Event, listed
from vault.authn.identities import Caller
from vault.clock import format_time
from vault.errors import BadInput, Conflict, Stale, Unknown
from vault.identifiers import format_id, new_id, parse_id
from vault.keyring.hierarchy import Purpose, new_field_key
from vault.keystate.states import KeyState, move
from vault.ledger.command import State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.coverage import Coverage, coverage_of
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.grant_body import check_text
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.index_keys import INDEXED, BeginReindex, reindex_job, unended_job
from vault.store.custody import FieldKeyRow

TURNED: Final = frozenset({Purpose.FF1, Purpose.MASK})
"""Purposes whose keys have versions beside each other: what an old one made is presented with its number,
or is never opened. Those of `INDEXED` are rotated by a job that moves what lies under them."""


class ReasonBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Why."""

    reason: str | None = None


class Attestation(Hidden, forbid_unknown_fields=True, frozen=True):
    """Who answers for it that nobody keeps tokens of the version any more, and in which words."""

    by: str
    statement: str


class DestroyBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What destroys a key of which something may still be in use."""

    attestation: Attestation | None = None


class KeyChanged(Replayable, frozen=True, omit_defaults=True):
    """A key after a change, and the one that protects from now on.

    Attributes:
        state: of the key that was named.
        primary: the id of the key that protects; absent where nothing changed about that.
        primary_version: its version.
        job: of an index key: what writes rows by the new version; until it is through, they are looked up by
            the key that was named.
    """

    id: str
    kind: str
    field: str
    version: int
    state: str
    decision: str
    primary: str | None = None
    primary_version: int | None = None
    job: str | None = None


@dataclass(frozen=True, slots=True, repr=False)
class _Key:
    """A key that was named, and the newest of its field and purpose."""

    row: FieldKeyRow
    newest: FieldKeyRow

    @property
    def state(self) -> KeyState:
        return KeyState(self.row.state)

    @property
    def protects(self) -> bool:
        return self.row.id == self.newest.id and self.state is KeyState.ACTIVE


class ChangeKey(CallerCommand):
    """Moves a field key to a state, puts a new version in its place, or both."""

    alone = True

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        kind: str,
        head: int,
        key: FieldKeyRow,
        to: KeyState | None,
        new: FieldKeyRow | None,
        facts: dict[str, Any],
        items: dict[str, Any],
    ) -> None:
        super().__init__(caller, head)
        self.decision = new_id("dec")
        self._origin = origin
        self._kind = kind
        self._key = key
        self._to = to
        self._new = new
        self._facts = facts
        self._items = items

    def decide(self, state: State, writes: Writes) -> None:
        """Writes the change. Keys are changed under the head alone, so what was read still stands."""
        self.check(state)
        key, new, to = self._key, self._new, self._to
        if new is not None:
            if new.epoch != state.head.write_epoch:
                raise Stale
            writes.insert("field_key", **new._asdict(), created_at=state.now)
            writes.update(
                "end_field_keys",
                of_tenant=new.tenant,
                of_field=new.field,
                of_purpose=new.purpose,
                below=new.version,
            )
        if to is not None:
            ended = new is not None and KeyState(key.state) in (KeyState.ACTIVE, KeyState.SUSPENDED)
            was = KeyState.DEACTIVATED if ended else KeyState(key.state)
            moves = "end_field_key" if to is KeyState.DESTROYED else "move_field_key"
            writes.change(moves, [{"key_id": key.id, "was": was.value, "to": to.value}])
        writes.schema_by += 1
        writes.fence_by += 1
        facts = {
            "field": key.field,
            "purpose": key.purpose,
            "key_version": key.version,
            "credential": self.caller.api_key,
            **({} if new is None else {"new_version": new.version}),
            **self._facts,
            **trace(self._origin),
        }
        items = {"keys": listed([format_id("key", key.id)]), **self._items}
        writes.event(
            Event(self._kind, self.caller.principal.tenant, self.caller.actor, facts, items, self.decision)
        )


def rotate_key(cell: Cell, request: Request, key_id: str, body: ReasonBody) -> Verb[KeyChanged]:
    """Makes a new version of a field key, which protects from now on; the one before only opens.

    Raises:
        Unknown: `not_found`.
        BadInput: `operation_unsupported`: keys of that kind are not rotated so.
        Conflict: `version_conflict`: the key is not the one that protects; `key_lasts`: keys of that kind
            are never rotated; `job_running`: rows are still being written by the version before.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "key.rotate", "key:rotate")
    items = _reason(body)
    found = once(cell, request, caller, "key.rotate", KeyChanged, key_id, body)
    if found.replay is not None:
        return found.replay
    head = cell.schemas.of(caller.principal.tenant).head
    key = _key(cell, caller.principal.tenant, key_id, rotates=True)
    if not key.protects:
        raise Conflict("version_conflict", state=key.row.state, newest=key.newest.version)
    new = _successor(cell, key)
    command: ChangeKey | BeginReindex
    if key.row.purpose in INDEXED:
        job = reindex_job(cell, caller, new)
        command = BeginReindex(caller, request.origin, head, key.row, new, job, items)
        answer = _changed(key.row, key.state, new, command, job["id"])
    else:
        command = ChangeKey(caller, request.origin, "key.rotate", head, key.row, None, new, {}, items)
        answer = _changed(key.row, KeyState.DEACTIVATED, new, command)
    yield found.keep(command, answer)
    cell.forget()
    return answer


def compromise_key(cell: Cell, request: Request, key_id: str, body: ReasonBody) -> Verb[KeyChanged]:
    """Notes that a field key is known to somebody it should not be: it opens, and protects nothing more.

    If it was the one that protects, a new version takes its place in the same transaction.

    Raises:
        Unknown, BadInput: as `rotate_key`.
        Conflict: `version_conflict`: its state is one that it cannot leave for this; `job_running`: it waits
            for its rows, and can be declared so once it has them.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "key.compromise", "key:rotate")
    items = _reason(body)
    found = once(cell, request, caller, "key.compromise", KeyChanged, key_id, body)
    if found.replay is not None:
        return found.replay
    head = cell.schemas.of(caller.principal.tenant).head
    key = _key(cell, caller.principal.tenant, key_id)
    to = move(key.state, KeyState.COMPROMISED)
    new = _successor(cell, key) if key.protects else None
    command: ChangeKey | BeginReindex
    if new is not None and key.row.purpose in INDEXED:
        job = reindex_job(cell, caller, new)
        command = BeginReindex(caller, request.origin, head, key.row, new, job, items, compromised=True)
        answer = _changed(key.row, to, new, command, job["id"])
    else:
        command = ChangeKey(caller, request.origin, "key.compromise", head, key.row, to, new, {}, items)
        answer = _changed(key.row, to, new, command)
    yield found.keep(command, answer)
    cell.forget()
    return answer


def destroy_key(cell: Cell, request: Request, key_id: str, body: DestroyBody) -> Verb[KeyChanged]:
    """Destroys a version that protects nothing any more: what it made cannot be opened again.

    Whether callers still keep tokens of it only they know. So a version of which tokens were issued is
    destroyed on the word of a named person, which goes on the record with the counts.

    Raises:
        Unknown, BadInput: as `rotate_key`.
        Conflict: `key_in_use`: it protects, rows are found by it, or tokens of it were issued and nobody
            answers for them;
            `version_conflict`: it is destroyed.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "key.destroy", "key:destroy")
    attested = body.attestation
    items: dict[str, Any] = {}
    if attested is not None:
        items = {"by": _said(attested.by, "by"), "statement": _said(attested.statement, "statement")}
    found = once(cell, request, caller, "key.destroy", KeyChanged, key_id, body)
    if found.replay is not None:
        return found.replay
    head = cell.schemas.of(caller.principal.tenant).head
    key = _key(cell, caller.principal.tenant, key_id)
    to = move(key.state, KeyState.DESTROYED)
    if key.protects:
        raise Conflict("key_in_use", reason="it is the version that protects; rotate it first")
    job = unended_job(cell, key.row)
    if job is not None:
        raise Conflict("key_in_use", job=job.id, state=job.state, reason="rows are still found by it")
    used = coverage_of(cell, key.row)
    if used.issued and attested is None:
        raise Conflict(
            "key_in_use", **_facts(used), reason="callers may keep tokens of it: attest that none do"
        )
    facts = {**_facts(used), "attested": attested is not None}
    command = ChangeKey(caller, request.origin, "key.destroy", head, key.row, to, None, facts, items)
    answer = _changed(key.row, to, None, command)
    yield found.keep(command, answer)
    cell.forget()
    return answer


def _key(cell: Cell, tenant: str, key_id: str, *, rotates: bool = False) -> _Key:
    """A field key by its id, that is the tenant's and of a kind that can be turned.

    Raises:
        Unknown: `not_found`.
        BadInput: `operation_unsupported`.
        Conflict: `key_lasts`: it is to be rotated, and lasts as long as what it made.
    """
    try:
        id_ = parse_id("key", key_id)
    except ValueError:
        raise Unknown("not_found") from None
    custody = cell.store.custody
    shown = cell.store.read(custody.field_key_shown, {"key_id": id_})
    if not shown:
        others = cell.store.read(custody.data_key_shown, {"key_id": id_})
        if others and others[0][-1] == tenant:
            raise (
                Conflict("key_lasts", kind="data")
                if rotates
                else BadInput("operation_unsupported", kind="data")
            )
        raise Unknown("not_found")
    purpose, field_, of = shown[0][1], shown[0][2], shown[0][-1]
    if of != tenant:
        raise Unknown("not_found")
    if purpose == Purpose.ROW_ID and rotates:
        raise Conflict("key_lasts", kind=purpose)
    if purpose not in TURNED | INDEXED:
        raise BadInput("operation_unsupported", kind=purpose)
    params = {"tenant": tenant, "field": field_, "purpose": purpose}
    rows = [FieldKeyRow(*row) for row in cell.store.read(custody.field_keys, params)]
    newest = max(rows, key=lambda row: row.version)
    return _Key(next(row for row in rows if row.id == id_), newest)


def _successor(cell: Cell, key: _Key) -> FieldKeyRow:
    row = key.newest
    epoch = cell.keyring.epoch(cell.keyring.write_epoch)
    return new_field_key(epoch, row.tenant, row.field, Purpose(row.purpose), row.version + 1)


def _changed(
    row: FieldKeyRow,
    state: KeyState,
    new: FieldKeyRow | None,
    command: ChangeKey | BeginReindex,
    job: str | None = None,
) -> KeyChanged:
    return KeyChanged(
        id=format_id("key", row.id),
        kind=row.purpose,
        field=row.field,
        version=row.version,
        state=state.value,
        decision=command.decision,
        primary=None if new is None else format_id("key", new.id),
        primary_version=None if new is None else new.version,
        job=job,
    )


def _facts(used: Coverage) -> dict[str, Any]:
    facts: dict[str, Any] = {"issued": used.issued, "rekeyed": used.rekeyed}
    if used.used_at:
        facts["last_used"] = format_time(used.used_at)
    return facts


def _reason(body: ReasonBody) -> dict[str, Any]:
    reason = check_text(body.reason)
    return {} if reason is None else {"reason": reason}


def _said(text: str, member: str) -> str:
    """What a person says for the record.

    Raises:
        BadInput: `member_missing`, `limit_invalid`.
    """
    said = check_text(text)
    if not said:
        raise BadInput("member_missing", member=member)
    return said
