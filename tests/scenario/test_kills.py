"""P15: killed at named points, nothing acknowledged is lost and nothing is half done, on SQLite.

COATCHECK_FULL=1 kills 1,000 times; `python -m tests.harness.crash --kills N --points all` any number.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.harness.kills import run
from tests.harness.points import CLOSING, CONTROL, MAKING, OPENING, POINTS

FULL = bool(os.environ.get("COATCHECK_FULL"))
KILLS = 1_000 if FULL else 16
LEAST = 40 if FULL else 8  # points at which a process really ended


def test_nothing_acknowledged_is_lost_at_any_point(tmp_path: Path) -> None:
    report = run(KILLS, POINTS, 15, tmp_path)
    assert report.findings == []
    assert report.kills >= KILLS
    assert len(report.killed) >= LEAST
    assert report.acknowledged > 2 * KILLS


def test_a_cell_that_is_killed_while_it_is_made_opens_and_closes(tmp_path: Path) -> None:
    report = run(8 if not FULL else 60, (*OPENING, *CLOSING, *MAKING), 3, tmp_path)
    assert report.findings == []
    assert report.killed


def test_the_control_loses(tmp_path: Path) -> None:
    """A program that undoes what it acknowledges is found out by the same checks."""
    report = run(3, (CONTROL,), 1, tmp_path)
    assert report.killed[CONTROL] > 0
    assert [one for one in report.findings if "gap" in one or "is not in the log" in one]
    assert [one for one in report.findings if "token" in one or "gone" in one or "another value" in one]
