"""The service on PostgreSQL under load: `python -m bench.postgresql` (needs wrk).

A server of its own with PostgreSQL's default durability, on this machine, over its
unix socket; 64 clients. Each request of ours is authenticated, charged where a grant is used, audited and
committed before it is answered. Ours and the floors take turns; figures are medians of the turns' ratios.

- single: requests a second against Litestar's hello (see bench.service), with one worker and with two.
- bulk: values a second that are sealed and inserted (tokens and claims), through the ledger and without HTTP,
  against plain COPY by the same driver of the very rows that this made, in the order in which it made them,
  into tables with the same indexes that hold as many rows already. Either is one transaction whose commit is
  on disk before the clock stops (synchronous_commit = on), in one process, on one server, in turns. The ratio
  is that of the medians of all turns: single turns of COPY differ by a factor of two.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

import psycopg

from bench.service import CONFIG, FLOORS, free_port, load, prepare, process, set_up
from bench.target import SMALL, Target, report
from tests.support.servers import PostgreSQL, server
from vault.api.server import GC_THRESHOLDS
from vault.config import load as load_config
from vault.services.tokenize import TokenizeBody, tokenize
from vault.wiring import Wiring, as_host, perform

CLIENTS: Final = 64
VALUES: Final = 10_000
TURNS: Final = 1 if SMALL else 11
# The tables that vaulted values go into: what identifies a row, and how the driver sends its columns.
TABLES: Final = {
    "custody.tokens": ("id", ["bytea", "text", "text", "int8", "text"]),
    "vals.claims": ("token", ["bytea", "bytea", "bytea"]),
}
REVEAL: Final = Target("postgresql_reveal_vs_hello", 0.30, at_most=False)
TOKENIZE: Final = Target("postgresql_tokenize_vaultless_vs_hello", 0.30, at_most=False)
BULK: Final = Target("postgresql_bulk_vs_copy", 0.20, at_most=False)
SINGLE: Final = ("reveal_vaulted", "tokenize_vaultless", "tokenize_vaulted")


def busy(pids: list[int]) -> float:
    """Seconds of processor time that processes and those below them have had (proc(5), stat)."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
            below = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
            ticks += round(busy([int(text) for text in below]) * os.sysconf("SC_CLK_TCK"))
    return ticks / os.sysconf("SC_CLK_TCK")


def settings(database: str, workers: int) -> str:
    """The benchmark's configuration on PostgreSQL."""
    text = CONFIG.replace("sqlite:///eu.db", database)
    return text.replace("[cell.eu]", f"workers = {workers}\n[cell.eu]")


@contextlib.contextmanager
def service(folder: Path, postgres: PostgreSQL, workers: int) -> Iterator[tuple[str, dict[str, Any], int]]:
    """A service with some workers; its base, the requests to repeat, and its process."""
    port = free_port()
    folder.mkdir()
    database = postgres.database(f"w{workers}")
    key = set_up(folder, port, settings(database, workers))
    base = f"http://127.0.0.1:{port}/v1/eu/"
    command = [sys.executable, "-m", "vault", "serve", "--config", str(folder)]
    with process(command, f"{base[:-7]}/livez") as pid:
        time.sleep(0.2 if workers == 1 else 4.0)  # the second worker is started after the first
        yield base, prepare(folder, base, key), pid


def single(folder: Path, postgres: PostgreSQL, hello: str, floor: int) -> list[tuple[Target, float]]:
    """Requests a second by kind and number of workers."""
    turns, seconds = (1, 1.0) if SMALL else (3, 2.0)
    held = []
    for workers in (1, 2):
        with service(folder / f"w{workers}", postgres, workers) as (base, requests, pid):
            server_pid = postgres.process.pid if postgres.process else 0
            for kind in SINGLE:
                path, lua = requests[kind]
                load(base + path, 1.0, lua)
                before = busy([pid]), busy([server_pid]), busy([floor])
                taken = [(load(base + path, seconds, lua), load(hello, seconds)) for _ in range(turns)]
                after = busy([pid]), busy([server_pid]), busy([floor])
                ratio = median(ours[0] / floor[0] for ours, floor in taken)
                p99 = median(ours[1] for ours, _ in taken)
                rate = median(ours[0] for ours, _ in taken)
                print(
                    f"{workers} workers, {kind}: {rate:.0f}/s, p99 {p99:.0f} ms, ratio to hello {ratio:.2f}"
                )
                mine, its, floors = (one - two for one, two in zip(after, before, strict=True))
                asked = seconds * sum(ours[0] for ours, _ in taken)
                each = floors / (seconds * sum(other[0] for _, other in taken))
                # What the machine does for others meanwhile is not in these.
                spent = {"service": mine / asked, "PostgreSQL": its / asked, "hello": each}
                shown = ", ".join(f"{name} {seconds_ * 1e6:.0f}" for name, seconds_ in spent.items())
                print(f"  us of processor a request: {shown}; hello / service {each * asked / mine:.2f}")
                if workers == 1 and kind == "reveal_vaulted":
                    held.append((REVEAL, ratio))
                if workers == 1 and kind == "tokenize_vaultless":
                    held.append((TOKENIZE, ratio))
    return held


