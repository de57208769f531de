"""jobs list | show | watch | cancel | resume: over HTTP or on this host."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Final

import click

from vault.cli.doors import Door, command, segment
from vault.codes import CODES
from vault.errors import Conflict, error
from vault.services import jobs
from vault.services.jobs import CANCELLED, DONE, FAILED
from vault.services.listing import Page

POLL_S: Final = 0.5
PICKUP: Final = "pickup"  # what it has to do is done; what it made waits for somebody
WIDTH: Final = 24  # of the bar
COLUMNS: Final = ("id", "kind", "state", "step", "done", "total", "waits_for", "error")


@click.group("jobs")
def group() -> None:
    """See jobs, watch them, stop them, and let them go on."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "list", "remote", "host")
@click.option("--limit", type=int, default=100, show_default=True, help="Rows of the page.")
@click.option("--cursor", help="`next` of the page before.")
def list_(door: Door, limit: int, cursor: str | None) -> None:
    """List jobs, newest first."""
    if door.remote:
        answer = door.call("GET", "jobs", query={"limit": limit, "cursor": cursor})
    else:
        answer = door.verb(jobs.list_jobs, Page(limit, cursor))
    door.page(answer, COLUMNS)


@command(group, "show", "remote", "host")
@click.argument("job")
def show(door: Door, job: str) -> None:
    """Show one job: how far it is, how fast, and what last went wrong."""
    door.output.record(_read(door, job))


@command(group, "watch", "remote", "host")
@click.argument("job")
def watch_(door: Door, job: str) -> None:
    """Watch a job until it ends: a bar with its rate and the time that is left.

    Ends with 0 when it is done, and as its error says when it failed. Ctrl-C leaves the job alone.
    """
    watch(door, lambda: _read(door, job))


@command(group, "cancel", "remote", "host", "once")
@click.argument("job")
def cancel(door: Door, job: str) -> None:
    """Stop a job where it stands; what it has done stays done."""
    door.output.record(_steer(door, job, "cancel"))


@command(group, "resume", "remote", "host", "once")
@click.argument("job")
def resume(door: Door, job: str) -> None:
    """Let a job go on that failed, was stopped, or waits."""
    door.output.record(_steer(door, job, "resume"))


def _read(door: Door, job: str) -> dict[str, Any]:
    if door.remote:
        return dict(door.call("GET", f"jobs/{segment(job)}"))
    return dict(door.verb(jobs.read_job, job))


def _steer(door: Door, job: str, what: str) -> dict[str, Any]:
    if door.remote:
        return dict(door.call("POST", f"jobs/{segment(job)}/{what}"))
    return dict(door.verb(jobs.cancel_job if what == "cancel" else jobs.resume_job, job))


def watch(door: Door, read: Callable[[], dict[str, Any]]) -> None:
    """Shows a job on standard error until it ends, then prints it.

    Raises:
        CoatcheckError: the job failed, with its own code; `version_conflict`: it was stopped.
    """
    bar = Bar(quiet=door.output.quiet)
    while True:
        job = read()
        bar.show(job)
        if job["state"] in (DONE, FAILED, CANCELLED) or job.get("waits_for") == PICKUP:
            break
        time.sleep(POLL_S)
    bar.end()
    door.output.record(job)
    if job["state"] == FAILED:
        code = job.get("error") or "internal"
        raise error(code if code in CODES else "internal", job=job["id"])
    if job["state"] == CANCELLED:
        raise Conflict("version_conflict", state=CANCELLED)


class Bar:
    """A job's line on a terminal, written over again; elsewhere a line for each change of step."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._last = ""

    def show(self, job: dict[str, Any]) -> None:
        """Shows how far it is."""
        if self._quiet:
            return
        if self._terminal:
            print(f"\r{line(job)}\x1b[K", end="", file=sys.stderr, flush=True)
            return
        said = f"{job['state']} {job['step']} {job.get('waits_for') or ''} {job.get('error') or ''}"
        if said != self._last:
            self._last = said
            print(line(job), file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leaves the line."""
        if self._terminal and not self._quiet:
            print(file=sys.stderr)


def line(job: dict[str, Any]) -> str:
    """A job in one line: bar, step, rows, rate, time left, and what it waits for."""
    done, total = job["done"], job["total"]
    share = 1.0 if job["state"] == DONE else min(done / total, 1.0) if total else 0.0
    full = round(share * WIDTH)
    parts = [f"[{'#' * full}{'-' * (WIDTH - full)}] {share:4.0%}", job["state"], job["step"]]
    parts.append(f"{done:,}/{total:,}")
    if job.get("rate"):
        parts.append(f"{job['rate']:,.0f}/s")
    if job.get("eta") is not None:
        minutes, seconds = divmod(int(job["eta"]), 60)
        parts.append(f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02} left")
    if job.get("waits_for"):
        parts.append(f"waits for {job['waits_for']}")
    if job.get("error"):
        parts.append(job["error"])
    return "  ".join(parts)
