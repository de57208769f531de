"""`coatcheck`, killed (SIGKILL) at a point of what it does: before and after whatever it writes.

The words are the command line; beyond the last point it lives.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.support.nursery import ROOT
from tests.support.service import environment, run_forked

ROWS: Final = 7  # of a batch, so that there are many
BEYOND: Final = 1_000_000


def _mortal(steps: list[int], method: Callable[..., Any]) -> Callable[..., Any]:
    def step() -> None:
        steps[0] -= 1
        if steps[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def run(*arguments: Any, **named: Any) -> Any:
        step()
        done = method(*arguments, **named)
        step()
        return done

    return run


def main(point: int, words: list[str]) -> None:
    """Runs the command line in this process, which dies at the point."""
    from vault.cli.main import run
    from vault.kms.erased import ErasedLog
    from vault.ledger.committer import Committer
    from vault.services import copying
    from vault.store import migrations
    from vault.store.loads import Loading

    copying.BATCH = ROWS  # type: ignore[misc]
    steps = [point]
    for of, names in (
        (Loading, ("put", "note", "mending", "end")),
        (Committer, ("execute",)),
        (ErasedLog, ("append",)),
        (migrations, ("upgrade",)),
    ):
        for name in names:
            setattr(of, name, _mortal(steps, getattr(of, name)))
    try:
        run(words)
    finally:
        print(f"{point - steps[0]} points", file=sys.stderr)


def points_of(*words: str | Path) -> int:
    """Runs `coatcheck` to its end: at how many points it could have died."""
    done = _run(BEYOND, words)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-2])


def spread(total: int, few: int = 3, last: int = 6) -> list[int]:
    """Some of the points: the first two, some between, and the last ones, where the steps differ."""
    between = (total * part // (few + 1) for part in range(1, few + 1))
    return sorted({1, 2, *between, *range(total - last + 1, total + 1)})


def die(point: int, *words: str | Path) -> None:
    """Runs `coatcheck` until it dies at the point."""
    assert _run(point, words).returncode == -signal.SIGKILL


def _run(point: int, words: tuple[str | Path, ...]) -> subprocess.CompletedProcess[str]:
    arguments = [point, [str(word) for word in words]]
    return run_forked("tests.harness.dying:main", arguments, environment({"PYTHONPATH": str(ROOT)}))
