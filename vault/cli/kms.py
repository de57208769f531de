"""kms check: whether a key store can be used, before anything lies under it or afterwards."""

from __future__ import annotations

import click

from vault.cli.doors import Door, ask_passphrase, command
from vault.cli.identities import confirm
from vault.trial import Tried, check_key_store
from vault.wiring import Wiring


@click.group("kms")
def group() -> None:
    """Check key stores."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "check", "host")
@click.argument("uri", required=False)
@click.option("--trial", "tried", is_flag=True, help="Make a root key, wrap with it, and destroy it.")
def check(door: Door, uri: str | None, tried: bool) -> None:
    """Check the key store of a cell, or one that URI names, with the cell's kms_auth and passphrase.

    It is reached, signed in to, and asked for a root key; that changes nothing. With --trial everything
    that a cell asks of it is done once, on a root key of its own: that shows that the permissions suffice.
    """
    config = door.config
    region = door.region(config)
    wiring = Wiring(config, ask_passphrase)
    if tried:
        confirm(door, "Make a root key there, and destroy it?")
    rows: list[Tried] = []
    try:
        rows.extend(check_key_store(wiring, region, uri, tried=tried))
    finally:
        door.output.table([{"check": row.check, "detail": row.detail} for row in rows], ("check", "detail"))
