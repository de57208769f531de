"""The command line: `coatcheck VERB`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from vault import __version__
from vault.cli import (
    agents,
    approvals,
    audit,
    backup,
    catalog,
    cell,
    completion,
    config,
    data,
    directories,
    doctor,
    epochs,
    erasures,
    files,
    grants,
    holds,
    identities,
    init,
    jobs,
    keys,
    kms,
    operators,
    policies,
    profiles,
    regions,
    reports,
    retention,
    reviews,
    schema,
    tenants,
    worker,
)
from vault.cli.doors import Door, command, guard
from vault.cli.output import Output, use_color
from vault.cli.usage import explain


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit: 0 ok, 2 usage, 3 bad input, 4 not authenticated, 5 denied, 6 unknown, 7 conflict, "
    "8 partial, 9 unavailable, 10 integrity, 11 configuration, 70 a defect of ours.",
)
@click.version_option(__version__, prog_name="coatcheck")
def cli() -> None:
    """A value goes in, a ticket comes out, and a grant brings the value back.

    Verbs that speak to a service take --url, --key and --region (or COATCHECK_URL, COATCHECK_KEY,
    COATCHECK_REGION, or a --profile). Verbs that open the cell on this host take --config and the cell's
    lock.
    """


@command(cli, "version")
def version(door: Door) -> None:
    """Print the version."""
    door.output.record({"version": __version__})


for module in (
    *(init, data, files, grants, approvals, identities, agents, operators, tenants),
    *(schema, policies, reviews, catalog, keys, epochs, audit),
    *(regions, erasures, holds, reports, retention, directories, worker, jobs, cell, backup, kms, doctor),
    *(config, profiles, completion),
):
    module.register(cli)


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit class."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    output = Output(json="--json" in given, color=use_color("--no-color" in given))
    guard(output, lambda: _run(given))


def _run(given: list[str]) -> None:
    try:
        code = cli(given, prog_name="coatcheck", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except click.UsageError as problem:
        raise explain(problem) from None
    sys.exit(code if isinstance(code, int) else 0)
