"""key list | show: over HTTP."""

from __future__ import annotations

import click

from vault.cli.doors import Door, command, segment


@click.group("key")
def group() -> None:
    """List and show keys of the hierarchy: what they are for, never what they are made of."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "list", "remote")
@click.option("--kind", help="Only of this kind: data, ff1, row-id, ...")
@click.option("--state", help="Only in this state: active, destroyed, ...")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(door: Door, kind: str | None, state: str | None, limit: int, cursor: str | None) -> None:
    """List keys, newest first."""
    query = {"kind": kind, "state": state, "limit": limit, "cursor": cursor}
    answer = door.call("GET", "keys", query=query)
    door.page(answer, ("id", "kind", "field", "version", "state", "created"))


@command(group, "show", "remote")
@click.argument("key_id", metavar="KEY")  # `key` is the shared option's
def show(door: Door, key_id: str) -> None:
    """Show one key."""
    door.output.record(door.call("GET", f"keys/{segment(key_id)}"))
