"""A transfer that is killed (SIGKILL) at commits of the cells and the directory, on both kinds of database.

Small here; `COATCHECK_FULL=1` takes 50 seeds, as `python -m tests.harness.crossings` does.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.support.harnesses import counts_of, harness

SEEDS: Final = 50 if os.environ.get("COATCHECK_FULL") else 2


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_transfer_that_is_killed_goes_on_and_nothing_is_lost_or_doubled(database: str) -> None:
    counts = counts_of("crossings", "--database", database, "--seeds", str(SEEDS))
    assert counts["kills"] >= SEEDS


def test_the_harness_finds_a_program_that_forgets_what_has_arrived() -> None:
    found = harness("crossings", "--control")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "twice=0" not in found.stdout
