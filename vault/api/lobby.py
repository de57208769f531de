"""Where those wait who want to sign in: few threads, few places, and nobody else behind them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from vault.api.bridge import Bridge
from vault.errors import Unavailable

THREADS: Final = 2
MAX_BODY: Final = 16 * 1024  # bytes: a name and a password, or a passkey's answer
PLACES: Final = 16
"""With two hashes at once, of a tenth of a second each, whoever comes last waits for a second."""


class Lobby:
    """The threads that passwords of callers without a credential are hashed in."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="sign-in")
        self._waiting = 0

    async def perform(self, bridge: Bridge, start: Callable[[], Any]) -> Any:
        """Runs a verb to its end, if there is a place.

        Raises:
            Unavailable: `too_busy`.
        """
        if self._waiting >= PLACES:
            raise Unavailable("too_busy", retry_after=1)
        self._waiting += 1
        try:
            return await bridge.perform(start, self._pool)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Waits for those who are inside."""
        self._pool.shutdown(wait=True)
