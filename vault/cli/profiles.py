"""profile list | set | remove: where services are, and the credential for each."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from vault.cli.doors import Door, command, given
from vault.config.profiles import Profile, profiles_path, read_profiles, write_profiles
from vault.errors import BadInput, Unknown
from vault.identifiers import is_name


@click.group("profile")
def group() -> None:
    """Name services and keep the credential for each, for --profile and COATCHECK_PROFILE."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "list")
def list_profiles(door: Door) -> None:
    """List the profiles, without their credentials."""
    path = profiles_path()
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            **msgspec.to_builtins(profile),
            "key": profile.key is not None,
            "session": profile.session is not None,
        }
        for name, profile in sorted(read_profiles(path).items())
    ]
    door.output.table(rows, ("name", "url", "region", "key", "session", "ca", "timeout"))


@command(group, "set")
@click.argument("name")
@click.option("--url", "address", help="The service's address.")
@click.option("--ca", "authority", type=click.Path(path_type=Path), help="A PEM file of its authorities.")
@click.option("--timeout", "seconds", type=click.FloatRange(min=0.1), help="Seconds for one request.")
def set_profile(
    door: Door, name: str, address: str | None, authority: Path | None, seconds: float | None
) -> None:
    """Make a profile, or change the settings that are named. The credential comes on standard input.

    With nothing on standard input the credential stays as it is. It is never an argument: those are seen
    by every process of the host, and kept by shells.
    """
    if not is_name(name):
        raise BadInput("usage", reason="a profile's name is a-z, 0-9, - . _")
    path = profiles_path()
    profiles = read_profiles(path)
    changes = {
        "url": address,
        "region": door.named_region if given("region") else None,
        "ca": None if authority is None else str(authority.absolute()),
        "timeout": seconds,
        "key": _credential(),
    }
    before = profiles.get(name, Profile())
    named = {key: value for key, value in changes.items() if value is not None}
    profiles[name] = msgspec.structs.replace(before, **named)
    write_profiles(path, profiles)
    door.output.note(f"profile {name}: {'has' if profiles[name].key else 'has no'} credential, in {path}")


@command(group, "remove")
@click.argument("name")
def remove_profile(door: Door, name: str) -> None:
    """Remove a profile and its credential from the file. The credential stays valid: revoke it."""
    path = profiles_path()
    profiles = read_profiles(path)
    if profiles.pop(name, None) is None:
        raise Unknown("not_found")
    write_profiles(path, profiles)
    door.output.note("Removed. What was kept elsewhere of its credential still works until it is revoked.")


def _credential() -> str | None:
    """The credential on standard input; None if there is none."""
    if sys.stdin.isatty():
        return getpass.getpass("Credential (empty: as it is): ").strip() or None
    try:
        return sys.stdin.read().strip() or None
    except UnicodeDecodeError:
        raise BadInput("usage", reason="the credential is no text") from None
