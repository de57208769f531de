"""Erasing a person: asking for it, seeing how far it is, and letting the person be entered anew.

An erasure binds when it is asked for: the person's keys are suspended, so that nothing opens any more, and
the reference by which the person is found is kept as a suppression, so that a late write is refused and not
taken for one of somebody new. What is selected is removed by a job (`erasing`), unless a legal hold keeps it.
It is final when a turn of the epoch has closed it (`levels`).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import Micros, format_time
from vault.errors import BadInput, Stale
from vault.identifiers import format_id, new_id
from vault.keyring.hierarchy import Purpose
from vault.ledger.command import Needs, State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.directory import referred
from vault.services.enlisting import note_removals
from vault.services.erasure_kinds import ERASURE, GROUNDS, PERSON, decode_target
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.grant_body import check_text
from vault.services.hidden import Hidden
from vault.services.holding import holding
from vault.services.idempotency import Replayable, once
from vault.services.jobs import enter_job, job_row
from vault.services.levels import REQUESTED, Reached, reached, turns_of
from vault.services.listing import Listing, Page, check_page, listing
from vault.services.own_keys import ensure
from vault.services.selecting import (
    Person,
    erased_as,
    held_by,
    holds_of,
    person_of,
    select,
    stored,
)
from vault.services.subjects import check_subject
from vault.store.forgetting import REMOVED, ErasureRow, erasure_row
from vault.store.forgetting import REQUESTED as BEGUN
from vault.store.rows import EpochsInUse

REMOVE: Final = "remove"  # the job's one step


class ErasureBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Whom to erase, and why.

    Attributes:
        grounds: one of `GROUNDS`.
        request_ref: the caller's name of the request that led to it; for the log alone.
        dry_run: whether only to say what would be erased.
    """

    subject: str
    grounds: str
    request_ref: str | None = None
    dry_run: bool = False


class SubjectBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A person, as the caller names them."""

    subject: str


class ErasureAnswer(Replayable, frozen=True, omit_defaults=True, kw_only=True):
    """An erasure.

    Attributes:
        id: None in a dry run.
        level: the highest that is reached; `levels` says when each was.
        kind: `subject`: all that is kept of a person; `period`: what falls due in one period; `dates`: keys
            of a class whose own date has come. `class` and `due`, or `until`, say which.
        kms_destroyed_due: when the key store will have destroyed the root key, where it waits.
        keys: data keys that are to go or are gone; `values` those of rows that lie under them, by field.
            Ciphertexts that callers keep are not counted: they open no more without being known.
        shared_tokens: tokens that stay because other people have values under them too.
        held_by: legal holds that keep it at `requested`.
        fenced_until: until when late writes for the person are refused.
    """

    kind: str
    grounds: str
    level: str
    levels: dict[str, str]
    keys: int
    id: str | None = None
    values: dict[str, int] = msgspec.field(default_factory=dict)
    shared_tokens: int = 0
    held_by: list[str] = msgspec.field(default_factory=list)
    requested_by: str = ""
    class_: str | None = msgspec.field(default=None, name="class")
    due: str | None = None
    until: str | None = None
    kms_destroyed_due: str | None = None
    closed_by_turn: int | None = None
    fenced_until: str | None = None
    reopened: str | None = None
    reopened_by: str | None = None
    job: str | None = None
    decision: str | None = None


class StatusAnswer(Hidden, frozen=True, omit_defaults=True, kw_only=True):
    """What there is of a person.

    Attributes:
        known: whether anything is kept under that name.
        held_by: legal holds that name the person, their classes or the tenant.
        erasure: the erasure that a late write meets.
    """

    known: bool
    held_by: list[str] = msgspec.field(default_factory=list)
    erasure: ErasureAnswer | None = None


class BeginErasure(CallerCommand):
    """Suspends a person's keys, suppresses their references, and enters the job. Bumps the fence.

    Returns from `decide`: the erasure's row, and the holds that keep it. Stale if the person is entered or
    erased meanwhile.
    """

    alone = True

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        head: int,
        epochs: EpochsInUse,
        person: Person,
        row: dict[str, Any],
        *,
        classes: frozenset[str],
        listed_as: list[bytes],
        job: dict[str, Any],
        request_ref: str | None,
    ) -> None:
        super().__init__(caller, head)
        self.decision = new_id("dec")
        self.prepared_on = epochs
        self._origin = origin
        self._person = person
        self._row = row
        self._classes = classes
        self._listed_as = listed_as
        self._job = job
        self._texts = {} if request_ref is None else {"reason": request_ref}

    def needs(self, needs: Needs) -> None:
        """The caller's rows, the references, and the holds. Nobody makes a key for the person meanwhile."""
        super().needs(needs)
        needs.refs.update(self._person.known_as)
        needs.suppressed.update(self._person.known_as)
        needs.holds.add(self.caller.principal.tenant)
        needs.settled = True

    def decide(self, state: State, writes: Writes) -> tuple[ErasureRow, list[str]]:
        """Notes everything."""
        self.check(state)
        person, tenant = self._person, self.caller.principal.tenant
        if state.suppressed or set(state.refs.values()) != ({person.row} if person.row else set()):
            raise Stale
        held = holding(state.holds[tenant], person.row, self._classes)
        row = ErasureRow(**self._row, created_at=state.now)._replace(number=state.head.next)
        if person.row is None:  # nothing to remove
            row = row._replace(state=REMOVED, job="", removed_at=state.now, events=state.head.next)
        writes.insert("erasure", **row._asdict())
        for epoch, version, ref in person.refs:
            writes.insert("suppression", epoch=epoch, ref=ref, erasure=row.id, key_version=version)
        if person.row is not None:
            writes.update("suspend_keys_of", of_tenant=tenant, of_subject=person.row)
            writes.change("mark_subject", [{"of_subject": person.row, "by_erasure": row.id}])
            writes.update("drop_references_to", of_subject=person.row)
        note_removals(writes, self._listed_as)
        if row.job:
            enter_job(writes, self._job, state.now)
        writes.fence_by += 1
        facts: dict[str, Any] = {
            "erasure": row.id,
            "grounds": row.grounds,
            "keys": row.keys,
            **({"job": row.job} if row.job else {}),
            "credential": self.caller.api_key,
            **({"held_by": held} if held else {}),
            **trace(self._origin),
        }
        items: dict[str, Any] = dict(self._texts)
        if person.row is not None:
            items["subjects"] = {"ids": [format_id("sub", person.row)]}
        writes.event(Event("erasure.request", tenant, self.caller.actor, facts, items, self.decision))
        return row, held


