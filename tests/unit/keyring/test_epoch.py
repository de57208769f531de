"""Making an epoch, and opening those that the database names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, update

from tests.unit.keyring.stores import Keys
from vault.errors import CoatcheckError, IntegrityError, Unavailable
from vault.keyring.epoch import EpochRow, create_epoch, open_epochs
from vault.keyring.hierarchy import half_context, new_data_key, open_data_key
from vault.kms.halves import HalfStores
from vault.kms.local import make_key_file
from vault.kms.registry import Provider, ProviderSettings, open_provider
from vault.secret import Secret
from vault.store.custody import Slot

SLOT = Slot("main", b"s" * 16, "customer", "2031-01")


class Cell:
    """The keys of a cell: database, root keys, two half-stores."""

    def __init__(self, folder: Path) -> None:
        make_key_file(folder / "key")
        self.folder = folder
        self.store = Keys(folder)
        self.halves = HalfStores("eu", [folder / "one", folder / "two"])

    def provider(self, region: str = "eu") -> Provider:
        """As a new process has it."""
        settings = ProviderSettings(region, self.folder, None, self.folder / "key")
        return open_provider("local:roots", settings)

    def create(self, number: int) -> EpochRow:
        """Makes an epoch and its row."""
        made = create_epoch("eu", number, self.provider(), self.halves)
        row = {
            "epoch": number,
            "id": made.id,
            "sealed_half": made.sealed_half,
            "state": "active",
            "created_at": 0,
        }
        with self.store.engine.begin() as connection:
            connection.execute(insert(self.store.tables.epochs), row)
        return made

    def change(self, number: int, **columns: Any) -> None:
        """Changes an epoch's row."""
        epochs = self.store.tables.epochs
        with self.store.engine.begin() as connection:
            connection.execute(update(epochs).where(epochs.c.epoch == number).values(**columns))

    def refused(self, error: type[CoatcheckError], code: str, region: str = "eu", **facts: Any) -> None:
        """Opening fails in this way."""
        with pytest.raises(error) as refusal:
            open_epochs(region, self.store, self.provider(region), self.halves)
        assert (refusal.value.code, refusal.value.facts) == (code, facts)


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    made = Cell(tmp_path)
    yield made
    made.store.close()


def test_an_epoch_opens_again_in_another_process(cell: Cell) -> None:
    made = [cell.create(1), cell.create(2)]
    opened = open_epochs("eu", cell.store, cell.provider(), cell.halves)
    assert sorted(opened) == [1, 2]
    for row in made:
        sealed = new_data_key(row.epoch, SLOT)
        assert open_data_key(opened[row.number], sealed).key.matches(open_data_key(row.epoch, sealed).key)
        assert opened[row.number].sealing.id == row.id
    with pytest.raises(IntegrityError, match="ciphertext_invalid"):
        open_data_key(opened[1], new_data_key(opened[2], SLOT)._replace(epoch=1))


def test_an_epoch_made_twice_shares_its_half_but_not_its_key(cell: Cell) -> None:
    """As after a crash before its row was written: nothing was sealed under the first."""
    one, other = (create_epoch("eu", 1, cell.provider(), cell.halves) for _ in range(2))
    assert one.id != other.id
    with pytest.raises(IntegrityError, match="ciphertext_invalid"):
        open_data_key(other.epoch, new_data_key(one.epoch, SLOT))


def test_a_destroyed_epoch_is_not_opened_and_not_missed(cell: Cell) -> None:
    cell.create(1)
    cell.create(2)
    cell.change(1, state="destroyed")
    cell.halves.destroy(1)
    cell.provider().destroy_root(1)
    assert list(open_epochs("eu", cell.store, cell.provider(), cell.halves)) == [2]
    cell.change(2, state="destroyed")
    cell.refused(Unavailable, "key_unavailable")


def test_without_an_epoch_there_are_no_keys(cell: Cell) -> None:
    cell.refused(Unavailable, "key_unavailable")


def test_either_half_out_of_reach_is_said_to_be(cell: Cell) -> None:
    cell.create(1)
    paths = [cell.folder / name / "half-000001" for name in ("one", "two")]
    for path in paths:
        path.rename(path.with_name("away"))
    cell.refused(Unavailable, "key_unavailable", epoch=1)
    for path in paths:
        path.with_name("away").rename(path)
    assert open_epochs("eu", cell.store, cell.provider(), cell.halves)
    cell.provider().destroy_root(1)
    cell.refused(Unavailable, "key_unavailable", root=1, cause="missing")


@pytest.mark.parametrize("part", ["sealed_half", "id"])
def test_a_changed_row_is_not_taken_for_an_outage(cell: Cell, part: str) -> None:
    made = cell.create(1)
    value: bytes = getattr(made, part)
    cell.change(1, **{part: value[:-1] + bytes((value[-1] ^ 1,))})
    cell.refused(IntegrityError, "integrity_failed", epoch=1)


def test_rows_of_two_epochs_cannot_be_exchanged(cell: Cell) -> None:
    one, two = cell.create(1), cell.create(2)
    cell.change(1, sealed_half=two.sealed_half, id=two.id)
    cell.change(2, sealed_half=one.sealed_half, id=one.id)
    cell.refused(IntegrityError, "integrity_failed", epoch=1)


def test_another_region_opens_none_of_it(cell: Cell) -> None:
    cell.create(1)
    with pytest.raises(CoatcheckError):
        open_epochs("us", cell.store, cell.provider("us"), cell.halves)


def test_half_stores_that_disagree_stop_everything(cell: Cell) -> None:
    cell.create(1)
    (cell.folder / "two" / "half-000001").unlink()
    HalfStores("eu", [cell.folder / "two"]).create(1)
    cell.refused(IntegrityError, "integrity_failed", epoch=1)


def test_either_half_changed_is_another_key(cell: Cell) -> None:
    """Whoever replaces a half whole gets an epoch that opens nothing of the old one."""
    made = cell.create(1)
    sealed = new_data_key(made.epoch, SLOT)
    cell.halves.destroy(1)
    cell.halves.create(1)
    opened = open_epochs("eu", cell.store, cell.provider(), cell.halves)[1]
    with pytest.raises(IntegrityError, match="ciphertext_invalid"):
        open_data_key(opened, sealed)
    wrapped = cell.provider().wrap(1, Secret(bytes(32)), half_context("eu", 1, made.id))
    cell.change(1, sealed_half=wrapped)
    opened = open_epochs("eu", cell.store, cell.provider(), cell.halves)[1]
    with pytest.raises(IntegrityError, match="ciphertext_invalid"):
        open_data_key(opened, sealed)
