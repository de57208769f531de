"""Legal holds: what is kept though it is due, until two people have agreed to its end.

A hold is in force from the moment it is asked for: what it is to keep would be gone by the time that a second
person has looked. That person confirms it afterwards; its end is asked for by one and agreed to by another.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import Micros, format_time
from vault.errors import BadInput, Conflict, Denied, Stale, Unknown
from vault.identifiers import format_id, new_id, parse_id
from vault.ledger.command import Needs, State, Verb, Writes
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Refused, Request, admit, authenticate, person, trace
from vault.services.grant_body import check_text
from vault.services.hidden import Hidden
from vault.services.holding import CLASS, SUBJECT, TENANT
from vault.services.idempotency import Replayable, once
from vault.services.listing import Listing, Page, check_page, listing
from vault.services.selecting import erased_as, person_of
from vault.services.subjects import check_subject
from vault.store.forgetting import HoldRow, hold_row

ACTIVE: Final = "active"
RELEASING: Final = "releasing"
RELEASED: Final = "released"


class HoldBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True, kw_only=True):
    """What to hold, by exactly one of the first four, and why.

    Attributes:
        field: its retention class: values that are due together lie under keys that they share.
        class_: a retention class of the schema.
        everything: true: all that the tenant keeps.
    """

    reason: str
    subject: str | None = None
    field: str | None = None
    class_: str | None = msgspec.field(default=None, name="class")
    everything: bool = False


class HoldReasonBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """Why."""

    reason: str


class HoldAnswer(Replayable, frozen=True, omit_defaults=True, kw_only=True):
    """A legal hold.

    Attributes:
        kind: `subject`, `class` or `tenant`.
        subject: the person's row, not an identifier.
        state: `active`; `releasing`: in force, and its end is asked for; `released`.
        confirmed_by: the second person who agreed that it is there.
    """

    id: str
    kind: str
    state: str
    reason: str
    created_by: str
    created_at: str
    subject: str | None = None
    class_: str | None = msgspec.field(default=None, name="class")
    confirmed_by: str | None = None
    confirmed_at: str | None = None
    release_asked_by: str | None = None
    release_asked_at: str | None = None
    release_reason: str | None = None
    released_by: str | None = None
    released_at: str | None = None
    decision: str | None = None


class CreateHold(CallerCommand):
    """Puts a hold in force. Bumps the fence: what is being removed is decided again."""

    alone = True

    def __init__(
        self, caller: Caller, origin: Origin, row: dict[str, Any], schema_head: int | None = None
    ) -> None:
        super().__init__(caller, schema_head)
        self.decision = new_id("dec")
        self._origin = origin
        self._row = row

    def decide(self, state: State, writes: Writes) -> HoldRow:
        """Notes it."""
        self.check(state)
        row = HoldRow(**self._row, created_at=state.now)
        writes.insert("hold", **row._asdict())
        writes.fence_by += 1
        _event(self, self._origin, writes, "hold.create", row, row.reason)
        return row


class ChangeHold(CallerCommand):
    """Confirms a hold, asks for its end, or decides on that.

    Returns from `decide`: the row as it then is. Stale if it has changed since it was read.
    """

    alone = True

    def __init__(self, caller: Caller, origin: Origin, row: HoldRow, what: str, reason: str) -> None:
        super().__init__(caller)
        self.decision = new_id("dec")
        self._origin = origin
        self._row = row
        self._what = what
        self._reason = reason

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the tenant's holds."""
        super().needs(needs)
        needs.holds.add(self._row.tenant)

    def decide(self, state: State, writes: Writes) -> HoldRow:
        """Changes it. A release bumps the fence and wakes the jobs that wait for one."""
        self.check(state)
        row, by, at = self._row, self.caller.actor, state.now
        if row not in state.holds[row.tenant]:
            raise Stale
        change: dict[str, Any] = {"hold_id": row.id, "by": by, "at": at}
        match self._what:
            case "hold.confirm":
                writes.change("confirm_hold", [change])
                row = row._replace(confirmed_by=by, confirmed_at=at)
            case "hold.release_asked":
                writes.change("ask_release", [{**change, "why": self._reason}])
                row = row._replace(
                    state=RELEASING, release_asked_by=by, release_asked_at=at, release_reason=self._reason
                )
            case "hold.keep":
                writes.change("keep_hold", [{"hold_id": row.id}])
                row = row._replace(
                    state=ACTIVE, release_asked_by=None, release_asked_at=0, release_reason=None
                )
            case _:
                writes.change("release_hold", [change])
                writes.update("wake_held", of_tenant=row.tenant, at=at)
                writes.fence_by += 1
                row = row._replace(state=RELEASED, released_by=by, released_at=at)
        _event(self, self._origin, writes, self._what, row, self._reason)
        return row