def bulk(folder: Path, postgres: PostgreSQL) -> tuple[Target, float]:
    """Values a second through the ledger, against COPY of as many rows."""
    folder.mkdir()
    set_up(folder, free_port(), settings(postgres.database("bulk"), 1))
    opened = Wiring(load_config(folder / "coatcheck.toml")).open("eu")
    try:
        cell = opened.cell
        from vault.services.cell import Origin
        from vault.services.gate import Request

        body = TokenizeBody(field="customer.name", values=[f"Ada Lovelace {n}" for n in range(VALUES)])

        def ours() -> float:
            began = time.perf_counter()
            request = Request(None, Origin("host:0", "req_bench"), as_host())
            perform(cell, lambda: tokenize(cell, request, body))
            return VALUES / (time.perf_counter() - began)

        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)  # as the service does
        with psycopg.connect(postgres.conninfo("bulk")) as connection:
            _make_twins(connection)
            taken = [_turn(connection, ours, postgres) for _ in range(TURNS + 1)][1:]
    finally:
        opened.close()
        gc.unfreeze()
    mine, floor, spent, its = (median(column) for column in zip(*taken, strict=True))
    print(f"bulk: {mine:.0f} values/s sealed and inserted, COPY {floor:.0f} values/s (medians of {TURNS})")
    print(f"  us of processor a value: service {spent * 1e6:.1f}, PostgreSQL {its * 1e6:.1f}")
    return BULK, mine / floor


def _make_twins(connection: psycopg.Connection[Any]) -> None:
    """Empty tables of the same columns and indexes, for COPY."""
    connection.execute("SET synchronous_commit = on")  # as the service does
    for table in TABLES:
        connection.execute(f"CREATE TABLE {_twin(table)} (LIKE {table} INCLUDING ALL)")
    connection.commit()


def _twin(table: str) -> str:
    return f"public.{table.partition('.')[2]}"


def _turn(
    connection: psycopg.Connection[Any], ours: Callable[[], float], postgres: PostgreSQL
) -> tuple[float, float, float, float]:
    """Values a second of ours and by COPY; seconds of processor that a value of ours took, here and there."""
    pids = [postgres.process.pid] if postgres.process else []
    before = time.process_time(), busy(pids)
    mine = ours()
    after = time.process_time(), busy(pids)
    spent, its = ((end - start) / VALUES for end, start in zip(after, before, strict=True))
    return mine, _copied(connection), spent, its


def _copied(connection: psycopg.Connection[Any]) -> float:
    """Values a second by COPY of the rows that the last call of ours made: a token and a claim each."""
    rows = {}
    for table, (key, _) in TABLES.items():
        newest = f"SELECT * FROM {table} ORDER BY {key} DESC LIMIT {VALUES}"
        rows[table] = connection.execute(newest, binary=True).fetchall()[::-1]
    connection.commit()
    began = time.perf_counter()
    for table, (_, types) in TABLES.items():
        copying = f"COPY {_twin(table)} FROM STDIN (FORMAT BINARY)"
        with connection.cursor() as cursor, cursor.copy(copying) as copy:
            copy.set_types(types)
            for row in rows[table]:
                copy.write_row(row)
    connection.commit()
    return VALUES / (time.perf_counter() - began)


def main() -> bool:
    """Whether all targets are held."""
    if shutil.which("wrk") is None:
        raise SystemExit("this benchmark loads the service with wrk, which is not installed")
    own = free_port()
    hello = f"http://127.0.0.1:{own}/hello"
    with tempfile.TemporaryDirectory() as made, contextlib.ExitStack() as stack:
        folder = Path(made)
        postgres = stack.enter_context(server({"shared_buffers": "256MB"}))
        print(f"{CLIENTS} clients; load before it began: {os.getloadavg()[0]:.1f}")
        held = [bulk(folder / "bulk", postgres)]
        floor = [sys.executable, "-m", "bench.service", FLOORS[0], str(own)]
        with process(floor, hello) as pid:
            held += single(folder, postgres, hello, pid)
    return report(held)


if __name__ == "__main__":
    sys.exit(not main())
