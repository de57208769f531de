"""Reviews of who has which access: begun, read, decided item by item, and ended by the schedule.

What nobody confirmed by the due time is taken away, so that access lasts only while somebody says that it is
needed. The reviewer is neither the one who gave an item nor the one who has it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import DAY, Micros, format_time
from vault.errors import BadInput, Conflict, Denied, Unknown
from vault.identifiers import new_id, parse_id
from vault.ledger.command import State, Verb, Writes
from vault.policy.permissions import effective
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Refused, Request, admit, authenticate, trace
from vault.services.grant_body import check_text, instant
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.listing import Listing, Page, check_page, listing
from vault.services.review_decisions import SettleItem
from vault.services.review_ends import SOON, admins_of, counts_of
from vault.services.review_items import (
    CONFIRMED,
    KINDS,
    OPEN,
    REMOVED,
    Found,
    Person,
    find_items,
    may_review,
    people_of,
)
from vault.store.oversight import ReviewItemRow, ReviewRow

MAX_ITEMS: Final = 2_000
LONGEST: Final[Micros] = 366 * DAY
_DECISIONS: Final = {"confirm": CONFIRMED, "remove": REMOVED}


class ReviewScope(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What is reviewed.

    Attributes:
        kinds: some of `role`, `permission`, `ceiling`, `key`, `grant`; absent: all.
        principals: whose, `kind:name`; absent: everybody's.
    """

    kinds: list[str] | None = None
    principals: list[str] | None = None


class ReviewBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A review to begin.

    Attributes:
        due: until when it is decided (RFC 3339).
        reviewer: who decides, `kind:name`; deputy: who decides on what the reviewer gave or has.
    """

    due: str
    reviewer: str
    scope: ReviewScope = msgspec.field(default_factory=ReviewScope)
    deputy: str | None = None


class ItemBody(Hidden, forbid_unknown_fields=True, frozen=True):
    """A decision on an item: `confirm` or `remove`, and why."""

    decision: str
    reason: str


class ReviewItem(Replayable, frozen=True, kw_only=True):
    """An item: what there was when the review began, who decides on it, and what was decided.

    Attributes:
        kind: `role`, `permission`, `ceiling`, `key` or `grant`.
        target: the principal, key or grant.
        state: `open`, `confirmed`, `removed`, `expired`, `kept`.
    """

    number: int
    kind: str
    target: str
    what: str = ""
    had: dict[str, Any]
    reviewer: str
    state: str
    decided_by: str | None = None
    decided_at: str | None = None
    reason: str | None = None


class ReviewAnswer(Replayable, frozen=True, kw_only=True):
    """A review.

    Attributes:
        state: `open`; `due`: its time is over, and the schedule has not ended it yet; `closed`.
        counts: items by their state; absent where only the review is listed.
        warning: that its time is near and items are open.
    """

    id: str
    state: str
    scope: dict[str, Any]
    due: str
    reviewer: str
    deputy: str | None = None
    created_by: str
    created_at: str
    closed_at: str | None = None
    total: int
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    warning: bool = False
    items: list[ReviewItem] | None = None


class StartReview(CallerCommand):
    """Inserts a review with its items."""

    alone = True

    def __init__(
        self, caller: Caller, origin: Origin, review: dict[str, Any], items: list[dict[str, Any]]
    ) -> None:
        super().__init__(caller)
        self._origin = origin
        self._review = review
        self._items = items

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts it."""
        self.check(state)
        if self._review["due_at"] <= state.now:
            raise BadInput("validity_invalid", member="due")
        writes.insert("review", **self._review, created_at=state.now)
        for item in self._items:
            writes.insert("review_item", **item)
        facts = {
            "review": self._review["id"],
            "due": format_time(self._review["due_at"]),
            "reviewer": self._review["reviewer"],
            "deputy": self._review["deputy"],
            "count": len(self._items),
            "scope": msgspec.json.decode(self._review["scope"]),
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        writes.event(Event("review.start", self._review["tenant"], self.caller.actor, facts))


def start_review(cell: Cell, request: Request, body: ReviewBody) -> Verb[ReviewAnswer]:
    """Begins a review.

    Raises:
        BadInput: `validity_invalid`, `limit_invalid`, `operation_unsupported`, `name_invalid`;
            `reviewer_unfit`; `review_involved` with how many items neither reviewer nor deputy may decide on.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "review.start", "review:start")
    repeat = once(cell, request, caller, "review.start", ReviewAnswer, body)
    if repeat.replay is not None:
        return repeat.replay
    tenant, now = caller.principal.tenant, cell.clock.now()
    due = instant(body.due, "due")
    if not now < due <= now + LONGEST:
        raise BadInput("validity_invalid", member="due")
    kinds = frozenset(KINDS if body.scope.kinds is None else body.scope.kinds)
    if not kinds or not kinds <= set(KINDS):
        raise BadInput("operation_unsupported", member="kinds")
    people = people_of(cell.store, tenant)
    by_name = {person.name: person for person in people.values()}
    reviewer = _reviewer(by_name, body.reviewer, "reviewer")
    deputy = None if body.deputy is None else _reviewer(by_name, body.deputy, "deputy")
    chosen = people
    if body.scope.principals is not None:
        if not set(body.scope.principals) <= by_name.keys():
            raise BadInput("name_invalid", member="principals")
        chosen = {by_name[name].id: by_name[name] for name in body.scope.principals}
    found = list(find_items(cell.store, tenant, chosen, kinds, due))
    if not 1 <= len(found) <= MAX_ITEMS:
        raise BadInput("limit_invalid", member="scope", most=MAX_ITEMS, found=len(found))
    id_ = new_id("rev")
    items = _rows(id_, found, reviewer, deputy)
    scope: dict[str, Any] = {"kinds": sorted(kinds)}
    if body.scope.principals is not None:
        scope["principals"] = sorted(set(body.scope.principals))
    review: dict[str, Any] = {
        "id": id_,
        "tenant": tenant,
        "scope": msgspec.json.encode(scope, order="deterministic").decode(),
        "due_at": due,
        "reviewer": reviewer.id,
        "deputy": None if deputy is None else deputy.id,
        "items": len(items),
        "created_by": caller.actor,
        "closed_at": 0,
    }

    def answer(_: None, at: Micros) -> ReviewAnswer:
        names = {person.id: person.name for person in people.values()}
        return _shown(ReviewRow(**review, created_at=at), names, at, {OPEN: len(items)})

    done = yield repeat.keep(StartReview(caller, request.origin, review, items), answer)
    return answer(done.value, done.at)


def list_reviews(cell: Cell, request: Request, page: Page) -> Verb[Listing]:
    """The tenant's reviews, newest first, without their items."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "review.list", "review:read")
    tenant = caller.principal.tenant
    params = {"tenant": tenant, "below": check_page(page, "rev"), "most": page.limit + 1}
    rows = [ReviewRow(*row) for row in cell.store.read(cell.store.oversight.reviews_page, params)]
    names, now = _names(cell, tenant), cell.clock.now()
    shown = [_shown(row, names, now, counts_of(cell.store, row.id)) for row in rows]
    return listing(list(shown), [row.id for row in rows], page)


def read_review(cell: Cell, request: Request, review: str) -> Verb[ReviewAnswer]:
    """One review with all its items: to whoever decides on them, and to whoever may see reviews."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "review.read")
    row = _find(cell, caller, review)
    if caller.principal.id not in (row.reviewer, row.deputy):
        yield from admit(cell, caller, request.origin, "review.read", "review:read")
    names = _names(cell, row.tenant)
    items = [_item(one, names) for one in _items(cell, review)]
    shown = _shown(row, names, cell.clock.now(), counts_of(cell.store, row.id))
    return msgspec.structs.replace(shown, items=items)


def decide_item(cell: Cell, request: Request, review: str, number: str, body: ItemBody) -> Verb[ReviewItem]:
    """Confirms an item, or takes away what it is about.

    Raises:
        BadInput: `operation_unsupported`, `limit_invalid`: a decision that is none, or no reason.
        Denied: `review_denied`: another decides on this item; on the record.
        Conflict: `review_over`, `last_admin`.
        Unknown: `not_found`.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "review.decide", "review:decide")
    to = _DECISIONS.get(body.decision)
    if to is None:
        raise BadInput("operation_unsupported", member="decision")
    reason = check_text(body.reason)
    if not (reason or "").strip():
        raise BadInput("limit_invalid", member="reason")
    repeat = once(cell, request, caller, "review.decide", ReviewItem, review, number, body)
    if repeat.replay is not None:
        return repeat.replay
    row = _find(cell, caller, review)
    item = _find_item(cell, review, number)
    if caller.principal.id != item.reviewer:
        refused = Refused(
            caller, request.origin, "review.decide", "review_denied", review=review, item=item.number
        )
        yield refused
        raise Denied("review_denied", decision=refused.decision)
    names = _names(cell, row.tenant)
    if item.state == to and item.decided_by == caller.actor:
        return _item(item, names)
    if item.state != OPEN or row.closed_at:
        raise Conflict("review_over")

    def answer(settled: tuple[str, Micros], _now: Micros) -> ReviewItem:
        state, at = settled
        decided = item._replace(state=state, decided_by=caller.actor, decided_at=at, reason=reason)
        return _item(decided, names)

    admins = admins_of(cell, row.tenant)
    command = SettleItem(caller, request.origin, item, row.due_at, to, reason, admins)
    done = yield repeat.keep(command, answer)
    if to == REMOVED:
        cell.identities.forget()
    return answer(done.value, done.at)


