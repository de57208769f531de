"""retention calendar | run, subject event: over HTTP or on this host."""

from __future__ import annotations

from typing import Any, Final

import click

from vault.cli.doors import Door, command
from vault.cli.erasures import SOURCE, people, read_subject
from vault.cli.identities import confirm
from vault.services import calendar, events
from vault.services.calendar import RunBody
from vault.services.events import EventBody

COLUMNS: Final = ("at", "class", "due", "keys", "values", "held_by")
BEGUN: Final = ("kind", "class", "due", "erasure")


@click.group("retention")
def group() -> None:
    """See what falls due, and begin it."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "calendar", "remote", "host")
@click.option("--until", help="RFC 3339; else 90 days from now.")
def calendar_(door: Door, until: str | None) -> None:
    """Show what falls due, the earliest first: what a run then would begin."""
    if door.remote:
        answer = dict(door.call("GET", "retention/calendar", query={"until": until}))
    else:
        answer = dict(door.verb(calendar.read_calendar, until))
    door.output.table(list(answer["items"]), COLUMNS)
    door.output.note(f"until {answer['until']}")


@command(group, "run", "remote", "host")
@click.option("--dry-run", is_flag=True, help="Only say what is due.")
def run(door: Door, dry_run: bool) -> None:
    """Begin what is due, as the schedule does by itself. Shows what and asks, or --yes."""
    due = _run(door, RunBody(True))
    if not dry_run and due["items"]:
        if not door.yes:
            door.output.table(list(due["items"]), BEGUN)
        confirm(door, "Begin this? It is denied at once, and its keys are removed.")
        due = _run(door, RunBody())
    door.output.table(list(due["items"]), BEGUN)


@command(people, "event", "remote", "host", "once")
@click.argument("event")
@click.option("--at", help="When it took place, RFC 3339; else now.")
@SOURCE
def event_(door: Door, event: str, at: str | None, source: str | None) -> None:
    """Tell that something happened to a person from which values' time counts, such as account_closed."""
    body = EventBody(event, read_subject(source), at)
    answer = door.call("POST", "events", body) if door.remote else door.verb(events.report_event, body)
    door.output.record(dict(answer))


def _run(door: Door, body: RunBody) -> dict[str, Any]:
    if door.remote:
        return dict(door.call("POST", "retention/run", body))
    return dict(door.verb(calendar.run_retention, body))
