"""Whether a cell's epochs open with the keys at hand, and what lies under each. Changes nothing."""

from __future__ import annotations

from vault.errors import CoatcheckError
from vault.keyring.epoch import open_epoch, stored_epochs
from vault.kms.halves import HalfStores
from vault.kms.provider import Provider
from vault.services.hidden import Hidden
from vault.store.cell import Store
from vault.store.turning import COUNTED

OPENS = "opens"
CLOSED = "closed"
DESTROYED = "destroyed"


class CheckedEpoch(Hidden, frozen=True):
    """One epoch.

    Attributes:
        result: `opens`, `closed` (no longer read in; its destruction is under way), `destroyed`, or `fails`.
        code: why it does not open, where it should.
        rows: rows of each table that are under it, or keyed by it.
    """

    epoch: int
    state: str
    result: str
    rows: dict[str, int]
    code: str = ""


def check_epochs(store: Store, region: str, provider: Provider, halves: HalfStores) -> list[CheckedEpoch]:
    """Opens every epoch that is in use, by its halves and its canary; newest first."""
    head = store.read(store.record.head)[0]
    found = []
    for row in reversed(stored_epochs(store)):
        counts = store.read(store.turning.counted, {"epoch": row.number})[0]
        rows = {name: count for name, count in zip(COUNTED, counts, strict=True) if count}
        result, code = DESTROYED if row.destroyed else CLOSED, ""
        if not row.destroyed and row.number >= head[3]:
            try:
                open_epoch(region, row, provider, halves)
                result = OPENS
            except CoatcheckError as problem:
                result, code = "fails", problem.code
        found.append(CheckedEpoch(row.number, row.state, result, rows, code))
    return found
