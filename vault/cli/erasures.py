"""erasure request | list | show, subject status | reopen: over HTTP or on this host."""

from __future__ import annotations

from typing import Any, Final

import click

from vault.cli.doors import Door, command, read_lines, segment
from vault.cli.identities import confirm
from vault.cli.jobs import watch
from vault.errors import BadInput
from vault.services import erasures, fences
from vault.services.erasure_kinds import GROUNDS
from vault.services.erasures import ErasureBody, SubjectBody
from vault.services.fences import ReopenBody
from vault.services.levels import LEVELS
from vault.services.listing import Page

SOURCE: Final = click.option(
    "--in", "source", type=click.Path(), help="A file that holds the subject; else standard input."
)
COLUMNS: Final = ("id", "level", "grounds", "keys", "requested_by", "fenced_until")


@click.group("erasure")
def group() -> None:
    """Erase people, and see how far that is."""


@click.group("subject")
def people() -> None:
    """See what there is of a person, and let one who was erased be entered anew."""


def register(cli: click.Group) -> None:
    """Adds the groups."""
    cli.add_command(group)
    cli.add_command(people)


@command(group, "request", "remote", "host", "once")
@click.option("--grounds", required=True, type=click.Choice(sorted(GROUNDS)), help="Why.")
@click.option("--reference", help="Your name of the request that led to it; it goes into the log.")
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
@click.option("--watch", "watched", is_flag=True, help="Over HTTP: watch until the keys are removed.")
@SOURCE
def request(
    door: Door, grounds: str, reference: str | None, dry_run: bool, watched: bool, source: str | None
) -> None:
    """Erase a person; the person's identifier stands on standard input or in --in.

    Denied everywhere at once. A worker removes the keys, and the next turn of the epoch makes it final
    against backups. Shows what would go and asks, or --yes.
    """
    body = ErasureBody(read_subject(source), grounds, reference, dry_run)
    if not dry_run and not door.yes:
        would = _request(door, ErasureBody(body.subject, grounds, reference, True))
        _say(door, would)
        confirm(door, "Erase this person?")
    made = _request(door, body)
    if watched and door.remote and made.get("job"):
        watch(door, lambda: dict(door.call("GET", f"jobs/{segment(made['job'])}")))
        made = dict(door.call("GET", f"erasures/{segment(made['id'])}"))
    door.output.record(made)
    if not dry_run:
        door.output.note(f"coatcheck erasure show {made['id']}")


@command(group, "list", "remote", "host")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(door: Door, limit: int, cursor: str | None) -> None:
    """List erasures, newest first."""
    if door.remote:
        answer = door.call("GET", "erasures", query={"limit": limit, "cursor": cursor})
    else:
        answer = door.verb(erasures.list_erasures, Page(limit, cursor))
    door.page(answer, COLUMNS)


@command(group, "show", "remote", "host")
@click.argument("erasure")
def show(door: Door, erasure: str) -> None:
    """Show one erasure: which levels it has reached, and when."""
    if door.remote:
        found = dict(door.call("GET", f"erasures/{segment(erasure)}"))
    else:
        found = dict(door.verb(erasures.read_erasure, erasure))
    door.output.record(found)
    door.output.note(f"{found['level']}: {LEVELS[found['level']]}")


@command(people, "status", "remote", "host")
@SOURCE
def status(door: Door, source: str | None) -> None:
    """Say whether anything is kept of a person, what holds it, and whether the person was erased."""
    body = SubjectBody(read_subject(source))
    answer = (
        door.call("POST", "subjects/status", body) if door.remote else door.verb(erasures.read_status, body)
    )
    door.output.record(dict(answer))


@command(people, "reopen", "remote", "host", "once")
@click.option("--reason", required=True, help="Why the person may be entered anew.")
@SOURCE
def reopen(door: Door, reason: str, source: str | None) -> None:
    """Let a person who was erased be entered anew. What was erased stays erased."""
    body = ReopenBody(read_subject(source), reason)
    answer = (
        door.call("POST", "subjects/reopen", body) if door.remote else door.verb(fences.reopen_subject, body)
    )
    door.output.record(dict(answer))


def _request(door: Door, body: ErasureBody) -> dict[str, Any]:
    if door.remote:
        return dict(door.call("POST", "erasures", body))
    return dict(door.verb(erasures.request_erasure, body))


def _say(door: Door, would: dict[str, Any]) -> None:
    fields = ", ".join(f"{count} of {field}" for field, count in would.get("values", {}).items())
    door.output.note(f"{would['keys']} data keys go, and with them {fields or 'no value in a row'}.")
    if would.get("shared_tokens"):
        door.output.note(f"{would['shared_tokens']} tokens stay: other people have values under them.")
    for hold in would.get("held_by", []):
        door.output.note(f"The legal hold {hold} keeps all of it until it is released.")


def read_subject(source: str | None) -> str:
    """The one line of a file, or of standard input."""
    lines = read_lines(source)
    if len(lines) != 1:
        raise BadInput("usage", reason="one subject is meant, on one line")
    return lines[0]
