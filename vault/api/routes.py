"""Every route there is, in the order of the reference: each resource's module lists its own."""

from __future__ import annotations

from typing import Final

from vault.api import (
    agents,
    approvals,
    audit,
    data,
    epochs,
    erasures,
    explain,
    grants,
    holds,
    identities,
    intake_key,
    jobs,
    keys,
    kills,
    oauth,
    oversight,
    regions,
    reports,
    retention,
    reviews,
    schema,
    sessions,
    tenants,
)
from vault.api.route import Route

ROUTES: Final[tuple[Route, ...]] = (
    *data.ROUTES,
    *grants.ROUTES,
    *kills.ROUTES,
    *approvals.ROUTES,
    *schema.ROUTES,
    *oversight.ROUTES,
    *explain.ROUTES,
    *identities.ROUTES,
    *intake_key.ROUTES,
    *agents.ROUTES,
    *oauth.ROUTES,
    *sessions.ROUTES,
    *reviews.ROUTES,
    *tenants.ROUTES,
    *keys.ROUTES,
    *epochs.ROUTES,
    *jobs.ROUTES,
    *regions.ROUTES,
    *erasures.ROUTES,
    *holds.ROUTES,
    *reports.ROUTES,
    *retention.ROUTES,
    *audit.ROUTES,
)
