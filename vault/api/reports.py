"""Reports: what is kept and why, until when, and who saw a person; as JSON, CSV or a page to print."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from vault.api.answers import Markup, Sheet
from vault.api.route import Call, Route, number
from vault.services.disclosures import DisclosuresBody, DisclosuresReport, disclosures_report
from vault.services.due_report import MAX_ROWS, DueQuery, RetentionReport, retention_report
from vault.services.report_sheets import (
    CSV,
    DISCLOSURES,
    HTML,
    PROCESSING,
    RETENTION,
    flat,
    page_text,
    tables,
)
from vault.services.reports import ProcessingReport, processing_report


def _shown(call: Call, kind: str, verb: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """A report, in the form that was asked for."""
    report = yield from verb
    if call.form == CSV:
        return Sheet(*flat(tables(kind, msgspec.to_builtins(report))))
    if call.form == HTML:
        return Markup(page_text(kind, tables(kind, msgspec.to_builtins(report))))
    return report


def _due(call: Call) -> DueQuery:
    limit = number(call.query, "limit")
    return DueQuery(call.query.get("until"), MAX_ROWS if limit is None else limit, call.query.get("cursor"))


ROUTES = (
    Route(
        "GET",
        "reports/processing",
        "The record of processing (GDPR, art. 30): what is kept, why, for how long, how old it is, who may "
        "see it, what is held, and what was erased. As JSON, CSV or HTML, by Accept.",
        lambda call: _shown(call, PROCESSING, processing_report(call.cell, call.request)),
        ProcessingReport,
        slow=True,
        permission="report:read",
        printed=True,
    ),
    Route(
        "GET",
        "reports/retention",
        "What is kept by class and due period, what falls due until a time, what is held, and what was "
        "erased. As JSON, CSV or HTML, by Accept.",
        lambda call: _shown(call, RETENTION, retention_report(call.cell, call.request, _due(call))),
        RetentionReport,
        query={
            "until": "until when it is to fall due, RFC 3339 (default: now)",
            "limit": "rows of the page, 1 to 5,000 (default 5,000)",
            "cursor": "`next` of the page before",
        },
        slow=True,
        permission="report:read",
        printed=True,
    ),
    Route(
        "POST",
        "reports/disclosures",
        "Who saw a person, when, which fields and for which purpose (GDPR, art. 15; 45 CFR 164.528), from "
        "the audit log; a series of equal disclosures is one line. As JSON, CSV or HTML, by Accept.",
        lambda call: _shown(call, DISCLOSURES, disclosures_report(call.cell, call.request, call.body)),
        DisclosuresReport,
        body=DisclosuresBody,
        slow=True,
        permission="report:read",
        codes=("subject_invalid", "validity_invalid", "integrity_failed"),
        unrepeatable="it only looks",
        printed=True,
    ),
)
