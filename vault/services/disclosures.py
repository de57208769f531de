"""Who saw a person: when, which fields, and for which purpose, as the audit log has it.

GDPR, article 15(1)(a) and (c); HIPAA, 45 CFR 164.528(b)(2): date, recipient, brief description, purpose.
Disclosures that are equal but for their time are one line with the first, the last and their number, as
164.528(b)(3) has it. The log knows people by their rows: it says nothing of somebody who was erased.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vault.clock import Micros, format_time, parse_time
from vault.errors import BadInput, IntegrityError
from vault.identifiers import format_id
from vault.ledger.command import Verb
from vault.schema.document import Schema
from vault.services.audit import number_at
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.subjects import check_subject, find

STEP: Final = 50_000
"""Numbers of the log that one statement looks through."""
MAX_EVENTS: Final = 1_000_000
"""Those that one request looks through; some seconds. Then `next` says where to go on."""
MAX_FOUND: Final = 5_000
"""Events of one request that are looked at closely."""
CORRECTED_WITHIN: Final = 10_000  # numbers after which no event takes back what another said
MANY: Final = (
    b'"subjects":{"count":'  # of items that count people and do not name them (`audit.event.listed`)
)
TAKEN_BACK: Final = b'"after_commit":1'


class DisclosuresBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Whose disclosures, and of which time: from (included) and until (excluded), RFC 3339.

    Attributes:
        cursor: the `next` of the answer before.
    """

    subject: str
    from_: str | None = msgspec.field(default=None, name="from")
    until: str | None = None
    cursor: str | None = None


class Disclosure(Hidden, frozen=True, omit_defaults=True, kw_only=True):
    """One disclosure, or a series of equal ones.

    Attributes:
        recipient: who was shown it: an agent, an operator, or a region.
        on_behalf_of: for whom, as the grant's creator named them.
        operation: `reveal`, `mask`, `derive`, `verify`; `transfer`.
        fields: of the use. Where it showed values of others too, some may be theirs alone.
        with_others: whether it did.
        purpose, description: by the schema in force; `legal_basis`, `disclosure_class` as they were then.
        decision: of the first.
    """

    first: str
    last: str
    count: int
    recipient: str
    on_behalf_of: str | None = None
    operation: str
    shown_as: str | None = None
    delivery: str | None = None
    fields: tuple[str, ...]
    with_others: bool = False
    purpose: str
    description: str
    legal_basis: str
    disclosure_class: str
    decision: str | None = None


_SAME: Final = [
    name for name in Disclosure.__struct_fields__ if name not in ("first", "last", "count", "decision")
]


class DisclosuresReport(Hidden, frozen=True, kw_only=True):
    """Who saw a person.

    Attributes:
        known: whether anything is kept under that name. If not, nothing is known of who saw it.
        person: the person's row.
        disclosures: those to which the log names the person, by their first.
        possible: uses that showed more than 1,000 people at once, whom the log counts and does not name.
        next: where to go on, as `cursor`; None: the log was looked through.
    """

    as_of: str
    region: str
    tenant: str
    known: bool
    person: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    until: str | None = None
    next: str | None = None
    disclosures: list[Disclosure]
    possible: list[Disclosure]


@dataclass(frozen=True, slots=True, repr=False)
class _Found:
    """An event that shows people to somebody."""

    event: Mapping[str, Any]
    named: bool
    others: bool


