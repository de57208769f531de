"""Reviews of who has which access."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

import msgspec

from vault.api.answers import Sheet
from vault.api.grants import PAGE, page_of
from vault.api.route import Call, Route
from vault.errors import BadInput
from vault.services.listing import Listing
from vault.services.reviews import (
    ItemBody,
    ReviewAnswer,
    ReviewBody,
    ReviewItem,
    decide_item,
    list_reviews,
    read_review,
    start_review,
)

FORMAT: Final = {"format": "`json` or `csv`; default: json."}
_COLUMNS: Final = (
    "number", "kind", "target", "what", "had", "reviewer", "state", "decided_by", "decided_at", "reason"
)  # fmt: skip


def _read(call: Call) -> Generator[Any, Any, ReviewAnswer | Sheet]:
    """A review, in the form that the query asks for."""
    form = call.query.get("format", "json")
    if form not in ("json", "csv"):
        raise BadInput("parameter_invalid", parameter="format")
    shown = yield from read_review(call.cell, call.request, call.path["id"])
    return shown if form == "json" else _sheet(shown)


def _sheet(review: ReviewAnswer) -> Sheet:
    rows = []
    for item in review.items or ():
        had = msgspec.json.encode(item.had, order="deterministic").decode()
        rows.append([had if name == "had" else getattr(item, name) for name in _COLUMNS])
    return Sheet(_COLUMNS, rows)


ROUTES = (
    Route(
        "POST",
        "reviews",
        "Begins a review of access: what nobody confirms by the due time is taken away.",
        lambda call: start_review(call.cell, call.request, call.body),
        ReviewAnswer,
        status=201,
        body=ReviewBody,
        slow=True,
        permission="review:start",
        codes=(
            "validity_invalid", "limit_invalid", "operation_unsupported", "name_invalid", "reviewer_unfit",
            "review_involved",
        ),
    ),
    Route(
        "GET",
        "reviews",
        "The reviews of the tenant, newest first, without their items.",
        lambda call: list_reviews(call.cell, call.request, page_of(call)),
        Listing,
        rows=ReviewAnswer,
        query=PAGE,
        permission="review:read",
    ),
    Route(
        "GET",
        "reviews/{id}",
        "A review with all its items, as JSON or CSV: to who decides on them, or holds `review:read`.",
        _read,
        ReviewAnswer,
        query=FORMAT,
        slow=True,
        codes=("not_found",),
        sheet=True,
    ),
    Route(
        "POST",
        "reviews/{id}/items/{number}",
        "Confirms an item of a review, or takes away what it is about: `confirm` or `remove`, and why.",
        lambda call: decide_item(
            call.cell, call.request, call.path["id"], call.path["number"], call.body
        ),
        ReviewItem,
        body=ItemBody,
        permission="review:decide",
        codes=(
            "not_found", "operation_unsupported", "limit_invalid", "review_denied", "review_over",
            "last_admin",
        ),
    ),
)  # fmt: skip