def _reviewer(people: dict[str, Person], name: str, member: str) -> Person:
    person = people.get(name)
    if person is None or not may_review(person, effective(person.roles, person.permissions)):
        raise BadInput("reviewer_unfit", member=member)
    return person


def _rows(review: str, found: list[Found], reviewer: Person, deputy: Person | None) -> list[dict[str, Any]]:
    rows = []
    involved = 0
    for number, one in enumerate(found, 1):
        who = next((who for who in (reviewer, deputy) if who is not None and not one.involves(who)), None)
        if who is None:
            involved += 1
            continue
        rows.append(
            {
                "review": review,
                "number": number,
                "kind": one.kind,
                "target": one.target,
                "principal": one.principal,
                "what": one.what,
                "snapshot": msgspec.json.encode(one.snapshot, order="deterministic").decode(),
                "reviewer": who.id,
                "state": OPEN,
                "decided_by": None,
                "decided_at": 0,
                "reason": None,
            }
        )
    if involved:
        raise BadInput("review_involved", items=involved)
    return rows


def _names(cell: Cell, tenant: str) -> dict[str, str]:
    return {person.id: person.name for person in people_of(cell.store, tenant).values()}


def _find(cell: Cell, caller: Caller, review: str) -> ReviewRow:
    try:
        parse_id("rev", review)
    except ValueError:
        raise Unknown("not_found") from None
    rows = cell.store.read(cell.store.oversight.review, {"review_id": review})
    if not rows or rows[0][1] != caller.principal.tenant:
        raise Unknown("not_found")
    return ReviewRow(*rows[0])


def _find_item(cell: Cell, review: str, number: str) -> ReviewItemRow:
    if not (number.isascii() and number.isdigit() and len(number) <= 6) or number.startswith("0"):
        raise Unknown("not_found")
    params = {"of_review": review, "place": int(number)}
    rows = cell.store.read(cell.store.oversight.review_item, params)
    if not rows:
        raise Unknown("not_found")
    return ReviewItemRow(*rows[0])


def _items(cell: Cell, review: str) -> list[ReviewItemRow]:
    params = {"of_review": review, "above": 0, "most": MAX_ITEMS}
    return [ReviewItemRow(*row) for row in cell.store.read(cell.store.oversight.review_items, params)]


def _item(row: ReviewItemRow, names: dict[str, str]) -> ReviewItem:
    return ReviewItem(
        number=row.number,
        kind=row.kind,
        target=row.target,
        what=row.what,
        had=msgspec.json.decode(row.snapshot),
        reviewer=names.get(row.reviewer, row.reviewer),
        state=row.state,
        decided_by=row.decided_by,
        decided_at=format_time(row.decided_at) if row.decided_at else None,
        reason=row.reason,
    )


def _shown(row: ReviewRow, names: dict[str, str], now: Micros, counts: dict[str, int]) -> ReviewAnswer:
    opened = counts.get(OPEN, 0)
    state = "closed" if row.closed_at else "due" if now >= row.due_at else "open"
    return ReviewAnswer(
        id=row.id,
        state=state,
        scope=msgspec.json.decode(row.scope),
        due=format_time(row.due_at),
        reviewer=names.get(row.reviewer, row.reviewer),
        deputy=None if row.deputy is None else names.get(row.deputy, row.deputy),
        created_by=row.created_by,
        created_at=format_time(row.created_at),
        closed_at=format_time(row.closed_at) if row.closed_at else None,
        total=row.items,
        counts=counts,
        warning=bool(opened) and now >= row.due_at - SOON,
    )
