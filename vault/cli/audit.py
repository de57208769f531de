"""audit tail | verify. On this host they only read, so they take no lock and may run beside the service."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from vault.cli.doors import Door, command
from vault.errors import BadInput
from vault.services import audit as service
from vault.services.tenants import check_tenant
from vault.wiring import Wiring


@click.group("audit")
def group() -> None:
    """Read and check the audit log."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "tail", "remote", "host", "tenant")
@click.option("--count", type=click.IntRange(1, 500), default=20, show_default=True, help="Events.")
@click.option("--kind", help="Only events of this kind (over HTTP).")
def tail(door: Door, count: int, kind: str | None) -> None:
    """Show the newest events, the newest last."""
    if door.remote:
        events = list(reversed(door.call("GET", "audit", query={"limit": count, "kind": kind})["items"]))
    else:
        if kind is not None:
            raise BadInput("usage", option="--kind", reason="goes with --url")
        config = door.config
        with Wiring(config).reader(door.region(config)) as store:
            if door.names_tenant:
                check_tenant(store, door.tenant)
            only = door.tenant if door.names_tenant else None
            shown = msgspec.json.encode(service.tail(store, count, only))
            events = msgspec.json.decode(shown)
    if door.output.json:
        door.output.data(events)
        return
    rows = [_row(event) for event in events]
    door.output.table(rows, ("number", "at", "kind", "actor", "outcome", "decision"))


@command(group, "verify", "host")
def verify(door: Door) -> None:
    """Check numbering, leaf hashes and items of the whole log."""
    config = door.config
    with Wiring(config).reader(door.region(config)) as store:
        answer = service.verify(store)
    door.output.record(msgspec.to_builtins(answer))


def _row(entry: dict[str, Any]) -> dict[str, Any]:
    event = entry["event"]
    outcome = event.get("code") or event.get("outcome") or "done"
    return {"number": entry["number"], **event, "outcome": outcome}
