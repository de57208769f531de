"""Keys of the hierarchy, as they are shown."""

from __future__ import annotations

from vault.api.grants import PAGE, page_of
from vault.api.route import Call, Route
from vault.services.coverage import CoverageAnswer, read_coverage
from vault.services.field_keys import (
    DestroyBody,
    KeyChanged,
    ReasonBody,
    compromise_key,
    destroy_key,
    rotate_key,
)
from vault.services.keys import KeyFilter, StoredKeyAnswer, list_stored_keys, read_stored_key
from vault.services.listing import Listing


def _filter(call: Call) -> KeyFilter:
    return KeyFilter(call.query.get("kind"), call.query.get("state"))


ROUTES = (
    Route(
        "GET",
        "keys",
        "Keys of the tenant, newest first: what they are for, in which state, and until when they protect.",
        lambda call: list_stored_keys(call.cell, call.request, page_of(call), _filter(call)),
        Listing,
        rows=StoredKeyAnswer,
        query={
            **PAGE,
            "kind": "only of this kind: data, ff1, row-id, api, ...",
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
    Route(
        "GET",
        "keys/{id}/coverage",
        "What needs a key: counts where rows exist; else what was issued, rekeyed and last used.",
        lambda call: read_coverage(call.cell, call.request, call.path["id"]),
        CoverageAnswer,
        permission="key:read",
        codes=("not_found",),
    ),
    Route(
        "POST",
        "keys/{id}/rotate",
        "A field key gets a new version, which protects from now on; of an index key, once a job is through.",
        lambda call: rotate_key(call.cell, call.request, call.path["id"], call.body or ReasonBody()),
        KeyChanged,
        body=ReasonBody,
        body_optional=True,
        permission="key:rotate",
        codes=(
            "not_found",
            "operation_unsupported",
            "version_conflict",
            "limit_invalid",
            "job_running",
            "key_lasts",
        ),
    ),
    Route(
        "POST",
        "keys/{id}/compromise",
        "A field key is known to somebody: it opens, protects nothing more, and is replaced if it did.",
        lambda call: compromise_key(call.cell, call.request, call.path["id"], call.body or ReasonBody()),
        KeyChanged,
        body=ReasonBody,
        body_optional=True,
        permission="key:rotate",
        codes=("not_found", "operation_unsupported", "version_conflict", "limit_invalid", "job_running"),
    ),
    Route(
        "POST",
        "keys/{id}/destroy",
        "A version that protects nothing more is destroyed; on a person's word where callers keep tokens.",
        lambda call: destroy_key(call.cell, call.request, call.path["id"], call.body or DestroyBody()),
        KeyChanged,
        body=DestroyBody,
        body_optional=True,
        permission="key:destroy",
        codes=("not_found", "operation_unsupported", "version_conflict", "limit_invalid", "key_in_use"),
    ),
)
