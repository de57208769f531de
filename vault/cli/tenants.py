"""tenant create | list: over HTTP or on this host."""

from __future__ import annotations

import click

from vault.cli.doors import Door, command
from vault.services import tenants
from vault.services.listing import Page
from vault.services.tenants import TenantBody


@click.group("tenant")
def group() -> None:
    """Create and list tenants, as an operator of the tenant main."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "create", "remote", "host", "once")
@click.argument("name")
def create(door: Door, name: str) -> None:
    """Create a tenant; the credential of its first admin is shown once."""
    body = TenantBody(name)
    answer = door.call("POST", "tenants", body) if door.remote else door.verb(tenants.create_tenant, body)
    door.show_once(answer)


@command(group, "list", "remote", "host")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(door: Door, limit: int, cursor: str | None) -> None:
    """List tenants, newest first."""
    if door.remote:
        answer = door.call("GET", "tenants", query={"limit": limit, "cursor": cursor})
    else:
        answer = door.verb(tenants.list_tenants, Page(limit, cursor))
    door.page(answer, ("id", "name", "state", "created"))
