"""Ledgers on both kinds of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ledgers
from tests.support.ledgers import Ledger

KINDS = ("sqlite", "postgresql")


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger, once on each kind of database."""
    with ledgers.ledger(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def sqlite_ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledgers.ledger("sqlite", tmp_path) as made:
        yield made


@pytest.fixture
def postgresql_ledger(tmp_path: Path) -> Iterator[Ledger]:
    with ledgers.ledger("postgresql", tmp_path) as made:
        yield made
