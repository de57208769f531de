"""Keys of the hierarchy, as they are shown."""

from __future__ import annotations

from vault.api.grants import PAGE, page_of
from vault.api.route import Call, Route
from vault.services.keys import KeyFilter, StoredKeyAnswer, list_stored_keys, read_stored_key
from vault.services.listing import Listing


def _filter(call: Call) -> KeyFilter:
    return KeyFilter(call.query.get("kind"), call.query.get("state"))


ROUTES = (
    Route(
        "GET",
        "keys",
        "Keys of the tenant, newest first: what they are for and in which state.",
        lambda call: list_stored_keys(call.cell, call.request, page_of(call), _filter(call)),
        Listing,
        rows=StoredKeyAnswer,
        query={
            **PAGE,
            "kind": "only of this kind: data, ff1, row-id, ...",
            "state": "only in this state: active, deactivated, compromised, destroyed, ...",
        },
        permission="key:read",
    ),
    Route(
        "GET",
        "keys/{id}",
        "One key.",
        lambda call: read_stored_key(call.cell, call.request, call.path["id"]),
        StoredKeyAnswer,
        permission="key:read",
        codes=("not_found",),
    ),
)
