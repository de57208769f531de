"""Events that values' time counts from: an account was closed, a contract ended."""

from __future__ import annotations

from typing import Final

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import SECOND, Micros, format_time, parse_time
from vault.errors import BadInput, Stale, Unknown
from vault.identifiers import format_id, new_id
from vault.ledger.command import Needs, State, Verb, Writes
from vault.retention.period import due_at_on_event, retention_class
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.selecting import person_of
from vault.services.subjects import check_subject

AHEAD: Final[Micros] = 300 * SECOND  # that a caller's clock may be


class EventBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What took place.

    Attributes:
        event: a name that a retention class of the schema counts from.
        subject: to whom.
        at: when, RFC 3339; None: now.
    """

    event: str
    subject: str
    at: str | None = None


class ToldAnswer(Replayable, frozen=True, omit_defaults=True, kw_only=True):
    """What came of it.

    Attributes:
        at: when it took place: the latest that was told.
        due: when what was kept until then falls due, by retention class.
    """

    event: str
    at: str
    due: dict[str, str]
    decision: str | None = None


class NoteEvent(CallerCommand):
    """Notes an event, and moves the dates of what it ends. Stale if the person is erased meanwhile."""

    alone = True

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        head: int,
        person: bytes,
        event: str,
        at: Micros,
        due: dict[str, Micros],
    ) -> None:
        super().__init__(caller, head)
        self.decision = new_id("dec")
        self._origin = origin
        self._person = person
        self._event = event
        self._at = at
        self._due = due

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the person. Nothing is made for the person meanwhile."""
        super().needs(needs)
        needs.subjects.add(self._person)
        needs.settled = True

    def decide(self, state: State, writes: Writes) -> None:
        """Moves the dates, also to earlier ones."""
        self.check(state)
        if self._person not in state.subjects:
            raise Stale
        tenant = self.caller.principal.tenant
        writes.update("insert_subject_event", subject=self._person, event=self._event, at=self._at)
        for class_, to in sorted(self._due.items()):
            writes.update("set_due", of_tenant=tenant, of_subject=self._person, of_class=class_, to=to)
        facts = {
            "event": self._event,
            "due": {class_: format_time(at) for class_, at in self._due.items()},
            **trace(self._origin),
        }
        items = {"subjects": {"ids": [format_id("sub", self._person)]}}
        writes.event(Event("retention.event", tenant, self.caller.actor, facts, items, self.decision))


def report_event(cell: Cell, request: Request, body: EventBody) -> Verb[ToldAnswer]:
    """Starts the time that a person's values are kept after an event. Telling it again changes nothing.

    What is made later waits for the next one.

    Raises:
        BadInput: `event_unknown`: no class counts from it; `parameter_invalid`: `at` is no time, or to come.
        Unknown: `not_found`: nobody is known by that name.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "event.report", "event:report")
    repeat = once(cell, request, caller, "event.report", ToldAnswer, body)
    if repeat.replay is not None:
        return repeat.replay
    tenant = caller.principal.tenant
    schema = cell.schemas.of(tenant)
    kept = [retention_class(rule) for rule in schema.schema.retention.values() if rule.event == body.event]
    if not kept:
        raise BadInput("event_unknown", member="event")
    at = _instant(cell, body.at)
    found, _ = person_of(cell, tenant, check_subject(body.subject))
    if found.row is None:
        raise Unknown("not_found")
    told = cell.store.read_keys(cell.store.expiring.events_of, [body.event], of_subject=found.row)
    before: Micros | None = told[0][1] if told else None
    due = {one.name: due_at_on_event(one, at, before) for one in kept}
    latest, decision = max(at, before or 0), ""

    def answer(_: None, _at: Micros) -> ToldAnswer:
        ends = {class_: format_time(to) for class_, to in due.items()}
        return ToldAnswer(event=body.event, at=format_time(latest), due=ends, decision=decision or None)

    if before is not None and at <= before:
        return answer(None, at)
    command = NoteEvent(caller, request.origin, schema.head, found.row, body.event, latest, due)
    decision = command.decision
    done = yield repeat.keep(command, answer)
    return answer(done.value, done.at)


def _instant(cell: Cell, at: str | None) -> Micros:
    now = cell.clock.now()
    if at is None:
        return now
    try:
        told = parse_time(at)
    except ValueError:
        raise BadInput("parameter_invalid", parameter="at") from None
    if not 0 < told <= now + AHEAD:
        raise BadInput("parameter_invalid", parameter="at")
    return told
