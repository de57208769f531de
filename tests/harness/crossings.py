"""Kills a process in the middle of a transfer, at the commits of either cell and of the directory (P15).

    python -m tests.harness.crossings --database sqlite --seeds 50
    python -m tests.harness.crossings --database postgresql --seeds 20
    python -m tests.harness.crossings --control

For each seed two cells and a directory are made, and a transfer is begun; one process after the other goes on
with it and ends itself (SIGKILL) before or after a commit, the last one finishes. Every token must then
have arrived once, open as what it was, be gone at the source if it was to be moved, and stay if it was not;
whoever has values in a region must be listed there. The last line counts what was found; the exit code is 0
when nothing was. `--control` runs a program that forgets what has arrived: the harness must find that.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.harness.turns import KILLED, ended, fork, hurry
from tests.support.cells import CITY, EMAIL, HANDLE, NAME
from tests.support.regions import Pair, make, opened, populate, two_settings
from tests.support.servers import PostgreSQL, server
from vault.config import Config
from vault.services import arriving, transferring
from vault.services.audit import verify
from vault.services.batch import BatchRefused
from vault.services.transfers import COPY, MOVE
from vault.services.worker import Worker
from vault.store import directory
from vault.store.pipeline import ServerSession
from vault.store.session import Session

FIELDS: Final = (NAME, EMAIL, HANDLE, CITY)
PERSON: Final = "ada"
OTHER: Final = "bob"
VALUES: Final = 12  # of each field
PATIENCE_S: Final = 60.0


@dataclass
class Report:
    """What a run found; the lists are empty when all is well."""

    seeds: int = 0
    kills: int = 0
    tokens: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"crossings: seeds={self.seeds} kills={self.kills} tokens={self.tokens} lost={len(self.lost)} "
            f"twice={len(self.twice)} wrong={len(self.wrong)}"
        )

    @property
    def findings(self) -> list[str]:
        """All of them, as sentences."""
        return [f"{part}: {line}" for part in ("lost", "twice", "wrong") for line in getattr(self, part)]


@dataclass(frozen=True)
class Place:
    """Where a seed's deployment lies."""

    folder: Path
    databases: dict[str, str] | None
    mode: str

    @property
    def config(self) -> Config:
        """Its settings."""
        return two_settings(self.folder, self.databases)

    @contextmanager
    def open(self) -> Iterator[Pair]:
        """The pair, with steps small enough to be killed between."""
        hurry()
        directory.LEASE_S = 1  # type: ignore[misc]
        transferring.BATCH = 5  # type: ignore[misc]
        with opened(self.config) as pair:
            known = self.folder / "known.json"
            if known.exists():
                for name, value in json.loads(known.read_bytes()).items():
                    region, _, member = name.rpartition(".")
                    setattr(getattr(pair, region) if region else pair, member, value)
            yield pair


def begin(at: Place) -> None:
    """Two cells with people in them, and a transfer that nobody has taken up."""
    make(at.config)
    with at.open() as pair:
        populate(pair)
        made: list[list[str]] = []
        for person in (PERSON, OTHER):
            for name in FIELDS:
                values = [f"{person}{number}x@example.org" for number in range(VALUES)]
                tokens = pair.eu.tokens(name, *values, subjects=[person] * VALUES)
                made += [
                    [person, name, value, token or ""] for value, token in zip(values, tokens, strict=True)
                ]
        transfer = pair.transfer(PERSON, *FIELDS, mode=at.mode).id
        (at.folder / "made.json").write_text(json.dumps(made))
        (at.folder / "transfer").write_text(transfer)
        members = ("admin", "service", "service_id", "agent_id")
        known = {
            f"{name}.{member}": getattr(getattr(pair, name), member)
            for name in ("eu", "us")
            for member in members
        }
        (at.folder / "known.json").write_text(json.dumps({**known, "officer": pair.officer}))


def work(at: Place, plan: tuple[str, int] | None, control: bool) -> None:
    """One process: goes on with the transfer until it is done, or until its commit comes."""
    if control:
        weaken()
    with at.open() as pair:
        workers = [Worker(built.cell) for built in (pair.eu, pair.us)]
        if plan is not None:
            install(*plan)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for worker in workers:
                worker.run_due()
            known = [built.cell.store.read(built.cell.store.crossing.unlisted, {"generation": 1, "most": 1})
                     for built in (pair.eu, pair.us)]  # fmt: skip
            if pair.read((at.folder / "transfer").read_text()).state == "done" and not any(known):
                return
            time.sleep(0.02)
        left = pair.read((at.folder / "transfer").read_text())
        raise AssertionError(f"still {left.state}: {left.error}")


def install(when: str, hit: int) -> None:
    """Ends this process at the `hit`-th commit from now on."""
    seen = Counter[str]()

    def wrap(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def wrapped(*given: Any, **more: Any) -> Any:
            seen["before"] += 1
            if when == "before" and seen["before"] == hit:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*given, **more)
            if when == "after" and seen["before"] >= hit:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, wrapped)

    wrap(Session, "commit")
    if "commit" in vars(ServerSession):
        wrap(ServerSession, "commit")
    for name in ("put", "drop", "close_generation"):
        wrap(directory.DirectoryStore, name)