def disclosures_report(cell: Cell, request: Request, body: DisclosuresBody) -> Verb[DisclosuresReport]:
    """Who saw a person, as far as the log names them.

    Raises:
        BadInput: `subject_invalid`; `validity_invalid`: no times, or the end is before the beginning;
            `parameter_invalid`: no cursor of ours.
        IntegrityError: `integrity_failed`.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "report.disclosures", "report:read")
    tenant, now = caller.principal.tenant, cell.clock.now()
    subject = check_subject(body.subject)
    after, before = _time(body.from_, "from", 0), _time(body.until, "until", None)
    if after is not None and before is not None and before < after:
        raise BadInput("validity_invalid", member="until")
    start = _cursor(body.cursor)
    row = find(cell, tenant, [subject]).get(subject)
    said: dict[str, Any] = {
        "as_of": format_time(now),
        "region": cell.region,
        "tenant": tenant,
        "from_": body.from_ and format_time(after or 0),
        "until": body.until and format_time(before or 0),
    }
    if row is None:
        return DisclosuresReport(known=False, disclosures=[], possible=[], **said)
    person = format_id("sub", row)
    first = max(start, number_at(cell.store, after or 0))
    head = int(cell.store.read(cell.store.record.head)[0][1])
    end = head if before is None else number_at(cell.store, before)
    found, following = _look(cell, tenant, person, first, end)
    schema = cell.schemas.of(tenant, fresh=True).schema
    told = _Told(cell, schema, found)
    return DisclosuresReport(
        known=True,
        person=person,
        disclosures=told.fold(lambda one: one.named),
        possible=told.fold(lambda one: not one.named),
        next=following,
        **said,
    )


def _look(cell: Cell, tenant: str, person: str, first: int, end: int) -> tuple[list[_Found], str | None]:
    """The events in which a person was shown, of the numbers from `first` on, and where to go on."""
    sought = {"person": f'"{person}"'.encode(), "many": MANY, "taken_back": TAKEN_BACK}
    found: list[_Found] = []
    back: set[str] = set()
    at, stop, left = first, min(end, first + MAX_EVENTS), MAX_FOUND
    while at < stop and left:
        until = min(at + STEP, stop)
        params = {"first": at, "end": until, "most": left, **sought}
        rows = cell.store.read(cell.store.reporting.events_naming, params)
        for row in rows:
            event = _decoded(row[1])
            if event.get("after_commit"):
                back.add(str(event.get("decision")))
            elif event.get("tenant") == tenant:
                found += _shown(event, row[2], person)
        at = until if len(rows) < left else rows[-1][0] + 1
        left -= len(rows)
    # What is taken back is so at once, but perhaps behind the last event that was looked at.
    behind = {"first": at, "end": at + CORRECTED_WITHIN, "needle": TAKEN_BACK, "most": MAX_FOUND}
    rows = cell.store.read(cell.store.oversight.events_with, behind)
    back.update(str(_decoded(bytes(row[1])).get("decision")) for row in rows)
    kept = [one for one in found if one.event.get("decision") not in back]
    return kept, None if at >= end else str(at)


def _shown(event: Mapping[str, Any], items: bytes | None, person: str) -> Iterator[_Found]:
    """An event, if people were shown in it, to somebody."""
    if event.get("kind") not in _READERS or items is None:
        return
    if event.get("outcome") == "denied" or event.get("told") == 0:
        return
    subjects = _decoded(items).get("subjects", {})
    if "count" in subjects:
        yield _Found(event, named=False, others=True)
    elif person in subjects.get("ids", ()):
        yield _Found(event, named=True, others=len(subjects["ids"]) > 1)


class _Told:
    """Disclosures as they are told."""

    def __init__(self, cell: Cell, schema: Schema, found: list[_Found]) -> None:
        self._schema = schema
        self._found = found
        ids = sorted({str(one.event["grant"]) for one in found if "grant" in one.event})
        rows = cell.store.read_keys(cell.store.reporting.grants_told, ids)
        self._grants = {id_: (purpose, whom) for id_, purpose, whom in rows}

    def fold(self, those: Callable[[_Found], bool]) -> list[Disclosure]:
        """Those of them, equal ones as one, by their first."""
        series: dict[tuple[Any, ...], Disclosure] = {}
        for one in filter(those, self._found):
            made = self._line(one)
            key = tuple(getattr(made, name) for name in _SAME)
            before = series.get(key)
            if before is not None:
                made = msgspec.structs.replace(before, last=made.last, count=before.count + 1)
            series[key] = made
        return list(series.values())

    def _line(self, one: _Found) -> Disclosure:
        event = one.event
        purpose, whom = self._grants.get(event.get("grant", ""), ("", None))
        name = str(event.get("purpose", purpose))
        rule = self._schema.purposes.get(name)
        basis, class_ = (rule.legal_basis, rule.disclosure_class) if rule else ("", "")
        return Disclosure(
            first=event["at"],
            last=event["at"],
            count=1,
            on_behalf_of=whom,
            fields=_fields(event),
            with_others=one.others,
            purpose=name,
            description=rule.description if rule else "",
            legal_basis=str(event.get("legal_basis", basis)),
            disclosure_class=str(event.get("disclosure_class", class_)),
            decision=event.get("decision"),
            **_READERS[event["kind"]](event),
        )


def _used(event: Mapping[str, Any]) -> dict[str, Any]:
    """A use of a grant."""
    return {
        "recipient": event["actor"],
        "operation": event["operation"],
        "shown_as": event.get("mask") or event.get("derive"),
        "delivery": event["delivery"],
    }


def _previewed(event: Mapping[str, Any]) -> dict[str, Any]:
    """What a mask shows to whoever is to approve a use."""
    masks = ", ".join(event.get("masks", ()))
    return {"recipient": event["actor"], "operation": event["operation"], "shown_as": masks or None}


def _sent(event: Mapping[str, Any]) -> dict[str, Any]:
    """A transfer into another region."""
    return {"recipient": f"region:{event['to']}", "operation": "transfer", "shown_as": event.get("mode")}


_READERS: Final[dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "approval.preview": _previewed,
    "decrypt": _used,
    "detokenize": _used,
    "transfer.send": _sent,
    "verify": _used,
}
TELLING: Final = _READERS.keys()
"""The kinds of events in which somebody is shown something of a person, or in which it goes elsewhere."""


def _fields(event: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of which at least one value was told."""
    entries = event.get("fields", ())
    told = (e for e in entries if "items" not in e or e["items"] > sum(e.get("failed", {}).values()))
    return tuple(sorted(entry["field"] for entry in told))


def _time(text: str | None, member: str, default: Micros | None) -> Micros | None:
    try:
        return default if text is None else parse_time(text)
    except ValueError:
        raise BadInput("validity_invalid", member=member) from None


def _cursor(text: str | None) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadInput("parameter_invalid", parameter="cursor")
    return int(text)


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, TypeError, UnicodeDecodeError):
        raise IntegrityError("integrity_failed") from None
