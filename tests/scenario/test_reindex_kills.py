"""Rotations of index keys that are killed (SIGKILL) at named points, under reads and writes.

On PostgreSQL by four processes. Small here; `COATCHECK_FULL=1` takes all points and 20 seeds, as
`python -m tests.harness.reindex` does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

from tests.support.service import ROOT, environment

FULL: Final = bool(os.environ.get("COATCHECK_FULL"))
SEEDS: Final = 20 if FULL else 1
SOME: Final = 9 if FULL else 5


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which forks: this one may have threads."""
    return subprocess.run(
        [sys.executable, "-m", "tests.harness.reindex", *arguments],
        cwd=ROOT,
        env=environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("more", [[], ["--turn"]], ids=["alone", "beside a turn"])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_rotation_that_is_killed_goes_on_and_nothing_is_found_twice(database: str, more: list[str]) -> None:
    done = run("--database", database, "--seeds", str(SEEDS), "--points", str(SOME), "--first", "3", *more)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(part.split("=") for part in done.stdout.split() if "=" in part)
    assert int(counts["kills"]) >= SEEDS * SOME // 2  # a point late in a step may find the rotation done
    assert int(counts["reads"]) > 0


def test_the_harness_finds_a_program_that_writes_by_one_version() -> None:
    """The control: rows are written by the version that is looked up by, and by no other."""
    found = run("--control")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "twice=0" not in found.stdout
