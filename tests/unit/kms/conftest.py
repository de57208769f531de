"""Fixtures of the key stores' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.kms.watched import Watched


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Watched:
    """Everything in `tmp_path` that is made durable, linked and unlinked from here on."""
    return Watched(monkeypatch, tmp_path)
