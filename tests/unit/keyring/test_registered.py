"""Every sealed column says what it is sealed under, or an epoch turn would leave it behind."""

from __future__ import annotations

import pytest
from sqlalchemy import LargeBinary

from vault.store.tables import (
    KEYED_BY_EPOCH,
    POSTGRESQL,
    SEALED_OTHERWISE,
    SEALED_UNDER_EPOCH,
    SQLITE,
    Tables,
)


def columns(dialect: str) -> dict[tuple[str, str], object]:
    """The type of every column, by table and name."""
    return {
        (table.info["name"], column.name): column.type
        for table in Tables(dialect).metadata.tables.values()
        for column in table.columns
    }


def unregistered(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Sealed columns that nothing says anything about."""
    registered = {(table, sealed) for table, (sealed, _) in SEALED_UNDER_EPOCH.items()} | SEALED_OTHERWISE
    return {named for named in found if named[1].startswith("sealed")} - registered


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL])
def test_every_sealed_column_is_registered(dialect: str) -> None:
    found = columns(dialect)
    assert unregistered(set(found)) == set()
    assert {("data_keys", "sealed"), ("field_keys", "sealed"), ("claims", "sealed")} <= found.keys()


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL])
def test_what_is_registered_exists(dialect: str) -> None:
    found = columns(dialect)
    for table, (sealed, under) in SEALED_UNDER_EPOCH.items():
        assert isinstance(found[table, sealed], LargeBinary)
        assert (table, under) in found
    assert found.keys() >= SEALED_OTHERWISE
    assert all((table, "epoch") in found for table in KEYED_BY_EPOCH)
    assert not {(table, sealed) for table, (sealed, _) in SEALED_UNDER_EPOCH.items()} & SEALED_OTHERWISE


def test_a_column_that_was_forgotten_is_found() -> None:
    planted = {("invoices", "sealed"), ("invoices", "sealed_total"), ("invoices", "id")}
    assert unregistered(planted) == {("invoices", "sealed"), ("invoices", "sealed_total")}


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL])
def test_what_says_under_which_epoch_it_lies_is_re_sealed_or_dropped_by_epochs(dialect: str) -> None:
    """The other way round: a table with a column `epoch` is one that a turn knows of."""
    with_epoch = {table for table, column in columns(dialect) if column == "epoch"}
    assert with_epoch == SEALED_UNDER_EPOCH.keys() | KEYED_BY_EPOCH | {"epochs"}
