"""The cell's epochs, and turning them."""

from __future__ import annotations

from vault.api.route import Route
from vault.services.jobs import JobAnswer
from vault.services.listing import Listing
from vault.services.turn import EpochAnswer, TurnBody, list_epochs, start_turn

ROUTES = (
    Route(
        "GET",
        "epochs",
        "The cell's epochs, newest first, each with the turn that opened it and when each step ended.",
        lambda call: list_epochs(call.cell, call.request),
        Listing,
        rows=EpochAnswer,
        permission="key:read",
    ),
    Route(
        "POST",
        "epochs/turn",
        "Begins a turn of the cell's epoch, for principals of the tenant main: a job that seals every key "
        "under a new epoch and destroys the old one.",
        lambda call: start_turn(call.cell, call.request, call.body or TurnBody()),
        JobAnswer,
        status=202,
        body=TurnBody,
        body_optional=True,
        permission="epoch:turn",
        codes=("job_running", "operation_unsupported"),
    ),
)
