"""Erasures of people, and what there is of a person."""

from __future__ import annotations

from vault.api.grants import PAGE, page_of
from vault.api.route import Route
from vault.services.certificates import CertificateAnswer, KeysAnswer, read_certificate, read_certificate_keys
from vault.services.erasures import (
    ErasureAnswer,
    ErasureBody,
    StatusAnswer,
    SubjectBody,
    list_erasures,
    read_erasure,
    read_status,
    request_erasure,
)
from vault.services.fences import ReopenBody, reopen_subject
from vault.services.listing import Listing

ROUTES = (
    Route(
        "POST",
        "erasures",
        "Erases a person: denied everywhere at once, removed by a job, final with the epoch's next turn. "
        "Asking again answers the same erasure.",
        lambda call: request_erasure(call.cell, call.request, call.body),
        ErasureAnswer,
        status=202,
        body=ErasureBody,
        permission="erasure:create",
        codes=("operation_unsupported", "subject_invalid", "limit_invalid"),
    ),
    Route(
        "GET",
        "erasures",
        "Erasures of the tenant, newest first.",
        lambda call: list_erasures(call.cell, call.request, page_of(call)),
        Listing,
        rows=ErasureAnswer,
        query=PAGE,
        permission="erasure:read",
    ),
    Route(
        "GET",
        "erasures/{id}",
        "One erasure: which level it has reached, and when each was.",
        lambda call: read_erasure(call.cell, call.request, call.path["id"]),
        ErasureAnswer,
        permission="erasure:read",
        codes=("not_found",),
    ),
    Route(
        "GET",
        "erasures/{id}/certificate",
        "The certificate of an erasure, at the level that it has reached: signed, to be checked without this "
        "service.",
        lambda call: read_certificate(call.cell, call.request, call.path["id"]),
        CertificateAnswer,
        permission="erasure:read",
        codes=("not_found",),
    ),
    Route(
        "GET",
        "certificate-keys",
        "The public keys that certificates are checked with: a JWK Set.",
        lambda call: read_certificate_keys(call.cell, call.request),
        KeysAnswer,
        permission="erasure:read",
    ),
    Route(
        "POST",
        "subjects/status",
        "Whether anything is kept of a person, what holds it, and whether the person was erased.",
        lambda call: read_status(call.cell, call.request, call.body),
        StatusAnswer,
        body=SubjectBody,
        permission="erasure:read",
        codes=("subject_invalid",),
        unrepeatable="it only looks",
    ),
    Route(
        "POST",
        "subjects/reopen",
        "Lets a person who was erased be entered anew, under new keys. What was erased stays erased.",
        lambda call: reopen_subject(call.cell, call.request, call.body),
        ErasureAnswer,
        body=ReopenBody,
        permission="subject:reopen",
        codes=(
            "not_found",
            "hold_active",
            "job_running",
            "subject_invalid",
            "member_missing",
            "limit_invalid",
        ),
    ),
)
