"""Epochs: making the first one, and opening those that the database names."""

from __future__ import annotations

from dataclasses import dataclass

from vault.crypto.randomness import new_key
from vault.errors import IntegrityError, Unavailable
from vault.identifiers import uuid7
from vault.keyring.hierarchy import Epoch, half_context, make_epoch
from vault.kms.halves import HalfStores
from vault.kms.provider import Provider
from vault.store.cell import Store


@dataclass(frozen=True, slots=True)
class EpochRow:
    """A new epoch's row, and the epoch itself."""

    number: int
    id: bytes
    sealed_half: bytes
    epoch: Epoch


def create_epoch(region: str, number: int, provider: Provider, halves: HalfStores) -> EpochRow:
    """Makes an epoch: root version, half in every half-store (durable first), wrapped KMS half.

    Nothing is sealed under it before its row is committed and read back.
    """
    id_ = uuid7()
    provider.create_root(number)
    store_half = halves.create(number)
    kms_half = new_key()
    wrapped = provider.wrap(number, kms_half, half_context(region, number, id_))
    return EpochRow(number, id_, wrapped, make_epoch(region, number, id_, kms_half, store_half))


def open_epochs(region: str, store: Store, provider: Provider, halves: HalfStores) -> dict[int, Epoch]:
    """All epochs that are in use, by number.

    Raises:
        Unavailable: `key_unavailable`: the KMS or every half-store is out of reach.
        IntegrityError: `integrity_failed`: a half does not open.
    """
    epochs = {}
    for number, id_, state, sealed_half in store.read(store.custody.epochs):
        if state == "destroyed":
            continue
        try:
            kms_half = provider.unwrap(number, bytes(sealed_half), half_context(region, number, bytes(id_)))
        except IntegrityError:
            raise IntegrityError("integrity_failed", epoch=number) from None
        epochs[number] = make_epoch(region, number, bytes(id_), kms_half, halves.read(number))
    if not epochs:
        raise Unavailable("key_unavailable")
    return epochs
