"""Turns of a cell's epoch, done in the calling thread to their end."""

from __future__ import annotations

import time
from typing import Any, Final

import pytest

from tests.support.cells import HOST, REGION, BuiltCell
from vault.keyring import ring
from vault.services import processes, turning, worker
from vault.services.jobs import JobAnswer, read_job
from vault.services.turn import TurnBody, start_turn
from vault.services.turning import DROP
from vault.services.worker import Worker
from vault.wiring import Wiring

PATIENCE_S: Final = 60.0
ENDS: Final = ("done", "failed", "cancelled")


def begin(built: BuiltCell, replays: str = DROP) -> str:
    """The id of a new turn's job, which nobody does yet."""
    return built.run(start_turn, TurnBody(replays), by=HOST).id


def job(built: BuiltCell, id_: str) -> JobAnswer:
    """A job, as it stands."""
    return built.run(read_job, id_, by=HOST)


def until(built: BuiltCell, id_: str, *, step: str | None = None, worker: Worker | None = None) -> JobAnswer:
    """Works until a job has ended, or is at a step; how it then stands."""
    by = worker or Worker(built.cell)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        by.run_due()
        found = job(built, id_)
        if found.state in ENDS or found.step == step:
            return found
        time.sleep(0.02)
    raise AssertionError(f"still {found.state} at {found.step}: {found.waits_for} {found.error}")


def turn(built: BuiltCell) -> JobAnswer:
    """A whole turn."""
    return until(built, begin(built))


def stop_at(built: BuiltCell, id_: str, step: str) -> None:
    """Works until a job has come to a step, and stops it there, piece by piece."""
    from vault.ledger.committer import drive
    from vault.services.jobs import QUEUED, Release, Take, Work
    from vault.services.worker import KINDS

    worker = Worker(built.cell)
    row = built.cell.committer.execute(Take(worker._by)).value
    work = Work.of(row, worker._by)
    assert work.id == id_
    while work.progress.step != step:
        assert work.progress.state == "running", work.progress
        worker._attendant.keep()
        drive(built.cell.committer, lambda: KINDS[work.kind](built.cell, work), built.cell.forget)
    from dataclasses import replace

    built.cell.committer.execute(Release(work, replace(work.progress, state=QUEUED)))


def with_keys(built: BuiltCell) -> BuiltCell:
    """The cell, able to open its key stores."""
    wiring = Wiring(built.config)
    built.cell.keys = lambda: (wiring.provider(REGION), wiring.halves(REGION))
    return built


def slow_pieces(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Makes each piece of a turn take half a minute, by the clock of leases; the seconds that passed."""
    passed, piece = [0.0], worker.KINDS[turning.KIND]

    def slow(*given: Any) -> Any:
        yield from piece(*given)
        passed[0] += 30

    monkeypatch.setitem(worker.KINDS, turning.KIND, slow)
    monkeypatch.setattr(worker, "LOOK_S", 0)
    for module in (processes, ring):
        monkeypatch.setattr(module, "awake", lambda: passed[0])
    return passed
