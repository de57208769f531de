"""A turn that is killed (SIGKILL) at named points, under reads and writes, on both kinds of database.

Small here; `COATCHECK_FULL=1` takes all points and 50 seeds, as `python -m tests.harness.turns` does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

from tests.harness.turns import POINTS, in_order
from tests.support.service import ROOT, environment

FULL: Final = bool(os.environ.get("COATCHECK_FULL"))
SEEDS: Final = 50 if FULL else 1
SOME: Final = len(POINTS) if FULL else 8


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which forks: this one may have threads."""
    return subprocess.run(
        [sys.executable, "-m", "tests.harness.turns", *arguments],
        cwd=ROOT,
        env=environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_turn_that_is_killed_goes_on_and_nothing_is_lost(database: str) -> None:
    done = run("--database", database, "--seeds", str(SEEDS), "--points", str(SOME), "--first", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(part.split("=") for part in done.stdout.split() if "=" in part)
    assert int(counts["kills"]) >= SEEDS * SOME // 2  # a point late in a step may find the turn done
    assert int(counts["reads"]) > 0


def test_the_harness_finds_a_program_that_loses_tokens() -> None:
    """The control: index rows are written in one epoch only, and nobody counts."""
    found = run("--control")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "twice=0" not in found.stdout


def test_there_are_points_enough() -> None:
    assert len(POINTS) >= 20
    assert sorted(in_order(POINTS)) == sorted(POINTS)
