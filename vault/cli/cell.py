"""cell status | upgrade | downgrade | lock-info: a cell's database on this host. Needs no passphrase."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from vault.cli.doors import Door, command
from vault.cli.identities import confirm
from vault.errors import BadInput
from vault.services.upkeep import Move
from vault.wiring import Wiring

BASE = "base"


@click.group("cell")
def group() -> None:
    """See which version a cell's database has, change it, and see who holds it."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "status", "host")
def status(door: Door) -> None:
    """Show each cell's migration, what is pending, its size, and which process holds it. Takes no lock."""
    rows: list[dict[str, Any]] = []
    for region in _regions(door):
        with Wiring(door.config).upkeep(region) as upkeep:
            rows.append({"region": region, **asdict(upkeep.standing())})
    door.output.table(rows, ("region", "revision", "newest", "pending", "bytes", "held_by", "writers"))


@command(group, "upgrade", "host")
@click.argument("revision", required=False)
def upgrade(door: Door, revision: str | None) -> None:
    """Bring a cell's database to the version that this program needs, or to REVISION on the way there.

    Shows the plan and asks, or --yes. A SQLite file is copied first. While a service holds the cell it is
    refused, unless the cell is on a server and all that is pending may run beside older programs.
    """
    _move(door, revision, up=True)


@command(group, "downgrade", "host")
@click.argument("revision")
def downgrade(door: Door, revision: str) -> None:
    """Take a cell's database back to REVISION, for an older program. What only newer versions keep is lost.

    Shows the plan and asks, or --yes. A SQLite file is copied first. While a service holds the cell it is
    refused.
    """
    if revision == BASE:
        raise BadInput("usage", reason="below the first version there is no cell; nothing takes one there")
    _move(door, revision, up=False)


@command(group, "lock-info", "host")
def lock_info(door: Door) -> None:
    """Show which process holds each cell, and where its lock is."""
    rows: list[dict[str, Any]] = []
    for region in _regions(door):
        path = Wiring(door.config).database_path(region)
        with Wiring(door.config).upkeep(region) as upkeep:
            standing = upkeep.standing()
        lock = "on the server, shared" if path is None else f"{path}.lock"
        held = standing.writers > 0
        rows.append({"region": region, "held": held, "pid": standing.held_by, "lock": lock})
    door.output.table(rows, ("region", "held", "pid", "lock"))


def _move(door: Door, revision: str | None, *, up: bool) -> None:
    config = door.config
    region = door.region(config)
    with Wiring(config).upkeep(region) as upkeep:
        move = upkeep.plan(revision, up=up)
        if not move.steps:
            door.output.record({"region": region, "revision": move.source, "steps": []})
            door.output.note("There is nothing to do.")
            return
        if not door.yes:
            _show(door, region, move)
        confirm(door, "Go on?")
        upkeep.move(move)
    done = {"region": region, "revision": move.target, "steps": move.steps}
    door.output.record(done if move.copy is None else {**done, "copy": str(move.copy)})
    if move.copy is not None:
        door.output.note(
            "The copy holds all that the database held, sealed as it was. Remove it once it is not needed."
        )


def _show(door: Door, region: str, move: Move) -> None:
    """Says what would be done, beside the data."""
    verb = "run" if move.up else "undo"
    lines = [
        f"cell {region}: {move.source} -> {move.target}",
        "  no copy is made of a server's database: have a backup"
        if move.copy is None
        else f"  copy to {move.copy}",
        *(f"  {verb} {step}" for step in move.steps),
        *(
            ["  services may go on meanwhile, and be replaced afterwards, one at a time"]
            if move.online
            else []
        ),
    ]
    for line in lines:
        door.output.note(line)


def _regions(door: Door) -> list[str]:
    """The region that was named, or all."""
    config = door.config
    return [door.region(config)] if door.named_region else list(config.cell)
