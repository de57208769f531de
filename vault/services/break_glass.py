"""Break-glass: a short grant past its creator's ceiling, active at once, which somebody else has to review.

It is marked in every event of its use, people are told of it, and until it was reviewed it is listed; when
the review is late, `doctor` and a metric say so.
"""

from __future__ import annotations

from typing import Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import DAY, SECOND, Micros, format_time
from vault.errors import BadInput, Conflict, Denied, Unknown
from vault.identifiers import new_id, parse_id
from vault.ledger.command import Needs, State, Verb, Writes
from vault.policy.grant import Proposal
from vault.policy.principal import Ceiling
from vault.services.binding import bound_schema
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Refused, Request, admit, authenticate, person, trace
from vault.services.grant_body import GrantBody, check_text, instant
from vault.services.grant_views import GrantAnswer, GrantReplay
from vault.services.grants import Bounds, make_grant
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.listing import Listing, Page, check_page
from vault.services.notices import BROKEN_GLASS, tell
from vault.store.approving import BreakGlassRow
from vault.store.cell import Store

LONGEST_S: Final = 3_600
LONGEST: Final = Ceiling(ttl="PT1H")
MOST_USES: Final = 100
LATEST_REVIEW: Final[Micros] = 7 * DAY
VERDICTS: Final = ("justified", "unjustified")


class BreakGlassBody(GrantBody, forbid_unknown_fields=True, frozen=True, omit_defaults=True, kw_only=True):
    """A grant past a ceiling.

    Attributes:
        review_by: when somebody else must have reviewed it, RFC 3339; within seven days.
    """

    review_by: str


class GlassReviewBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What a review found: `justified` or `unjustified`."""

    verdict: str
    note: str | None = None


class BreakGlassAnswer(Replayable, frozen=True, omit_defaults=True):
    """A grant past a ceiling, and its review.

    Attributes:
        overdue: whether the review is late.
    """

    grant: str
    created_by: str
    created_at: str
    review_by: str
    overdue: bool = False
    reviewed_at: str | None = None
    reviewed_by: str | None = None
    verdict: str | None = None
    note: str | None = None
    decision: str | None = None


class ReviewBreakGlass(CallerCommand):
    """Closes the review of a grant."""

    def __init__(self, caller: Caller, origin: Origin, row: BreakGlassRow, body: GlassReviewBody) -> None:
        super().__init__(caller)
        self.decision = new_id("dec")
        self._origin = origin
        self._row = row
        self._body = body

    def needs(self, needs: Needs) -> None:
        """The caller's rows, and the grant's, whose lock the review has."""
        super().needs(needs)
        needs.grants.add(self._row.grant)

    def decide(self, state: State, writes: Writes) -> None:
        """Closes it. If somebody else was first, this comes back stale, and finds that."""
        self.check(state)
        row, body = self._row, self._body
        of = {"grant_id": row.grant, "at": state.now, "by": self.caller.principal.id}
        writes.change("review_break_glass", [{**of, "found": body.verdict, "told": body.note}])
        facts = {
            "grant": row.grant,
            "verdict": body.verdict,
            "late": 1 if state.now >= row.review_by else 0,
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        texts = {} if body.note is None else {"reason": body.note}
        tenant, actor = self.caller.principal.tenant, self.caller.actor
        writes.event(Event("break-glass.review", tenant, actor, facts, texts, self.decision))


def break_glass(cell: Cell, request: Request, body: BreakGlassBody) -> Verb[GrantAnswer]:
    """Creates a grant past the creator's ceiling.

    Raises:
        BadInput: `member_missing` of the reason; `operation_unsupported`: something that it cannot have;
            `limit_invalid`, `validity_invalid`: too much, for too long, or reviewed too late.
        Denied: the purpose does not allow it; on the record.
    """
    verb = "break-glass.create"
    caller = person(cell, request)
    schema = bound_schema(cell, request, caller)
    yield from admit(cell, caller, request.origin, verb, "break-glass:create", schema=schema)
    if not body.reason:
        raise BadInput("member_missing", member="reason")
    for member in ("approval", "delegation"):
        if getattr(body, member) is not None:
            raise BadInput("operation_unsupported", member=member)
    if body.valid.from_ is not None:
        raise BadInput("operation_unsupported", member="from")
    if body.limits.uses > MOST_USES:
        raise BadInput("limit_invalid", member="uses", most=MOST_USES)
    now = cell.clock.now()
    if body.valid.until is not None and instant(body.valid.until, "until") > now + LONGEST_S * SECOND:
        raise BadInput("validity_invalid", member="until", most_seconds=LONGEST_S)
    review_by = instant(body.review_by, "review_by")
    if not now < review_by <= now + LATEST_REVIEW:
        raise BadInput("validity_invalid", member="review_by", most_seconds=LATEST_REVIEW // SECOND)
    repeat = once(cell, request, caller, verb, GrantReplay, body)
    if repeat.replay is not None:
        return repeat.replay

    def along(at: Micros, writes: Writes, proposal: Proposal, grant: str) -> None:
        tenant = caller.principal.tenant
        writes.insert(
            "break_glass",
            grant=grant,
            tenant=tenant,
            created_by=caller.principal.id,
            created_at=at,
            review_by=review_by,
            reviewed_at=0,
            reviewed_by=None,
            verdict="",
            note=None,
        )
        tell(cell.channels, writes, at, BROKEN_GLASS, tenant, grant, proposal.agent, proposal.purpose)

    bounds = Bounds(verb, LONGEST, past=True)
    return (yield from make_grant(cell, caller, request, schema, body, bounds, repeat, along))


def list_break_glass(cell: Cell, request: Request, page: Page, *, overdue: bool = False) -> Verb[Listing]:
    """Grants past a ceiling, newest first; or those of them whose review is late."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "break-glass.list", "grant:list")
    now = cell.clock.now()
    params = {"tenant": caller.principal.tenant, "below": check_page(page, "gr"), "most": page.limit + 1}
    rows = [BreakGlassRow(*row) for row in cell.store.read(cell.store.approving.break_glass_page, params)]
    shown = [_shown(row, now) for row in rows[: page.limit]]
    last = shown[-1].grant if len(rows) > page.limit else None
    return Listing([one for one in shown if one.overdue or not overdue], last)


