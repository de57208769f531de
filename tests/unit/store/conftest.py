"""Migrated databases of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import give_back, migrated
from vault.clock import SystemClock
from vault.store.cell import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty cell's database, once of each kind."""
    url = migrated(request.param, tmp_path)
    made = Store(url, SystemClock())
    yield made
    made.close()
    give_back(url)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Store]:
    made = Store(migrated("sqlite", tmp_path), SystemClock())
    yield made
    made.close()
