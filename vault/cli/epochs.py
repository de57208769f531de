"""epoch turn | list | check: over HTTP or on this host."""

from __future__ import annotations

import time
from typing import Any, Final

import click
import msgspec

from vault.cli.doors import Door, ask_passphrase, command, host_request
from vault.cli.identities import confirm
from vault.cli.jobs import Bar, watch
from vault.errors import CoatcheckError, error
from vault.services import turn
from vault.services.epoch_check import check_epochs
from vault.services.jobs import DONE, FAILED, WAITING, read_job
from vault.services.turn import TurnBody
from vault.services.turning import DROP, KEEP
from vault.services.worker import Worker
from vault.wiring import Wiring, perform

PAUSE_S: Final = 0.2


@click.group("epoch")
def group() -> None:
    """Turn the cell's epoch, see its epochs, and check that they open."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "turn", "remote", "host", "once")
@click.option("--drop-replays", is_flag=True, help="Give up answers that are kept for repeated requests.")
@click.option("--watch", "watched", is_flag=True, help="Over HTTP: watch the job until it ends.")
def turn_(door: Door, drop_replays: bool, watched: bool) -> None:
    """Seal every key under a new epoch, and destroy the old one. Shows what that means and asks, or --yes.

    Over HTTP a worker of the service does it. On this host it is done here, while no service holds the cell;
    a turn that was begun before is gone on with.
    """
    body = TurnBody(DROP if drop_replays else KEEP)
    if not door.yes:
        door.output.note("Every key is sealed anew, then the old epoch is destroyed, for good:")
        door.output.note("  no copy of the database from before the turn opens with the keys of after it.")
    confirm(door, "Turn the epoch?")
    if not door.remote:
        _turn_here(door, body)
        return
    job = door.call("POST", "epochs/turn", body)
    if watched:
        watch(door, lambda: dict(door.call("GET", f"jobs/{job['id']}")))
    else:
        door.output.record(job)
        door.output.note(f"coatcheck jobs watch {job['id']}")


def _turn_here(door: Door, body: TurnBody) -> None:
    """Begins a turn on this host's cell, or goes on with one, and does it to its end.

    Raises:
        CoatcheckError: it failed, with its code; or it waits for something that will not come here.
    """
    with door.cell() as cell:
        request = host_request()
        try:
            job = perform(cell, lambda: turn.start_turn(cell, request, body)).id
        except CoatcheckError as refusal:
            if refusal.code != "job_running":
                raise
            job = str(refusal.facts["job"])
            door.output.note(f"going on with {job}")
        worker, bar = Worker(cell), Bar(quiet=door.output.quiet)
        while True:
            taken = worker.run_one()
            shown = msgspec.to_builtins(perform(cell, lambda: read_job(cell, request, job)))
            bar.show(shown)
            waits = shown["state"] == WAITING and shown.get("waits_for") != "processes"
            if waits or shown["state"] in (DONE, FAILED) or (not taken and shown["state"] == "cancelled"):
                break
            if not taken:
                time.sleep(PAUSE_S)
        bar.end()
        if cell.attendant is not None:
            cell.attendant.look()  # what the end of an epoch leaves to be done on this host
        door.output.record(shown)
        if shown["state"] != DONE:
            code = shown.get("error") or "too_busy"
            raise error(str(code), job=job, state=shown["state"])


@command(group, "list", "remote", "host")
def list_(door: Door) -> None:
    """List the cell's epochs, newest first."""
    answer = door.call("GET", "epochs") if door.remote else door.verb(turn.list_epochs)
    rows = [_shown(epoch) for epoch in answer["items"]] if not door.output.json else answer["items"]
    door.output.table(rows, ("epoch", "state", "used", "created", "activated", "period_end", "turn"))


@command(group, "check", "host")
def check(door: Door) -> None:
    """Check that the epochs in use open with the keys on this host, and what lies under each. Takes no lock.

    Ends with 10 if one does not open, and with 9 if the key store is out of reach.
    """
    config = door.config
    region = door.region(config)
    wiring = Wiring(config, ask_passphrase)
    with wiring.reader(region) as store:
        found = check_epochs(store, region, wiring.provider(region), wiring.halves(region))
    door.output.table([msgspec.to_builtins(row) for row in found], ("epoch", "state", "result", "rows"))
    for row in found:
        if row.code:
            raise error(row.code, epoch=row.epoch)


def _shown(epoch: dict[str, Any]) -> dict[str, Any]:
    """An epoch as a line: its turn by when it ended, or by the last step that did."""
    used = [name for name in ("writes", "reads") if epoch.get(name)]
    opened = epoch.get("turn") or {}
    steps: dict[str, str] = opened.get("steps") or {}
    last = max(steps, key=lambda step: steps[step], default="begun")
    return {**epoch, "used": used, "turn": (opened.get("ended") or last) if opened else None}
