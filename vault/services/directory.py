"""The directory as verbs see it: keys that are opened when first needed, and references made with them.

It is beside the cells: when it cannot be reached, look-ups are refused, and nothing else is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from vault.errors import CoatcheckError, IntegrityError, Misconfigured, Unavailable
from vault.keyring.directory import DirectoryKey, create_key, open_key
from vault.keyring.epoch import KeyStores
from vault.kms.halves import HalfStores
from vault.kms.provider import Provider
from vault.store.directory import ACTIVE, DESTROYED, DirectoryKeyRow, DirectoryStore

NAME: Final = ":directory"
"""In place of a region, in everything that binds a region: no region can have this name."""

SLOW_S: Final = 0.5
AWAY_S: Final = 1.0  # nobody looks for so long at a directory that took longer than that to be found away

RELIST: Final = bytes(16)
"""In place of a reference that could not be made: everybody is listed anew, and who is not goes."""


class Directory:
    """The directory of a deployment. Safe between threads.

    Args:
        open_store: opens its database; called when that is first needed, and again after it failed.
        keys: its key store and half-stores.
        lookups_per_day: of each principal.
        on_close: lets go of the key store.
    """

    def __init__(
        self,
        open_store: Callable[[], DirectoryStore],
        keys: KeyStores,
        lookups_per_day: int,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.lookups_per_day = lookups_per_day
        self._open_store = open_store
        self._on_close = on_close
        self._key_stores = keys
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._store: DirectoryStore | None = None
        self._held: dict[bytes, DirectoryKey] = {}  # by id: a directory made anew counts from 1 again
        self._destroyed: set[int] = set()  # versions whose halves are gone here
        self._ended: set[int] = set()  # versions whose roots are gone

    @property
    def store(self) -> DirectoryStore:
        """Its database.

        Raises:
            Unavailable: `directory_unavailable`: it is not there, or has another version.
        """
        with self._lock:
            if self._store is None:
                try:
                    self._store = self._open_store()
                except (Misconfigured, Unavailable):
                    raise Unavailable("directory_unavailable") from None
            return self._store

    def keys(self) -> list[DirectoryKey]:
        """The keys that people are listed under, the newest first.

        Raises:
            Unavailable: `directory_unavailable`: database or key store is out of reach.
            IntegrityError: `integrity_failed`: a key is not what was written.
        """
        rows = self.store.key_rows()
        self._destroy_halves([row for row in rows if row.state == DESTROYED])
        living = [row for row in rows if row.state != DESTROYED]
        if not living:
            raise Unavailable("directory_unavailable")
        with self._lock:
            held = {row.id: self._held.get(row.id) or self._opened(row) for row in living}
            self._held = held
        return [held[row.id] for row in reversed(living)]

    def _opened(self, row: DirectoryKeyRow) -> DirectoryKey:
        try:
            return open_key(NAME, row, *self._key_stores())
        except IntegrityError:
            raise
        except CoatcheckError as problem:
            cause = str(problem.facts.get("cause") or problem.code)
            raise Unavailable("directory_unavailable", cause=cause) from None

    def _destroy_halves(self, rows: list[DirectoryKeyRow]) -> None:
        """Destroys what this host's half-stores still have of keys that are no more."""
        for row in rows:
            if row.version not in self._destroyed:
                self._reached()[1].destroy(row.version)
                self._destroyed.add(row.version)

    def _reached(self) -> tuple[Provider, HalfStores]:
        """Key store and half-stores, where one that cannot be opened is one that is away."""
        try:
            return self._key_stores()
        except CoatcheckError:
            raise Unavailable("directory_unavailable") from None

    def references(self, tenant: str, subject: str) -> list[bytes]:
        """What a person is listed under: one reference for each living key."""
        return [key.of(tenant, subject) for key in self.keys()]

    def find(self, tenant: str, subject: str) -> set[str]:
        """The regions that have a person.

        Raises:
            Unavailable: `directory_unavailable`.
        """
        if time.monotonic() < self._not_before:  # whoever asks need not wait for it too
            raise Unavailable("directory_unavailable")
        began = time.monotonic()
        try:
            return self.store.find(self.references(tenant, subject))
        except Unavailable:
            ended = time.monotonic()
            self._not_before = ended + AWAY_S if ended - began > SLOW_S else 0.0
            raise

    def create(self) -> bool:
        """Makes the first key, unless there is one; whether it was made now."""
        if self.store.key_rows():
            return False
        self.store.turn(create_key(NAME, 1, *self._key_stores()))
        return True

    def rotate(self) -> int:
        """Begins a new key; every region then lists its people under it, and the old one ends.

        Returns:
            its version.
        """
        rows = self.store.key_rows()
        version = rows[-1].version + 1
        self.store.turn(create_key(NAME, version, *self._key_stores()))
        return version

    def finish(self) -> bool:
        """Ends the keys before the newest, if every region has listed all its people under that.

        The row goes first, then the half and the root version: whoever is killed between does it again.
        """
        *old, newest = self.store.key_rows()
        left = [row for row in old if row.version not in self._ended]
        if not left or any(region.through < region.generation for region in self.store.regions()):
            return False
        if any(row.state != DESTROYED for row in left):
            self.store.retire(newest.version)
        provider, halves = self._reached()
        for row in left:
            halves.destroy(row.version)
            provider.destroy_root(row.version)
            self._ended.add(row.version)
        return True

    def standing(self) -> list[dict[str, Any]]:
        """Each region with its entries, by the version of the key that they are under."""
        store, counts = self.store, self.store.counts()
        newest = max((row.version for row in store.key_rows()), default=0)
        rows: list[dict[str, Any]] = []
        for region in store.regions():
            versions = {version: n for (name, version), n in counts.items() if name == region.region}
            for version in sorted(versions or {newest: 0}):
                complete = region.through == region.generation
                entries = versions.get(version, 0)
                rows.append(
                    {"region": region.region, "entries": entries, "complete": complete, "key": version}
                )
        return rows

    def forget(self) -> None:
        """Lets go of the keys."""
        with self._lock:
            self._held = {}

    def close(self) -> None:
        """Lets go of keys and connections."""
        self.forget()
        with self._lock:
            if self._store is not None:
                self._store.close()
        self._on_close()


def referred(directory: Directory | None, tenant: str, subjects: Iterable[str]) -> list[bytes]:
    """The references under which people who are about to be removed may be listed.

    For the command that removes them (`note_removals`): it must not wait for a directory that is away, so
    then everybody is listed anew.
    """
    if directory is None:
        return []
    try:
        keys = directory.keys()
    except Unavailable:
        return [RELIST]
    return [key.of(tenant, subject) for subject in subjects for key in keys]


__all__ = ["ACTIVE", "Directory", "NAME", "RELIST", "referred"]
