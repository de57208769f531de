"""P15 on PostgreSQL: four processes on one cell; one of them, all of them, or the server itself is killed.

    python -m tests.harness.crash_server --kills 30 --seed 1

Clients work as in `tests.harness.crash`, and the same is looked at afterwards, in a copy of the database.
A killed process leaves the others serving; a killed server (an immediate shutdown, so that it recovers from
its log) leaves all of them, and they go on by themselves when it is back.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.harness.crash import SHOWN, Crash, Report, tell
from tests.harness.load import Api, Gone
from tests.harness.roomy import ONE_CELL, SSN, add_principal, initialise_roomy
from tests.support.servers import PostgreSQL, server
from tests.support.service import PATIENCE_S
from vault.store.tables import PREFIXES, Tables

WORKERS: Final = 4
STRIKES: Final = ("process", "server", "everybody")
# A process that sees its parent gone before the kill reaches it takes nothing more, and says that it drains.
EXPECTED: Final = ("database_unavailable", "outcome_unknown", "too_busy", "audit_unavailable", "draining")


class Client(Api):
    """A client that takes it for an outage when it is told of one."""

    def call(
        self, method: str, path: str, body: Any = None, by: str | None = None, once: str | None = None
    ) -> tuple[int, Any]:
        """Status and document of an answer."""
        status, answer = super().call(method, path, body, by, once)
        if status == 503 and answer.get("code") in EXPECTED:
            raise Gone
        return status, answer


class ServerCrash(Crash):
    """One run on a server.

    Attributes:
        struck: how often what was killed.
    """

    connect = Client
    lasts = (0.5, 3.0)  # four processes want to warm up

    def __init__(self, folder: Path, postgres: PostgreSQL, seed: int, say: Callable[[str], None]) -> None:
        super().__init__(folder, seed, say)
        self._postgres = postgres
        self.struck: Counter[str] = Counter()

    def _build(self) -> None:
        database = self._postgres.database("eu")
        text = ONE_CELL.replace("sqlite:///eu.db", database)
        initialise_roomy(self.service.folder, text.replace("[listen]", f"[listen]\nworkers = {WORKERS}"))
        self.service.start()
        self._owner, self.client_key = add_principal(self.service, "harness")
        self._until(lambda: len(self.service.children()) == WORKERS)

    def _strike(self) -> None:
        what = STRIKES[self._report.kills % len(STRIKES)]
        self.struck[what] += 1
        if what == "server":
            self._postgres.kill()
        elif what == "process":
            os.kill(self._rng.choice(self.service.children()), signal.SIGKILL)
            time.sleep(self._rng.uniform(0, 0.5))  # the others go on
        else:
            self._kill_all()

    def _kill_all(self) -> None:
        pids = self.service.children()
        self.service.kill()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _recover(self, kills: int) -> None:
        del kills
        if self._postgres.process is None:
            self._postgres.start()
        if self.service.process is not None and self.service.process.poll() is not None:
            self.service.start()
        self._until(lambda: len(self.service.children()) == WORKERS)
        body = {"field": SSN, "values": ["123-45-6789"]}
        for _ in range(2 * WORKERS):  # each on a connection of its own
            self._until(
                lambda: self.service.call("POST", "tokenize", body, key=self.client_key).status == 200
            )

    def _answer(self, body: Any) -> int:
        return self.service.call("POST", "tokenize", body, key=self.client_key).status

    def _until(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError):
                if done():
                    return
            assert time.monotonic() < end, self.service.log()[-2000:]
            time.sleep(0.05)

    def _database(self) -> Path:
        path = self.service.folder / "copy.db"
        path.unlink(missing_ok=True)
        copy_to_sqlite(self._postgres.conninfo("eu"), path)
        return path

    def close(self) -> None:
        """Ends all processes."""
        if self.service.process is not None and self.service.process.poll() is None:
            self._kill_all()


def copy_to_sqlite(conninfo: str, path: Path) -> None:
    """One snapshot of a cell's tables and rows, as a SQLite cell names them, without constraints."""
    with psycopg.connect(conninfo) as connection, contextlib.closing(sqlite3.connect(path)) as copy:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        for table in Tables("postgresql").metadata.sorted_tables:
            name = PREFIXES[table.info["part"]] + table.info["name"]
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            copy.execute(f'CREATE TABLE "{name}" ({columns})')
            rows = connection.execute(f"SELECT {columns} FROM {table.fullname}").fetchall()
            places = ", ".join("?" * len(table.columns))
            copy.executemany(f'INSERT INTO "{name}" VALUES ({places})', rows)
        copy.commit()


def run(kills: int, seed: int, folder: Path, say: Callable[[str], None] = lambda _: None) -> Report:
    """Kills so many times on a new deployment and a new server in a folder."""
    with server() as postgres:
        crash = ServerCrash(folder / "deployment", postgres, seed, say)
        try:
            report = crash.run(kills)
        finally:
            crash.close()
        say(f"struck: {dict(crash.struck)}")
        return report


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.crash_server", description="P15.")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    try:
        report = run(options.kills, options.seed, folder, tell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for sentence in report.findings[:SHOWN]:
        print(sentence, file=sys.stderr)
    print(report)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
