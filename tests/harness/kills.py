"""Kills the program at named points, and looks after each kill for what was lost or left half done (P15).

    python -m tests.harness.crash --kills 1000 --points all

Each process has one point at which it ends itself: at a statement, between commit and answer, in the
middle of a commit or a checkpoint, while it opens, closes, or makes a cell. Its successor opens the same
files, with no step in between, and is asked for everything that was acknowledged.
"""

from __future__ import annotations

import http.client
import json
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.harness import checks
from tests.harness.doomed import DOOMED, Planned
from tests.harness.journal import Journal
from tests.harness.load import Api, Gone, Worker
from tests.harness.points import CLOSING, CONTROL, FLAG, MAKING, OPENING, POINTS, SERVING, TIMED
from tests.harness.roomy import ONE_CELL, SCHEMA, principal
from tests.support.nursery import KILLED, ROOT, RUN, Child, Nursery, Streams
from tests.support.service import ADDRESS_IN_USE, environment, free_port
from vault.clock import SystemClock
from vault.errors import CoatcheckError
from vault.services.audit import verify
from vault.store.cell import Store
from vault.store.session import sqlite_url

CLIENTS: Final = 4
PATIENCE_S: Final = 60.0
LOAD_S: Final = 0.8  # a point that was not reached by then is not waited for
LIFE: Final = 12  # kills of one deployment, so that looking at all of it stays quick
SAMPLE: Final = 60  # tokens of earlier rounds
GIVEN_UP: Final = 1  # times that a point was not reached, and never before, until it is left out
HITS: Final = {  # how often a point is reached before it ends the process, at most
    "any statement": 400,
    "opening: any statement": 24,
    "closing: any statement": 6,
    "making: any statement": 150,
    "making: before a file call": 90,
    "making: after a file call": 90,
    "opening: locked": 1, "opening: checked": 1, "opening: keys read": 1,
    "closing: begun": 1, "closing: finished": 1, "closing: unlocked": 1,
    "after select": 200,
}  # fmt: skip
RARE: Final = ("cu_subject", "cu_due", "cu_data", "re_api", "re_grant_s", "re_princ")


@dataclass
class Report:
    """What a run found; `findings` is empty when all is well.

    Attributes:
        killed: how often which point ended a process.
        missed: how often a process was killed by the clock, since its point was not reached.
    """

    kills: int = 0
    acknowledged: int = 0
    findings: list[str] = field(default_factory=list)
    killed: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"crash: kills={self.kills} points={len(self.killed)} acknowledged={self.acknowledged} "
            f"missed={sum(self.missed.values())} findings={len(self.findings)}"
        )


