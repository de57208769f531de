"""directory create | status | rotate | relist | drop-region: on this host. Needs no cell."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from vault.cli.doors import Door, ask_passphrase, command
from vault.cli.identities import confirm
from vault.errors import Misconfigured, Unknown
from vault.services.directory import Directory
from vault.wiring import Wiring


@click.group("directory")
def group() -> None:
    """Make the directory of regions, see how far it is, and change its key."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "create", "host")
def create(door: Door) -> None:
    """Make the directory's database and its first key, as `[directory]` says; finish what was begun."""
    made = Wiring(door.config, ask_passphrase).create_directory()
    door.output.record({"created": made})


@command(group, "status", "host")
def status(door: Door) -> None:
    """Show the regions that report to the directory: how many people, and whether all of them are listed."""
    with contextlib.closing(_directory(door)) as directory:
        rows: list[dict[str, Any]] = directory.standing()
    door.output.table(rows, ("region", "entries", "complete", "key"))


@command(group, "rotate", "host")
def rotate(door: Door) -> None:
    """Begin a new key. Every region lists its people under it, and then the old key is destroyed.

    Shows what that means and asks, or --yes. Workers do it, region by region; look-ups go on meanwhile.
    """
    if not door.yes:
        door.output.note(
            "Every region opens its people's identifiers and lists them anew; the old key then ends."
        )
    confirm(door, "Rotate the directory's key?")
    with contextlib.closing(_directory(door)) as directory:
        door.output.record({"key": directory.rotate()})


@command(group, "relist", "host")
def relist(door: Door) -> None:
    """Have every region list its people anew: after a restore of the directory, or of a cell."""
    with contextlib.closing(_directory(door)) as directory:
        rows = directory.store.regions()
        for row in rows:
            directory.store.anew(row.region)
    door.output.record({"regions": len(rows)})


@command(group, "drop-region", "host")
@click.argument("name")
def drop_region(door: Door, name: str) -> None:
    """Forget a region whose cell is no more, and everybody in it.

    Asks, or --yes. A cell that is still there lists its people again.
    """
    confirm(door, "Forget the region?")
    with contextlib.closing(_directory(door)) as directory:
        if name not in {row["region"] for row in directory.standing()}:
            raise Unknown("not_found")
        door.output.record({"entries": directory.store.leave(name)})


def _directory(door: Door) -> Directory:
    directory = Wiring(door.config, ask_passphrase).directory(asks=True)
    if directory is None:
        raise Misconfigured("config_invalid", setting="directory", reason="is missing")
    return directory
