"""A populated cell on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cells import BuiltCell, development_cell


@pytest.fixture
def built(tmp_path: Path) -> Iterator[BuiltCell]:
    with development_cell(tmp_path) as made:
        yield made
