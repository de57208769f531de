"""Rotations of index keys that are killed (SIGKILL) at named points, under reads and writes.

On PostgreSQL by four processes. Small here; `COATCHECK_FULL=1` takes all points and 20 seeds, as
`python -m tests.harness.reindex` does.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.support.harnesses import counts_of, harness

FULL: Final = bool(os.environ.get("COATCHECK_FULL"))
SEEDS: Final = 20 if FULL else 1
SOME: Final = 9 if FULL else 3


@pytest.mark.parametrize("more", [[], ["--turn"]], ids=["alone", "beside a turn"])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_rotation_that_is_killed_goes_on_and_nothing_is_found_twice(database: str, more: list[str]) -> None:
    counts = counts_of(
        "reindex", "--database", database, "--seeds", str(SEEDS), "--points", str(SOME), "--first", "3", *more
    )
    assert counts["kills"] >= SEEDS * SOME // 2  # a point late in a step may find the rotation done
    assert counts["reads"] > 0


def test_the_harness_finds_a_program_that_writes_by_one_version() -> None:
    """The control: rows are written by the version that is looked up by, and by no other."""
    found = harness("reindex", "--control")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "twice=0" not in found.stdout
