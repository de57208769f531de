"""Who signs in waits apart: in threads of its own, and in few places."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit.api.inside import inside
from vault.api.lobby import PLACES, THREADS, Lobby
from vault.crypto import passwords
from vault.errors import Unavailable
from vault.services import proving


class Held:
    """In place of a bridge: what it performs waits until it is let go."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def perform(self, start: Any, pool: Any) -> Any:
        await self.open.wait()
        return start()


def test_there_are_so_many_places_and_no_more() -> None:
    async def run() -> None:
        lobby, bridge = Lobby(), Held()
        inside_ = [asyncio.create_task(lobby.perform(bridge, lambda: 7)) for _ in range(PLACES)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="too_busy"):
            await lobby.perform(bridge, lambda: 7)  # type: ignore[arg-type]
        bridge.open.set()
        assert await asyncio.gather(*inside_) == [7] * PLACES
        assert await lobby.perform(bridge, lambda: 7) == 7  # type: ignore[arg-type]
        lobby.close()

    asyncio.run(run())


def test_a_place_is_free_again_however_it_ends() -> None:
    async def run() -> None:
        lobby, bridge = Lobby(), Held()
        bridge.open.set()

        def fail() -> None:
            raise Unavailable("database_unavailable")

        for _ in range(2 * PLACES):
            with pytest.raises(Unavailable, match="database_unavailable"):
                await lobby.perform(bridge, fail)  # type: ignore[arg-type]
        lobby.close()

    asyncio.run(run())


def test_a_password_is_hashed_beside_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    check = passwords.check_password

    def noted(*arguments: Any) -> None:
        threads.append(threading.current_thread())
        check(*arguments)

    monkeypatch.setattr(proving, "check_password", noted)
    with inside(tmp_path) as served:
        answer = served.call("POST", "sessions", {"name": "ada", "password": "walnut ferry lantern"}, by="")
    assert (answer.status_code, answer.json()["code"]) == (401, "login_refused")
    assert [thread.name.partition("_")[0] for thread in threads] == ["sign-in"]
    assert THREADS == 2
