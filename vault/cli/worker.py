"""worker: does the jobs of the cells of the configuration."""

from __future__ import annotations

import signal
import threading
from typing import Any

import click

from vault.cli.doors import Door, ask_passphrase, command
from vault.errors import Misconfigured
from vault.services.worker import Worker
from vault.wiring import deploy


def register(cli: click.Group) -> None:
    """Adds the command."""
    _add(cli)


def _add(cli: click.Group) -> None:
    @command(cli, "worker", "host")
    @click.option("--once", is_flag=True, help="Do what is due now, and end.")
    def worker(door: Door, once: bool) -> None:
        """Do the cells' jobs until SIGTERM or Ctrl-C: turns of epochs and transfers; tell the directory.

        A SQLite cell is one process's: there `serve` does them itself, unless `worker.inside` is false.
        """
        config = door.config
        if not config.cell:
            raise Misconfigured("not_initialised", reason="no [cell.REGION] is configured")
        deployment = deploy(config, ask_passphrase, "worker", jobs=not once)
        try:
            if once:
                taken = sum(Worker(cell).run_due() for cell in deployment.cells.values())
                door.output.record({"jobs": taken})
                return
            door.output.note(f"Working on {', '.join(deployment.cells)}.")
            _until_told()
        finally:
            deployment.close()


def _until_told() -> None:
    """Waits for SIGTERM or SIGINT."""
    stop = threading.Event()

    def told(*_: Any) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    stop.wait()
