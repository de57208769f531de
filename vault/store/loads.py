"""Putting whole tables into an empty database, so that it can be gone on with after a kill.

A row of `loads` says what is being loaded and how far it is; each batch of rows is in one transaction with
that row. While it is there, nothing serves the cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, delete, func, inspect, select, update
from sqlalchemy.exc import DBAPIError

from vault.clock import Micros
from vault.errors import Conflict, Misconfigured, Unavailable
from vault.store import migrations
from vault.store.cell import Store
from vault.store.pipeline import CELL_LOCK
from vault.store.tables import PREFIXES, SCHEMAS, SQLITE

RESTORE: Final = "restore"
COPY: Final = "copy"
_ID: Final = 1
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


@dataclass(slots=True)
class Load:
    """What is being loaded, and how far it is.

    Attributes:
        source: a digest that names it.
        progress: what whoever loads makes of it.
    """

    kind: str
    source: str
    progress: dict[str, Any]
    started_at: Micros


def read_load(engine: Engine) -> Load | None:
    """What is being loaded into a database; None if nothing is, or it has no such table yet.

    Raises:
        Unavailable: `database_unavailable`.
    """
    sqlite = engine.dialect.name == SQLITE
    table, schema = (PREFIXES["record"] + "loads", None) if sqlite else ("loads", SCHEMAS["record"])
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(table, schema=schema):
                return None
            place = table if schema is None else f"{schema}.{table}"
            found = connection.exec_driver_sql(f"SELECT kind, source, progress, started_at FROM {place}")  # noqa: S608 - ours
            row = found.first()
    except DBAPIError:
        raise Unavailable("database_unavailable") from None
    if row is None:
        return None
    return Load(row[0], row[1], msgspec.json.decode(row[2]), row[3])


def check_complete(store: Store) -> None:
    """Returns if nothing is being loaded.

    Raises:
        Conflict: `cell_incomplete`.
    """
    rows = store.read(select(store.tables.loads.c.kind))
    if rows:
        raise Conflict("cell_incomplete", under_way=rows[0][0])


class Loading:
    """A database that is being loaded.

    Args:
        store: the same; closed by whoever opened it.
    """

    def __init__(self, store: Store, load: Load) -> None:
        self.store = store
        self.load = load

    @classmethod
    def begin(
        cls, store: Store, kind: str, source: str, revision: str, progress: dict[str, Any], *, again: bool
    ) -> Loading:
        """Begins, or goes on with what was begun.

        Args:
            revision: the migration that the rows are of.
            again: whether what was loaded before is thrown away.

        Raises:
            Misconfigured: `already_initialised`: there is a cell, whole.
            Conflict: `source_changed`: something else was begun with; `cell_locked`.
        """
        engine = store.engine
        begun = read_load(engine)
        if begun is None:
            if _has_cell(store):
                raise Misconfigured("already_initialised")
        elif again:
            _empty(store)
        elif (begun.kind, begun.source) != (kind, source):
            raise Conflict("source_changed", under_way=begun.kind)
        else:
            return cls(store, begun)
        found = migrations.current(engine)
        if found not in (None, revision):
            migrations.downgrade(engine, "base")  # nothing is in it
        migrations.upgrade(engine, revision)
        load = Load(kind, source, progress, store.clock.now())
        with _writing(engine) as connection:
            row = {"id": _ID, "kind": kind, "source": source, "started_at": load.started_at}
            row["progress"] = _encode(progress).decode()
            connection.execute(store.record.insert_load.element, row)  # type: ignore[call-overload]
        return cls(store, load)

    def put(
        self, table: str, part: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], **progress: Any
    ) -> None:
        """Inserts rows, and notes how far that is: one transaction.

        Raises:
            Misconfigured: `migration_required`: the database has no such table or column.
            Unavailable: `database_unavailable`.
        """
        engine = self.store.engine
        now = {**self.load.progress, **progress}
        try:
            with _writing(engine) as connection:
                if rows:
                    _insert(connection, _place(engine, part, table), columns, rows)
                self._note(connection, now)
        except DBAPIError:
            raise Unavailable("database_unavailable") from None
        self.load.progress = now

    def note(self, **progress: Any) -> None:
        """Notes how far it is."""
        now = {**self.load.progress, **progress}
        with _writing(self.store.engine) as connection:
            self._note(connection, now)
        self.load.progress = now

    @contextmanager
    def mending(self, **progress: Any) -> Iterator[Connection]:
        """One transaction in which rows are changed, with the progress that says so."""
        now = {**self.load.progress, **progress}
        with _writing(self.store.engine) as connection:
            yield connection
            self._note(connection, now)
        self.load.progress = now

    def end(self) -> None:
        """The cell is whole: from here on it can be served."""
        with _writing(self.store.engine) as connection:
            connection.execute(delete(self.store.tables.loads))

    def _note(self, connection: Connection, progress: Mapping[str, Any]) -> None:
        loads = self.store.tables.loads
        connection.execute(update(loads).values(progress=_encode(progress).decode()))


def _has_cell(store: Store) -> bool:
    """Whether there is a cell: a head row."""
    if migrations.current(store.engine) is None:
        return False
    try:
        with store.engine.connect() as connection:
            return bool(connection.execute(select(func.count()).select_from(store.tables.head)).scalar_one())
    except DBAPIError:
        raise Unavailable("database_unavailable") from None


def _empty(store: Store) -> None:
    """Removes every row of a database that is being loaded, and what it says of that, in one transaction."""
    with _writing(store.engine) as connection:
        for table in reversed(store.tables.metadata.sorted_tables):
            if table is not store.tables.program:  # a migration's, which is not run again
                connection.execute(delete(table))


def columns_in(engine: Engine, part: str) -> dict[str, list[str]]:
    """The tables of a part that a database has, whatever version it is of, with their columns."""
    sqlite = engine.dialect.name == SQLITE
    looked = inspect(engine)
    schema, prefix = (None, PREFIXES[part]) if sqlite else (SCHEMAS[part], "")
    return {
        name.removeprefix(prefix): [column["name"] for column in looked.get_columns(name, schema)]
        for name in looked.get_table_names(schema)
        if name.startswith(prefix)
    }


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    """A transaction; on a server the only one that writes into the cell.

    Raises:
        Conflict: `cell_locked`: somebody writes into it, or loads it too.
    """
    with engine.begin() as connection:
        if engine.dialect.name != SQLITE:
            taken = "SELECT pg_try_advisory_xact_lock(%s, %s)"
            if not connection.exec_driver_sql(taken, CELL_LOCK).scalar():
                raise Conflict("cell_locked", reason="somebody writes into it, or loads it too")
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        yield connection


def _place(engine: Engine, part: str, table: str) -> str:
    """A table's full name, quoted."""
    quote = engine.dialect.identifier_preparer.quote
    if engine.dialect.name == SQLITE:
        return quote(PREFIXES[part] + table)
    return f"{quote(SCHEMAS[part])}.{quote(table)}"


def _insert(
    connection: Connection, place: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Inserts rows; names were compared with what the database has."""
    quote = connection.dialect.identifier_preparer.quote
    named = ", ".join(quote(column) for column in columns)
    if connection.dialect.name == SQLITE:
        marks = ", ".join("?" * len(columns))
        text = f"INSERT INTO {place} ({named}) VALUES ({marks})"  # noqa: S608 - names of the database's own
        connection.exec_driver_sql(text, [tuple(row) for row in rows])
        return
    raw: Any = connection.connection.dbapi_connection
    with raw.cursor() as cursor, cursor.copy(f"COPY {place} ({named}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
