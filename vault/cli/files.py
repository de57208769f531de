"""tokenize-file, detokenize-file, rekey-file: columns of a file, with a bar, resumed where it was killed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import click

from vault.cli.doors import Door, command
from vault.cli.local import LocalRekeys, LocalService, LocalTokens
from vault.cli.output import Output
from vault.client.columns import BATCH, Rekeys, Service, Tokens, Values
from vault.codes import Exit
from vault.errors import BadInput
from vault.files.job import run
from vault.files.plan import (
    CSV,
    DETOKENIZE,
    FORMS,
    JSON_LINES,
    PARQUET,
    REKEY,
    TOKENIZE,
    Plan,
    Result,
    Transform,
)
from vault.files.rehearsal import Check, rehearse

_MIB = 1024 * 1024
_FORMS = {
    ".csv": (CSV, ","),
    ".tsv": (CSV, "\t"),
    ".jsonl": (JSON_LINES, ","),
    ".ndjson": (JSON_LINES, ","),
    ".parquet": (PARQUET, ","),
}
_PATIENCE_S = 1.0  # a bar for less is only in the way


def register(cli: click.Group) -> None:
    """Adds the commands."""
    for name in _group.commands:
        cli.add_command(_group.commands[name])


_group = click.Group()


def _options(function: Callable[..., None]) -> Callable[..., None]:
    """What both commands take."""
    for option in reversed(
        (
            click.option("--in", "source", type=click.Path(), required=True, help="The file to read."),
            click.option(
                "--format",
                "form",
                type=click.Choice(FORMS),
                help="What the file is; else by its name's end: .csv, .tsv, .jsonl, .ndjson, .parquet.",
            ),
            click.option("--out", "target", type=click.Path(), required=True, help="The new file; replaced."),
            click.option(
                "--column", "columns", multiple=True, required=True, help="NAME=FIELD; several times."
            ),
            click.option("--subject-column", "subject", help="Column that says whose a row's values are."),
            click.option(
                "--key-version-column",
                "versions",
                multiple=True,
                help="Column of key versions, NAME=THAT where there are several columns.",
            ),
            click.option(
                "--rejects", type=click.Path(), help="File for row, column, code of what is refused."
            ),
            click.option("--delimiter", help="Of CSV: one character; else a comma, and a tab in .tsv."),
            click.option(
                "--batch",
                type=click.IntRange(1),
                default=BATCH,
                show_default=True,
                help="Most values a request.",
            ),
        )
    ):
        function = option(function)
    return function


@command(_group, "tokenize-file", "remote", "host", "tenant")
@_options
@click.option("--dry-run", is_flag=True, help="Say what would be refused, and make nothing.")
def tokenize_file(door: Door, batch: int, dry_run: bool, **options: Any) -> None:
    """Turn columns of a file into tokens: of CSV with a header, JSON lines or Parquet; all else stays.

    Killed, it goes on where it was when it is started again with the same options, and the file is the
    same. Null stays null, as an empty field of CSV is. Without --rejects, the first values that are refused
    end it, and nothing is left; with it, their rows are left out, and the exit code is 8. Rows count from 1,
    behind the header. --key-version-column adds a column behind the last with the key version of each
    vaultless token.
    """
    plan = _plan(TOKENIZE, **options)
    with _tokens(door, batch) as tokens:
        if dry_run:
            _rehearse(door, plan, tokens)
            return
        _do(door, plan, tokens, lambda: {"key_versions": tokens.key_versions} if tokens.key_versions else {})


@command(_group, "detokenize-file", "remote", "host", "tenant")
@_options
@click.option("--purpose", envvar="COATCHECK_PURPOSE", required=True, help="The grant's purpose.")
@click.option("--mask", help="The name of a mask, to show that much and no more.")
@click.option("--key-version", type=int, help="Of vaultless tokens, where no column holds it.")
def detokenize_file(
    door: Door, purpose: str, mask: str | None, key_version: int | None, batch: int, **options: Any
) -> None:
    """Turn columns of tokens in a file back into values; the credential is a grant's.

    Works as tokenize-file does. The grant is charged batch by batch, also for a batch larger than it takes
    (--batch). Where it is used up, or revoked, what
    was done is kept, and the same options with another grant go on behind it; what was under way when the
    command was killed is charged again. The new file holds values: only its owner can read it.
    """
    plan = _plan(DETOKENIZE, **options)
    with _service(door) as service:
        values = Values(service, purpose, mask, key_version, batch)
        _do(door, plan, values, lambda: {} if values.uses_left is None else {"uses_left": values.uses_left})


@command(_group, "rekey-file", "remote", "host", "tenant")
@_options
@click.option("--from-version", type=int, help="Of the tokens, where no column holds it.")
def rekey_file(door: Door, from_version: int | None, batch: int, **options: Any) -> None:
    """Turn columns of vaultless tokens in a file into tokens of the newest key version; no value is shown.

    Works as tokenize-file does. Where --key-version-column names a column, each token is of the version that
    stands there, and the new one takes its place; so a file that was rekeyed in part can be rekeyed again.
    """
    plan = _plan(REKEY, **options)
    if len({column for _, column in plan.versions}) != len(plan.versions):
        raise BadInput("usage", option="--key-version-column", reason="has a column of its own for each")
    with _rekeys(door, from_version, batch) as rekeys:
        _do(door, plan, rekeys, lambda: {"key_versions": rekeys.key_versions} if rekeys.key_versions else {})


@contextmanager
def _rekeys(door: Door, from_version: int | None, batch: int) -> Iterator[Rekeys]:
    """Where new tokens come from: a service, or a cell of this host, whose user acts."""
    if door.remote:
        with closing(door.client()) as client:
            yield Rekeys(client, from_version, batch)
        return
    tenant = door.tenant
    with door.cell() as cell:
        yield LocalRekeys(LocalService(cell, tenant), from_version, batch)


@contextmanager
def _tokens(door: Door, batch: int) -> Iterator[Tokens]:
    """Where tokens come from: a service, or a cell of this host, whose user acts."""
    if door.remote:
        with closing(door.client()) as client:
            yield Tokens(client, batch)
        return
    tenant = door.tenant
    with door.cell() as cell:
        yield LocalTokens(LocalService(cell, tenant), batch)


@contextmanager
def _service(door: Door) -> Iterator[Service]:
    """Where values come from: a service, or a cell of this host; by a grant's credential."""
    if door.remote:
        with closing(door.client()) as client:
            yield client
        return
    credential, tenant = door.credential, door.tenant
    if credential is None:
        raise BadInput("usage", missing="--key, or COATCHECK_KEY")
    with door.cell() as cell:
        yield LocalService(cell, tenant, credential)


