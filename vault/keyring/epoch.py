"""Epochs: making one, and opening those that the database names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from vault.clock import Micros
from vault.crypto.randomness import new_key
from vault.errors import IntegrityError, Unavailable
from vault.identifiers import uuid7
from vault.keyring.hierarchy import Epoch, check_canary, half_context, make_canary, make_epoch
from vault.keystate.states import KeyState
from vault.kms.halves import HalfStores
from vault.kms.provider import Provider
from vault.store.cell import Store

KeyStores = Callable[[], tuple[Provider, HalfStores]]
"""Opens a cell's key store and half-stores; whatever a provider remembers of root keys goes with it."""


@dataclass(frozen=True, slots=True)
class EpochRow:
    """A new epoch's row, and the epoch itself."""

    number: int
    id: bytes
    sealed_half: bytes
    epoch: Epoch
    canary: bytes


class StoredEpoch(NamedTuple):
    """An epoch's row, in the order of `TurnStatements.epochs_listed`."""

    number: int
    id: bytes
    state: str
    sealed_half: bytes
    canary: bytes | None
    created_at: Micros
    activated_at: Micros | None
    destroy_at: Micros | None

    @property
    def destroyed(self) -> bool:
        """Whether nothing of it can be opened any more."""
        return self.state == KeyState.DESTROYED


def create_epoch(region: str, number: int, provider: Provider, halves: HalfStores) -> EpochRow:
    """Makes an epoch: root version, half in every half-store (durable first), wrapped KMS half.

    Nothing is sealed under it before its row is committed and read back.
    """
    id_ = uuid7()
    provider.create_root(number)
    store_half = halves.create(number)
    kms_half = new_key()
    wrapped = provider.wrap(number, kms_half, half_context(region, number, id_))
    epoch = make_epoch(region, number, id_, kms_half, store_half)
    return EpochRow(number, id_, wrapped, epoch, make_canary(epoch))


def stored_epochs(store: Store) -> list[StoredEpoch]:
    """All epochs that there ever were, oldest first."""
    rows = store.read(store.turning.epochs_listed)
    return [StoredEpoch(row[0], bytes(row[1]), row[2], bytes(row[3]), *row[4:]) for row in rows]


def needed_epochs(store: Store) -> list[StoredEpoch]:
    """The epochs that a process must hold. One that is closed is not among them: its halves may be gone."""
    head = store.read(store.record.head)
    lowest = head[0][3] if head else 0
    return [row for row in stored_epochs(store) if row.number >= lowest and not row.destroyed]


def open_epoch(region: str, row: StoredEpoch, provider: Provider, halves: HalfStores) -> Epoch:
    """One epoch, with the proof that its key is the one that keys are sealed under.

    Raises:
        Unavailable: `key_unavailable`: the KMS or every half-store is out of reach.
        IntegrityError: `integrity_failed`: a half or the canary does not open.
    """
    context = half_context(region, row.number, row.id)
    try:
        kms_half = provider.unwrap(row.number, row.sealed_half, context)
        epoch = make_epoch(region, row.number, row.id, kms_half, halves.read(row.number))
        if row.canary is not None:
            check_canary(epoch, bytes(row.canary))
    except IntegrityError:
        raise IntegrityError("integrity_failed", epoch=row.number) from None
    return epoch


def open_rows(
    region: str, rows: Iterable[StoredEpoch], provider: Provider, halves: HalfStores
) -> dict[int, Epoch]:
    """Those of the epochs that are not destroyed, by number. Raises as `open_epoch` does."""
    return {row.number: open_epoch(region, row, provider, halves) for row in rows if not row.destroyed}


def open_epochs(region: str, store: Store, provider: Provider, halves: HalfStores) -> dict[int, Epoch]:
    """All epochs that are in use, by number: those that the head row reads in, and those after it.

    Raises:
        Unavailable: `key_unavailable`: the KMS or every half-store is out of reach; or there is no epoch.
        IntegrityError: `integrity_failed`: a half does not open, or is another cell's.
    """
    epochs = open_rows(region, needed_epochs(store), provider, halves)
    if not epochs:
        raise Unavailable("key_unavailable")
    return epochs
