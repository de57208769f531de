"""A populated cell on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cells import BuiltCell, development_cell
from vault.clock import FixedClock, parse_time
from vault.crypto import passwords
from vault.services import proving


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes of passwords at the least cost: there are many of them here."""
    least = passwords.Argon2Parameters(1, 8192, 1)
    monkeypatch.setattr(passwords.hash_password, "__defaults__", (least,))
    monkeypatch.setattr(proving, "RFC9106_LOW_MEMORY", least)
    proving._nobodys_hash.cache_clear()


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
