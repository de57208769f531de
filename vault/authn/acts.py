"""How much was done in a session since a second factor was proved in it, as this process saw it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from vault.clock import Micros

MAX_SESSIONS: Final = 10_000


class Acts:
    """Administrative acts by session. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._acts: OrderedDict[str, tuple[Micros, int]] = OrderedDict()

    def count(self, session: str, proved_at: Micros) -> int:
        """One more act: how many there are since that proof."""
        with self._lock:
            since, acts = self._acts.get(session, (proved_at, 0))
            if since < proved_at:  # proved anew: it begins again
                since, acts = proved_at, 0
            self._acts[session] = since, acts + 1
            self._acts.move_to_end(session)
            while len(self._acts) > MAX_SESSIONS:
                self._acts.popitem(last=False)
            return acts + 1
