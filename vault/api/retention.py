"""What falls due, beginning it, and the events that values' time counts from."""

from __future__ import annotations

from vault.api.route import Route
from vault.services.calendar import CalendarAnswer, RunAnswer, RunBody, read_calendar, run_retention
from vault.services.events import EventBody, ToldAnswer, report_event

ROUTES = (
    Route(
        "GET",
        "retention/calendar",
        "What falls due until an instant: keys and values by retention class and due period.",
        lambda call: read_calendar(call.cell, call.request, call.query.get("until")),
        CalendarAnswer,
        query={"until": "RFC 3339; else 90 days from now"},
        slow=True,
        permission="retention:read",
    ),
    Route(
        "POST",
        "retention/run",
        "Begins what is due, as the schedule does by itself every minute. With `dry_run` it only says what.",
        lambda call: run_retention(call.cell, call.request, call.body),
        RunAnswer,
        body=RunBody,
        permission="retention:run",
        unrepeatable="what was begun is not begun again",
    ),
    Route(
        "POST",
        "events",
        "Tells of an event that a person's values are kept until, and some time after. Telling it again "
        "changes nothing.",
        lambda call: report_event(call.cell, call.request, call.body),
        ToldAnswer,
        body=EventBody,
        permission="event:report",
        codes=("event_unknown", "parameter_invalid", "not_found", "subject_invalid"),
    ),
)