def request_erasure(cell: Cell, request: Request, body: ErasureBody) -> Verb[ErasureAnswer]:
    """Erases a person: denied at once, removed by a job, final with a turn. Asking again answers the same.

    Somebody whom nobody knows is erased too: nothing is removed, and a late write is refused.

    Raises:
        Unauthenticated, Denied: the caller may not.
        BadInput: the body cannot be taken.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "erasure.request", "erasure:create")
    repeat = once(cell, request, caller, "erasure.request", ErasureAnswer, body)
    if repeat.replay is not None:
        return repeat.replay
    if body.grounds not in GROUNDS:
        raise BadInput("operation_unsupported", member="grounds")
    check_subject(body.subject)
    request_ref = check_text(body.request_ref)
    tenant = caller.principal.tenant
    schema = cell.schemas.of(tenant)
    person, epochs = person_of(cell, tenant, body.subject)
    standing = erased_as(cell, person, epochs)
    if standing is not None:
        return shown(cell, standing)
    selection = select(cell, tenant, person.row)
    if not body.dry_run:
        yield from ensure(cell, caller, request.origin, Purpose.CERTIFICATES)
    draft = ErasureAnswer(
        kind=PERSON,
        grounds=body.grounds,
        level=REQUESTED,
        levels={},
        keys=len(selection.keys),
        values=selection.values,
        shared_tokens=selection.shared,
        held_by=holding(holds_of(cell, tenant), person.row, selection.classes),
    )
    if body.dry_run:
        return draft
    id_ = new_id("er")
    job = job_row(ERASURE, tenant, caller.actor, {"erasure": id_}, REMOVE)
    row = {
        "id": id_,
        "tenant": tenant,
        "kind": PERSON,
        "state": BEGUN,
        "subject": person.row,
        "target": "",
        "grounds": body.grounds,
        "job": job["id"],
        "created_by": caller.actor,
        "keys": len(selection.keys),
        "counts": selection.counts,
        "number": 0,
        "removed_at": 0,
        "events": 0,
        "fenced_until": cell.working.suppression_keep.after(cell.clock.now()),
        "reopened_at": 0,
        "reopened_by": None,
    }
    listed_as = [] if cell.directory is None else referred(cell.directory, tenant, [body.subject])
    command = BeginErasure(
        caller,
        request.origin,
        schema.head,
        epochs,
        person,
        row,
        classes=selection.classes,
        listed_as=listed_as,
        job=job,
        request_ref=request_ref,
    )

    def answer(made: tuple[ErasureRow, list[str]], _at: Micros) -> ErasureAnswer:
        begun, held = made
        found = describe(begun, reached(begun, (), begun.created_at), held)
        return msgspec.structs.replace(found, decision=command.decision)

    done = yield repeat.keep(command, answer)
    cell.keyring.forget_data()
    return answer(done.value, done.at)


def read_erasure(cell: Cell, request: Request, erasure: str) -> Verb[ErasureAnswer]:
    """One erasure, and how far it is."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "erasure.read", "erasure:read")
    return shown(cell, stored(cell, erasure, caller.principal.tenant))


def list_erasures(cell: Cell, request: Request, page: Page) -> Verb[Listing]:
    """The tenant's erasures, newest first."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "erasure.list", "erasure:read")
    params = {"tenant": caller.principal.tenant, "below": check_page(page, "er"), "most": page.limit + 1}
    rows = [erasure_row(row) for row in cell.store.read(cell.store.forgetting.erasures_page, params)]
    turns, now = turns_of(cell.store), cell.clock.now()
    answers = [describe(row, reached(row, turns, now), held_by(cell, row)) for row in rows]
    return listing(answers, [row.id for row in rows], page)


def read_status(cell: Cell, request: Request, body: SubjectBody) -> Verb[StatusAnswer]:
    """Whether anything is kept of a person, what holds it, and whether the person was erased."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "subject.status", "erasure:read")
    tenant = caller.principal.tenant
    person, epochs = person_of(cell, tenant, check_subject(body.subject))
    standing = erased_as(cell, person, epochs)
    classes = select(cell, tenant, person.row).classes
    held = holding(holds_of(cell, tenant), person.row, classes)
    return StatusAnswer(
        known=person.row is not None,
        held_by=held,
        erasure=None if standing is None else shown(cell, standing),
    )


def shown(cell: Cell, row: ErasureRow) -> ErasureAnswer:
    """An erasure as it is shown."""
    return describe(row, reached(row, turns_of(cell.store), cell.clock.now()), held_by(cell, row))


def describe(row: ErasureRow, found: Reached, held: list[str]) -> ErasureAnswer:
    """An erasure as it is shown, with what it has reached and what holds it."""
    counts, target = msgspec.json.decode(row.counts), decode_target(row.target)
    return ErasureAnswer(
        id=row.id,
        kind=row.kind,
        grounds=row.grounds,
        level=found.level,
        levels={name: format_time(at) for name, at in found.at.items()},
        keys=row.keys,
        values=counts["values"],
        shared_tokens=counts["shared"],
        held_by=held,
        requested_by=row.created_by,
        class_=target.get("class"),
        due=target.get("due"),
        until=target.get("until"),
        kms_destroyed_due=None if found.due is None else format_time(found.due),
        closed_by_turn=None if found.turn is None else found.turn.opens,
        fenced_until=format_time(row.fenced_until) if row.fenced_until else None,
        reopened=format_time(row.reopened_at) if row.reopened_at else None,
        reopened_by=row.reopened_by,
        job=row.job or None,
    )
