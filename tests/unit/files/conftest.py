"""Every part has its checkpoint here: aborts are to come between any two."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint behind each part."""
    monkeypatch.setattr("vault.files.job.PAUSE_S", 0.0)
