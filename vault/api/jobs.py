"""Jobs."""

from __future__ import annotations

from vault.api.grants import PAGE, page_of
from vault.api.route import Route
from vault.services.jobs import JobAnswer, SteerBody, cancel_job, list_jobs, read_job, resume_job
from vault.services.listing import Listing

ROUTES = (
    Route(
        "GET",
        "jobs",
        "Jobs of the tenant, newest first; the cell's own are the tenant main's.",
        lambda call: list_jobs(call.cell, call.request, page_of(call)),
        Listing,
        rows=JobAnswer,
        query=PAGE,
        permission="job:read",
    ),
    Route(
        "GET",
        "jobs/{id}",
        "One job: its state, how far it is, how fast, and what last went wrong.",
        lambda call: read_job(call.cell, call.request, call.path["id"]),
        JobAnswer,
        permission="job:read",
        codes=("not_found",),
    ),
    Route(
        "POST",
        "jobs/{id}/cancel",
        "Stops a job where it stands. What it has done stays done, and it can be resumed.",
        lambda call: cancel_job(call.cell, call.request, call.path["id"], call.body),
        JobAnswer,
        body=SteerBody,
        body_optional=True,
        permission="job:control",
        codes=("not_found", "version_conflict", "limit_invalid"),
    ),
    Route(
        "POST",
        "jobs/{id}/resume",
        "Lets a job go on that failed, was stopped, or waits.",
        lambda call: resume_job(call.cell, call.request, call.path["id"], call.body),
        JobAnswer,
        body=SteerBody,
        body_optional=True,
        permission="job:control",
        codes=("not_found", "version_conflict", "limit_invalid"),
    ),
)
