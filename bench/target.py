"""What a benchmark is held to: a ratio against a floor or a peer that was measured in the same run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

SMALL = os.environ.get("BENCH_SIZE") == "small"


class Target(NamedTuple):
    """A bound on one ratio; `at_most` says on which side of it ours must lie."""

    name: str
    limit: float
    at_most: bool

    def held(self, ratio: float) -> bool:
        return ratio <= self.limit if self.at_most else ratio >= self.limit


def report(results: Sequence[tuple[Target, float]]) -> bool:
    """Prints target, ratio and verdict of each; whether all are held. A short run only says so."""
    for target, ratio in results:
        side = "at most" if target.at_most else "at least"
        verdict = "pass" if target.held(ratio) else "FAIL"
        rough = " (rough)" if SMALL else ""
        limit = f"{target.limit:.2f}".removesuffix("0")
        print(f"ratio {target.name} {ratio:.2f}, target {side} {limit}: {verdict}{rough}")
    return SMALL or all(target.held(ratio) for target, ratio in results)
