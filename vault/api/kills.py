"""Kill switches."""

from __future__ import annotations

from vault.api.grants import PAGE, page_of
from vault.api.route import Route
from vault.services.kills import KillAnswer, KillBody, lift_kill, list_kills, set_kill
from vault.services.listing import Listing

ROUTES = (
    Route(
        "POST",
        "kill",
        "Stops every grant of an agent, a holder's key, a conversation, a purpose or the tenant, at once.",
        lambda call: set_kill(call.cell, call.request, call.body),
        KillAnswer,
        status=201,
        body=KillBody,
        permission="kill:control",
        codes=("member_missing", "limit_invalid"),
    ),
    Route(
        "GET",
        "kill",
        "Kill switches of the tenant, newest first, those that were lifted too.",
        lambda call: list_kills(call.cell, call.request, page_of(call)),
        Listing,
        rows=KillAnswer,
        query=PAGE,
        permission="grant:list",
    ),
    Route(
        "DELETE",
        "kill/{id}",
        "Lifts a kill switch: what it stopped goes on, if nothing else ended it. Idempotent.",
        lambda call: lift_kill(call.cell, call.request, call.path["id"]),
        KillAnswer,
        permission="kill:control",
        codes=("not_found",),
    ),
)
