"""P2 and P8 of keyed grants over HTTP: exactly K of 256 contenders, and nothing after a stop has returned.

Small here; COATCHECK_FULL=1 has 200 rounds and 10,000 stops, as `python -m tests.harness.keyed` does.
"""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.support.harnesses import counts_of, harness

FULL: Final = bool(os.environ.get("COATCHECK_FULL"))
ROUNDS, STOPS = (200, 10_000) if FULL else (2, 16)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_exactly_k_and_none_after_a_stop(database: str) -> None:
    counts = counts_of("keyed", "--database", database, "--rounds", str(ROUNDS), "--stops", str(STOPS))
    assert (counts["rounds"], counts["stops"]) == (ROUNDS, STOPS)
    assert counts["served"] >= ROUNDS
    assert counts["uses"] >= STOPS


def test_the_harness_finds_what_is_late() -> None:
    """The control: a stop is taken for returned before it was made."""
    found = harness("keyed", "--database", "sqlite", "--rounds", "0", "--stops", "4", "--control")
    assert found.returncode == 1, found.stdout + found.stderr
    assert "late=0" not in found.stdout
