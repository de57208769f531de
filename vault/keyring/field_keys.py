"""A field's keys of one purpose, by version; and what makes references to people with one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from vault.context import TAG_SUBJECT, TAG_TENANT, canonical
from vault.crypto.block import BlockCipher
from vault.crypto.mac import reference
from vault.errors import Stale, Unavailable
from vault.keystate.states import PROCESSES, PROTECTS, KeyState
from vault.secret import Secret
from vault.store.custody import FieldKeyRow


class IndexVersions(NamedTuple):
    """Versions of an index key.

    Attributes:
        read: the one that rows are looked up by.
        write: those that rows are written by, that one first: two while its successor's rows are made.
    """

    read: int
    write: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FieldKeys:
    """A field's keys of one purpose: rows by version.

    Attributes:
        processing: the versions that may be used at all.
    """

    rows: Mapping[int, FieldKeyRow]
    processing: frozenset[int] = field(init=False)
    _newest: int | None = field(init=False)

    def __post_init__(self) -> None:
        states = {version: KeyState(row.state) for version, row in self.rows.items()}
        processing = frozenset(version for version, state in states.items() if state in PROCESSES)
        protecting = [version for version, state in states.items() if state in PROTECTS]
        object.__setattr__(self, "processing", processing)
        object.__setattr__(self, "_newest", max(protecting, default=None))

    @property
    def primary(self) -> int:
        """The newest version that may protect.

        Raises:
            Stale: all have ended. The field is gone, or another by now: whoever asks has an older schema.
            Unavailable: `key_unavailable`.
        """
        if self._newest is not None:
            return self._newest
        if all(KeyState(row.state) is KeyState.DEACTIVATED for row in self.rows.values()):
            raise Stale
        raise Unavailable("key_unavailable")

    @property
    def index(self) -> IndexVersions:
        """Of an index key: which version finds rows, and which they are written by.

        Rows are looked up by the newest version whose rows are all there, also if that one is compromised:
        until its successor's are, nothing else finds equal values.

        Raises:
            Stale, Unavailable: as `primary`.
        """
        newest = self.primary
        whole = [version for version in self.processing if not self.rows[version].filling]
        read = max(whole, default=newest)
        filled = sorted(
            version
            for version, row in self.rows.items()
            if row.filling and version > read and KeyState(row.state) in PROTECTS
        )
        return IndexVersions(read, (read, *filled))


@dataclass(frozen=True, slots=True)
class References:
    """Makes references to data subjects of one tenant."""

    key: Secret
    layer: BlockCipher
    tenant: str

    def of(self, subject: str) -> bytes:
        """The 16-byte reference of a subject: keyed, cut, and under the index layer."""
        parts = ((TAG_TENANT, self.tenant.encode()), (TAG_SUBJECT, subject.encode()))
        return self.layer.encrypt(reference(self.key, canonical(parts)))
