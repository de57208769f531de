"""hold create | list | show | confirm | release | approve | keep: over HTTP or on this host."""

from __future__ import annotations

from typing import Any, Final

import click

from vault.cli.doors import Door, command, segment
from vault.cli.erasures import read_subject
from vault.cli.identities import confirm
from vault.errors import BadInput
from vault.services import holds
from vault.services.holds import HoldBody, HoldReasonBody
from vault.services.listing import Page

COLUMNS: Final = ("id", "kind", "state", "created_by", "created_at", "confirmed_by", "released_at")
REASON: Final = click.option("--reason", required=True, help="Why; it goes into the log.")


@click.group("hold")
def group() -> None:
    """Keep what is due from being removed, until two people agree to its end."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "create", "remote", "host", "once")
@click.option("--subject", "person", is_flag=True, help="Hold what is kept of a person.")
@click.option("--in", "source", type=click.Path(), help="A file that holds the subject; else standard input.")
@click.option("--field", help="Hold the retention class of this field.")
@click.option("--class", "class_", help="Hold this retention class.")
@click.option("--everything", is_flag=True, help="Hold all that the tenant keeps.")
@REASON
def create(
    door: Door,
    person: bool,
    source: str | None,
    field: str | None,
    class_: str | None,
    everything: bool,
    reason: str,
) -> None:
    """Put a legal hold in force, at once; with --subject the person stands on standard input or in --in.

    A field is held with its retention class: values that are due together lie under keys that they share.
    Somebody else confirms the hold with `coatcheck hold confirm`.
    """
    if [person, field is not None, class_ is not None, everything].count(True) != 1:
        raise BadInput("usage", reason="one of --subject, --field, --class and --everything is meant")
    subject = read_subject(source) if person else None
    body = HoldBody(reason=reason, subject=subject, field=field, class_=class_, everything=everything)
    made = door.call("POST", "holds", body) if door.remote else door.verb(holds.create_hold, body)
    door.output.record(dict(made))


@command(group, "list", "remote", "host")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(door: Door, limit: int, cursor: str | None) -> None:
    """List legal holds, those that have ended too, newest first."""
    if door.remote:
        answer = door.call("GET", "holds", query={"limit": limit, "cursor": cursor})
    else:
        answer = door.verb(holds.list_holds, Page(limit, cursor))
    door.page(answer, COLUMNS)


@command(group, "show", "remote", "host")
@click.argument("hold")
def show(door: Door, hold: str) -> None:
    """Show one legal hold."""
    found = door.call("GET", f"holds/{segment(hold)}") if door.remote else door.verb(holds.read_hold, hold)
    door.output.record(dict(found))


@command(group, "confirm", "remote", "once")
@click.argument("hold")
@REASON
def confirm_(door: Door, hold: str, reason: str) -> None:
    """Agree to a hold that somebody else made; signed in."""
    _decide(door, hold, "confirm", HoldReasonBody(reason))


@command(group, "release", "remote", "host", "once")
@click.argument("hold")
@REASON
def release(door: Door, hold: str, reason: str) -> None:
    """Ask for the end of a hold; it stays in force until somebody else agrees."""
    body = HoldReasonBody(reason)
    if door.remote:
        _decide(door, hold, "release", body)
    else:
        door.output.record(dict(door.verb(holds.ask_release, hold, body)))


@command(group, "approve", "remote", "once")
@click.argument("hold")
@REASON
def approve(door: Door, hold: str, reason: str) -> None:
    """End a hold whose end somebody else asked for; signed in. Asks, or --yes.

    What was due goes on at once.
    """
    confirm(door, "End this hold? What is due is removed at once.")
    _decide(door, hold, "approve", HoldReasonBody(reason))


@command(group, "keep", "remote", "host", "once")
@click.argument("hold")
@REASON
def keep(door: Door, hold: str, reason: str) -> None:
    """Do not agree to a hold's end, or take back that you asked for it: it stays."""
    body = HoldReasonBody(reason)
    if door.remote:
        _decide(door, hold, "keep", body)
    else:
        door.output.record(dict(door.verb(holds.keep_hold, hold, body)))


def _decide(door: Door, hold: str, what: str, body: HoldReasonBody) -> None:
    answer: Any = door.call("POST", f"holds/{segment(hold)}/{what}", body)
    door.output.record(dict(answer))
