"""A turn that is killed (SIGKILL) at named points, under reads and writes, on both kinds of database.

Small here; `COATCHECK_FULL=1` takes all points and 50 seeds, as `python -m tests.harness.turns` does.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.harness.turns import POINTS, in_order
from tests.support.harnesses import counts_of, harness

FULL: Final = bool(os.environ.get("COATCHECK_FULL"))
SEEDS: Final = 50 if FULL else 1
SOME: Final = len(POINTS) if FULL else 5


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_turn_that_is_killed_goes_on_and_nothing_is_lost(database: str) -> None:
    counts = counts_of(
        "turns", "--database", database, "--seeds", str(SEEDS), "--points", str(SOME), "--first", "3"
    )
    assert counts["kills"] >= SEEDS * SOME // 2  # a point late in a step may find the turn done
    assert counts["reads"] > 0


def test_the_harness_finds_a_program_that_loses_tokens() -> None:
    """The control: index rows are written in one epoch only, and nobody counts."""
    found = harness("turns", "--control")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "twice=0" not in found.stdout


def test_there_are_points_enough() -> None:
    assert len(POINTS) >= 20
    assert sorted(in_order(POINTS)) == sorted(POINTS)
