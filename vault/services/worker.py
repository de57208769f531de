"""The worker: takes jobs that are due, does them piece by piece, and gives them back.

Many workers may run on one cell: a job is one worker's while its lease lasts, and each piece looks. What ends
a piece decides what becomes of the job: out of reach, it waits and says for what; not what was written, it
fails and waits for a person.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Final

from vault.errors import CoatcheckError, Conflict, Misconfigured, Unavailable
from vault.ledger.command import Command, Committed
from vault.ledger.committer import drive
from vault.services import erasing, reindex, transferring, transfers, turning
from vault.services.cell import Cell
from vault.services.enlisting import Enlisting
from vault.services.erasure_kinds import ERASURE
from vault.services.expiry import expire_due
from vault.services.fences import end_fences
from vault.services.jobs import FAILED, QUEUED, RUNNING, WAITING, Release, Take, Work
from vault.services.notices import send_notices
from vault.services.processes import Process
from vault.services.replacement import warn_of_ends
from vault.services.review_ends import end_reviews
from vault.services.rotation import rotate_due
from vault.services.turn import schedule_turn
from vault.store.migrations import is_newest, newest
from vault.store.work import JobRow

Pieces = Generator[Command, Committed, None]
KINDS: Final[dict[str, Callable[[Cell, Work], Pieces]]] = {
    turning.KIND: turning.advance,
    reindex.KIND: reindex.advance,
    transfers.KIND: transferring.advance,
    ERASURE: erasing.advance,
}
"""What does a piece of each kind of job."""

LOOK_S: Final = 1.0  # between two looks for jobs that are due
SCHEDULE_S: Final = 60.0  # between two looks at what is scheduled
FIRST_PAUSE_S: Final = 1.0  # after something was out of reach; it doubles
LONGEST_PAUSE_S: Final = 60.0
_OUT_OF_REACH: Final = {
    "key_unavailable": "key_store",
    "database_unavailable": "database",
    "audit_unavailable": "audit",
    "region_unavailable": "region",
    "too_busy": "quiet",
    "draining": "worker",
}
_log = logging.getLogger("coatcheck.worker")


class Worker:
    """Does a cell's jobs, in whichever thread calls.

    Args:
        cell: the cell, whose key stores are known.
        stop: set when the worker is to give back what it has, after the piece under way.
    """

    def __init__(self, cell: Cell, stop: threading.Event | None = None) -> None:
        self._cell = cell
        self._stop = stop or threading.Event()
        self._scheduled = 0.0
        self._kept_at = 0.0
        self._listed_at = 0.0
        if cell.attendant is None:
            cell.attendant = Process(cell, "worker")
            cell.attendant.look()
        self._attendant = cell.attendant
        self._by = cell.attendant.id
        self._enlisting = None if cell.directory is None else Enlisting(cell, cell.directory, self._by)

    def run_due(self) -> int:
        """Does all that is due now, and begins what is scheduled; how many jobs it had in its hands.

        Nothing, beside a newer program: that one's worker does it, and knows all that has to be done.
        """
        if not self._is_newest():
            return 0
        if time.monotonic() >= self._scheduled:
            self._scheduled = time.monotonic() + SCHEDULE_S
            drive(self._cell.committer, lambda: schedule_turn(self._cell), self._cell.forget)
            drive(self._cell.committer, lambda: rotate_due(self._cell), self._cell.forget)
            drive(self._cell.committer, lambda: warn_of_ends(self._cell), self._cell.forget)
            drive(self._cell.committer, lambda: end_reviews(self._cell), self._cell.forget)
            drive(self._cell.committer, lambda: end_fences(self._cell), self._cell.forget)
            drive(self._cell.committer, lambda: expire_due(self._cell), self._cell.forget)
        self._enlist()
        send_notices(self._cell)
        taken = 0
        while not self._stop.is_set() and self.run_one():
            taken += 1
        return taken

    def run_one(self) -> bool:
        """Takes a job that is due and does it as far as it goes; False if none is due.

        Raises:
            Misconfigured: `migration_required`: the database belongs to a newer program.
        """
        if not self._is_newest():
            raise Misconfigured("migration_required", program=newest())
        if not self._cell.store.read(self._cell.store.work.job_due, {"at": self._cell.clock.now()}):
            return False
        row: JobRow | None = self._cell.committer.execute(Take(self._by)).value
        if row is None:
            return False
        work = Work.of(row, self._by)
        try:
            self._do(work)
        except CoatcheckError as problem:
            self._give_back(work, problem)
        except Exception as problem:  # noqa: BLE001 - the job says that it failed, and the worker goes on
            _log.error("job failed", extra={"job": work.id, "error": type(problem).__name__})
            self._give_back(work, None)
        return True

    def _enlist(self) -> None:
        """Tells the directory, if there is one, of people who are new or gone."""
        if self._enlisting is not None:
            self._enlisting.run()
        self._listed_at = time.monotonic()

    def _is_newest(self) -> bool:
        """Whether no newer program is at work on the cell; nobody migrates a file that is held."""
        return self._cell.store.is_file or is_newest(self._cell.store.engine)

    def _do(self, work: Work) -> None:
        work.progress = replace(work.progress, state=RUNNING)
        piece = KINDS[work.kind]
        while work.progress.state == RUNNING:
            if self._stop.is_set():
                self._perform(lambda: _release(work, QUEUED, "", "", 0))
                return
            if time.monotonic() >= self._kept_at + LOOK_S:  # a job may take hours
                self._kept_at = time.monotonic()
                self._attendant.keep()
            if time.monotonic() >= self._listed_at + LOOK_S:
                self._enlist()
                send_notices(self._cell, most=1)
            self._perform(lambda: piece(self._cell, work))
            if work.progress.state == RUNNING and self._cell.working.pause_s:
                self._stop.wait(self._cell.working.pause_s)

    def _give_back(self, work: Work, problem: CoatcheckError | None) -> None:
        """Says in the job's row what went wrong, unless the job is no longer this worker's."""
        if isinstance(problem, Conflict):
            _log.info("job stopped", extra={"job": work.id})
            return
        tries = work.progress.cursor.get("out_of_reach", 0)
        pause = min(FIRST_PAUSE_S * 2**tries, LONGEST_PAUSE_S)
        code = "internal" if problem is None else problem.code
        _log.warning("job given back", extra={"job": work.id, "code": code})
        if isinstance(problem, Unavailable):
            work.progress.cursor = {**work.progress.cursor, "out_of_reach": tries + 1}
            state, waits_for = WAITING, _OUT_OF_REACH.get(code, "")
        else:
            state, waits_for = FAILED, ""
        try:
            self._perform(lambda: _release(work, state, waits_for, code, pause))
        except CoatcheckError as other:  # its lease lapses, and somebody takes it up
            _log.warning("job not given back", extra={"job": work.id, "code": other.code})

    def _perform(self, start: Callable[[], Pieces]) -> None:
        drive(self._cell.committer, start, self._cell.forget)


class WorkerThread:
    """A thread that does a cell's jobs until it is closed."""

    def __init__(self, cell: Cell) -> None:
        self._stop = threading.Event()
        self._worker = Worker(cell, self._stop)
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Gives back what it has after the piece under way, and stops."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._worker.run_due()
            except CoatcheckError as problem:
                _log.warning("no jobs done", extra={"code": problem.code})
            except Exception as problem:  # noqa: BLE001 - it goes on
                _log.error("no jobs done", extra={"error": type(problem).__name__})
            self._stop.wait(LOOK_S)


def _release(work: Work, state: str, waits_for: str, error: str, after_s: float) -> Pieces:
    then = replace(work.progress, state=state, waits_for=waits_for, error=error)
    yield Release(work, then, after_s)
    work.progress = then
