"""Kills a process in the middle of a turn, at named points, while others read and write (P7, P15).

    python -m tests.harness.turns --database sqlite --seeds 50
    python -m tests.harness.turns --database postgresql --seeds 50
    python -m tests.harness.turns --control

For each seed a cell is made, a turn is begun, and one process after the other goes on with it; each ends
itself (SIGKILL) at its point, the last one finishes. Reads and writes go on in every one of them, and on
PostgreSQL in a bystander that is never killed. What was ever acknowledged must come back, equal values must
have one token, nothing may be left under the old epoch, and no read may fail. The last line on standard
output counts what was found; the exit code is 0 when nothing was. `--control` runs a program that writes the
index in one epoch only and does not count: the harness must find that.
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
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.cells import EMAIL, HANDLE, NAME, REGION, SSN, BuiltCell, put_together
from tests.support.databases import postgresql, sqlite
from vault.clock import SystemClock
from vault.config import Config, build
from vault.errors import CoatcheckError
from vault.keyring.epoch import create_epoch, stored_epochs
from vault.kms import halves
from vault.kms.local import LocalProvider, make_key_file
from vault.services import initialise, jobs, processes, reindex, turning, worker
from vault.services.audit import verify
from vault.services.cell import Working
from vault.services.issue import IndexRow
from vault.services.processes import Process, Steward
from vault.services.turn import TurnBody, start_turn
from vault.services.turn_pieces import Step
from vault.services.worker import WorkerThread
from vault.store import migrations
from vault.store.cell import Store
from vault.store.rows import EpochsInUse
from vault.store.session import Session
from vault.wiring import Wiring, as_host

FILE_POINTS: Final = (
    "root made", "half written", "half destroyed", "root destroyed", "backup written",
    "before a commit", "after a commit", "a batch sealed", "a batch carried",
)  # fmt: skip
POINTS: Final = (*(f"{when} {step}" for step in turning.STEPS for when in ("before", "after")), *FILE_POINTS)
OFTEN: Final = {"before a commit": 12, "after a commit": 12, "a batch sealed": 4, "a batch carried": 4,
                "half written": 2, "half destroyed": 2}  # fmt: skip
PEOPLE: Final = 120
SHARED: Final = 40  # values that are tokenized over and over
PATIENCE_S: Final = 90.0
LOAD_THREADS: Final = 2  # of readers, and of writers
KILLED: Final = -signal.SIGKILL
MANY: Final = 1_000_000


@dataclass
class Report:
    """What a run found; every list is empty when all is well."""

    seeds: int = 0
    kills: int = 0
    acknowledged: int = 0
    reads: int = 0
    failed: list[str] = field(default_factory=list)  # reads
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)  # equal values with two tokens
    left: list[str] = field(default_factory=list)  # under the old epoch
    wrong: list[str] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)

    @property
    def findings(self) -> list[str]:
        """All of them, as sentences."""
        parts = ("failed", "lost", "twice", "left", "wrong")
        return [f"{part}: {sentence}" for part in parts for sentence in getattr(self, part)]

    def __str__(self) -> str:
        return (
            f"turns: seeds={self.seeds} kills={self.kills} points={len(self.killed)} "
            f"acknowledged={self.acknowledged} reads={self.reads} failed={len(self.failed)} "
            f"lost={len(self.lost)} twice={len(self.twice)} left={len(self.left)} wrong={len(self.wrong)}"
        )


@dataclass(frozen=True)
class Place:
    """A deployment: where it lies, and its database."""

    folder: Path
    url: str

    @property
    def config(self) -> Config:
        """Its settings, with two half-stores."""
        cell = {
            "database": f"sqlite:///{REGION}.db",
            "kms": f"local:keys/{REGION}",
            "half_stores": [f"keys/{REGION}", f"more/{REGION}"],
            "key_file": f"keys/{REGION}/development.key",
        }
        return build({"mode": "development", "cell": {REGION: cell}}, {}, self.folder)

    @contextmanager
    def open(self) -> Iterator[BuiltCell]:
        """The cell, open in this process, with steps small enough to be killed between."""
        hurry()
        clock = SystemClock()
        wiring = Wiring(self.config)
        cell = put_together(wiring, Store(self.url, clock), clock)
        cell.working = Working(batch=48, pause_s=0.002, custody_backup=self.folder / "backups")
        built = BuiltCell(cell, self.config, cell.close)
        known = self.folder / "credentials.json"
        if known.exists():
            for name, value in json.loads(known.read_bytes()).items():
                setattr(built, name, value)
        try:
            yield built
        finally:
            cell.close()

    def append(self, name: str, *lines: Any) -> None:
        """Adds lines of JSON to a file, each whole or not there."""
        with (self.folder / name).open("ab", buffering=0) as file:
            for line in lines:
                file.write(json.dumps(line).encode() + b"\n")

    def lines(self, name: str) -> list[Any]:
        """The lines of a file, but for one that somebody is adding at this moment."""
        path = self.folder / name
        raw = path.read_bytes() if path.exists() else b""
        return [json.loads(line) for line in raw[: raw.rfind(b"\n") + 1].splitlines() if line]


def hurry() -> None:
    """Leases and pauses short enough for a test."""
    processes.LEASE_S, processes.GRACE_S = 3, 1  # type: ignore[misc]
    processes.BEAT_S, processes.LOOK_S = 0.5, 0.05  # type: ignore[misc]
    jobs.LEASE_S = 1  # type: ignore[misc]
    worker.LOOK_S = worker.FIRST_PAUSE_S = 0.05  # type: ignore[misc]
    turning.WAIT_S = 0.05  # type: ignore[misc]


def make(place: Place, begin: Callable[[BuiltCell], Any] | None = None) -> None:
    """A cell with people in it, a grant, and jobs that were begun: a turn, if nothing else."""
    config = place.config
    make_key_file(config.path(config.cell[REGION].key_file or ""))
    wiring = Wiring(config)
    store = Store(place.url, SystemClock())
    migrations.upgrade(store.engine)
    keys = wiring.provider(REGION), wiring.halves(REGION)
    initialise.write_epoch(store, REGION, create_epoch(REGION, 1, *keys))
    store.close()
    with place.open() as built:
        initialise.finish(built.cell, as_host())
        built.populate()
        people = [f"person-{number}" for number in range(PEOPLE)]
        tokenize(place, built, NAME, [f"name of {one}" for one in people], people)
        tokenize(place, built, EMAIL, [mail(number % SHARED) for number in range(PEOPLE)], people)
        tokenize(place, built, HANDLE, [f"handle {number}" for number in range(SHARED)], people[:SHARED])
        tokenize(place, built, SSN, ["123-45-6789"], None)
        grant = built.grant(NAME, EMAIL, HANDLE, SSN, uses=MANY // 10, purpose="files")
        known = {"admin": built.admin, "service": built.service, "service_id": built.service_id,
                 "agent_id": built.agent_id}  # fmt: skip
        (place.folder / "credentials.json").write_text(json.dumps(known))
        (place.folder / "grant").write_text(grant)
        if begin is None:
            built.run(start_turn, TurnBody(turning.DROP), by="host")
        else:
            begin(built)


def mail(number: int) -> str:
    return f"user{number}@example.org"


def tokenize(
    place: Place, built: BuiltCell, name: str, values: list[str], people: Sequence[str | None] | None
) -> None:
    """Tokenizes, and journals what was acknowledged."""
    tokens = built.tokens(name, *values, subjects=None if people is None else [*people])
    place.append("journal", *([name, value, token] for value, token in zip(values, tokens, strict=True)))


class Load:
    """Readers and writers until the process ends or is told to stop."""

    def __init__(self, place: Place, built: BuiltCell, seed: str) -> None:
        self._place, self._built = place, built
        self._stop = threading.Event()
        self._grant = (place.folder / "grant").read_text()
        self._threads = [
            threading.Thread(target=self._run, args=(doing, f"{seed} {number}"), daemon=True)
            for number in range(LOAD_THREADS)
            for doing in (self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends it."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _run(self, doing: Callable[[random.Random], None], seed: str) -> None:
        rng = random.Random(seed)
        while not self._stop.is_set():
            try:
                doing(rng)
            except CoatcheckError as refusal:
                if refusal.code not in ("too_busy", "draining"):
                    self._place.append("failures", f"{doing.__name__}: {refusal.code} {refusal.facts}")
            except Exception as problem:
                where = traceback.extract_tb(problem.__traceback__)[-1]
                self._place.append("failures", f"{doing.__name__}: {type(problem).__name__} at {where.name}")
            time.sleep(0.002)

    def _read(self, rng: random.Random) -> None:
        held = [line for line in self._place.lines("journal") if line[0] == rng.choice((NAME, EMAIL, HANDLE))]
        by_field: dict[str, list[Any]] = defaultdict(list)
        for line in rng.sample(held, min(len(held), 4)):
            by_field[line[0]].append(line)
        for name, lines in by_field.items():
            tokens = [line[2] for line in lines]
            shown = self._built.reveal(self._grant, name, *tokens, purpose="files")
            if shown != [line[1] for line in lines]:
                self._place.append("failures", f"read: another value of {name}")
            self._place.append("reads", len(lines))

    def _write(self, rng: random.Random) -> None:
        kind = rng.randrange(3)
        person = f"person-{rng.randrange(2 * PEOPLE)}"
        if kind == 0:
            tokenize(self._place, self._built, NAME, [f"note {rng.randrange(10**9)}"], [person])
        elif kind == 1:
            number = rng.choice((rng.randrange(SHARED), rng.randrange(SHARED, 10**6)))
            tokenize(self._place, self._built, EMAIL, [mail(number)], [person])
        else:
            tokenize(self._place, self._built, HANDLE, [f"handle {rng.randrange(3 * SHARED)}"], [person])


def work(
    place: Place,
    seed: str,
    plan: tuple[str, int] | None,
    weakens: Callable[[], None] | None,
    steps: dict[str, Any] = turning.STEPS,
) -> None:
    """One process: goes on with the jobs under load, until they are done or its point comes.

    Args:
        weakens: makes it the program of the control.
        steps: of the job that is killed.
    """
    if plan is not None:
        install(*plan, steps)
    if weakens is not None:
        weakens()
    with place.open() as built:
        process = Process(built.cell, "worker")
        built.cell.attendant = process
        process.look()
        steward = Steward(process)
        load = Load(place, built, seed)
        thread = WorkerThread(built.cell)
        try:
            await_end(built)
        finally:
            load.stop()
            thread.close()
            steward.close()


def stand_by(place: Place, seed: str) -> None:
    """A process that only reads and writes, until a file says that it is over."""
    with place.open() as built:
        process = Process(built.cell, "serve")
        built.cell.attendant = process
        process.look()
        steward = Steward(process)
        load = Load(place, built, seed)
        while not (place.folder / "over").exists():
            time.sleep(0.02)
        load.stop()
        steward.close()


def await_end(built: BuiltCell) -> None:
    """Returns when the jobs are done.

    Raises:
        AssertionError: one failed, or they take too long.
    """
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        rows = built.cell.store.read(built.cell.store.tables.jobs.select())
        standing = [(row[2], row[3], row[4], row[11]) for row in rows if row[3] != "done"]
        if not standing:
            return
        assert all(row[1] not in ("failed", "cancelled") for row in standing), standing
        time.sleep(0.02)
    raise AssertionError(f"still {standing}")


def install(point: str, hit: int, steps: dict[str, Any]) -> None:
    """Wraps what reaches the point, so that it ends this process the `hit`-th time.

    Args:
        steps: of the job that is killed.
    """
    seen = Counter[str]()

    def reach(name: str) -> None:
        if name == point:
            seen[name] += 1
            if seen[name] == hit:
                os.kill(os.getpid(), signal.SIGKILL)

    def wrap(owner: Any, name: str, before: str = "", after: str = "") -> None:
        original = getattr(owner, name)

        def wrapped(*given: Any, **more: Any) -> Any:
            reach(before)
            result = original(*given, **more)
            reach(after)
            return result

        setattr(owner, name, wrapped)

    for step, function in list(steps.items()):

        def stepped(cell: Any, work_: Any, *more: Any, step: str = step, function: Any = function) -> Any:
            reach(f"before {step}")
            yield from function(cell, work_, *more)
            if work_.progress.step != step:
                reach(f"after {step}")

        steps[step] = stepped
    wrap(LocalProvider, "create_root", after="root made")
    wrap(LocalProvider, "destroy_root", after="root destroyed")
    wrap(halves, "write_private", after="half written")
    wrap(halves, "destroy", after="half destroyed")
    wrap(turning, "write_backup", after="backup written")
    wrap(turning, "reseal", after="a batch sealed")
    wrap(turning, "carry", after="a batch carried")
    wrap(reindex, "_opened", after="a batch opened")
    wrap(Session, "commit", before="before a commit", after="after a commit")


def weaken() -> None:
    """The control: index rows are written in one epoch only, and nobody counts."""
    EpochsInUse.each = property(lambda self: (self.read,))  # type: ignore[assignment,method-assign]
    from vault.services import vaulting

    def one_sided(
        cell: Any, tenant: str, epochs: Any, versions: Any, one: Any, key: Any, looked_up: Any
    ) -> Any:
        return (IndexRow(epochs.read, versions[one.rule.name].read, looked_up),)

    vaulting._entries = one_sided
    turning.STEPS["count"] = lambda cell, work_: turning._commit(work_, Step(work_, "backup"))


def fork(place: Place, what: Callable[[], None]) -> int:
    """Runs a function in a process of its own; its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        with (place.folder / "stderr").open("ab") as file:
            os.dup2(file.fileno(), 2)
        what()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """The exit code of a process, or minus the number of its signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_seed(
    report: Report, database: str, seed: int, points: Sequence[str], folder: Path, control: bool
) -> None:
    """One cell, killed at each of the points that the turn comes to, then finished and looked at."""
    folder.mkdir()
    rng = random.Random(f"turns {seed}")
    place = Place(folder, sqlite(folder, f"{REGION}.db") if database == "sqlite" else postgresql(empty=True))
    report.seeds += 1
    weakens = weaken if control else None
    assert ended(fork(place, lambda: make(place))) == 0, (folder / "stderr").read_text()[-2000:]
    bystander = fork(place, lambda: stand_by(place, f"{seed} by")) if database != "sqlite" else None
    for number, point in enumerate(points):
        plan = (point, rng.randint(1, OFTEN.get(point, 1)))
        code = ended(fork(place, lambda: work(place, f"{seed} {number}", plan, weakens)))  # noqa: B023
        if code == KILLED:
            report.kills += 1
            report.killed[point] += 1
        elif code == 0:
            break  # done before it came to this point
        else:
            report.wrong.append(f"seed {seed}, {point}: {(folder / 'stderr').read_text()[-600:]}")
            break
    code = ended(fork(place, lambda: work(place, f"{seed} end", None, weakens)))
    if code != 0:
        report.wrong.append(f"seed {seed}: {(folder / 'stderr').read_text()[-600:]}")
    if bystander is not None:
        (folder / "over").touch()
        if ended(bystander) != 0:
            report.wrong.append(f"seed {seed}, bystander: {(folder / 'stderr').read_text()[-600:]}")
    found = fork(place, lambda: place.append("found", *look(place)))
    if ended(found) != 0:
        report.wrong.append(f"seed {seed}: {(folder / 'stderr').read_text()[-600:]}")
    for part, sentence in place.lines("found"):
        getattr(report, part).append(f"seed {seed}: {sentence}")
    report.failed += [f"seed {seed}: {line}" for line in place.lines("failures")]
    report.acknowledged += len(place.lines("journal"))
    report.reads += sum(place.lines("reads"))


def look(place: Place) -> Iterator[tuple[str, str]]:
    """What is to be said against the cell after the turn."""
    with place.open() as built:
        cell = built.cell
        if cell.keyring.held != (2,):
            yield "left", f"epochs {cell.keyring.held} are held"
        states = [row.state for row in stored_epochs(cell.store)]
        if states != ["destroyed", "active"]:
            yield "left", f"epochs are {states}"
        under = turning._counts(cell, 1)
        if any(under.values()):
            yield "left", f"{under} under the old epoch"
        halves_left = [str(path) for path in place.folder.rglob("*-000001") if path.is_file()]
        if halves_left:
            yield "left", f"{halves_left}"
        verify(cell.store)
        yield from look_up(place, built)


def look_up(place: Place, built: BuiltCell) -> Iterator[tuple[str, str]]:
    """What is to be said of values: each that was acknowledged comes back, and equal ones have one token."""
    grant = (place.folder / "grant").read_text()
    by_value: dict[tuple[str, str], set[str]] = defaultdict(set)
    journal = place.lines("journal")
    for name in (NAME, EMAIL, HANDLE, SSN):
        those = [line for line in journal if line[0] == name]
        for start in range(0, len(those), 500):
            part = those[start : start + 500]
            try:
                shown = built.reveal(grant, name, *[line[2] for line in part], purpose="files")
            except CoatcheckError as refusal:
                yield "lost", f"{name}: {refusal.code}"
            else:
                bad = sum(one != line[1] for one, line in zip(shown or [], part, strict=True))
                if bad:
                    yield "lost", f"{bad} of {name}"
        for line in those:
            by_value[name, line[1]].add(line[2])
    for (name, value), tokens in by_value.items():
        if name in (EMAIL, HANDLE):
            again = built.tokens(name, value, subjects=["person-1"])[0]
            if tokens != {again}:
                yield "twice", f"{name}: {len(tokens | {again or ''})} tokens of one value"


def run(
    database: str, seeds: int, points: Sequence[str], folder: Path, *, first: int = 1, control: bool = False
) -> Report:
    """So many cells, each killed at its points in the order in which a turn comes to them."""
    report = Report()
    for seed in range(first, first + seeds):
        run_seed(report, database, seed, points, folder / f"{seed}", control)
        print(f"seed {seed}: {report}", file=sys.stderr, flush=True)
    return report


def in_order(points: Sequence[str]) -> list[str]:
    """Points as a turn comes to them: those of files stand behind the step that makes or destroys them."""
    behind = {
        "root made": "before create", "half written": "before create", "a batch sealed": "before reseal",
        "a batch carried": "before carry", "backup written": "before backup",
        "half destroyed": "before destroy", "root destroyed": "before root",
        "before a commit": "after flip", "after a commit": "after flip",
    }  # fmt: skip
    steps: list[str] = [point for point in POINTS if point not in FILE_POINTS]
    return sorted(
        points, key=lambda point: (steps.index(str(behind.get(point, point))), point in FILE_POINTS)
    )


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.turns", description="P7 and P15.")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--points", type=int, default=len(POINTS), help="how many points of each turn")
    parser.add_argument(
        "--control", action="store_true", help="a program that loses; something must be found"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="turns-"))
    rng = random.Random(options.first)
    points = in_order(rng.sample(POINTS, min(options.points, len(POINTS))))
    if options.control:
        points = in_order(["before carry", "after carry"])
    try:
        report = run(
            options.database, options.seeds, points, folder, first=options.first, control=options.control
        )
    finally:
        if options.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for sentence in report.findings[:10]:
        print(sentence, file=sys.stderr)
    for point, count in sorted(report.killed.items()):
        print(f"{count:5} {point}", file=sys.stderr)
    print(report)
    return (0 if report.findings else 1) if options.control else (1 if report.findings else 0)


if __name__ == "__main__":
    sys.exit(main())