def create_hold(cell: Cell, request: Request, body: HoldBody) -> Verb[HoldAnswer]:
    """Holds what is kept of a person, of a retention class, or of the tenant. In force at once.

    Raises:
        BadInput: `field_unknown`, `limit_invalid`, `member_missing`, `subject_invalid`.
        Unknown: `not_found`: nobody is known by that name; no such class.
        Conflict: `subject_erased`: the person's keys are gone.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "hold.create", "hold:create")
    repeat = once(cell, request, caller, "hold.create", HoldAnswer, body)
    if repeat.replay is not None:
        return repeat.replay
    reason = _reason(body.reason)
    kind, subject, name = _target(cell, caller.principal.tenant, body)
    row: dict[str, Any] = {
        "id": new_id("hold"),
        "tenant": caller.principal.tenant,
        "kind": kind,
        "subject": subject,
        "name": name,
        "state": ACTIVE,
        "reason": reason,
        "created_by": caller.actor,
        "confirmed_by": None,
        "confirmed_at": 0,
        "release_asked_by": None,
        "release_asked_at": 0,
        "release_reason": None,
        "released_by": None,
        "released_at": 0,
    }
    command = CreateHold(caller, request.origin, row, cell.schemas.of(caller.principal.tenant).head)

    def answer(made: HoldRow, _at: Micros) -> HoldAnswer:
        return msgspec.structs.replace(_shown(made), decision=command.decision)

    done = yield repeat.keep(command, answer)
    return answer(done.value, done.at)


def confirm_hold(cell: Cell, request: Request, hold: str, body: HoldReasonBody) -> Verb[HoldAnswer]:
    """Agrees to a hold that somebody else made.

    Raises:
        Denied: `self_approval`: one's own; on the record.
        Conflict: `version_conflict`: it has ended.
    """
    return (yield from _change(cell, request, hold, "hold.confirm", body))


def ask_release(cell: Cell, request: Request, hold: str, body: HoldReasonBody) -> Verb[HoldAnswer]:
    """Asks for the end of a hold; it stays in force until somebody else agrees.

    Raises:
        Conflict: `version_conflict`: it has ended, or its end is asked for.
    """
    return (yield from _change(cell, request, hold, "hold.release_asked", body))


def approve_release(cell: Cell, request: Request, hold: str, body: HoldReasonBody) -> Verb[HoldAnswer]:
    """Ends a hold whose end somebody else asked for. What was due goes on at once.

    Raises:
        Denied: `self_approval`: one asked for it oneself; on the record.
        Conflict: `version_conflict`: nobody asked for its end, or it has ended.
    """
    return (yield from _change(cell, request, hold, "hold.release", body))


def keep_hold(cell: Cell, request: Request, hold: str, body: HoldReasonBody) -> Verb[HoldAnswer]:
    """Does not agree to a hold's end, or takes back that one asked for it: it stays.

    Raises:
        Conflict: `version_conflict`: nobody asked for its end.
    """
    return (yield from _change(cell, request, hold, "hold.keep", body))


def read_hold(cell: Cell, request: Request, hold: str) -> Verb[HoldAnswer]:
    """One legal hold."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "hold.read", "erasure:read")
    return _shown(_read(cell, caller, hold))


