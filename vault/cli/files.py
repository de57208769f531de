"""tokenize-file: columns of a file become tokens, with a bar, and again from where it was killed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from vault.cli.doors import Door, command
from vault.cli.output import Output
from vault.client.columns import Tokens
from vault.errors import BadInput, Exit
from vault.files.job import Plan, run

_MIB = 1024 * 1024


def register(cli: click.Group) -> None:
    """Adds the commands."""
    for name in _group.commands:
        cli.add_command(_group.commands[name])


_group = click.Group()


@command(_group, "tokenize-file", "remote")
@click.option("--in", "source", type=click.Path(), required=True, help="A CSV file with a header, UTF-8.")
@click.option("--out", "target", type=click.Path(), required=True, help="Where the tokens go; replaced.")
@click.option("--column", "columns", multiple=True, required=True, help="NAME=FIELD; several times.")
@click.option("--subject-column", "subject", help="The column that says whose a row's values are.")
@click.option("--rejects", type=click.Path(), help="A file for row, column and code of what is refused.")
@click.option("--delimiter", default=",", show_default=True, help="One character.")
def tokenize_file(
    door: Door,
    source: str,
    target: str,
    columns: tuple[str, ...],
    subject: str | None,
    rejects: str | None,
    delimiter: str,
) -> None:
    """Turn columns of a CSV file into tokens; all else stays as it is, byte for byte.

    Killed, it goes on where it was when it is started again with the same options, and the file is the
    same. An empty field stays empty. Without --rejects, the first values that are refused end it, and nothing
    is left; with it, their rows are left out, and the exit code is 8. Rows count from 1, behind the header.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n' or not delimiter.isascii():
        raise BadInput("usage", option="--delimiter", reason="is one character")
    pairs = tuple(map(_pair, columns))
    if len({name for name, _ in pairs}) != len(pairs):
        raise BadInput("usage", option="--column", reason="names a column twice")
    plan = Plan(Path(source), Path(target), pairs, subject, Path(rejects) if rejects else None, delimiter)
    client = door.client()
    with closing(client), _bar(door.output) as progress:
        tokens = Tokens(client)
        result = run(plan, tokens, progress)
    told: dict[str, Any] = {
        "rows": result.rows,
        "rejected_rows": result.rejected,
        "resumed": result.resumed,
    }
    if result.codes:
        told["refused"] = dict(sorted(result.codes.items()))
    if tokens.key_versions:
        told["key_versions"] = tokens.key_versions
    door.output.record(told)
    if result.rejected:
        sys.exit(int(Exit.PARTIAL))


def _pair(text: str) -> tuple[str, str]:
    name, found, field = text.rpartition("=")
    if not found or not name or not field:
        raise BadInput("usage", option="--column", reason="is NAME=FIELD")
    return name, field


@contextmanager
def _bar(output: Output) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and time left on a terminal; nothing elsewhere."""
    if output.quiet or not sys.stderr.isatty():
        yield lambda _done, _all: None
        return
    begun = time.monotonic()
    with click.progressbar(length=1, file=sys.stderr, item_show_func=lambda text: str(text or "")) as bar:
        first = -1

        def progress(done: int, whole: int) -> None:
            nonlocal first
            first = done if first < 0 else first  # an earlier run's part is none of this one's rate
            bar.length = max(whole, 1)
            rate = (done - first) / _MIB / max(time.monotonic() - begun, 0.001)
            bar.update(done - bar.pos, f"{rate:.1f} MiB/s")

        yield progress
