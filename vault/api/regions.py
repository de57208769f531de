"""Regions, the directory, and transfers from one region into another."""

from __future__ import annotations

from vault.api.grants import PAGE, page_of
from vault.api.route import Route
from vault.services.accepting import accept
from vault.services.crossing import BatchAnswer, BatchBody
from vault.services.listing import Listing
from vault.services.regions import LookupAnswer, LookupBody, RegionAnswer, list_regions, look_up
from vault.services.transfers import (
    MovedAnswer,
    TransferAnswer,
    TransferBody,
    list_moved,
    read_transfer,
    start_transfer,
)

ROUTES = (
    Route(
        "GET",
        "regions",
        "The regions that this service knows, and where each is reached.",
        lambda call: list_regions(call.cell, call.request),
        Listing,
        rows=RegionAnswer,
    ),
    Route(
        "POST",
        "directory/lookup",
        "In which region a person is. Each look-up is counted, and so many a day are answered.",
        lambda call: look_up(call.cell, call.request, call.body),
        LookupAnswer,
        body=LookupBody,
        slow=True,
        permission="directory:lookup",
        codes=(
            "not_found",
            "subject_invalid",
            "operation_unsupported",
            "budget_exhausted",
            "directory_unavailable",
        ),
        unrepeatable="it only looks",
    ),
    Route(
        "POST",
        "transfers",
        "Begins a transfer of a person's values into another region: a job, which both logs tell of.",
        lambda call: start_transfer(call.cell, call.request, call.body),
        TransferAnswer,
        status=202,
        body=TransferBody,
        permission="transfer:create",
        codes=(
            "not_found",
            "hold_active",
            "subject_invalid",
            "field_unknown",
            "operation_unsupported",
            "limit_invalid",
            "residency_refused",
            "transfer_unsupported",
        ),
    ),
    Route(
        "POST",
        "arrivals",
        "Takes a sealed batch of a transfer out of a region of another service; the answer is sealed too.",
        lambda call: accept(call.cell, call.request, call.body),
        BatchAnswer,
        body=BatchBody,
        batch=True,
        slow=True,
        permission="transfer:receive",
        codes=("sealed_invalid", "residency_refused", "subject_erased", "subject_invalid"),
        unrepeatable="what has arrived is entered once, however often it comes",
    ),
    Route(
        "GET",
        "transfers/{id}",
        "One transfer, and how far it is.",
        lambda call: read_transfer(call.cell, call.request, call.path["id"]),
        TransferAnswer,
        permission="transfer:read",
        codes=("not_found",),
    ),
    Route(
        "GET",
        "transfers/{id}/tokens",
        "The tokens that a transfer moved: what each was, and what it is in the other region.",
        lambda call: list_moved(call.cell, call.request, call.path["id"], page_of(call)),
        Listing,
        rows=MovedAnswer,
        query=PAGE,
        slow=True,
        permission="transfer:read",
        codes=("not_found", "transfer_unsupported", "region_unavailable"),
    ),
)
