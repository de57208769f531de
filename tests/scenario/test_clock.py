"""A host's clock that went ahead and back: the ledger's time stays where it was, and `doctor` says so."""

from __future__ import annotations

from pathlib import Path

from tests.support.cells import REGION, SSN, development_cell
from vault.checkup import Checkup
from vault.clock import SECOND, FixedClock, SystemClock
from vault.config import Settings


def test_doctor_says_that_the_clock_went_back(tmp_path: Path) -> None:
    clock = FixedClock(SystemClock().now())
    with development_cell(tmp_path, clock) as built:
        clock.advance(3600 * SECOND)
        built.token(SSN, "123-45-6789")
        config = built.config
        doctor = Checkup(Settings(config, [], {}, {}), clock=clock)
        assert [found.result for found in doctor.cell(config, REGION) if "clock" in found.check] == ["ok"]
        clock.advance(-3600 * SECOND)
        wrong = [found for found in doctor.cell(config, REGION) if "clock" in found.check]
    assert [found.result for found in wrong] == ["wrong"]
    assert "3600 s ahead" in wrong[0].detail
