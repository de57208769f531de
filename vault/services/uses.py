"""When key versions were last used, to the minute: written beside the use itself, at most once a minute."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from vault.clock import SECOND, Micros
from vault.ledger.command import Writes

NOTED_EVERY: Final[Micros] = 60 * SECOND
MAX_NOTED: Final = 10_000  # versions remembered; beyond that all are noted anew

Version = tuple[str, str, int]
"""Tenant, field and key version."""


class KeyUses:
    """Which uses this process has noted, and when. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: dict[Version, Micros] = {}

    def note(self, versions: Iterable[Version], at: Micros, writes: Writes) -> None:
        """Writes that versions are used, those that were not noted in the last minute."""
        for of in versions:
            if at - self._noted.get(of, 0) >= NOTED_EVERY:
                tenant, field, version = of
                writes.update(
                    "note_use", tenant=tenant, field=field, key_version=version, rekeyed=0, used_at=at
                )

    def noted(self, versions: Iterable[Version], at: Micros) -> None:
        """Remembers what was written, after the commit: what a crash undoes is written again."""
        with self._lock:
            if len(self._noted) > MAX_NOTED:
                self._noted.clear()
            for of in versions:
                if at - self._noted.get(of, 0) >= NOTED_EVERY:
                    self._noted[of] = at