def weaken() -> None:
    """The control: nobody looks at what has arrived."""

    def nothing(*_: Any) -> dict[bytes, Any]:
        return {}

    modules: tuple[Any, ...] = (arriving, transferring)
    for module in modules:
        module.arrivals = nothing
    insert = arriving.Arrive.decide

    def blind(self: Any, state: Any, writes: Any) -> Any:
        there = set(state.arrivals)
        state.arrivals.clear()
        found = insert(self, state, writes)
        rows = writes.inserts["arrival"]
        rows[:] = [row for row in rows if (row["transfer"], row["source"]) not in there]
        return found

    arriving.Arrive.decide = blind  # type: ignore[method-assign]


def look(at: Place) -> Iterator[tuple[str, str]]:
    """What is to be said against the two cells."""
    made = json.loads((at.folder / "made.json").read_text())
    with at.open() as pair:
        for built in (pair.eu, pair.us):
            verify(built.cell.store)
        rows = {row.old: row for row in pair.moved((at.folder / "transfer").read_text())}
        mine = [line for line in made if line[0] == PERSON]
        if len(rows) != len(mine):
            yield "lost", f"{len(mine) - len(rows)} tokens have no other"
        tokens = len(pair.us.cell.store.read(pair.us.cell.store.tables.tokens.select()))
        if tokens != len(mine):
            yield "twice", f"{tokens} tokens at the target for {len(mine)}"
        for person, name, value, token in made:
            kept = at.mode == COPY or person == OTHER
            if shown(pair.eu, name, token) != (value if kept else None):
                yield ("lost" if kept else "wrong"), f"{name} of {person} at the source"
            if person == PERSON:
                new = rows[token].new if token in rows else None
                if new is None or shown(pair.us, name, new) != value:
                    yield "lost", f"{name} of {person} at the target"
        for person, region in ((PERSON, "eu"), (OTHER, "eu")):
            if pair.lookup(person) != region:
                yield "wrong", f"{person} is not listed"
        there = pair.eu.cell.directory.find("main", PERSON)  # type: ignore[union-attr]
        if there != {"eu", "us"}:
            yield "wrong", f"{sorted(there)} are listed"


def shown(built: Any, name: str, token: str) -> str | None:
    """What a token opens as; None if it does not."""
    grant = built.grant(name, uses=1, operations=["reveal"])
    try:
        values = built.reveal(grant, name, token)
    except BatchRefused:
        return None
    return str(values[0]) if values else None


def run_seed(report: Report, pg: PostgreSQL | None, seed: int, folder: Path, control: bool) -> None:
    """One transfer, killed some times, then finished and looked at."""
    folder.mkdir(parents=True)
    rng = random.Random(f"crossings {seed}")
    databases = None
    if pg is not None:
        databases = {name: pg.database(f"{name}_{seed}") for name in ("eu", "us", "directory")}
    at = Place(folder, databases, rng.choice((COPY, MOVE)))
    report.seeds += 1
    assert ended(fork(at, lambda: begin(at))) == 0, (folder / "stderr").read_text()[-2000:]  # type: ignore[arg-type]
    for _ in range(rng.randint(2, 6)):
        plan = (rng.choice(("before", "after")), rng.randint(1, 12))
        if control:
            plan = ("after", 5)  # when a first batch has just arrived
        code = ended(fork(at, lambda: work(at, plan, control)))  # type: ignore[arg-type]  # noqa: B023
        report.kills += code == KILLED
        if code not in (0, KILLED):
            report.wrong.append(f"seed {seed}: {(folder / 'stderr').read_text()[-600:]}")
    if ended(fork(at, lambda: work(at, None, control))) != 0:  # type: ignore[arg-type]
        report.wrong.append(f"seed {seed}: {(folder / 'stderr').read_text()[-600:]}")

    def write() -> None:
        (folder / "found.json").write_text(json.dumps([*look(at)]))

    if ended(fork(at, write)) != 0:  # type: ignore[arg-type]
        report.wrong.append(f"seed {seed}: {(folder / 'stderr').read_text()[-600:]}")
    else:
        for part, sentence in json.loads((folder / "found.json").read_text()):
            getattr(report, part).append(f"seed {seed}: {sentence}")
    report.tokens += len(FIELDS) * VALUES


def run(database: str, seeds: int, folder: Path, *, first: int = 1, control: bool = False) -> Report:
    """So many transfers."""
    report = Report()
    with nullcontext() if database == "sqlite" else server() as pg:
        for seed in range(first, first + seeds):
            run_seed(report, pg, seed, folder / f"{seed}", control)
            print(f"seed {seed}: {report}", file=sys.stderr, flush=True)
    return report


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.crossings", description="P15.")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--control", action="store_true", help="a program that doubles; it must be found")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="crossings-"))
    try:
        report = run(options.database, options.seeds, folder, first=options.first, control=options.control)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for finding in report.findings:
        print(finding)
    print(report)
    return int(bool(report.findings))


if __name__ == "__main__":
    sys.exit(main())
