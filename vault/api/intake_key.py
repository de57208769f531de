"""The key that request bodies may be sealed to."""

from __future__ import annotations

from vault.api.route import Route
from vault.services.intake import IntakeKey, read_intake_key

ROUTES = (
    Route(
        "POST",
        "intake-key",
        "The key that bodies of `tokenize` and `encrypt` may be sealed to; the first call has it made.",
        lambda call: read_intake_key(call.cell, call.request),
        IntakeKey,
        unrepeatable="it answers the same key each time",
    ),
)
