"""The key that request bodies may be sealed to."""

from __future__ import annotations

from vault.api.route import Route
from vault.services.intake import IntakeKey, read_intake_key

ROUTES = (
    Route(
        "GET",
        "intake-key",
        "The cell's key that bodies of `tokenize` and `encrypt` may be sealed to.",
        lambda call: read_intake_key(call.cell, call.request),
        IntakeKey,
    ),
)
