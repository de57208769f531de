"""The ends of reviews: what nobody confirmed in time is taken away, by the schedule, an item at a time."""

from __future__ import annotations

from typing import Final

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import DAY, Micros
from vault.identifiers import new_id
from vault.ledger.command import State, Verb, Writes
from vault.policy.permissions import effective
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, trace, without_credential
from vault.services.review_decisions import KEEPS_OPEN, SettleItem
from vault.services.review_items import EXPIRED, OPEN, people_of
from vault.store.cell import Store
from vault.store.oversight import ReviewItemRow, ReviewRow

SOON: Final[Micros] = 7 * DAY  # before the due time, when it is warned of
MAX_SETTLED: Final = 500  # items of one look of the schedule
SCHEDULE: Final = "schedule"
_ALL_TIME: Final = 2**62


class CloseReview(CallerCommand):
    """Ends a review of which nothing is open."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, review: str, counts: dict[str, int]) -> None:
        super().__init__(caller)
        self._origin = origin
        self._review = review
        self._counts = counts

    def decide(self, state: State, writes: Writes) -> None:
        """Notes when, once."""
        writes.change("close_review", [{"review_id": self._review, "at": state.now}])
        facts = {"review": self._review, "counts": self._counts, **trace(self._origin)}
        writes.event(Event("review.close", self.caller.principal.tenant, self.caller.actor, facts))


def end_reviews(cell: Cell) -> Verb[int]:
    """Takes away what nobody confirmed in time, and ends reviews of which nothing is open; how many items.

    Each item is a transaction of its own: whoever goes on after a kill finds those that are open.
    """
    oversight, settled = cell.store.oversight, 0
    params = {"before": _ALL_TIME, "most": MAX_SETTLED}
    for review in [ReviewRow(*row) for row in cell.store.read(oversight.reviews_open, params)]:
        caller, origin = without_credential(SCHEDULE, review.tenant), Origin(SCHEDULE, new_id("req"))
        left = {"of_review": review.id, "most": MAX_SETTLED - settled + 1}
        items = [ReviewItemRow(*row) for row in cell.store.read(oversight.review_items_open, left)]
        if items and cell.clock.now() < review.due_at:
            continue
        for item in items:
            if settled == MAX_SETTLED:
                return settled
            admins = admins_of(cell, review.tenant)
            yield SettleItem(caller, origin, item, review.due_at, EXPIRED, None, admins)
            settled += 1
        if items:
            cell.identities.forget()
        yield CloseReview(caller, origin, review.id, counts_of(cell.store, review.id))
    return settled


def unreviewed(store: Store, now: Micros) -> int:
    """Open items of reviews that are due within a week, or were."""
    rows = store.read(store.oversight.reviews_open, {"before": now + SOON, "most": MAX_SETTLED})
    return sum(counts_of(store, ReviewRow(*row).id).get(OPEN, 0) for row in rows)


def admins_of(cell: Cell, tenant: str) -> list[str]:
    """The ids of a tenant's principals who can give access."""
    return [
        person.id
        for person in people_of(cell.store, tenant).values()
        if KEEPS_OPEN in effective(person.roles, person.permissions)
    ]


def counts_of(store: Store, review: str) -> dict[str, int]:
    """The items of a review by their state."""
    rows = store.read(store.oversight.review_states, {"of_review": review})
    return {row[0]: row[1] for row in rows}