def _plan(
    verb: str,
    source: str,
    target: str,
    columns: tuple[str, ...],
    subject: str | None,
    versions: tuple[str, ...],
    rejects: str | None,
    delimiter: str | None,
    form: str | None,
) -> Plan:
    """What the options ask for.

    Raises:
        BadInput: `usage`.
    """
    known, mark = _FORMS.get(Path(source).suffix.lower(), (CSV, ","))
    delimiter = delimiter or mark
    if len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise BadInput("usage", option="--delimiter", reason="is one character")
    pairs = tuple(_pair(text, "--column", "is NAME=FIELD") for text in columns)
    names = {name for name, _ in pairs}
    if len(names) != len(pairs):
        raise BadInput("usage", option="--column", reason="names a column twice")
    option = "--key-version-column"
    only = pairs[0][0] if len(pairs) == 1 else None
    of = tuple(
        (only, text) if only and "=" not in text else _pair(text, option, "is NAME=COLUMN")
        for text in versions
    )
    if len({name for name, _ in of}) != len(of) or not names.issuperset(name for name, _ in of):
        raise BadInput("usage", option=option, reason="names each of the columns once")
    told = Path(rejects) if rejects else None
    return Plan(Path(source), Path(target), pairs, subject, told, delimiter, verb, of, form or known)


def _rehearse(door: Door, plan: Plan, check: Check) -> None:
    """Looks at all of it, and says what would be refused."""
    with _bar(door.output, plan) as progress:
        result = rehearse(plan, check, progress)
    _told(door, result, {"rows": result.rows, "rejected_rows": result.rejected, "dry_run": True}, {})


def _told(door: Door, result: Result, told: dict[str, Any], more: dict[str, Any]) -> None:
    if result.codes:
        told["refused"] = dict(sorted(result.codes.items()))
    door.output.record(told | more)
    if result.rejected:
        sys.exit(int(Exit.PARTIAL))


def _do(door: Door, plan: Plan, transform: Transform, more: Callable[[], dict[str, Any]]) -> None:
    """Does it, with a bar, and says what was done."""
    with _bar(door.output, plan) as progress:
        result = run(plan, transform, progress)
    told: dict[str, Any] = {"rows": result.rows, "rejected_rows": result.rejected, "resumed": result.resumed}
    _told(door, result, told, more())


def _pair(text: str, option: str, reason: str) -> tuple[str, str]:
    name, found, field = text.rpartition("=")
    if not found or not name or not field:
        raise BadInput("usage", option=option, reason=reason)
    return name, field


@contextmanager
def _bar(output: Output, plan: Plan) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and time left on a terminal, once there is something to wait for; nothing elsewhere."""
    if output.quiet or not sys.stderr.isatty():
        yield lambda _done, _all: None
        return
    begun = time.monotonic()
    with ExitStack() as shown:
        bar: Any = None
        first = -1

        def progress(done: int, whole: int) -> None:
            nonlocal first, bar
            first = done if first < 0 else first  # an earlier run's part is none of this one's rate
            took = time.monotonic() - begun
            if bar is None and (took < _PATIENCE_S or done == whole):
                return
            if bar is None:
                line = click.progressbar(
                    length=whole, file=sys.stderr, item_show_func=lambda text: text or ""
                )
                bar = shown.enter_context(line)
            rate = (done - first) / took
            shown_rate = f"{rate:,.0f} rows/s" if plan.form == PARQUET else f"{rate / _MIB:.1f} MiB/s"
            bar.update(done - bar.pos, shown_rate)

        yield progress
