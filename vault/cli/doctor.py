"""doctor: what is wrong or risky on this host, and what to do. Takes no lock and changes nothing."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from vault.checkup import Checkup, exit_of
from vault.cli.doors import Door, ask_passphrase, command
from vault.config import load_all
from vault.errors import CoatcheckError
from vault.finding import RISKY, WRONG, Finding

_group = click.Group()


def register(cli: click.Group) -> None:
    """Adds the command."""
    cli.add_command(_group.commands["doctor"])


@command(_group, "doctor", "host")
@click.option("--strict", is_flag=True, help="Take what is risky for wrong, for the exit code.")
def doctor(door: Door, strict: bool) -> None:
    """Check settings, files, keys, databases, certificate and limits, and say what to do.

    Exits 10 when the audit log is not intact, 11 when anything else is wrong.
    """
    try:
        settings = load_all(door.config_path)
    except CoatcheckError as problem:
        facts = " ".join(f"{name}={value}" for name, value in problem.facts.items())
        detail = f"{problem.code} {facts}".strip()
        findings = [Finding("configuration", WRONG, detail, problem.row.hint, problem.code)]
    else:
        findings = Checkup(settings, ask_passphrase if sys.stdin.isatty() else None).all()
    if door.output.json:
        door.output.data([asdict(found) for found in findings])
    else:
        door.output.table([asdict(found) for found in findings], ("check", "result", "detail"))
        for found in findings:
            if found.result in (RISKY, WRONG) and found.remedy:
                door.output.note(f"{found.check}: {found.remedy}")
    if code := int(exit_of(findings, strict=strict)):
        sys.exit(code)
