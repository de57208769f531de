"""Erasing a person, and ending a due period: `python -m bench erasure`.

The floor of an erasure is one durable commit of one small row in a file of its own beside the cell's, with
the same settings of SQLite. Ending a period of many people's keys is compared with ending one of a single
key; the removal of its rows, which a job does afterwards, with deleting the same rows by one plain statement.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

from bench.target import SMALL, Target, report
from tests.support.cells import HOST, NAME, BuiltCell, any_cell
from tests.support.turns import with_keys
from vault.clock import DAY
from vault.identifiers import uuid7
from vault.ledger.committer import drive
from vault.services.erasures import ErasureBody, request_erasure
from vault.services.expiry import expire_due
from vault.services.worker import Worker

PEOPLE: Final = 20 if SMALL else 300
MANY: Final = 20_000 if SMALL else int(os.environ.get("BENCH_KEYS", "1000000"))
ERASE: Final = Target("erasing_a_person_vs_one_durable_commit", 3.0, at_most=True)
EXPIRE: Final = Target("ending_a_period_of_many_keys_vs_of_one", 2.0, at_most=True)
DAYS: Final = 800  # by then the class's two years are over
SEALED: Final = 109  # bytes of a sealed data key


class Ahead:
    """The cell's clock, so many days later."""

    def __init__(self, built: BuiltCell, days: int) -> None:
        self._clock, self._by = built.cell.clock, days * DAY

    def now(self) -> int:
        return self._clock.now() + self._by


def taken(what: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def erasing(folder: Path) -> float:
    """The ratio of asking for an erasure to one commit."""
    with any_cell("sqlite", folder / "cell") as made, sqlite3.connect(folder / "floor.db") as floor:
        built = with_keys(made)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            floor.execute(f"PRAGMA {pragma}")
        floor.execute("CREATE TABLE floor (id INTEGER PRIMARY KEY, at INTEGER)")
        for number in range(PEOPLE):
            built.token(NAME, f"name {number}", f"person-{number}")
        asked, removed, commits = [], [], []
        worker = Worker(built.cell)
        for number in range(PEOPLE):
            body = ErasureBody(f"person-{number}", "objection")
            asked.append(taken(lambda body=body: built.run(request_erasure, body, by=HOST)))  # type: ignore[misc]
            removed.append(taken(worker.run_one))

            def commit() -> None:
                floor.execute("INSERT INTO floor (at) VALUES (1)")
                floor.commit()

            commits.append(taken(commit))
        one, ask, remove = median(commits), median(asked), median(removed)
        print(f"a commit {one * 1e6:.0f} us; asking {ask * 1e6:.0f} us; removing {remove * 1e6:.0f} us")
        print(f"asked and removed, with the half-store's log: {(ask + remove) / one:.1f} commits")
        return ask / one


def fill(built: BuiltCell, keys: int) -> None:
    """Keys of as many people that fall due in one period."""
    t = built.cell.store.tables
    due = {"tenant": "main", "class": "customer", "due": "2028-01", "state": "active"}
    columns = ("id", "tenant", "subject", "class", "due", "state", "epoch", "sealed", "created_at")
    with built.cell.store.engine.begin() as connection:
        connection.execute(t.due_periods.insert(), due)
        driver = connection.connection.driver_connection
        assert driver is not None
        rows = (
            (uuid7(), "main", os.urandom(16), "customer", "2028-01", "active", 1, os.urandom(SEALED), 1)
            for _ in range(keys)
        )
        text = f"INSERT INTO cu_data_keys ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        driver.executemany(text, rows)


def expiring(folder: Path, keys: int) -> float:
    """Seconds until a period of so many keys is denied; prints how long the job takes."""
    with any_cell("sqlite", folder) as made:
        built = with_keys(made)
        fill(built, keys)
        clock = built.cell.clock
        built.cell.clock = Ahead(built, DAYS)
        ended = taken(lambda: drive(built.cell.committer, lambda: expire_due(built.cell), built.cell.forget))
        built.cell.clock = clock
        gone = taken(Worker(built.cell).run_one)
        print(f"{keys} keys: denied after {ended * 1e3:.1f} ms, removed in {gone:.2f} s more")
        return ended


def plain(folder: Path) -> None:
    """Prints how long it takes to delete the same rows without any of this."""
    with any_cell("sqlite", folder) as built:
        fill(built, MANY)
        with built.cell.store.engine.begin() as connection:
            text = "DELETE FROM cu_data_keys WHERE class = 'customer' AND due = '2028-01'"
            seconds = taken(lambda: connection.exec_driver_sql(text))
    print(f"{MANY} keys: deleted from the same table by one statement in {seconds:.2f} s")


def main() -> bool:
    """Whether the targets are held."""
    print(f"load before it began: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        asked = erasing(folder)
        first = [expiring(folder / f"one-{turn}", 1) for turn in range(3)]
        many = [expiring(folder / f"many-{turn}", MANY) for turn in range(1 if SMALL else 3)]
        plain(folder / "plain")
    return report([(ERASE, asked), (EXPIRE, median(many) / median(first))])


if __name__ == "__main__":
    main()
