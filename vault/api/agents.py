"""Keys that agents hold."""

from __future__ import annotations

from vault.api.route import Route
from vault.services.holder_keys import (
    HolderKeyAnswer,
    HolderKeyBody,
    list_holder_keys,
    register_holder_key,
    revoke_holder_key,
)
from vault.services.listing import Listing

ROUTES = (
    Route(
        "POST",
        "agents/{id}/keys",
        "Registers a key that an agent holds; from then on its keyed grants are bound to registered keys.",
        lambda call: register_holder_key(call.cell, call.request, call.path["id"], call.body),
        HolderKeyAnswer,
        status=201,
        body=HolderKeyBody,
        permission="principal:write",
        codes=(
            "not_found",
            "limit_invalid",
            "validity_invalid",
            "member_missing",
            "name_taken",
            "operation_unsupported",
        ),
    ),
    Route(
        "GET",
        "agents/{id}/keys",
        "An agent's registered keys, newest first.",
        lambda call: list_holder_keys(call.cell, call.request, call.path["id"]),
        Listing,
        rows=HolderKeyAnswer,
        permission="principal:list",
        codes=("not_found",),
    ),
    Route(
        "DELETE",
        "agents/{id}/keys/{jkt}",
        "Revokes a key that an agent holds, and every grant that is bound to it.",
        lambda call: revoke_holder_key(call.cell, call.request, call.path["id"], call.path["jkt"]),
        HolderKeyAnswer,
        permission="principal:write",
        codes=("not_found", "operation_unsupported"),
    ),
)