def list_holds(cell: Cell, request: Request, page: Page) -> Verb[Listing]:
    """The tenant's legal holds, those that have ended too, newest first."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "hold.list", "erasure:read")
    params = {"tenant": caller.principal.tenant, "below": check_page(page, "hold"), "most": page.limit + 1}
    rows = [hold_row(row) for row in cell.store.read(cell.store.forgetting.holds_page, params)]
    return listing([_shown(row) for row in rows], [row.id for row in rows], page)


def _change(cell: Cell, request: Request, hold: str, what: str, body: HoldReasonBody) -> Verb[HoldAnswer]:
    asks = what in ("hold.release_asked", "hold.keep")
    caller = authenticate(cell, request) if asks else person(cell, request)
    yield from admit(cell, caller, request.origin, what, "hold:decide")
    repeat = once(cell, request, caller, what, HoldAnswer, hold, body)
    if repeat.replay is not None:
        return repeat.replay
    reason = _reason(body.reason)
    row = _read(cell, caller, hold)
    # Who must be somebody else; and the state in which it can be done.
    first = row.created_by if what == "hold.confirm" else row.release_asked_by
    if not asks and first == caller.actor:
        refused = Refused(caller, request.origin, what, "self_approval", hold=row.id)
        yield refused
        raise Denied("self_approval", decision=refused.decision)
    fits = {
        "hold.confirm": not row.confirmed_at and not row.released_at,
        "hold.release_asked": row.state == ACTIVE,
    }.get(what, row.state == RELEASING)
    if not fits:
        raise Conflict("version_conflict")
    command = ChangeHold(caller, request.origin, row, what, reason)

    def answer(changed: HoldRow, _at: Micros) -> HoldAnswer:
        return msgspec.structs.replace(_shown(changed), decision=command.decision)

    done = yield repeat.keep(command, answer)
    return answer(done.value, done.at)


def _target(cell: Cell, tenant: str, body: HoldBody) -> tuple[str, bytes | None, str]:
    """What a hold names: kind, the person's row, and the class."""
    named = [body.subject is not None, body.field is not None, body.class_ is not None, body.everything]
    if sum(named) != 1:
        raise BadInput("member_missing", reason="one of subject, field, class and everything is meant")
    if body.everything:
        return TENANT, None, ""
    schema = cell.schemas.of(tenant).schema
    if body.field is not None:
        rule = schema.fields.get(body.field)
        if rule is None:
            raise BadInput("field_unknown", member="field")
        return CLASS, None, rule.row_class
    if body.class_ is not None:
        if body.class_ not in schema.retention:
            raise Unknown("not_found")
        return CLASS, None, body.class_
    found, epochs = person_of(cell, tenant, check_subject(body.subject or ""))
    if found.row is not None:
        return SUBJECT, found.row, ""
    erasure = erased_as(cell, found, epochs)
    if erasure is None or erasure.subject is None:
        raise Unknown("not_found")
    if erasure.removed_at:
        raise Conflict("subject_erased")
    return SUBJECT, erasure.subject, ""


def _read(cell: Cell, caller: Caller, hold: str) -> HoldRow:
    try:
        parse_id("hold", hold)
    except ValueError:
        raise Unknown("not_found") from None
    rows = cell.store.read(cell.store.forgetting.hold, {"hold_id": hold})
    if not rows or rows[0][1] != caller.principal.tenant:
        raise Unknown("not_found")
    return hold_row(rows[0])


def _reason(text: str) -> str:
    reason = check_text(text)
    if not reason or not reason.strip():
        raise BadInput("member_missing", member="reason")
    return reason


def _event(
    command: CreateHold | ChangeHold, origin: Origin, writes: Writes, kind: str, row: HoldRow, why: str
) -> None:
    facts = {"hold": row.id, "of": row.kind, "credential": command.caller.api_key, **trace(origin)}
    if row.name:
        facts["class"] = row.name
    items: dict[str, Any] = {"reason": why}
    if row.subject is not None:
        items["subjects"] = {"ids": [format_id("sub", row.subject)]}
    writes.event(Event(kind, row.tenant, command.caller.actor, facts, items, command.decision))


def _shown(row: HoldRow) -> HoldAnswer:
    return HoldAnswer(
        id=row.id,
        kind=row.kind,
        state=row.state,
        reason=row.reason,
        created_by=row.created_by,
        created_at=format_time(row.created_at),
        subject=None if row.subject is None else format_id("sub", row.subject),
        class_=row.name or None,
        confirmed_by=row.confirmed_by,
        confirmed_at=_time(row.confirmed_at),
        release_asked_by=row.release_asked_by,
        release_asked_at=_time(row.release_asked_at),
        release_reason=row.release_reason,
        released_by=row.released_by,
        released_at=_time(row.released_at),
    )


def _time(at: Micros) -> str | None:
    return format_time(at) if at else None
