"""Whole tables of a cell as they stand at one instant, read in order: for backups and copies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Select, Table, func, literal, select, tuple_
from sqlalchemy.exc import DBAPIError

from vault.errors import Unavailable
from vault.store.cell import Store
from vault.store.tables import OF_ONE_PLACE, SQLITE, Tables

ROWS: Final = 500  # of a frame, and of a read
_encode: Final = msgspec.msgpack.Encoder().encode


def tables_of(
    tables: Tables, part: str | None = None, left_out: frozenset[str] = OF_ONE_PLACE
) -> list[Table]:
    """The tables of a part, or of all, parents before children; without those of one place."""
    return [
        table
        for table in tables.metadata.sorted_tables
        if part in (None, table.info["part"]) and table.info["name"] not in left_out
    ]


def name_of(table: Table) -> str:
    """A table's name, without prefix or schema."""
    return str(table.info["name"])


def columns_of(table: Table) -> list[str]:
    """The names of its columns, in order."""
    return [str(column.name) for column in table.columns]


@contextmanager
def snapshot(store: Store) -> Iterator[Connection]:
    """A connection that sees one instant, for as long as it takes.

    Raises:
        Unavailable: `database_unavailable`.
    """
    try:
        with store.engine.connect() as bare:
            if store.tables.dialect == SQLITE:  # there every transaction sees one instant
                yield bare
                return
            connection = bare.execution_options(isolation_level="REPEATABLE READ")
            # Years of values are not read within the bounds of a request.
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
            yield connection
    except DBAPIError:
        raise Unavailable("database_unavailable") from None


def rows_of(
    connection: Connection, asked: Table | Select[Any], count: int = ROWS
) -> Iterator[list[list[Any]]]:
    """The rows of a table, some at a time, each as the values of its columns."""
    statement = select(asked) if isinstance(asked, Table) else asked
    streamed = connection.execution_options(yield_per=count).execute(statement)
    for part in streamed.partitions():
        yield [plain(row) for row in part]


def plain(row: Sequence[Any]) -> list[Any]:
    """A row's values as they are written: bytes for whatever the driver has for them."""
    return [bytes(value) if isinstance(value, memoryview | bytearray) else value for value in row]


def page_of(connection: Connection, table: Table, above: Sequence[Any] | None, count: int) -> list[list[Any]]:
    """The next rows of a table in the order of its primary key.

    Args:
        above: the key of the last row before them; None: from the first.
    """
    keys = list(table.primary_key.columns)
    statement = select(table).order_by(*keys).limit(count)
    if above is not None:
        seen = [literal(value, key.type) for key, value in zip(keys, above, strict=True)]
        statement = statement.where(keys[0] > seen[0] if len(keys) == 1 else tuple_(*keys) > tuple_(*seen))
    return [plain(row) for row in connection.execute(statement)]


def key_of(table: Table, row: Sequence[Any]) -> list[Any]:
    """The primary key of a row."""
    names = columns_of(table)
    return [row[names.index(str(column.name))] for column in table.primary_key.columns]


def count_of(connection: Connection, asked: Table | Select[Any]) -> int:
    """How many rows a table has, or those of it that are asked for."""
    of = asked if isinstance(asked, Table) else asked.subquery()
    return int(connection.execute(select(func.count()).select_from(of)).scalar_one())


def digest_of(connection: Connection, table: Table, count: int = ROWS) -> tuple[int, str]:
    """How many rows a table has, and SHA-256 over all of them, whatever order the database likes best.

    Each row is hashed for itself, and the hashes are added up: text is ordered in one way here and in another
    there.
    """
    total = rows = 0
    for part in rows_of(connection, table, count):
        for row in part:
            total += int.from_bytes(hashlib.sha256(_encode(row)).digest(), "big")
        rows += len(part)
    whole = (total % 2**256).to_bytes(32, "big") + rows.to_bytes(8, "big")
    return rows, hashlib.sha256(whole).hexdigest()
