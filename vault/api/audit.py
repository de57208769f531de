"""The audit log."""

from __future__ import annotations

from vault.api.route import Call, Route, number
from vault.services.audit import AuditQuery, EventAnswer, read_audit
from vault.services.listing import DEFAULT_LIMIT, Listing


def _query(call: Call) -> AuditQuery:
    limit = number(call.query, "limit")
    return AuditQuery(
        first=_bound(call, "from"),
        end=_bound(call, "to"),
        kind=call.query.get("kind"),
        limit=DEFAULT_LIMIT if limit is None else limit,
        cursor=number(call.query, "cursor"),
    )


def _bound(call: Call, name: str) -> int | str | None:
    """An event number in ASCII digits, or a text that ought to be a time."""
    text = call.query.get(name, "")
    return call.query.get(name) if not text.isdigit() else number(call.query, name)


ROUTES = (
    Route(
        "GET",
        "audit",
        "Events of the tenant, newest first, in their canonical bytes; to main those of the cell too.",
        lambda call: read_audit(call.cell, call.request, _query(call)),
        Listing,
        rows=EventAnswer,
        query={
            "from": "first event number, or the time it begins at (RFC 3339)",
            "to": "event number to stop before, or a time",
            "kind": "only events of this kind",
            "limit": "rows of the page, 1 to 500 (default 100)",
            "cursor": "`next` of the page before",
        },
        permission="audit:read",
        codes=("integrity_failed",),
    ),
)
