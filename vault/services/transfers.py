"""Transfers of a person's values into another region: asking for one, and what there is to see of it.

An explicit act: with a permission of its own and a legal basis, and only where the cell and the schema of
every field permit it. The work is `transferring`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import Micros, format_time
from vault.errors import BadInput, CoatcheckError, Denied, Unavailable, Unknown
from vault.identifiers import NIL, RowId, format_id, new_id, parse_id
from vault.ledger.command import State, Verb, Writes
from vault.schema.rules import FieldRule, Protection
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.crossing import TOKENS
from vault.services.gate import CallerCommand, Refused, Request, admit, authenticate, trace
from vault.services.hidden import Hidden
from vault.services.holding import check_holds
from vault.services.idempotency import Replayable, once
from vault.services.jobs import DONE, FAILED, JobAnswer, enter_job, job_row, shown_job
from vault.services.listing import Listing, Page, check_limit
from vault.services.selecting import holds_of, select
from vault.services.subjects import check_subject, find
from vault.store.crossing import ArrivalRow, TransferRow
from vault.store.work import JobRow
from vault.tokens.vaulted import encode_many

VERB: Final = "transfer.create"
KIND: Final = "transfer"
SEND: Final = "send"
KEEP: Final = "keep"  # of the job's steps: the pairs of tokens are kept for whoever asked
COPY, MOVE = "copy", "move"
MAX_FIELDS: Final = 100
# GDPR, chapter V: articles 45, 46(2)(a) to (d), 47 and 49(1)(a) to (f); and a person who moved.
LEGAL_BASES: Final = (
    "adequacy_decision",
    "standard_contractual_clauses",
    "binding_corporate_rules",
    "approved_code_or_certification",
    "explicit_consent",
    "contract",
    "public_interest",
    "legal_claims",
    "vital_interests",
    "relocation",
)


class TransferBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Whose values go where, and why that is lawful.

    Attributes:
        mode: `copy` leaves the source as it is; `move` removes what has arrived.
    """

    subject: str
    to: str
    legal_basis: str
    fields: list[str]
    mode: str = COPY


class TransferAnswer(Replayable, frozen=True, omit_defaults=True, kw_only=True):
    """A transfer.

    Attributes:
        state: that of its job: `queued`, `running`, ...; `done` as soon as all has arrived.
        moved: tokens that have arrived.
        refused: tokens that the other region does not take, by code.
        tokens_until: until when `tokens` tells what became of each token.
    """

    id: str
    state: str
    to: str
    mode: str
    legal_basis: str
    fields: list[str]
    job: str
    created: str
    created_by: str
    moved: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    tokens_until: str | None = None
    error: str | None = None


class MovedAnswer(Hidden, frozen=True, omit_defaults=True):
    """What became of a token: the one in the other region, or why there is none."""

    field: str
    old: str
    new: str | None = None
    code: str | None = None


