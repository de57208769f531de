"""What grows with what: `python -m bench.scaling [--to N] [--database sqlite|postgresql] [WHAT ...]`.

A cell is filled through its own verbs, and at eight sizes its database is measured and its verbs are timed.
What is printed are slopes by least squares, with R squared, and how the last size compares with the first:
bytes an item, and seconds for what has to go through everything. What should not grow is printed as the ratio
of the largest size to the smallest.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import click
import numpy as np
from sqlalchemy import text

from bench.target import SMALL
from bench.turn import fill
from tests.support.cells import EMAIL, NAME, SSN, BuiltCell, any_cell
from tests.support.turns import turn
from vault.ledger.committer import Pending
from vault.services.audit import verify
from vault.services.tokenize import TokenizeBody, tokenize

POINTS: Final = 8
BATCH: Final = 10_000
GROUP: Final = 256  # events of one transaction
TRIES: Final = 20 if SMALL else 200  # of what is timed alone
MOST: Final = {"keys": 1_000_000}  # larger sizes are not asked of these


@dataclass(slots=True)
class Series:
    """What was measured at each size.

    Attributes:
        sizes: items that the cell holds.
        found: what was measured, by name and unit, one at each size.
    """

    sizes: list[int] = field(default_factory=list)
    found: dict[str, list[float]] = field(default_factory=dict)

    def note(self, size: int, **measured: float) -> None:
        self.sizes.append(size)
        for name, value in measured.items():
            self.found.setdefault(name, []).append(value)


def slope(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float, float]:
    """Least squares: what one more item adds, what there is without any, and R squared."""
    x, y = np.asarray(sizes, float), np.asarray(values, float)
    by, at = np.polyfit(x, y, 1)
    left = float(((y - (by * x + at)) ** 2).sum())
    spread = float(((y - y.mean()) ** 2).sum())
    return float(by), float(at), 1 - left / spread if spread else 1.0


def bytes_of(built: BuiltCell) -> float:
    """Bytes of the cell's database."""
    engine = built.cell.store.engine
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            return float(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
        pages, free, size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
    return float((pages - free) * size)


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def middle_us(work: Callable[[], Any]) -> float:
    """The median of some tries, in microseconds."""
    return 1e6 * median(seconds(work) for _ in range(TRIES))


def values(built: BuiltCell, sizes: Sequence[int], say: Callable[[str], None]) -> Series:
    """Vaulted values of nobody: a token and a claim each, all under one data key a due period."""
    series, held = Series(), 0
    kept: list[str | None] = []
    grant = built.grant(NAME, uses=100_000, purpose="files")

    def some() -> None:
        built.reveal(grant, NAME, random.choice(kept) or "", purpose="files")

    for size in sizes:
        took = []
        while held < size:
            batch = [f"value {number}" for number in range(held, min(held + BATCH, size))]
            began = time.perf_counter()
            tokens = built.tokens(NAME, *batch)
            took.append((time.perf_counter() - began) / len(batch))
            kept += tokens[:: max(1, len(tokens) // 20)]
            held += len(batch)
        series.note(
            size,
            bytes=bytes_of(built),
            us_to_tokenize_in_batches=1e6 * median(took),
            us_to_tokenize_one=middle_us(lambda: built.token(NAME, "one more")),
            us_to_reveal_one=middle_us(some),
        )
        say(f"values: {size:,}")
    return series


def subjects(built: BuiltCell, sizes: Sequence[int], say: Callable[[str], None]) -> Series:
    """People with one deterministic value each: subject, data key, reference, index entry, token, claim."""
    series, held = Series(), 0
    for size in sizes:
        took = []
        while held < size:
            numbers = range(held, min(held + BATCH, size))
            mails, people = [f"user{n}@example.org" for n in numbers], [f"person-{n}" for n in numbers]
            began = time.perf_counter()
            built.tokens(EMAIL, *mails, subjects=[*people])
            took.append((time.perf_counter() - began) / len(numbers))
            held += len(numbers)

        def again(held: int = held) -> None:
            number = random.randrange(held)
            built.token(EMAIL, f"user{number}@example.org", f"person-{number}")

        series.note(
            size,
            bytes=bytes_of(built),
            us_for_a_new_person=1e6 * median(took),
            us_to_find_one_again=middle_us(again),
        )
        say(f"subjects: {size:,}")
    return series


def events(built: BuiltCell, sizes: Sequence[int], say: Callable[[str], None]) -> Series:
    """Events of the audit log: requests of one value each, many in a transaction, as under load."""
    series = Series()
    first = built.next_number
    for size in sizes:
        began, before = time.perf_counter(), built.next_number
        while built.next_number - first < size:
            group(built, min(GROUP, size - (built.next_number - first)))
        took = (time.perf_counter() - began) / (built.next_number - before)
        series.note(
            size,
            bytes=bytes_of(built),
            us_to_add_one=1e6 * took,
            seconds_to_verify_all=seconds(lambda: verify(built.cell.store)),
        )
        say(f"events: {size:,}")
    return series


def group(built: BuiltCell, count: int) -> None:
    """Requests that reach the committer together."""
    cell, request = built.cell, built.request(built.service)
    body = TokenizeBody(field=SSN, values=["123-45-6789"])
    done = threading.Semaphore(0)
    verbs = [tokenize(cell, request, body) for _ in range(count)]
    pending = [
        cell.committer.pending(next(verb), lambda settled: done.release(len(settled))) for verb in verbs
    ]
    cell.committer.submit(pending)
    for _ in pending:
        done.acquire()
    for verb, one in zip(verbs, pending, strict=True):
        finish(verb, one)


def finish(verb: Any, pending: Pending) -> None:
    outcome = pending.outcome
    with suppress(StopIteration):
        if isinstance(outcome, Exception):
            verb.throw(outcome)
        verb.send(outcome)


def keys(built: BuiltCell, sizes: Sequence[int], say: Callable[[str], None]) -> Series:
    """Data keys in pages, with a person and a reference each, which a turn of the epoch goes through."""
    series, held = Series(), 0
    for size in sizes:
        fill(built, size - held, built.cell.keyring.write_epoch)
        held = size
        before = bytes_of(built)
        series.note(size, bytes=before, seconds_to_turn=seconds(lambda: turn(built)))
        say(f"keys: {size:,}")
    return series


ALL: Final[dict[str, Callable[[BuiltCell, Sequence[int], Callable[[str], None]], Series]]] = {
    "values": values,
    "subjects": subjects,
    "events": events,
    "keys": keys,
}


def show(what: str, kind: str, series: Series) -> None:
    """The slopes of a series, a line for each."""
    last = series.sizes[-1]
    print(f"{what} on {kind}, {series.sizes[0]:,} to {last:,}")
    for name, found in series.found.items():
        if name.startswith("us_"):
            shown = name.removeprefix("us_").replace("_", " ")
            ratio = found[-1] / found[0]
            print(f"  {shown}: {found[0]:.0f} us at first, {found[-1]:.0f} us at last, {ratio:.2f} times")
            continue
        by, at, fit = slope(series.sizes, found)
        if name == "bytes":
            print(f"  database: {by:.0f} bytes each, {at / 1e6:.1f} MB besides, R2 {fit:.4f}")
        else:
            shown = name.removeprefix("seconds_").replace("_", " ")
            print(f"  {shown}: {1e6 * by:.2f} s a million, R2 {fit:.4f}")


def measure(what: str, kind: str, to: int, say: Callable[[str], None]) -> Series:
    """One series, in a cell of its own."""
    to = min(to, MOST.get(what, to))
    sizes = [to * point // POINTS for point in range(1, POINTS + 1)]
    if what == "keys":
        sizes = sorted({max(256, size // 256 * 256) for size in sizes})
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder, any_cell(kind, Path(folder)) as built:
        return ALL[what](built, sizes, say)


def main() -> None:
    """A short form, for `python -m bench`."""
    for what in ALL:
        show(what, "sqlite", measure(what, "sqlite", 2_048 if SMALL else 400_000, lambda _: None))


@click.command(help=__doc__)
@click.option("--to", default=1_000_000, show_default=True, help="The largest size.")
@click.option("--database", "kind", type=click.Choice(["sqlite", "postgresql"]), default="sqlite")
@click.argument("which", nargs=-1, type=click.Choice([*ALL]), metavar="[WHAT]...")
def run(to: int, kind: str, which: tuple[str, ...]) -> None:
    for what in which or tuple(ALL):
        show(what, kind, measure(what, kind, to, lambda line: print(line, file=sys.stderr, flush=True)))


if __name__ == "__main__":
    run()
