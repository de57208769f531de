"""doctor: what is wrong or risky on this host. Takes no lock and changes nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from vault.cli.doors import Door, ask_passphrase, command
from vault.config import Config
from vault.errors import CoatcheckError, Exit
from vault.wiring import Finding, Wiring


def register(cli: click.Group) -> None:
    """Adds the command."""
    cli.add_command(_group.commands["doctor"])


_group = click.Group()


@command(_group, "doctor", "host")
def doctor(door: Door) -> None:
    """Check configuration, files, keys and databases; exits 11 when something is wrong."""
    findings: list[Finding] = []
    try:
        config = door.config
    except CoatcheckError as problem:
        findings.append(Finding("configuration", "wrong", _reason(problem)))
    else:
        findings += _deployment(config)
        wiring = Wiring(config, ask_passphrase if sys.stdin.isatty() else None)
        for region in config.cell:
            findings += wiring.examine(region)
    rows: list[dict[str, Any]] = [
        {"check": found.check, "result": found.result, "detail": found.detail} for found in findings
    ]
    door.output.table(rows, ("check", "result", "detail"))
    if any(found.result == "wrong" for found in findings):
        sys.exit(int(Exit.CONFIG))


def _deployment(config: Config) -> list[Finding]:
    where = str(Path(config.base).resolve())
    findings = [Finding("configuration", "ok", f"{len(config.cell)} cells, folder {where}")]
    if config.development:
        findings.append(Finding("mode", "risky", "development: key files and /docs and /metrics are allowed"))
    if not config.cell:
        findings.append(Finding("cells", "wrong", "no [cell.REGION] is configured"))
    return findings


def _reason(problem: CoatcheckError) -> str:
    facts = " ".join(f"{name}={value}" for name, value in problem.facts.items())
    return f"{problem.code} {facts}".strip()
