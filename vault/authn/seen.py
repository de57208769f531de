"""When credentials were last used, as this process saw it and has not yet written down."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import islice
from typing import Final

from vault.clock import Micros

MAX_SEEN: Final = 10_000  # credentials that are remembered, and written at once


class Seen:
    """When service keys or sessions were last used. Safe between threads.

    Args:
        unit: uses are noted to that, so that most of them are none to write.
    """

    def __init__(self, unit: Micros) -> None:
        self._unit = unit
        self._lock = threading.Lock()
        self._seen: dict[str, Micros] = {}
        self._waiting: dict[str, Micros] = {}

    def last(self, credential: str) -> Micros:
        """When a credential was last used here; 0: not that anybody remembers."""
        return self._seen.get(credential, 0)

    def note(self, credential: str, at: Micros) -> None:
        """A credential is used. Costs no more than a look, once it was noted."""
        at -= at % self._unit
        if self._seen.get(credential) == at:
            return
        with self._lock:
            self._seen.pop(credential, None)
            self._seen[credential] = self._waiting[credential] = at
            while len(self._seen) > MAX_SEEN:
                del self._seen[next(iter(self._seen))]

    def take(self) -> dict[str, Micros]:
        """The uses to write down, of at most `MAX_SEEN` credentials."""
        with self._lock:
            taken = dict(islice(self._waiting.items(), MAX_SEEN))
            for credential in taken:
                del self._waiting[credential]
        return taken

    def give_back(self, uses: Mapping[str, Micros]) -> None:
        """They could not be written."""
        with self._lock:
            self._waiting = {**uses, **self._waiting}
