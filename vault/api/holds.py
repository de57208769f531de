"""Legal holds."""

from __future__ import annotations

from vault.api.grants import PAGE, page_of
from vault.api.route import Route
from vault.services.holds import (
    HoldAnswer,
    HoldBody,
    HoldReasonBody,
    approve_release,
    ask_release,
    confirm_hold,
    create_hold,
    keep_hold,
    list_holds,
    read_hold,
)
from vault.services.listing import Listing

_DECIDED = ("not_found", "version_conflict")

ROUTES = (
    Route(
        "POST",
        "holds",
        "Puts a legal hold on what is kept of a person, of a retention class or of the tenant: neither "
        "erasures nor ends of retention remove it. In force at once; somebody else confirms it.",
        lambda call: create_hold(call.cell, call.request, call.body),
        HoldAnswer,
        status=201,
        body=HoldBody,
        permission="hold:create",
        codes=(
            "not_found",
            "field_unknown",
            "subject_invalid",
            "subject_erased",
            "member_missing",
            "limit_invalid",
        ),
    ),
    Route(
        "GET",
        "holds",
        "Legal holds of the tenant, newest first; those that have ended too.",
        lambda call: list_holds(call.cell, call.request, page_of(call)),
        Listing,
        rows=HoldAnswer,
        query=PAGE,
        permission="erasure:read",
    ),
    Route(
        "GET",
        "holds/{id}",
        "One legal hold.",
        lambda call: read_hold(call.cell, call.request, call.path["id"]),
        HoldAnswer,
        permission="erasure:read",
        codes=("not_found",),
    ),
    Route(
        "POST",
        "holds/{id}/confirm",
        "Agrees to a hold that somebody else made. In a session.",
        lambda call: confirm_hold(call.cell, call.request, call.path["id"], call.body),
        HoldAnswer,
        body=HoldReasonBody,
        who=("session",),
        permission="hold:decide",
        codes=(*_DECIDED, "member_missing", "limit_invalid", "self_approval"),
    ),
    Route(
        "POST",
        "holds/{id}/release",
        "Asks for the end of a hold. It stays in force until somebody else agrees.",
        lambda call: ask_release(call.cell, call.request, call.path["id"], call.body),
        HoldAnswer,
        body=HoldReasonBody,
        permission="hold:decide",
        codes=(*_DECIDED, "member_missing", "limit_invalid"),
    ),
    Route(
        "POST",
        "holds/{id}/approve",
        "Ends a hold whose end somebody else asked for; what was due goes on at once. In a session.",
        lambda call: approve_release(call.cell, call.request, call.path["id"], call.body),
        HoldAnswer,
        body=HoldReasonBody,
        who=("session",),
        permission="hold:decide",
        codes=(*_DECIDED, "member_missing", "limit_invalid", "self_approval"),
    ),
    Route(
        "POST",
        "holds/{id}/keep",
        "Does not agree to a hold's end, or takes back that one asked for it: it stays.",
        lambda call: keep_hold(call.cell, call.request, call.path["id"], call.body),
        HoldAnswer,
        body=HoldReasonBody,
        permission="hold:decide",
        codes=(*_DECIDED, "member_missing", "limit_invalid"),
    ),
)
