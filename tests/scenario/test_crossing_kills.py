"""A transfer that is killed (SIGKILL) at commits of the cells and the directory, on both kinds of database.

Small here; `COATCHECK_FULL=1` takes 50 seeds, as `python -m tests.harness.crossings` does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

from tests.support.service import ROOT, environment

SEEDS: Final = 50 if os.environ.get("COATCHECK_FULL") else 3


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, which forks: this one may have threads."""
    return subprocess.run(
        [sys.executable, "-m", "tests.harness.crossings", *arguments],
        cwd=ROOT,
        env=environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_transfer_that_is_killed_goes_on_and_nothing_is_lost_or_doubled(database: str) -> None:
    done = run("--database", database, "--seeds", str(SEEDS))
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(part.split("=") for part in done.stdout.split() if "=" in part)
    assert int(counts["kills"]) >= SEEDS


def test_the_harness_finds_a_program_that_forgets_what_has_arrived() -> None:
    found = run("--control")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "twice=0" not in found.stdout