class Life:
    """One deployment, killed again and again.

    Attributes:
        journal: what was acknowledged in it.
        port: where the process that serves it listens.
        points: where its processes ended, the last one last.
    """

    def __init__(self, nursery: Nursery, folder: Path, rng: random.Random) -> None:
        self._nursery, self.folder, self._rng = nursery, folder, rng
        self.journal = Journal()
        self.points: list[str] = []
        self.port = 0
        self.round = 0
        self._made: dict[str, str] = {}
        self._store: Store | None = None

    def arm(self, armed: bool) -> None:
        """Says whether a point that is reached ends the process."""
        path = self.folder / FLAG
        if not path.exists():
            path.write_bytes(b"\0")
        with path.open("r+b") as file:
            file.write(b"\1" if armed else b"\0")

    def _fork(self, words: list[str], settings: dict[str, str], planned: Planned | None) -> Child:
        """The program as a process that ends as planned, if it is planned."""
        what, arguments = (
            (RUN, [words]) if planned is None else (DOOMED, planned.arguments(words, self.folder))
        )
        streams = Streams.into(self.folder)
        return self._nursery.fork(what, arguments, environment(settings), ROOT, streams)

    def make(self, planned: Planned | None = None) -> int:
        """Makes the cell, or finishes making it; the status."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "coatcheck.toml").write_text(ONE_CELL, encoding="utf-8")
        (self.folder / "schema.toml").write_text(SCHEMA, encoding="utf-8")
        child = self._fork(["init", "--dev", str(self.folder)], {}, planned)
        assert child.ended(PATIENCE_S)
        assert child.returncode is not None
        return child.returncode

    def start(self, planned: Planned | None = None) -> Child:
        """Serves; returns once it answers or has ended."""
        for _ in range(5):
            self.port = free_port()
            settings = {"COATCHECK_PORT": str(self.port)}
            child = self._fork(["serve", "--config", str(self.folder)], settings, planned)
            if self._up(child) or child.returncode != ADDRESS_IN_USE:
                return child
        raise AssertionError("no port was free")

    def _up(self, child: Child) -> bool:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
                connection.request("GET", "/livez")
                connection.getresponse().read()
                connection.close()
            except (OSError, http.client.HTTPException):
                if child.ended(0.01):
                    return False
            else:
                return True
        raise AssertionError("the service does not answer")

    def populate(self) -> None:
        """A principal that may do all that the clients do."""
        path = self.folder / "harness.json"
        if path.exists():
            self._made = json.loads(path.read_text(encoding="utf-8"))
            return
        credentials = json.loads((self.folder / "dev-credentials.json").read_bytes())
        admin = credentials["regions"]["eu"]["admin_key"]
        api = Api(self.port, admin)
        status, made = api.call("POST", "principals", principal("harness"))
        assert status == 201, made
        status, key = api.call("POST", f"principals/{made['id']}/keys", {})
        assert status == 201, key
        api.close()
        self._made = {"admin": admin, "owner": made["id"], "client": key["credential"]}
        path.write_text(json.dumps(self._made), encoding="utf-8")

    def load(self, child: Child, seconds: float, then: Callable[[], None] = lambda: None) -> None:
        """Clients work until the process ends, or for so long; then something else is done."""
        self.round += 1
        stop = threading.Event()
        threads = []
        for number in range(CLIENTS):
            api = Api(self.port, self._made["client"])
            seed = f"{self._rng.random()} {number}"
            worker = Worker(api, self._made["admin"], self._made["owner"], self.journal, self.round, seed)
            threads.append(threading.Thread(target=worker.run, args=(stop,), daemon=True))
        for thread in threads:
            thread.start()
        child.ended(seconds)
        then()
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def findings(self) -> list[str]:
        """What is not as it must be; the service is up."""
        journal, database = self.journal, self.folder / "eu.db"
        api = Api(self.port, self._made["client"])
        self._store = self._store or Store(sqlite_url(database), SystemClock())
        found: list[str] = []
        try:
            verify(self._store)
        except CoatcheckError as problem:
            found.append(f"the log does not verify: {problem.code} {problem.facts}")
        finally:
            self._store.close()  # no connection of ours is there when the next one recovers
        now = [held for held in journal.tokens if held.round == self.round]
        before = [held for held in journal.tokens if held.round != self.round]
        chosen = now + self._rng.sample(before, min(SAMPLE, len(before)))
        try:
            found += checks.lost_tokens(api, chosen)
            found += checks.lost_ciphertexts(api, journal.sealed[-SAMPLE:])
            found += checks.answered_twice(api, journal.once[-SAMPLE:])
            found += checks.done_twice(database, journal.once[-SAMPLE:])
            found += checks.lost_access(api, journal, self.round, self._rng)
        except Gone:
            found.append("the service went away while it was looked at")
        finally:
            api.close()
        log = checks.events(database)
        found += checks.vanished(database, journal)
        found += checks.gaps(database, journal, log)
        found += checks.overcharged(database, journal, log)
        found += checks.halves(database, log)
        found += journal.wrong
        if journal.late:
            found.append(f"{journal.late} plaintexts after a revocation")
        return found


class Kills:
    """One run.

    Args:
        folder: where deployments lie; theirs alone.
        points: which points end processes.
        seed: of every choice made here.
    """

    def __init__(self, folder: Path, points: Sequence[str], seed: int, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._rng = random.Random(f"kills {seed}")
        self._points = list(points)
        self._report = Report()
        self._nursery = Nursery()
        self._life: Life | None = None
        self._lives = 0

    def run(self, kills: int) -> Report:
        """Kills and checks until there were so many kills; stops early once something was found."""
        report, started = self._report, time.monotonic()
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._prepare()
            while report.kills < kills and not report.findings:
                for point in self._rng.sample(self._points, len(self._points)):
                    if report.kills >= kills or report.findings:
                        break
                    self._round(point)
                    given_up = report.missed[point] >= GIVEN_UP and not report.killed[point]
                    if given_up and len(self._points) > 1:
                        self._points.remove(point)
                self._say(f"{time.monotonic() - started:.0f} s: {report}")
            self._end_life()
        finally:
            self._nursery.close()
        return report

    def _prepare(self) -> None:
        """A deployment that all others are copies of."""
        template = Life(self._nursery, self._folder / "template", self._rng)
        assert template.make() == 0
        child = template.start()
        template.populate()
        child.send_signal(signal.SIGTERM)
        assert child.ended(PATIENCE_S)
        assert child.returncode == 0

    def _planned(self, point: str) -> Planned:
        most = HITS.get(point, 2 if any(f" {name}" in point for name in RARE) else 12)
        # Often at once, since the first time after a start is its own case.
        hit = 30 if point == CONTROL else self._rng.choice((1, self._rng.randint(1, most)))
        delay_s = self._rng.uniform(0, 0.003) if point in TIMED else 0.0
        return Planned(point, hit, delay_s, armed=point in (*OPENING, *MAKING))

    def _round(self, point: str) -> None:
        if point in MAKING:
            self._kill_making(point)
            return
        life = self._alive()
        planned = self._planned(point)
        life.arm(armed=False)
        child = life.start(planned)
        if point in OPENING:
            self._note(point, child, life)
            return
        assert not child.ended(), (life.folder / "stderr").read_text(encoding="utf-8")[-2000:]
        self._look(life)  # at what the kill before left
        self._load(point, child, life)

    def _look(self, life: Life) -> None:
        last = ", ".join(life.points[-2:]) or "nothing"
        self._report.findings += [f"after {last}: {one}" for one in life.findings()]

    def _load(self, point: str, child: Child, life: Life) -> None:
        life.arm(armed=True)
        if point in CLOSING:
            nobody = Api(life.port, "ck_nobody")
            nobody.call("GET", "whoami")  # counted, and written when it closes
            nobody.close()
            life.load(child, self._rng.uniform(0, 0.2), lambda: child.send_signal(signal.SIGTERM))
            child.ended(PATIENCE_S)
        else:
            alone = len(self._points) == 1  # then there is nothing else to do than to wait for it
            life.load(child, PATIENCE_S if alone else LOAD_S, child.kill_late)
        life.journal.wrong = [one for one in life.journal.wrong if not one.endswith("503 draining")]
        self._note(point, child, life)

    def _note(self, point: str, child: Child, life: Life) -> None:
        """Counts a kill; one by the clock is a kill too, if at no point in particular."""
        report = self._report
        child.kill_late()
        life.points.append(point)
        if child.late:
            report.missed[point] += 1
        elif child.returncode == KILLED:
            report.killed[point] += 1
        else:
            report.missed[point] += 1
            if child.returncode != 0:
                log = (life.folder / "stderr").read_text(encoding="utf-8", errors="replace")
                report.findings.append(f"{point}: ended with {child.returncode}: {log[-1000:]}")
            return
        report.kills += 1

    def _alive(self) -> Life:
        if self._life is None or len(self._life.points) >= LIFE:
            self._end_life()
            self._lives += 1
            folder = self._folder / f"life-{self._lives}"
            shutil.copytree(self._folder / "template", folder)
            self._life = Life(self._nursery, folder, self._rng)
            self._life.populate()
        return self._life

    def _end_life(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            if not self._report.findings:
                child = life.start()
                self._look(life)
                child.kill()
            self._report.acknowledged += life.journal.answers
            if not self._report.findings:
                shutil.rmtree(life.folder)

    def _kill_making(self, point: str) -> None:
        """A cell that is killed while it is made, is made again, and then serves."""
        self._lives += 1
        life = Life(self._nursery, self._folder / f"made-{self._lives}", self._rng)
        report = self._report
        status = life.make(self._planned(point))
        if status == KILLED:
            report.kills += 1
            report.killed[point] += 1
        else:
            report.missed[point] += 1
        again = life.make()
        log = (life.folder / "stderr").read_text(encoding="utf-8", errors="replace")
        if again != 0 or status not in (0, KILLED):
            report.findings.append(f"{point}: init ended with {status}, then {again}: {log[-1000:]}")
            return
        child = life.start()
        life.populate()
        life.load(child, 0.05)
        report.findings += [f"after {point}: {one}" for one in life.findings()]
        child.kill()
        report.acknowledged += life.journal.answers
        if not report.findings:
            shutil.rmtree(life.folder)


def named(what: str) -> list[str]:
    """The points that a word of the command line stands for: `all`, a group, or one by its name."""
    groups: dict[str, Sequence[str]] = {
        "all": POINTS, "serving": SERVING, "opening": OPENING, "closing": CLOSING, "making": MAKING,
    }  # fmt: skip
    if what not in groups and what not in POINTS:
        raise ValueError(f"no such point; there are {', '.join((*groups, *POINTS))}")
    return list(groups.get(what, [what]))


def run(
    kills: int, points: Sequence[str], seed: int, folder: Path, say: Callable[[str], None] = lambda _: None
) -> Report:
    """Kills at points so many times in all."""
    return Kills(folder, points, seed, say).run(kills)
