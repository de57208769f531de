"""Principals, service keys, whoami."""

from __future__ import annotations

from vault.api.grants import PAGE, page_of
from vault.api.route import Route
from vault.services.identities import (
    PrincipalAnswer,
    PrincipalBody,
    Removed,
    WhoAmI,
    create_principal,
    list_principals,
    remove_principal,
    whoami,
)
from vault.services.listing import Listing
from vault.services.replacement import ReplaceBody, SuccessorAnswer, SuccessorReplay, replace_key
from vault.services.service_keys import (
    KeyAnswer,
    KeyBody,
    KeyReplay,
    create_key,
    list_keys,
    revoke_key,
)

ROUTES = (
    Route(
        "GET",
        "whoami",
        "The caller, as the gate sees it.",
        lambda call: whoami(call.cell, call.request),
        WhoAmI,
    ),
    Route(
        "POST",
        "principals",
        "Creates a principal.",
        lambda call: create_principal(call.cell, call.request, call.body),
        PrincipalAnswer,
        status=201,
        body=PrincipalBody,
        permission="principal:write",
        codes=(
            "name_invalid",
            "permission_unknown",
            "operation_unsupported",
            "limit_invalid",
            "subject_erased",
            "subject_invalid",
            "name_taken",
        ),
    ),
    Route(
        "GET",
        "principals",
        "The tenant's living principals, newest first.",
        lambda call: list_principals(call.cell, call.request, page_of(call)),
        Listing,
        rows=PrincipalAnswer,
        query=PAGE,
        permission="principal:list",
    ),
    Route(
        "DELETE",
        "principals/{id}",
        "Removes a principal, with its keys, the grants it created and those it holds.",
        lambda call: remove_principal(call.cell, call.request, call.path["id"]),
        Removed,
        permission="principal:write",
        codes=("not_found",),
    ),
    Route(
        "POST",
        "principals/{id}/keys",
        "Creates a service key; its credential is in this answer and nowhere else.",
        lambda call: create_key(call.cell, call.request, call.path["id"], call.body),
        (KeyAnswer, KeyReplay),
        status=201,
        body=KeyBody,
        body_optional=True,
        permission="principal:write",
        codes=("not_found", "validity_invalid", "limit_invalid", "operation_unsupported"),
    ),
    Route(
        "GET",
        "principals/{id}/keys",
        "A principal's service keys, newest first, without their secrets.",
        lambda call: list_keys(call.cell, call.request, call.path["id"], page_of(call)),
        Listing,
        rows=KeyAnswer,
        query=PAGE,
        permission="principal:list",
    ),
    Route(
        "POST",
        "keys/{id}/replace",
        "A service key gets a successor, whose credential is in this answer; both are valid for a while.",
        lambda call: replace_key(call.cell, call.request, call.path["id"], call.body or ReplaceBody()),
        (SuccessorAnswer, SuccessorReplay),
        status=201,
        body=ReplaceBody,
        body_optional=True,
        permission="principal:write",
        codes=(
            "not_found",
            "validity_invalid",
            "limit_invalid",
            "operation_unsupported",
            "version_conflict",
        ),
    ),
    Route(
        "DELETE",
        "keys/{id}",
        "Revokes a service key.",
        lambda call: revoke_key(call.cell, call.request, call.path["id"]),
        KeyAnswer,
        permission="principal:write",
        codes=("not_found",),
    ),
)
