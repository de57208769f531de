"""review start | list | show | decide: over HTTP, and on this host what needs no reviewer."""

from __future__ import annotations

from typing import Any, Final

import click

from vault.cli.doors import Door, command, segment
from vault.services import reviews
from vault.services.listing import Page
from vault.services.reviews import ReviewBody, ReviewScope

_COLUMNS: Final = ("id", "state", "due", "reviewer", "total", "counts")
_ITEMS: Final = ("number", "kind", "had", "reviewer", "state", "decided_by")


@click.group("review")
def group() -> None:
    """Review who has which access: what nobody confirms in time goes."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "start", "remote", "host", "tenant", "once")
@click.option("--due", required=True, help="Until when it is decided, RFC 3339.")
@click.option("--reviewer", required=True, help="Who decides, e.g. operator:ann.")
@click.option("--deputy", help="Who decides on what the reviewer gave or has.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(["role", "permission", "ceiling", "key", "grant"]),
    help="Only this; repeat for more.",
)
@click.option("--principal", "principals", multiple=True, help="Only of this one; repeat for more.")
def start(
    door: Door,
    due: str,
    reviewer: str,
    deputy: str | None,
    kinds: tuple[str, ...],
    principals: tuple[str, ...],
) -> None:
    """Begin a review."""
    scope = ReviewScope(list(kinds) or None, list(principals) or None)
    body = ReviewBody(due, reviewer, scope, deputy)
    answer = door.call("POST", "reviews", body) if door.remote else door.verb(reviews.start_review, body)
    door.output.record(answer)


@command(group, "list", "remote", "host", "tenant")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(door: Door, limit: int, cursor: str | None) -> None:
    """List reviews, newest first."""
    if door.remote:
        answer = door.call("GET", "reviews", query={"limit": limit, "cursor": cursor})
    else:
        answer = door.verb(reviews.list_reviews, Page(limit, cursor))
    door.page(answer, _COLUMNS)


@command(group, "show", "remote")
@click.argument("review")
@click.option("--open", "only_open", is_flag=True, help="Only what nobody has decided on.")
def show(door: Door, review: str, only_open: bool) -> None:
    """Show a review with its items."""
    answer: dict[str, Any] = door.call("GET", f"reviews/{segment(review)}")
    if only_open:
        answer["items"] = [item for item in answer["items"] if item["state"] == "open"]
    if door.output.json:
        door.output.data(answer)
        return
    door.output.table(answer["items"], _ITEMS)
    if answer.get("warning"):
        door.output.note(f"due {answer['due']}: what nobody confirms until then is taken away")
    door.output.record({name: answer[name] for name in ("id", "state", "due", "total")})


@command(group, "decide", "remote", "once")
@click.argument("review")
@click.argument("number", type=click.IntRange(min=1))
@click.argument("decision", type=click.Choice(["confirm", "remove"]))
@click.option("--reason", required=True, help="Why.")
def decide(door: Door, review: str, number: int, decision: str, reason: str) -> None:
    """Confirm an item, or take away what it is about."""
    body = {"decision": decision, "reason": reason}
    door.output.record(door.call("POST", f"reviews/{segment(review)}/items/{number}", body))
