"""A host's clock that went ahead and back: the ledger's time stays where it was, and `doctor` says so."""

from __future__ import annotations

from pathlib import Path

from tests.support.cells import REGION, SSN, development_cell
from vault.clock import SECOND, FixedClock, SystemClock
from vault.wiring import Wiring


def test_doctor_says_that_the_clock_went_back(tmp_path: Path) -> None:
    clock = FixedClock(SystemClock().now())
    with development_cell(tmp_path, clock) as built:
        clock.advance(3600 * SECOND)
        built.token(SSN, "123-45-6789")
        config = built.config
        assert not [found for found in Wiring(config, clock=clock).examine(REGION) if "clock" in found.check]
        clock.advance(-3600 * SECOND)
        wrong = [found for found in Wiring(config, clock=clock).examine(REGION) if "clock" in found.check]
    assert [found.result for found in wrong] == ["wrong"]
    assert "3600 s ahead" in wrong[0].detail
