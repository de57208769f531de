"""Grants."""

from __future__ import annotations

from vault.api.route import Call, Route, number
from vault.services.grant_body import GrantBody
from vault.services.grant_changes import (
    BlockAnswer,
    ChangeBody,
    NarrowBody,
    narrow_grant,
    resume_grant,
    revoke_block,
    revoke_grant,
    suspend_grant,
)
from vault.services.grant_usage import GrantUsage, read_usage
from vault.services.grant_views import GrantAnswer, GrantFilter, GrantReplay, list_grants, read_grant
from vault.services.grants import create_grant
from vault.services.listing import DEFAULT_LIMIT, Listing, Page
from vault.services.simulate import SimulateAnswer, SimulateBody, simulate

PAGE = {"limit": "rows of the page, 1 to 500 (default 100)", "cursor": "`next` of the page before"}


def page_of(call: Call) -> Page:
    """The page that the query asks for."""
    limit = number(call.query, "limit")
    return Page(DEFAULT_LIMIT if limit is None else limit, call.query.get("cursor"))


def _filter(call: Call) -> GrantFilter:
    return GrantFilter(*(call.query.get(name) for name in ("agent", "purpose", "state")))


MAKING = (
    "purpose_unknown",
    "agent_unknown",
    "field_unknown",
    "operation_unsupported",
    "key_version_unknown",
    "limit_invalid",
    "validity_invalid",
    "subject_erased",
    "subject_invalid",
    "subjects_unenforceable",
    "delegation_denied",
    "plain_delivery_denied",
    "self_approval",
    "budget_exhausted",
)
"""How making a grant may be refused."""

ROUTES = (
    Route(
        "POST",
        "grants",
        "Creates a grant. Bound to a holder's key it has no credential; else its credential is in this "
        "answer and nowhere else.",
        lambda call: create_grant(call.cell, call.request, call.body),
        (GrantAnswer, GrantReplay),
        status=201,
        body=GrantBody,
        permission="grant:create:PURPOSE",
        codes=MAKING,
    ),
    Route(
        "GET",
        "grants",
        "Grants of the tenant, newest first.",
        lambda call: list_grants(call.cell, call.request, page_of(call), _filter(call)),
        Listing,
        rows=GrantAnswer,
        query={
            **PAGE,
            "agent": "only this agent's",
            "purpose": "only for this purpose",
            "state": "only in this state: pending, active, suspended, exhausted, expired, revoked",
        },
        permission="grant:list",
    ),
    Route(
        "GET",
        "grants/{id}",
        "One grant, for its creator, its holder, and whoever may list grants.",
        lambda call: read_grant(call.cell, call.request, call.path["id"]),
        GrantAnswer,
        who=("key", "grant"),
        codes=("not_found",),
    ),
    Route(
        "POST",
        "grants/{id}/revoke",
        "Revokes a grant, for its creator and whoever holds grant:revoke. Idempotent.",
        lambda call: revoke_grant(call.cell, call.request, call.path["id"], call.body),
        GrantAnswer,
        body=ChangeBody,
        body_optional=True,
        codes=("not_found", "limit_invalid"),
    ),
    Route(
        "GET",
        "grants/{id}/usage",
        "What a grant was used for, by day and field, for its creator and whoever sees all grants.",
        lambda call: read_usage(call.cell, call.request, call.path["id"]),
        GrantUsage,
        slow=True,
        codes=("not_found",),
    ),
    Route(
        "DELETE",
        "grants/{id}",
        "Revokes a grant without a reason.",
        lambda call: revoke_grant(call.cell, call.request, call.path["id"], ChangeBody()),
        GrantAnswer,
        codes=("not_found",),
    ),
    Route(
        "PATCH",
        "grants/{id}",
        "Leaves less of a grant, for its creator and whoever holds grant:revoke. Widening means a new grant.",
        lambda call: narrow_grant(call.cell, call.request, call.path["id"], call.body),
        GrantAnswer,
        body=NarrowBody,
        codes=(
            "not_found",
            "widening_refused",
            "version_conflict",
            "grant_ended",
            "limit_invalid",
            "validity_invalid",
            "subject_invalid",
            "member_missing",
        ),
    ),
    Route(
        "POST",
        "grants/{id}/suspend",
        "Suspends a grant, for its creator and whoever holds grant:revoke. Idempotent.",
        lambda call: suspend_grant(call.cell, call.request, call.path["id"], call.body),
        GrantAnswer,
        body=ChangeBody,
        body_optional=True,
        codes=("not_found", "limit_invalid", "grant_ended"),
    ),
    Route(
        "POST",
        "grants/{id}/resume",
        "Lets a suspended grant go on. Idempotent.",
        lambda call: resume_grant(call.cell, call.request, call.path["id"], call.body),
        GrantAnswer,
        body=ChangeBody,
        body_optional=True,
        permission="grant:revoke",
        codes=("not_found", "limit_invalid", "grant_ended"),
    ),
    Route(
        "POST",
        "grants/{id}/blocks/{block}/revoke",
        "Revokes one delegation of a grant and all that were made of it. Idempotent.",
        lambda call: revoke_block(call.cell, call.request, call.path["id"], call.path["block"], call.body),
        BlockAnswer,
        body=ChangeBody,
        body_optional=True,
        codes=("not_found", "limit_invalid"),
    ),
    Route(
        "POST",
        "grants/simulate",
        "What a use of a grant would be answered, before its items are looked at; nothing is charged.",
        lambda call: simulate(call.cell, call.request, call.body),
        SimulateAnswer,
        body=SimulateBody,
        unrepeatable="it changes nothing",
        permission="grant:list",
        codes=("not_found", "operation_unsupported", "limit_invalid"),
    ),
)
