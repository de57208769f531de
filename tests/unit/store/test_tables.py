"""The three parts of a cell: what is sealed is registered, and no part points into another."""

from __future__ import annotations

import pytest
from sqlalchemy import LargeBinary

from vault.store.tables import (
    KEYED_BY_EPOCH,
    PREFIXES,
    SCHEMAS,
    SEALED_OTHERWISE,
    SEALED_UNDER_EPOCH,
    Tables,
)

DIALECTS = ["sqlite", "postgresql"]
# Bytes that are not sealed: ids, digests, references, salts, and what the log says.
OPEN = {
    "id", "subject", "key", "token", "ref", "digest", "leaf", "salt", "body", "items", "row", "sealed_half",
    "entry", "fingerprint", "page", "runner", "source",
    "credential", "public_key",
}  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_sealed_column_says_what_it_is_sealed_under(dialect: str) -> None:
    """The epoch turn re-seals what is registered; what is not would be lost."""
    registered = {(table, column) for table, (column, _) in SEALED_UNDER_EPOCH.items()} | SEALED_OTHERWISE
    sealed = {
        (table.info["name"], column.name)
        for table in Tables(dialect).metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, LargeBinary)
        and (column.name.startswith("sealed") or column.name not in OPEN)
    }
    assert sealed == registered


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_sealed_under_an_epoch_says_which(dialect: str) -> None:
    named = {table.info["name"]: table for table in Tables(dialect).metadata.sorted_tables}
    for table, (sealed, epoch) in SEALED_UNDER_EPOCH.items():
        assert not named[table].columns[sealed].nullable
        assert not named[table].columns[epoch].nullable
    with_epoch = {name for name, table in named.items() if "epoch" in table.columns}
    assert with_epoch == set(SEALED_UNDER_EPOCH) | KEYED_BY_EPOCH | {"epochs"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_foreign_keys_stay_inside_a_part(dialect: str) -> None:
    """The parts are backed up and restored apart."""
    for table in Tables(dialect).metadata.sorted_tables:
        for key in table.foreign_keys:
            assert key.column.table.info["part"] == table.info["part"]


def test_a_part_is_a_prefix_or_a_schema() -> None:
    for table in Tables("sqlite").metadata.sorted_tables:
        assert table.name == PREFIXES[table.info["part"]] + table.info["name"]
        assert table.schema is None
    for table in Tables("postgresql").metadata.sorted_tables:
        assert (table.name, table.schema) == (table.info["name"], SCHEMAS[table.info["part"]])


def test_both_kinds_have_the_same_tables_and_columns() -> None:
    one, other = (
        {
            table.info["name"]: [(c.name, str(c.type), c.nullable, c.primary_key) for c in table.columns]
            for table in Tables(dialect).metadata.sorted_tables
        }
        for dialect in DIALECTS
    )
    assert one == other
