"""What may read whole tables runs beside the event loop, however small its body."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.inside import inside
from vault.services import living


@pytest.mark.parametrize("path", ["schema/plan", "schema/apply"])
def test_counting_what_lives_holds_nobody_up(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    count = living.count

    def noted(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return count(*arguments)

    with inside(tmp_path) as served:
        monkeypatch.setattr("vault.services.schema.count", noted)
        answer = served.call("POST", path, {"toml": ""}, by=served.built.admin)
    assert answer.status_code in (200, 409)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
