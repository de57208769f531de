"""Epochs, and databases with keys in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, update

from vault.clock import FixedClock
from vault.keyring.hierarchy import Epoch, make_epoch
from vault.secret import Secret
from vault.store.cell import Store
from vault.store.custody import FieldKeyRow, KeyRow

KMS_HALF = bytes(range(32))
STORE_HALF = bytes(range(32, 64))
EPOCH_ID = bytes(range(64, 80))


def epoch(
    region: str = "eu",
    number: int = 1,
    epoch_id: bytes = EPOCH_ID,
    kms_half: bytes = KMS_HALF,
    store_half: bytes = STORE_HALF,
) -> Epoch:
    """An epoch from fixed halves."""
    return make_epoch(region, number, epoch_id, Secret(kms_half), Secret(store_half))


class Keys(Store):
    """A new database with the tables of a cell."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite:///{folder / 'cell.db'}", FixedClock(0))
        self.tables.metadata.create_all(self.engine)
        self.reads = 0

    def read(self, *arguments: Any) -> Any:
        """Counts what is read."""
        self.reads += 1
        return super().read(*arguments)

    def add(self, row: KeyRow | FieldKeyRow) -> None:
        """Writes a key's row, and its period's."""
        values = {**row._asdict(), "created_at": 0}
        with self.engine.begin() as connection:
            if isinstance(row, KeyRow):
                values["class"] = values.pop("class_")
                period = {name: values[name] for name in ("tenant", "class", "due")}
                connection.execute(insert(self.tables.due_periods), {**period, "state": values.pop("period")})
                connection.execute(insert(self.tables.data_keys), values)
            else:
                connection.execute(insert(self.tables.field_keys), values)

    def change(self, id_: bytes, **columns: Any) -> None:
        """Changes a key's row behind everybody's back."""
        with self.engine.begin() as connection:
            for table in (self.tables.data_keys, self.tables.field_keys):
                known = {name: value for name, value in columns.items() if name in table.c}
                connection.execute(update(table).where(table.c.id == id_).values(**known))

    def remove(self, id_: bytes) -> None:
        """Removes a key's row."""
        with self.engine.begin() as connection:
            for table in (self.tables.data_keys, self.tables.field_keys):
                connection.execute(delete(table).where(table.c.id == id_))
