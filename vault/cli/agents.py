"""agent keys | register | revoke-key: the keys that agents hold, over HTTP or on this host."""

from __future__ import annotations

import click
import msgspec

from vault.cli.doors import Door, command, segment
from vault.cli.identities import MAX_JWK, confirm, read_small
from vault.errors import BadInput
from vault.services import holder_keys
from vault.services.holder_keys import HolderKeyBody, PublicKey


@click.group("agent")
def agents() -> None:
    """Register, list and revoke the keys that agents hold."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(agents)


@command(agents, "register", "remote", "host", "tenant", "once")
@click.argument("agent")
@click.option("--key-in", default="-", show_default=True, help="File with the public key as a JWK.")
@click.option("--expires", help="When it ends, RFC 3339; grants bound to it end no later.")
@click.option("--replaces", metavar="JKT", help="Thumbprint of the key whose place it takes.")
@click.option("--overlap", help="How long that one stays valid, like P7D; a month at most.")
@click.option("--label", help="For people: which worker it is.")
def register_key(
    door: Door,
    agent: str,
    key_in: str,
    expires: str | None,
    replaces: str | None,
    overlap: str | None,
    label: str | None,
) -> None:
    """Register a key of AGENT (`pr_...`): its keyed grants are then bound to registered keys only."""
    body = HolderKeyBody(_public_key(key_in), expires, replaces, overlap, label)
    if door.remote:
        answer = door.call("POST", f"agents/{segment(agent)}/keys", body)
    else:
        answer = door.verb(holder_keys.register_holder_key, agent, body)
    door.output.record(answer)


@command(agents, "keys", "remote", "host", "tenant")
@click.argument("agent")
def list_keys(door: Door, agent: str) -> None:
    """List the registered keys of AGENT (`pr_...`), newest first."""
    if door.remote:
        answer = door.call("GET", f"agents/{segment(agent)}/keys")
    else:
        answer = door.verb(holder_keys.list_holder_keys, agent)
    door.page(answer, ("jkt", "label", "created", "expires", "revoked"))


@command(agents, "revoke-key", "remote", "host", "tenant", "once")
@click.argument("agent")
@click.argument("jkt")
def revoke_key(door: Door, agent: str, jkt: str) -> None:
    """Revoke a key of AGENT by its thumbprint, and every grant that is bound to it, at once and for good."""
    confirm(door, f"Revoke {jkt} and its grants?")
    if door.remote:
        answer = door.call("DELETE", f"agents/{segment(agent)}/keys/{segment(jkt)}")
    else:
        answer = door.verb(holder_keys.revoke_holder_key, agent, jkt)
    door.output.record(answer)


def _public_key(path: str) -> PublicKey:
    """A public key in a file, or on standard input.

    Raises:
        BadInput: `usage`, `limit_invalid`: no JWK of a public Ed25519 key.
    """
    try:
        return msgspec.json.decode(read_small(path, "--key-in", MAX_JWK), type=PublicKey)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # A private key has a member `d`, which is refused as every unknown one is.
        raise BadInput("limit_invalid", member="key") from None