def review_break_glass(
    cell: Cell, request: Request, grant: str, body: GlassReviewBody
) -> Verb[BreakGlassAnswer]:
    """Closes the review of a grant that somebody else made.

    Raises:
        Denied: `self_approval`: of one's own; on the record.
        Conflict: `version_conflict`: it was reviewed otherwise, or by somebody else.
        BadInput: `operation_unsupported`: no such verdict.
    """
    verb = "break-glass.review"
    caller = person(cell, request)
    yield from admit(cell, caller, request.origin, verb, "break-glass:review")
    if body.verdict not in VERDICTS:
        raise BadInput("operation_unsupported", member="verdict")
    check_text(body.note)
    row = _read(cell, caller, grant)
    if row.created_by == caller.principal.id:
        refused = Refused(caller, request.origin, verb, "self_approval", grant=row.grant)
        yield refused
        raise Denied("self_approval", decision=refused.decision)
    repeat = once(cell, request, caller, verb, BreakGlassAnswer, grant, body)
    if repeat.replay is not None:
        return repeat.replay
    if row.reviewed_at:
        if (row.reviewed_by, row.verdict, row.note) != (caller.principal.id, body.verdict, body.note):
            raise Conflict("version_conflict")
        return _shown(row, cell.clock.now())  # the same again changes nothing
    command = ReviewBreakGlass(caller, request.origin, row, body)

    def answer(_: None, at: Micros) -> BreakGlassAnswer:
        done = row._replace(
            reviewed_at=at, reviewed_by=caller.principal.id, verdict=body.verdict, note=body.note
        )
        return msgspec.structs.replace(_shown(done, at), decision=command.decision)

    done = yield repeat.keep(command, answer)
    return answer(done.value, done.at)


def overdue(cell: Cell) -> int:
    """How many reviews are late, over all tenants."""
    return overdue_in(cell.store, cell.clock.now())


def overdue_in(store: Store, now: Micros) -> int:
    """The same of a database that is only read."""
    return int(store.read(store.approving.overdue_break_glass, {"at": now})[0][0])


def _read(cell: Cell, caller: Caller, grant: str) -> BreakGlassRow:
    try:
        parse_id("gr", grant)
    except ValueError:
        raise Unknown("not_found") from None
    rows = cell.store.read(cell.store.approving.break_glass, {"grant_id": grant})
    if not rows or rows[0][1] != caller.principal.tenant:
        raise Unknown("not_found")
    return BreakGlassRow(*rows[0])


def _shown(row: BreakGlassRow, now: Micros) -> BreakGlassAnswer:
    return BreakGlassAnswer(
        grant=row.grant,
        created_by=row.created_by,
        created_at=format_time(row.created_at),
        review_by=format_time(row.review_by),
        overdue=not row.reviewed_at and now >= row.review_by,
        reviewed_at=format_time(row.reviewed_at) if row.reviewed_at else None,
        reviewed_by=row.reviewed_by,
        verdict=row.verdict or None,
        note=row.note,
    )
