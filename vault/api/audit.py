"""The audit log."""

from __future__ import annotations

from vault.api.route import Call, Route, number
from vault.services.audit import AuditQuery, EventAnswer, read_audit
from vault.services.listing import DEFAULT_LIMIT, Listing


def _query(call: Call) -> AuditQuery:
    limit = number(call.query, "limit")
    return AuditQuery(
        first=number(call.query, "from"),
        end=number(call.query, "to"),
        kind=call.query.get("kind"),
        limit=DEFAULT_LIMIT if limit is None else limit,
        cursor=number(call.query, "cursor"),
    )


ROUTES = (
    Route(
        "GET",
        "audit",
        "Events of the tenant and of the cell, newest first, in their canonical bytes.",
        lambda call: read_audit(call.cell, call.request, _query(call)),
        Listing,
        rows=EventAnswer,
        query={
            "from": "first event number",
            "to": "event number to stop before",
            "kind": "only events of this kind",
            "limit": "rows of the page, 1 to 500 (default 100)",
            "cursor": "`next` of the page before",
        },
        permission="audit:read",
        codes=("integrity_failed",),
    ),
)
