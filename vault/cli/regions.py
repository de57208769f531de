"""region list | lookup | transfer | status | tokens: over HTTP or on this host."""

from __future__ import annotations

import time
from typing import Any, Final

import click
import msgspec

from vault.cli.doors import Door, ask_passphrase, command, host_request, read_lines, segment
from vault.cli.identities import confirm
from vault.cli.jobs import Bar
from vault.codes import CODES
from vault.errors import BadInput, Conflict, Misconfigured, error
from vault.services import regions, transfers
from vault.services.jobs import CANCELLED, DONE, FAILED, WAITING
from vault.services.listing import Page
from vault.services.regions import LookupBody
from vault.services.transfers import COPY, LEGAL_BASES, MOVE, TransferBody
from vault.services.worker import Worker
from vault.wiring import Deployment, deploy, perform

PAUSE_S: Final = 0.2
SOURCE: Final = click.option(
    "--in", "source", type=click.Path(), help="A file that holds the subject; else standard input."
)


@click.group("region")
def group() -> None:
    """See regions, find a person's, and transfer values from one into another."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "list", "remote", "host")
def list_(door: Door) -> None:
    """List the regions that the service, or the configuration on this host, knows."""
    if door.remote:
        rows = door.call("GET", "regions")["items"]
    else:
        config = door.config
        known = sorted(config.urls().items())
        rows = [{"region": name, "url": url, "here": name in config.cell} for name, url in known]
    door.output.table(rows, ("region", "url", "here"))


@command(group, "lookup", "remote", "host")
@SOURCE
def lookup(door: Door, source: str | None) -> None:
    """Say in which region a person is; the person's identifier stands on standard input or in --in.

    Each look-up is counted and is in the log; the person is not.
    """
    body = LookupBody(_subject(source))
    answer = door.call("POST", "directory/lookup", body) if door.remote else door.verb(regions.look_up, body)
    door.output.record(dict(answer))


@command(group, "transfer", "remote", "host", "once")
@click.option("--to", "to", required=True, help="The region that the values go into.")
@click.option("--field", "fields", multiple=True, required=True, help="A field; repeat for more.")
@click.option("--legal-basis", required=True, type=click.Choice(LEGAL_BASES), help="Why it is lawful.")
@click.option("--move", is_flag=True, help="Remove here what has arrived there.")
@click.option("--watch", "watched", is_flag=True, help="Over HTTP: watch until all has arrived.")
@SOURCE
def transfer(
    door: Door,
    to: str,
    fields: tuple[str, ...],
    legal_basis: str,
    move: bool,
    watched: bool,
    source: str | None,
) -> None:
    """Transfer a person's values into another region; the person's identifier stands on standard input.

    Shows what that means and asks, or --yes. Over HTTP a worker of the service does it, which has to have
    both cells; on this host it is done here, while no service holds them.
    """
    body = TransferBody(_subject(source), to, legal_basis, list(fields), MOVE if move else COPY)
    if not door.yes:
        door.output.note(f"Values of {', '.join(fields)} are opened here and sealed anew in {to}.")
        door.output.note("Here they stay." if not move else "Here they are removed, and their tokens end.")
    confirm(door, "Transfer them?")
    if not door.remote:
        _transfer_here(door, body)
        return
    made = dict(door.call("POST", "transfers", body))
    if watched:
        _watch(door, made)
    else:
        door.output.record(made)
        door.output.note(f"coatcheck region status {made['id']}")


@command(group, "status", "remote", "host")
@click.argument("transfer_id", metavar="TRANSFER")
def status(door: Door, transfer_id: str) -> None:
    """Show one transfer, and how far it is."""
    door.output.record(_read(door, transfer_id))


@command(group, "tokens", "remote", "host")
@click.argument("transfer_id", metavar="TRANSFER")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def tokens(door: Door, transfer_id: str, limit: int, cursor: str | None) -> None:
    """List what became of each token of a transfer; kept for seven days after it ended."""
    if door.remote:
        query = {"limit": limit, "cursor": cursor}
        answer = door.call("GET", f"transfers/{segment(transfer_id)}/tokens", query=query)
    else:
        answer = _here(door, transfers.list_moved, transfer_id, Page(limit, cursor))
    door.page(answer, ("field", "old", "new", "code"))


def _subject(source: str | None) -> str:
    lines = read_lines(source)
    if len(lines) != 1:
        raise BadInput("usage", reason="one subject is meant, on one line")
    return lines[0]


def _read(door: Door, transfer_id: str) -> dict[str, Any]:
    if door.remote:
        return dict(door.call("GET", f"transfers/{segment(transfer_id)}"))
    return dict(door.verb(transfers.read_transfer, transfer_id))


def _watch(door: Door, made: dict[str, Any]) -> None:
    bar = Bar(quiet=door.output.quiet)
    while made["state"] not in (DONE, FAILED, CANCELLED):
        bar.show({**made, "step": made["to"], "done": made.get("moved", 0), "total": 0})
        time.sleep(PAUSE_S)
        made = _read(door, made["id"])
    bar.end()
    _show(door, made)


def _show(door: Door, made: dict[str, Any]) -> None:
    """Prints a transfer that has ended.

    Raises:
        CoatcheckError: it failed, with its own code; `version_conflict`: it was stopped.
    """
    door.output.record(made)
    if made["state"] == FAILED:
        code = made.get("error") or "internal"
        raise error(code if code in CODES else "internal", transfer=made["id"])
    if made["state"] == CANCELLED:
        raise Conflict("version_conflict", state=CANCELLED)


def _deployment(door: Door) -> tuple[Deployment, str]:
    config = door.config
    return deploy(config, ask_passphrase, "host", jobs=False), door.region(config)


def _here(door: Door, verb: Any, *arguments: Any) -> Any:
    """A verb on this host that needs both cells."""
    deployment, region = _deployment(door)
    try:
        cell = deployment.cells[region]
        made = perform(cell, lambda: verb(cell, host_request(door.tenant), *arguments))
        return msgspec.to_builtins(made)
    finally:
        deployment.close()


def _transfer_here(door: Door, body: TransferBody) -> None:
    """Begins it and does it."""
    deployment, region = _deployment(door)
    try:
        cell = deployment.cells[region]
        request = host_request(door.tenant)
        made = perform(cell, lambda: transfers.start_transfer(cell, request, body))
        id_ = made.id
        worker = Worker(cell)
        while made.state not in (DONE, FAILED, CANCELLED):
            if worker.run_due() == 0:
                time.sleep(PAUSE_S)
            made = perform(cell, lambda: transfers.read_transfer(cell, request, id_))
            if made.state == WAITING and made.error == "transfer_unsupported":
                raise Misconfigured("config_invalid", setting=f"cell.{body.to}", reason="is missing")
        _show(door, msgspec.to_builtins(made))
    finally:
        deployment.close()
