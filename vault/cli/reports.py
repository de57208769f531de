"""report processing | retention | disclosures: over HTTP or on this host, as JSON, CSV or HTML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from vault.cli.doors import Door, command
from vault.cli.erasures import SOURCE, read_subject
from vault.services.disclosures import DisclosuresBody, disclosures_report
from vault.services.due_report import MAX_ROWS, DueQuery, retention_report
from vault.services.report_sheets import (
    CSV,
    DISCLOSURES,
    HTML,
    JSON,
    PROCESSING,
    RETENTION,
    csv_text,
    flat,
    page_text,
    tables,
)
from vault.services.reports import processing_report

FORMAT: Final = click.option(
    "--format",
    "form",
    type=click.Choice([JSON, CSV, HTML]),
    default=JSON,
    show_default=True,
    help="How it is printed; HTML is one page without anything from elsewhere.",
)
CURSOR: Final = click.option("--cursor", help="`next` of the answer before.")


@click.group("report")
def group() -> None:
    """Say what is kept and why, until when, and who saw a person."""


def register(cli: click.Group) -> None:
    """Adds the group."""
    cli.add_command(group)


@command(group, "processing", "remote", "host", "tenant")
@FORMAT
def processing(door: Door, form: str) -> None:
    """Print the record of processing (GDPR, article 30): what the schema says, and what there is under it."""
    _print(
        door,
        PROCESSING,
        form,
        lambda: door.call("GET", "reports/processing"),
        lambda: door.verb(processing_report),
    )


@command(group, "retention", "remote", "host", "tenant")
@FORMAT
@click.option("--until", help="Until when it is to fall due, RFC 3339; default: now.")
@click.option("--limit", type=int, default=MAX_ROWS, show_default=True, help="Rows of the page.")
@CURSOR
def retention(door: Door, form: str, until: str | None, limit: int, cursor: str | None) -> None:
    """Print what is kept by class and due period, what falls due, what is held, and what was erased."""
    query = {"until": until, "limit": limit, "cursor": cursor}
    _print(
        door,
        RETENTION,
        form,
        lambda: door.call("GET", "reports/retention", query=query),
        lambda: door.verb(retention_report, DueQuery(until, limit, cursor)),
    )


@command(group, "disclosures", "remote", "host", "tenant")
@FORMAT
@click.option("--from", "from_", help="From when on, RFC 3339; default: from the log's beginning.")
@click.option("--until", help="Until before when, RFC 3339; default: now.")
@CURSOR
@SOURCE
def disclosures(
    door: Door, form: str, from_: str | None, until: str | None, cursor: str | None, source: str | None
) -> None:
    """Print who saw a person, when, which fields and for which purpose (GDPR, art. 15; 45 CFR 164.528).

    The person's identifier stands on standard input or in --in.
    """
    body = DisclosuresBody(read_subject(source), from_, until, cursor)
    _print(
        door,
        DISCLOSURES,
        form,
        lambda: door.call("POST", "reports/disclosures", body),
        lambda: door.verb(disclosures_report, body),
    )


def _print(door: Door, kind: str, form: str, there: Callable[[], Any], here: Callable[[], Any]) -> None:
    """Prints a report, made there or here: the same from the same data."""
    report: dict[str, Any] = there() if door.remote else here()
    if form == JSON:
        door.output.data(report)
    elif form == CSV:
        click.echo(csv_text(*flat(tables(kind, report))), nl=False)
    else:
        click.echo(page_text(kind, tables(kind, report)), nl=False)
    if report.get("next"):
        door.output.note(f"more: --cursor {report['next']}")
