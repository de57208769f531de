"""Harnesses run as one runs them by hand, and what their last line counts."""

from __future__ import annotations

import subprocess
import sys

from tests.support.service import ROOT, environment


def harness(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m tests.harness.NAME` in a process of its own, which forks: this one may have threads."""
    return subprocess.run(
        [sys.executable, "-m", f"tests.harness.{name}", *arguments],
        cwd=ROOT,
        env=environment({"PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        check=False,
    )


def counts_of(name: str, *arguments: str) -> dict[str, int]:
    """What a harness that found nothing has counted, by the names in its last line.

    Raises:
        AssertionError: it found something, or fell.
    """
    done = harness(name, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    pairs = (part.split("=") for part in done.stdout.splitlines()[-1].split() if "=" in part)
    return {counted: int(number) for counted, number in pairs}
