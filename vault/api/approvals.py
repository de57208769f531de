"""Approvals, and grants past a ceiling."""

from __future__ import annotations

from vault.api.grants import MAKING, PAGE, page_of
from vault.api.route import Call, Route
from vault.errors import BadInput
from vault.services.approvals import (
    ApprovalAnswer,
    ApprovalFilter,
    DecideBody,
    approve,
    deny,
    list_approvals,
    read_approval,
)
from vault.services.break_glass import (
    BreakGlassAnswer,
    BreakGlassBody,
    GlassReviewBody,
    break_glass,
    list_break_glass,
    review_break_glass,
)
from vault.services.grant_views import GrantAnswer, GrantReplay
from vault.services.listing import Listing

_OF_CEILINGS = ("delegation_denied", "self_approval", "budget_exhausted")
_DECIDING = ("not_found", "version_conflict", "self_approval", "limit_invalid")


def _overdue(call: Call) -> bool:
    text = call.query.get("overdue", "false")
    if text not in ("true", "false"):
        raise BadInput("parameter_invalid", parameter="overdue")
    return text == "true"


ROUTES = (
    Route(
        "GET",
        "approvals",
        "What was asked to be approved, newest first.",
        lambda call: list_approvals(
            call.cell, call.request, page_of(call), ApprovalFilter(call.query.get("state"))
        ),
        Listing,
        rows=ApprovalAnswer,
        query={
            **PAGE,
            "state": "only in this state: pending, approved, denied, used, expired, void",
        },
        permission="approval:read",
    ),
    Route(
        "GET",
        "approvals/{id}",
        "One approval: how it stands for the grant's holder and creator; for whoever is asked, with a masked "
        "preview, which is on the record.",
        lambda call: read_approval(call.cell, call.request, call.path["id"]),
        ApprovalAnswer,
        who=("key", "grant"),
        codes=("not_found", "integrity_failed"),
    ),
    Route(
        "POST",
        "approvals/{id}/approve",
        "Approves what was looked at: a use, once; or a grant. For a person who is asked.",
        lambda call: approve(call.cell, call.request, call.path["id"], call.body),
        ApprovalAnswer,
        body=DecideBody,
        who=("session",),
        permission="approval:decide",
        codes=_DECIDING,
    ),
    Route(
        "POST",
        "approvals/{id}/deny",
        "Denies what was looked at: a use until its approval would have ended, a grant for good.",
        lambda call: deny(call.cell, call.request, call.path["id"], call.body),
        ApprovalAnswer,
        body=DecideBody,
        who=("session",),
        permission="approval:decide",
        codes=_DECIDING,
    ),
    Route(
        "POST",
        "break-glass",
        "Creates a grant past the creator's ceiling: active at once, for an hour at most, marked wherever it "
        "is used, and to be reviewed by somebody else.",
        lambda call: break_glass(call.cell, call.request, call.body),
        (GrantAnswer, GrantReplay),
        status=201,
        body=BreakGlassBody,
        who=("session",),
        permission="break-glass:create",
        codes=tuple(code for code in MAKING if code not in _OF_CEILINGS),
    ),
    Route(
        "GET",
        "break-glass",
        "Grants past a ceiling, newest first, with their reviews.",
        lambda call: list_break_glass(call.cell, call.request, page_of(call), overdue=_overdue(call)),
        Listing,
        rows=BreakGlassAnswer,
        query={**PAGE, "overdue": "`true`: only those whose review is late"},
        permission="grant:list",
    ),
    Route(
        "POST",
        "break-glass/{id}/review",
        "Closes the review of such a grant, by somebody who did not make it.",
        lambda call: review_break_glass(call.cell, call.request, call.path["id"], call.body),
        BreakGlassAnswer,
        body=GlassReviewBody,
        who=("session",),
        permission="break-glass:review",
        codes=("not_found", "operation_unsupported", "limit_invalid", "self_approval", "version_conflict"),
    ),
)
