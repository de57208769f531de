"""Tenants."""

from __future__ import annotations

from vault.api.grants import PAGE, page_of
from vault.api.route import Route
from vault.services.listing import Listing
from vault.services.tenants import TenantAnswer, TenantBody, TenantReplay, create_tenant, list_tenants

ROUTES = (
    Route(
        "POST",
        "tenants",
        "Creates a tenant, for operators of the tenant main; the credential of its first admin is in this "
        "answer and nowhere else.",
        lambda call: create_tenant(call.cell, call.request, call.body),
        (TenantAnswer, TenantReplay),
        status=201,
        body=TenantBody,
        permission="tenant:create",
        codes=("name_invalid", "name_taken"),
    ),
    Route(
        "GET",
        "tenants",
        "The cell's tenants, newest first, for operators of the tenant main.",
        lambda call: list_tenants(call.cell, call.request, page_of(call)),
        Listing,
        rows=TenantAnswer,
        query=PAGE,
        permission="tenant:read",
    ),
)
