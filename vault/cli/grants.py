"""grant create | show | list | revoke."""

from __future__ import annotations

from typing import Any

import click

from vault.cli.doors import Door, command, segment

_COLUMNS = ("id", "state", "agent", "purpose", "uses_left", "valid_until")


@click.group("grant")
def group() -> None:
    """Create, show, list and revoke grants."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "create", "remote", "once")
@click.option("--agent", required=True, help="Who may use it, e.g. agent:demo.")
@click.option("--purpose", envvar="COATCHECK_PURPOSE", required=True, help="What for.")
@click.option("--field", "fields", multiple=True, required=True, help="A field; repeat for more.")
@click.option("--operation", "operations", multiple=True, default=("reveal",), help="reveal, mask; repeat.")
@click.option("--delivery", "deliveries", multiple=True, default=("plain",), help="How values are delivered.")
@click.option("--mask", help="The one mask it may use.")
@click.option("--uses", type=int, default=1, show_default=True, help="Values in all.")
@click.option("--batch", type=int, help="Values in one request.")
@click.option("--until", help="End of validity, RFC 3339; default: as long as the purpose allows.")
@click.option("--subject", "subjects", multiple=True, help="Only this person's values; repeat for more.")
@click.option("--on-behalf-of", help="The user it serves.")
@click.option("--reason", help="Why.")
def create(
    door: Door,
    agent: str,
    purpose: str,
    fields: tuple[str, ...],
    operations: tuple[str, ...],
    deliveries: tuple[str, ...],
    mask: str | None,
    uses: int,
    batch: int | None,
    until: str | None,
    subjects: tuple[str, ...],
    on_behalf_of: str | None,
    reason: str | None,
) -> None:
    """Create a grant; its credential is shown once."""
    entry: dict[str, Any] = {"fields": fields, "operations": operations, "delivery": deliveries}
    limits: dict[str, Any] = {"uses": uses}
    body: dict[str, Any] = {"agent": agent, "purpose": purpose, "scope": [entry], "limits": limits}
    if mask is not None:
        entry["mask"] = mask
    if batch is not None:
        limits["batch"] = batch
    if until is not None:
        body["valid"] = {"until": until}
    if subjects:
        body["subjects"] = {"in": subjects}
    body |= {k: v for k, v in {"on_behalf_of": on_behalf_of, "reason": reason}.items() if v is not None}
    door.show_once(door.call("POST", "grants", body))


@command(group, "show", "remote")
@click.argument("grant")
def show(door: Door, grant: str) -> None:
    """Show one grant."""
    door.output.record(door.call("GET", f"grants/{segment(grant)}"))


@command(group, "list", "remote")
@click.option("--agent", help="Only this agent's.")
@click.option("--purpose", help="Only for this purpose.")
@click.option("--state", help="Only in this state.")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(
    door: Door, agent: str | None, purpose: str | None, state: str | None, limit: int, cursor: str | None
) -> None:
    """List grants, newest first."""
    query = {"agent": agent, "purpose": purpose, "state": state, "limit": limit, "cursor": cursor}
    answer = door.call("GET", "grants", query=query)
    door.page(answer, _COLUMNS)


@command(group, "revoke", "remote", "once")
@click.argument("grant")
@click.option("--reason", help="Why.")
def revoke(door: Door, grant: str, reason: str | None) -> None:
    """Revoke a grant, at once and for good."""
    body = {} if reason is None else {"reason": reason}
    door.output.record(door.call("POST", f"grants/{segment(grant)}/revoke", body))
