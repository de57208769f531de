"""cell backup | restore | copy: a cell as files and back, or into another database. On this host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from vault.cli.cell import group
from vault.cli.doors import Door, ask_passphrase, command
from vault.cli.identities import confirm
from vault.config import find_file, load
from vault.errors import BadInput
from vault.moves import Restore, back_up, copy
from vault.wiring import Wiring

WIDTH: Final = 24  # of the bar


def register(cli: click.Group) -> None:
    """Adds the commands to the group `cell`."""


@command(group, "backup", "host")
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--without-values", is_flag=True, help="Custody and record only: small, and often.")
def backup(door: Door, folder: Path | None, without_values: bool) -> None:
    """Write a backup of the cell into FOLDER, also while a service runs, and read it back.

    Custody and record of one instant, sealed under the epoch, and the values. FOLDER defaults to
    custody_backup of the settings. Custody and record that have had their time are removed there.
    """
    config = door.config
    region = door.region(config)
    bar = RowBar(quiet=door.output.quiet)
    wiring = Wiring(config, ask_passphrase)
    done = back_up(wiring, region, folder, values=not without_values, seen=bar.show)
    bar.end()
    made = done.made
    door.output.record(
        {
            "region": region,
            "set": made.set,
            "epoch": made.epoch,
            "instant": made.at,
            "events": made.events,
            "files": {one.part: one.name for one in made.files},
            "rows": {one.part: one.rows for one in made.files},
            "recorded": done.recorded,
            "removed": len(done.removed),
        }
    )
    if not done.recorded:
        door.output.note("A service holds the cell, so the audit log does not name this backup.")


@command(group, "restore", "host")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--values",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file of values; default: the newest in FOLDER that is not newer than custody.",
)
@click.option("--without-values", is_flag=True, help="There are none: every token of the cell loses its own.")
@click.option("--newest", is_flag=True, help="Nothing was committed after this record; keep its access.")
@click.option("--above", type=click.IntRange(min=0), default=0, help="An event is known up to this number.")
@click.option("--dry-run", is_flag=True, help="Read all files, say what would be done, and do nothing.")
@click.option("--again", is_flag=True, help="Throw away what an interrupted restore has loaded.")
def restore(
    door: Door,
    folder: Path,
    values: Path | None,
    without_values: bool,
    newest: bool,
    above: int,
    dry_run: bool,
    again: bool,
) -> None:
    """Restore the cell from the newest custody and record in FOLDER, into an empty database.

    Shows the plan and asks, or --yes. Interrupted, the same command goes on; until it has ended nothing
    serves the cell. What was erased since is erased again. Unless --newest, all grants and service keys are
    revoked: make new ones on this host.
    """
    config = door.config
    region = door.region(config)
    wiring = Wiring(config, ask_passphrase)
    bar = RowBar(quiet=door.output.quiet)
    work = Restore(
        wiring, region, folder, values=values, without_values=without_values, newest=newest, above=above,
        seen=bar.show,
    )  # fmt: skip
    bar.end()
    plan = work.plan()
    if dry_run:
        door.output.record(plan)
        return
    if not door.yes:
        show_plan(door, plan)
    confirm(door, "Restore?")
    done = work.run(bar.show, again=again)
    bar.end()
    door.output.record(
        {
            "region": region,
            "set": plan["set"],
            "instant": plan["instant"],
            "rows": plan["rows"],
            "erased_again": {"keys": done.erased_keys, "values": done.erased_values},
            "revoked": {"grants": done.grants, "credentials": done.credentials},
            "tokens_without_value": done.without_value,
            "event": done.event,
        }
    )
    if not newest:
        door.output.note(
            "All grants and service keys are revoked. Next: coatcheck apikey create ID, on this host."
        )


@command(group, "copy", "host")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("destination", type=click.Path(exists=True, path_type=Path))
@click.option("--again", is_flag=True, help="Throw away what an interrupted copy has brought.")
def copy_(door: Door, source: Path, destination: Path, again: bool) -> None:
    """Copy a cell into an empty database: SOURCE and DESTINATION are a coatcheck.toml each, or its folder.

    From SQLite to PostgreSQL, back, or between servers; no service may run on either. Interrupted, the same
    command goes on; until it has ended nothing serves the destination. Counts and hashes of all tables are
    compared, and values opened. The source stays as it is.
    """
    from_, to = (load(find_file(str(path))) for path in (source, destination))
    region = door.region(from_)
    if region not in to.cell:
        raise BadInput("usage", reason="the destination's settings have no such cell")
    if not door.yes:
        door.output.note(f"  cell {region}, every row of it, into the database of the destination's settings")
    confirm(door, "Copy?")
    bar = RowBar(quiet=door.output.quiet)
    wirings = Wiring(from_, ask_passphrase), Wiring(to, ask_passphrase)
    done = copy(*wirings, region, bar.show, again=again)
    bar.end()
    door.output.record(
        {
            "region": region,
            "rows": sum(done.rows.values()),
            "tables": done.rows,
            "digest": done.digest,
            "opened": done.opened,
            "event": done.event,
        }
    )
    door.output.note("Serve one of the two from here on, never both.")


def show_plan(door: Door, plan: dict[str, Any]) -> None:
    """Says what would be done, beside the data."""
    for name, value in plan.items():
        shown = " ".join(f"{key}={item}" for key, item in value.items()) if isinstance(value, dict) else value
        door.output.note(f"  {name}: {shown}")


class RowBar:
    """How far rows are, on a terminal in one line; elsewhere a line for each thing that is begun."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._last = ""

    def show(self, what: str, done: int, total: int) -> None:
        """Shows how far it is."""
        if self._quiet:
            return
        share = min(done / total, 1.0) if total else 0.0
        full = round(share * WIDTH)
        text = f"[{'#' * full}{'-' * (WIDTH - full)}] {share:4.0%}  {what}  {done:,}/{total:,}"
        if self._terminal:
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)
        elif what != self._last:
            self._last = what
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leaves the line."""
        if self._terminal and not self._quiet:
            print(file=sys.stderr)
