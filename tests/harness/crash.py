"""Kills the service at random moments and looks for what was lost, half done or charged too often (P15).

    python -m tests.harness.crash --kills 50 --seed 1
    python -m tests.harness.crash --kills 1000 --points all

With `--points` the kills come at named points instead (`tests/harness/kills.py`).

The service runs as a process on a development cell. Clients tokenize, grant, reveal and revoke until it is
killed (SIGKILL), some of the time while it starts. It is started again on the same files, with no step in
between, and everything it ever acknowledged is asked for. Progress goes to standard error; the last line on
standard output counts what was found, and the exit code is 0 when nothing was.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.harness import checks, kills
from tests.harness.journal import Journal
from tests.harness.load import Api, Worker
from tests.harness.roomy import add_principal, initialise_roomy
from tests.support.service import Service, coatcheck

CLIENTS: Final = 6
SHORTEST_S: Final = 0.05
LONGEST_S: Final = 1.2
DURING_START: Final = 0.15  # of the kills
SHOWN: Final = 10


@dataclass
class Report:
    """What a run found; every list is empty when all is well."""

    kills: int = 0
    acknowledged: int = 0
    lost: list[str] = field(default_factory=list)
    overcharged: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    revived: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def findings(self) -> list[str]:
        """All of them, as sentences."""
        parts = ("lost", "overcharged", "gaps", "torn", "revived", "wrong")
        return [f"{part}: {sentence}" for part in parts for sentence in getattr(self, part)]

    def __str__(self) -> str:
        return (
            f"crash: kills={self.kills} acknowledged={self.acknowledged} lost={len(self.lost)} "
            f"overcharged={len(self.overcharged)} gaps={len(self.gaps)} torn={len(self.torn)} "
            f"revived={len(self.revived)} wrong={len(self.wrong)}"
        )


class Crash:
    """One run.

    Args:
        folder: where the deployment lies; made anew.
        seed: of every choice made here. What is under way when the kill comes is up to the host.

    Attributes:
        journal: what was acknowledged.
        client_key: the credential that the clients use.
    """

    connect: type[Api] = Api
    lasts: tuple[float, float] = (SHORTEST_S, LONGEST_S)  # seconds until a kill

    def __init__(self, folder: Path, seed: int, say: Callable[[str], None]) -> None:
        self._seed = seed
        self._rng = random.Random(f"crash {seed}")
        self._say = say
        self.service = Service(folder)
        self.journal = Journal()
        self._report = Report()
        self.client_key = ""
        self._owner = ""

    def run(self, kills: int) -> Report:
        """Kills and checks until there were so many kills in all; stops early once something was found."""
        service, report = self.service, self._report
        if self._owner:
            service.start()
        else:
            self._build()
        try:
            while report.kills < kills and not report.findings:
                report.kills += 1
                self._load_and_kill()
                self._recover(kills)
                self._check()
                self._tell()
        finally:
            service.kill()
        report.acknowledged = self.journal.answers
        return report

    def _strike(self) -> None:
        """What comes upon the service under load."""
        self.service.kill()

    def _recover(self, kills: int) -> None:
        """Until it serves again; at times it is killed once more on the way."""
        if self._report.kills < kills and self._rng.random() < DURING_START:
            self._report.kills += 1
            self.service.spawn()
            time.sleep(self._rng.uniform(0, 1))
            self.service.kill()
        self.service.start()

    def _database(self) -> Path:
        """The database, for a look beside the service."""
        return self.service.folder / "eu.db"

    def _build(self) -> None:
        """A cell whose purpose allows large grants, and a principal that may create them."""
        initialise_roomy(self.service.folder)
        self.service.start()
        self._owner, self.client_key = add_principal(self.service, "harness")

    def _load_and_kill(self) -> None:
        stop = threading.Event()
        admin = self.service.credential("admin_key")
        threads = []
        for number in range(CLIENTS):
            api = self.connect(self.service.port, self.client_key)
            seed = f"{self._seed} {self._report.kills} {number}"
            worker = Worker(api, admin, self._owner, self.journal, self._report.kills, seed)
            threads.append(threading.Thread(target=worker.run, args=(stop,), daemon=True))
        for thread in threads:
            thread.start()
        time.sleep(self._rng.uniform(*self.lasts))
        self._strike()
        stop.set()
        for thread in threads:
            thread.join(checks.BATCH)

    def _check(self) -> None:
        """Everything that must hold, the service being up again."""
        report, journal, folder = self._report, self.journal, self.service.folder
        api = Api(self.service.port, self.client_key)
        verified = coatcheck("audit", "verify", "--config", folder, "--region", "eu")
        if verified.returncode != 0:
            report.gaps.append(f"audit verify ended with {verified.returncode}: {verified.stderr.strip()}")
        report.lost += checks.lost_tokens(api, journal.tokens)
        report.lost += checks.lost_ciphertexts(api, journal.sealed)
        once = journal.once[-checks.SAMPLE :]
        report.wrong += checks.answered_twice(api, once)
        database = self._database()  # a copy may be: no earlier
        report.wrong += checks.done_twice(database, once)
        report.revived += checks.lost_access(api, journal, report.kills, self._rng)
        log = checks.events(database)
        report.lost += checks.vanished(database, journal)
        report.gaps += checks.gaps(database, journal, log)
        report.overcharged += checks.overcharged(database, journal, log)
        report.torn += checks.halves(database, log)
        report.wrong += journal.wrong
        if journal.late:
            report.revived.append(f"{journal.late} plaintexts after a revocation")
        api.close()

    def _tell(self) -> None:
        journal = self.journal
        revoked = sum(grant.revoked for grant in journal.grants.values())
        self._say(
            f"kill {self._report.kills}: {journal.answers} answers acknowledged, "
            f"{len(journal.tokens)} tokens, {len(journal.grants)} grants, {revoked} revoked, "
            f"{len(self._report.findings)} findings"
        )


def run(kills: int, seed: int, folder: Path, say: Callable[[str], None] = lambda _: None) -> Report:
    """Kills the service so many times on a new deployment in a folder."""
    return Crash(folder, seed, say).run(kills)


def tell(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.crash", description="P15.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", help="all, serving, opening, closing, making, or one by its name")
    parser.add_argument("--keep", action="store_true", help="keep the deployment's folder")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    try:
        report: Report | kills.Report
        if options.points:
            chosen = kills.named(options.points)
            report = kills.run(options.kills, chosen, options.seed, folder / "kills", tell)
            for point, count in sorted(report.killed.items()):
                tell(f"{count:5} {point}")
            tell(f"not reached: {', '.join(sorted(report.missed.keys() - report.killed.keys())) or 'none'}")
        else:
            report = run(options.kills, options.seed, folder, tell)
    finally:
        if options.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for sentence in report.findings[:SHOWN]:
        print(sentence, file=sys.stderr)
    print(report)
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
