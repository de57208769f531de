"""key list | show: over HTTP."""

from __future__ import annotations

import click

from vault.cli.doors import Door, command, segment
from vault.cli.identities import confirm
from vault.errors import BadInput


@click.group("key")
def group() -> None:
    """List and show keys of the hierarchy: what they are for, never what they are made of."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "list", "remote")
@click.option("--kind", help="Only of this kind: data, ff1, row-id, api, ...")
@click.option("--state", help="Only in this state: active, destroyed, ...")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(door: Door, kind: str | None, state: str | None, limit: int, cursor: str | None) -> None:
    """List keys, newest first."""
    query = {"kind": kind, "state": state, "limit": limit, "cursor": cursor}
    answer = door.call("GET", "keys", query=query)
    door.page(answer, ("id", "kind", "field", "version", "state", "filling", "created", "period_end"))


@command(group, "show", "remote")
@click.argument("key_id", metavar="KEY")  # `key` is the shared option's
def show(door: Door, key_id: str) -> None:
    """Show one key."""
    door.output.record(door.call("GET", f"keys/{segment(key_id)}"))


@command(group, "coverage", "remote")
@click.argument("key_id", metavar="KEY")
def coverage(door: Door, key_id: str) -> None:
    """Show what needs a key.

    Values and tokens in the cell are counted. Of tokens that callers keep it shows how many were issued and
    rekeyed, and when one was last used; how many are left only callers know.
    """
    door.output.record(door.call("GET", f"keys/{segment(key_id)}/coverage"))


@command(group, "rotate", "remote", "once")
@click.argument("key_id", metavar="KEY")
@click.option("--reason", help="Why, for the record.")
def rotate(door: Door, key_id: str, reason: str | None) -> None:
    """Give a field key a new version, which protects from now on.

    The version before still opens its tokens; `rekey` and `rekey-file` turn them into new ones. Of an index
    key a job makes the rows that the new version finds; `jobs show` says how far it is.
    """
    door.output.record(door.call("POST", f"keys/{segment(key_id)}/rotate", _because(reason)))


@command(group, "compromise", "remote", "once")
@click.argument("key_id", metavar="KEY")
@click.option("--reason", help="What happened, for the record.")
def compromise(door: Door, key_id: str, reason: str | None) -> None:
    """Declare a field key compromised: it opens, but protects nothing more.

    If it is the version that protects, a new one takes its place at once.
    """
    confirm(door, f"Declare {key_id} compromised? That cannot be taken back.")
    door.output.record(door.call("POST", f"keys/{segment(key_id)}/compromise", _because(reason)))


@command(group, "destroy", "remote", "once")
@click.argument("key_id", metavar="KEY")
@click.option("--attested-by", "by", help="Who answers for it that nobody keeps tokens of this version.")
@click.option("--statement", help="In which words.")
def destroy(door: Door, key_id: str, by: str | None, statement: str | None) -> None:
    """Destroy a version of a field key: what it made cannot be opened again.

    One of which tokens were issued is destroyed on a named person's word only: `key coverage` shows what is
    known of them. Backups of the database open it until the next epoch turn.
    """
    if (by is None) != (statement is None):
        raise BadInput("usage", missing="--attested-by and --statement go together")
    if not door.yes:
        needs = door.call("GET", f"keys/{segment(key_id)}/coverage")
        known = ", ".join(f"{name} {value}" for name, value in needs.items())
        confirm(door, f"{known}\nDestroy it? Nothing that it made can be opened afterwards.")
    body = {} if by is None else {"attestation": {"by": by, "statement": statement}}
    door.output.record(door.call("POST", f"keys/{segment(key_id)}/destroy", body))


def _because(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {"reason": reason}
