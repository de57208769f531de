"""One hot grant on PostgreSQL: `python -m bench hot` (needs wrk).

64 clients use one grant at once, each use authenticated, decided, charged, audited and committed before it
is answered over HTTP with its value. The peer is what a budget is often made of: pgbench, 64 connections,
each `UPDATE ... SET uses = uses + 1 WHERE id = 1 AND uses < most` of one row, a commit each, prepared, over
the same unix socket to the same server, and nothing else. Both are durable (synchronous_commit = on). They
take turns; the figure is the median of the turns' ratios (uses a second, ours / pgbench's).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

import psycopg

from bench.postgresql import CLIENTS, service
from bench.service import load
from bench.target import SMALL, Target, report
from tests.support.servers import PostgreSQL, program, server

TURNS: Final = 1 if SMALL else 5
SECONDS: Final = 1 if SMALL else 4
HOT: Final = Target("hot_grant_vs_conditional_updates", 2.0, at_most=False)
TABLE: Final = """
CREATE TABLE hot (id int PRIMARY KEY, uses bigint NOT NULL, most bigint NOT NULL);
INSERT INTO hot VALUES (1, 0, 1000000000000);
"""
SETTINGS: Final = {"shared_buffers": "256MB", "max_connections": "200"}
UPDATE: Final = "UPDATE hot SET uses = uses + 1 WHERE id = 1 AND uses < most;\n"


def updates(postgres: PostgreSQL, script: Path) -> float:
    """Updates a second of the one row."""
    done = subprocess.run(
        [
            *(program("pgbench"), "--no-vacuum", "--protocol", "prepared", "--file", script),
            *("--client", str(CLIENTS), "--jobs", "2", "--time", str(SECONDS)),
            *("--host", postgres.socket, "--port", str(postgres.port), "--username", "postgres", "peer"),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found.group(1))


def main() -> bool:
    """Whether the target is held."""
    if shutil.which("wrk") is None:
        raise SystemExit("this benchmark loads the service with wrk, which is not installed")
    with tempfile.TemporaryDirectory() as made, server(SETTINGS) as postgres:
        folder = Path(made)
        script = folder / "update.sql"
        script.write_text(UPDATE, encoding="ascii")
        postgres.database("peer")
        with psycopg.connect(postgres.conninfo("peer")) as connection:
            connection.execute(TABLE)
        print(f"{CLIENTS} clients; load before it began: {os.getloadavg()[0]:.1f}")
        with service(folder / "service", postgres, 1) as (base, requests, _):
            path, lua = requests["reveal_vaulted"]
            load(base + path, 1.0, lua)
            taken = []
            for _ in range(TURNS):
                ours, p99 = load(base + path, float(SECONDS), lua)
                floor = updates(postgres, script)
                print(f"uses of one grant {ours:.0f}/s (p99 {p99:.0f} ms), updates of one row {floor:.0f}/s")
                taken.append(ours / floor)
    return report([(HOT, median(taken))])


if __name__ == "__main__":
    sys.exit(not main())