class StartTransfer(CallerCommand):
    """Enters a transfer and its job. Returns from `decide`: both rows."""

    def __init__(
        self, caller: Caller, origin: Origin, schema: TenantSchema, row: dict[str, Any], job: dict[str, Any]
    ) -> None:
        super().__init__(caller, schema.head)
        self._origin = origin
        self._row = row
        self._job = job

    def decide(self, state: State, writes: Writes) -> tuple[TransferRow, JobRow]:
        """Enters them."""
        self.check(state)
        row = TransferRow(**self._row, created_at=state.now)
        writes.insert("transfer", **row._asdict())
        job = enter_job(writes, self._job, state.now)
        facts = {
            "transfer": row.id,
            "job": job.id,
            "to": row.to,
            "mode": row.mode,
            "legal_basis": row.legal_basis,
            "fields": msgspec.json.decode(row.fields),
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        items = {"subjects": {"ids": [format_id("sub", row.subject)]}}
        writes.event(Event("transfer.create", row.tenant, self.caller.actor, facts, items))
        return row, job


def start_transfer(cell: Cell, request: Request, body: TransferBody) -> Verb[TransferAnswer]:
    """Begins a transfer; a worker that has both cells does it.

    Raises:
        Unauthenticated, Denied: the caller may not; `residency_refused`: the cell or a field does not permit
            it; on the record.
        BadInput: the body cannot be taken; `transfer_unsupported`: this process does not have that cell.
        Unknown: `not_found`: nobody is known here by that name.
        Conflict: `hold_active`: a legal hold keeps here what is to be moved.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, VERB, "transfer:create")
    repeat = once(cell, request, caller, VERB, TransferAnswer, body)
    if repeat.replay is not None:
        return repeat.replay
    if body.mode not in (COPY, MOVE):
        raise BadInput("operation_unsupported", member="mode")
    if body.legal_basis not in LEGAL_BASES:
        raise BadInput("operation_unsupported", member="legal_basis")
    fields = sorted(set(body.fields))
    if not 1 <= len(fields) <= MAX_FIELDS:
        raise BadInput("limit_invalid", member="fields", most=MAX_FIELDS)
    check_subject(body.subject)
    tenant = cell.schemas.of(caller.principal.tenant)
    rules = [_rule(tenant, name) for name in fields]
    known = body.to in cell.regions and body.to != cell.region
    if not known or body.to not in cell.transfer_to or any(body.to not in rule.transfer_to for rule in rules):
        where = {"to": body.to} if known else {}  # a name that is ours, never as it came
        refused = Refused(
            caller, request.origin, VERB, "residency_refused", tenant.head, fields=fields, **where
        )
        yield refused
        raise Denied("residency_refused", decision=refused.decision)
    here = body.to in cell.neighbours
    if not here and body.to not in cell.peers:
        raise BadInput("transfer_unsupported")
    subject = find(cell, caller.principal.tenant, [body.subject]).get(body.subject)
    if subject is None:
        raise Unknown("not_found")
    if body.mode == MOVE:  # what is held stays here
        name = caller.principal.tenant
        check_holds(holds_of(cell, name), subject, select(cell, name, subject).classes)
    id_ = new_id("xfer")
    # The way is chosen once: what has arrived is known by it.
    params = {"transfer": id_, "to": body.to} | ({} if here else {"remote": True})
    job = job_row(KIND, caller.principal.tenant, caller.actor, params, SEND)
    row = {
        "id": id_,
        "tenant": caller.principal.tenant,
        "subject": subject,
        "to": body.to,
        "fields": msgspec.json.encode(fields).decode(),
        "legal_basis": body.legal_basis,
        "mode": body.mode,
        "job": job["id"],
        "created_by": caller.actor,
    }
    command = StartTransfer(caller, request.origin, tenant, row, job)
    done = yield repeat.keep(command, lambda rows, _at: shown(*rows))
    return shown(*done.value)


def _rule(tenant: TenantSchema, name: str) -> FieldRule:
    """The rule of a field whose values have rows.

    Raises:
        BadInput: `field_unknown`, `operation_unsupported`.
    """
    rule = tenant.schema.fields.get(name)
    if rule is None:
        raise BadInput("field_unknown")
    if rule.protection is not Protection.VAULTED:
        raise BadInput("operation_unsupported", field=rule.name)
    return rule


def read_transfer(cell: Cell, request: Request, transfer: str) -> Verb[TransferAnswer]:
    """One transfer, where it began."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "transfer.read", "transfer:read")
    row = stored(cell, transfer, caller.principal.tenant)
    return shown(row, _job(cell, row))


def list_moved(cell: Cell, request: Request, transfer: str, page: Page) -> Verb[Listing]:
    """What became of the tokens of a transfer, in the order of their rows.

    Only row ids are kept of it, in the other cell; tokens are made of them here, with both cells' keys.

    Raises:
        BadInput: `transfer_unsupported`: this process does not have that cell.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "transfer.tokens", "transfer:read")
    row = stored(cell, transfer, caller.principal.tenant)
    remote = bool(msgspec.json.decode(_job(cell, row).params).get("remote"))
    if row.to not in (cell.peers if remote else cell.neighbours):
        raise BadInput("transfer_unsupported")
    check_limit(page)
    above = b""
    if page.cursor is not None:
        try:
            above = parse_id("sub", page.cursor)
        except ValueError:
            raise BadInput("parameter_invalid", parameter="cursor") from None
    if remote:
        return _list_remote(cell, row, above, page.limit)
    other = cell.neighbours[row.to]
    params = {"of_transfer": row.id, "above": above, "most": page.limit + 1}
    found = [ArrivalRow(*one) for one in other.store.read(other.store.crossing.arrivals_page, params)]
    rows = found[: page.limit]
    old = tokens_of(cell, row.tenant, [(one.field, bytes(one.source)) for one in rows])
    new = tokens_of(other, row.tenant, [(one.field, bytes(one.token)) for one in rows])
    items = [
        MovedAnswer(one.field, before, after if one.token != NIL else None, one.code or None)
        for one, before, after in zip(rows, old, new, strict=True)
    ]
    more = format_id("sub", bytes(rows[-1].source)) if len(found) > page.limit else None
    return Listing(items, more)


def _list_remote(cell: Cell, row: TransferRow, above: bytes, limit: int) -> Listing:
    """The same, where the other cell says what it has made of each.

    Raises:
        Unavailable: `region_unavailable`, whatever the other region says: it is not the caller's to mend.
    """
    try:
        found = cell.peers[row.to].send(
            row.id, 0, step=TOKENS, tenant=row.tenant, above=above.hex(), most=limit + 1
        )
        sources = [bytes.fromhex(one.source) for one in found]
        if len(found) > limit + 1 or any(len(source) != len(NIL) for source in sources):
            raise Unavailable("region_unavailable")
    except (CoatcheckError, ValueError):
        raise Unavailable("region_unavailable") from None
    old = tokens_of(
        cell, row.tenant, [(one.field, source) for one, source in zip(found, sources, strict=True)]
    )
    items = [
        MovedAnswer(one.field, before, one.token or None, one.code or None)
        for one, before in zip(found[:limit], old, strict=False)
    ]
    more = format_id("sub", sources[limit - 1]) if len(found) > limit else None
    return Listing(items, more)


def tokens_of(cell: Cell, tenant: str, rows: list[tuple[str, bytes]]) -> list[str]:
    """The tokens of rows, opaque or shaped."""
    made: dict[bytes, str] = {}
    for found in cell.store.read_keys(cell.store.custody.claims, sorted({row for _, row in rows})):
        if found[3] is not None:
            made[bytes(found[0])] = found[3]
    opaque: dict[str, list[bytes]] = defaultdict(list)
    for field, row in rows:
        if row not in made:
            opaque[field].append(row)
    for field, those in opaque.items():
        tokens = encode_many(cell.keyring.row_ids(tenant, field), [RowId(row) for row in those])
        made.update(zip(those, tokens, strict=True))
    return [made[row] for _, row in rows]


def stored(cell: Cell, transfer: str, tenant: str | None = None) -> TransferRow:
    """A transfer's row.

    Raises:
        Unknown: `not_found`.
    """
    try:
        parse_id("xfer", transfer)
    except ValueError:
        raise Unknown("not_found") from None
    for found in cell.store.read(cell.store.crossing.transfer, {"transfer_id": transfer}):
        row = TransferRow(*found)._replace(subject=bytes(found[2]))
        if tenant in (None, row.tenant):
            return row
    raise Unknown("not_found")


def _job(cell: Cell, row: TransferRow) -> JobRow:
    for found in cell.store.read_keys(cell.store.work.jobs, [row.job]):
        return JobRow(*found)
    raise Unknown("not_found")


def shown(row: TransferRow, job: JobRow) -> TransferAnswer:
    """A transfer as it is shown."""
    work: JobAnswer = shown_job(job)
    cursor = msgspec.json.decode(job.cursor)
    arrived = job.step == KEEP or job.state == DONE
    until: Micros = cursor.get("until", 0)
    return TransferAnswer(
        id=row.id,
        state=DONE if arrived and job.state != FAILED else job.state,
        to=row.to,
        mode=row.mode,
        legal_basis=row.legal_basis,
        fields=msgspec.json.decode(row.fields),
        job=row.job,
        created=format_time(row.created_at),
        created_by=row.created_by,
        moved=job.done,
        refused=cursor.get("refused", {}),
        tokens_until=format_time(until) if until and job.state != DONE else None,
        error=work.error,
    )
