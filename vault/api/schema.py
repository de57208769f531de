"""Fields and the schema."""

from __future__ import annotations

from vault.api.grants import PAGE, page_of
from vault.api.route import Route
from vault.services.fields import FieldAnswer, list_fields, read_field
from vault.services.listing import Listing
from vault.services.schema import (
    AppliedAnswer,
    PlanAnswer,
    SchemaAnswer,
    SchemaBody,
    VersionAnswer,
    VersionRow,
    apply_schema,
    list_versions,
    plan_schema,
    read_version,
    show_schema,
)

ROUTES = (
    Route(
        "GET",
        "fields",
        "The fields by name: how they are protected, what tokens look like, masks, retention, key version.",
        lambda call: list_fields(call.cell, call.request, page_of(call)),
        Listing,
        rows=FieldAnswer,
        query=PAGE,
    ),
    Route(
        "GET",
        "fields/{name}",
        "One field.",
        lambda call: read_field(call.cell, call.request, call.path["name"]),
        FieldAnswer,
        codes=("not_found",),
    ),
    Route(
        "GET",
        "schema",
        "The schema in force.",
        lambda call: show_schema(call.cell, call.request),
        SchemaAnswer,
        permission="schema:read",
    ),
    Route(
        "GET",
        "schema/versions",
        "The versions of the schema, newest first: who applied them, and when.",
        lambda call: list_versions(call.cell, call.request, page_of(call)),
        Listing,
        rows=VersionRow,
        query=PAGE,
        permission="schema:read",
    ),
    Route(
        "GET",
        "schema/versions/{id}",
        "One version of the schema.",
        lambda call: read_version(call.cell, call.request, call.path["id"]),
        VersionAnswer,
        permission="schema:read",
        codes=("not_found",),
    ),
    Route(
        "POST",
        "schema/plan",
        "What applying a schema would change, and what is refused.",
        lambda call: plan_schema(call.cell, call.request, call.body),
        PlanAnswer,
        body=SchemaBody,
        slow=True,
        permission="schema:read",
        codes=("schema_refused",),
        unrepeatable="it changes nothing",
    ),
    Route(
        "POST",
        "schema/apply",
        "Applies a schema, with the digest of its plan.",
        lambda call: apply_schema(call.cell, call.request, call.body),
        AppliedAnswer,
        body=SchemaBody,
        slow=True,
        permission="schema:apply",
        codes=("schema_refused", "plan_changed"),
    ),
)
