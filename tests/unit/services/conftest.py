"""A populated cell on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cells import BuiltCell, development_cell
from tests.support.operators import cheapen
from vault.clock import FixedClock, parse_time


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are many passwords here."""
    cheapen(monkeypatch)


@pytest.fixture
def built(tmp_path: Path) -> Iterator[BuiltCell]:
    with development_cell(tmp_path) as made:
        yield made


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(parse_time("2026-11-23T12:00:00Z"))


@pytest.fixture
def ticking(tmp_path: Path, clock: FixedClock) -> Iterator[BuiltCell]:
    with development_cell(tmp_path, clock) as made:
        yield made
