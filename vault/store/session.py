"""Engines, compiled statements, and the pinned session of the committer.

Statements are written in SQLAlchemy Core and compiled once; the committer runs the text on the driver's
connection (a third of the cost of executing Core each time). Everybody else reads through the engine.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final, cast

from sqlalchemy import URL, Engine, Insert, Table, create_engine, event
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql import ClauseElement, Select

from vault.clock import Clock, Micros
from vault.errors import Misconfigured
from vault.store.postgresql import DRIVER, Server, engine_of

SQLITE_DRIVER: Final = "sqlite"
BUSY_TIMEOUT_MS: Final = 1_000
WAL_AUTOCHECKPOINT_PAGES: Final = 4_000
CACHE_KIB: Final = 65_536
CACHED_STATEMENTS: Final = 512
MAX_INSERTED: Final = 256
"""Most rows of one INSERT; with ten columns a twelfth of the parameters that SQLite takes (32,766)."""
_PRIMARY_CODE: Final = 0xFF  # of SQLite's extended result codes
Row = Sequence[Any]
Asked = tuple["Statement", Mapping[str, Any]]
Params = Mapping[str, Any] | tuple[Any, ...]


class Statement:
    """A Core statement compiled once for a dialect.

    Args:
        element: the statement; parameters are `bindparam`s by name.
        dialect: of the database it will run on.
        locks: whether a session locks the rows that it selects. Reads outside the ledger never do.

    Attributes:
        plain: whether it is an INSERT of its parameters and nothing else, so that `many` can take it.
        target: the table and the columns of such an INSERT; None of anything else.
    """

    __slots__ = ("_columns", "_defaults", "_many", "_names", "_one", "element", "plain", "sql", "target")

    def __init__(self, element: ClauseElement, dialect: Dialect, *, locks: bool = False) -> None:
        locking = element.with_for_update() if locks and isinstance(element, Select) else element
        compiled = locking.compile(dialect=dialect)
        self.element = element
        self.sql = str(compiled)
        self._names: tuple[str, ...] | None = None
        if getattr(compiled, "positional", False):
            self._names = tuple(compiled.positiontup or ())  # type: ignore[attr-defined]
        self._columns = tuple(compiled.params or ())
        self._defaults = {k: v for k, v in (compiled.params or {}).items() if v is not None}
        self._many: dict[int, str] = {}
        self._one = f" VALUES ({', '.join('?' * len(self._names or ()))})"
        self.plain = self._names is not None and self._one in self.sql
        self.target: Table | None = None
        if type(element) is Insert and isinstance(element.table, Table):
            self.target = element.table

    def bind(self, params: Params) -> Any:
        """The parameters in the driver's form."""
        if isinstance(params, tuple):
            params = dict(zip(self._columns, params, strict=True))
        if self._names is None:
            return {**self._defaults, **params}
        if self._defaults:
            params = {**self._defaults, **params}
        return tuple([params[name] for name in self._names])

    def columns(self, rows: Sequence[Params]) -> list[Sequence[Any]]:
        """The rows of an INSERT, each as its values in the order of the table's columns."""
        if isinstance(rows[0], tuple):
            return cast(list[Sequence[Any]], list(rows))
        tables = cast(Sequence[Mapping[str, Any]], rows)
        return [[row.get(name) for name in self._columns] for row in tables]

    def many(self, rows: Sequence[Params]) -> Iterable[tuple[str, list[Any]]]:
        """An INSERT's text with parameters for all rows, as few texts as need be.

        All rows have one form: tables of parameters, or tuples of a whole row, as the table's columns stand.

        A driver that gives up the interpreter's lock for every row waits for it as often; so rows go
        into the database by the hundred, in texts for powers of two, of which there are few.
        """
        start, left = 0, len(rows)
        while left:
            size = min(1 << left.bit_length() - 1, MAX_INSERTED)
            chunk = rows if size == len(rows) else rows[start : start + size]
            yield self._text(size), list(chain.from_iterable(self._whole(chunk)))
            start, left = start + size, left - size

    def _whole(self, rows: Sequence[Params]) -> Iterable[Iterable[Any]]:
        if isinstance(rows[0], tuple):
            return rows
        names, defaults = self._names or (), self._defaults
        tables = cast(Sequence[Mapping[str, Any]], rows)
        if defaults:
            tables = [{**defaults, **row} for row in tables]
        return [[row[name] for name in names] for row in tables]

    def _text(self, size: int) -> str:
        text = self._many.get(size)
        if text is None:
            one = self._one.removeprefix(" VALUES ")
            text = self._many[size] = self.sql.replace(one, ", ".join([one] * size), 1)
        return text


class StatementFamily:
    """One statement for each size of an IN list, sizes being powers of two.

    Args:
        build: makes the statement for a size; its list parameters are named `k0`, `k1`, ...
        locks: as for a statement.
    """

    MAX: Final = 512

    def __init__(self, build: Any, dialect: Dialect, *, locks: bool = False) -> None:
        self._build = build
        self._dialect = dialect
        self._locks = locks
        self._sizes: dict[int, Statement] = {}

    def sized(self, count: int) -> Statement:
        """The statement for lists of up to `count` keys."""
        size = 1 << max(0, count - 1).bit_length()
        statement = self._sizes.get(size)
        if statement is None:
            statement = self._sizes[size] = Statement(self._build(size), self._dialect, locks=self._locks)
        return statement

    def chunks(self, keys: Sequence[Any]) -> Iterable[tuple[Statement, dict[str, Any]]]:
        """Statements with parameters that cover all keys; short lists are padded with their first."""
        for start in range(0, len(keys), self.MAX):
            chunk = keys[start : start + self.MAX]
            size = 1 << (len(chunk) - 1).bit_length()
            padded = [*chunk, *([chunk[0]] * (size - len(chunk)))]
            yield self.sized(size), {f"k{i}": key for i, key in enumerate(padded)}


class Session:
    """One pinned connection on which the committer runs its transactions. One thread at a time.

    It connects when the first transaction begins, and anew after a connection was lost. This one is for
    SQLite; `store.pipeline` has the one for PostgreSQL.

    Attributes:
        at_once: whether a group's writes and its commit may go to the database together.
    """

    at_once: bool = False

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._pinned: PoolProxiedConnection | None = None
        self._connection: Any = None
        self._cursor: Any = None
        dbapi: Any = engine.dialect.loaded_dbapi
        self.database_error: type[Exception] = dbapi.Error
        self.integrity_error: type[Exception] = dbapi.IntegrityError

    def begin(self) -> None:
        """Starts a write transaction."""
        if self._cursor is None:
            self._connect()
        self._cursor.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Makes the transaction durable."""
        self._cursor.execute("COMMIT")

    def rollback(self) -> bool:
        """Undoes the transaction, if there is one; whether the connection still stands.

        If it does not, whether a commit under way took place is not known.
        """
        if self._cursor is None:
            return False
        try:
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK")
        except self.database_error:
            self.close()
            return False
        return True

    def unavailable(self, problem: BaseException | None) -> bool:
        """Whether an error means that the database cannot be reached or cannot write now.

        Full, locked, read-only, gone; as against a statement that it cannot take.
        """
        code = getattr(problem, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        return isinstance(problem, sqlite3.Error) and code & _PRIMARY_CODE not in (
            sqlite3.SQLITE_ERROR,
            sqlite3.SQLITE_CONSTRAINT,
            sqlite3.SQLITE_MISMATCH,
            sqlite3.SQLITE_MISUSE,
            sqlite3.SQLITE_RANGE,
            sqlite3.SQLITE_TOOBIG,
        )

    def lacks_right(self, problem: BaseException | None) -> str | None:
        """What the role lacks a right to, as the server says it: `table grants`. None: nothing."""
        return None

    def in_the_way(self, problem: BaseException) -> bool:
        """Whether another transaction was in the way, so that the same one may go through the next time."""
        return False

    def _connect(self) -> None:
        pinned = self._engine.raw_connection()
        pinned.detach()  # it is never given back to the pool: its mode is not the pool's
        self._pinned = pinned
        self._connection = cast(Any, pinned.dbapi_connection)
        self._cursor = self._connection.cursor()

    def now(self, last: Micros) -> Micros:
        """The time that decides: the database's clock; on SQLite the host's, never before `last`."""
        return max(self.look(())[1], last)

    def look(self, asked: Sequence[Asked]) -> tuple[list[list[Row]], Micros]:
        """Runs statements in this order, and the time thereafter. A server is asked all of it at once."""
        return [self.rows(*one) for one in asked], self._clock.now()

    def rows(self, statement: Statement, params: Mapping[str, Any]) -> list[Row]:
        """Runs a statement and fetches all its rows."""
        cursor = self._cursor.execute(statement.sql, statement.bind(params))
        rows: list[Row] = cursor.fetchall()
        return rows

    def family(self, family: StatementFamily, keys: Iterable[Any], /, **params: Any) -> list[Row]:
        """Runs a family over any number of keys."""
        listed = list(keys)
        rows: list[Row] = []
        for statement, listing in family.chunks(listed):
            rows += self.rows(statement, {**listing, **params})
        return rows

    def run(self, statement: Statement, params: Mapping[str, Any]) -> int:
        """Runs a statement; the number of rows it changed."""
        count: int = self._cursor.execute(statement.sql, statement.bind(params)).rowcount
        return count

    def run_many(self, statement: Statement, rows: Sequence[Params]) -> int:
        """Runs a statement for each row; the number of rows that they changed in all."""
        if not statement.plain:
            self._cursor.executemany(statement.sql, [statement.bind(row) for row in rows])
            count: int = self._cursor.rowcount
            return count
        count = 0
        for text, values in statement.many(rows):
            count += self._cursor.execute(text, values).rowcount
        return count

    def run_pairs(
        self, family: StatementFamily, pairs: Sequence[tuple[Any, Any]], params: Mapping[str, Any]
    ) -> None:
        """Runs a family over any number of pairs, by the hundred: see `Statement.many`."""
        for start in range(0, len(pairs), MAX_INSERTED):
            chunk = pairs[start : start + MAX_INSERTED]
            size = 1 << (len(chunk) - 1).bit_length()
            padded = [*chunk, *([chunk[0]] * (size - len(chunk)))]
            listed = {f"k{at}": one for at, (one, _) in enumerate(padded)}
            listed |= {f"n{at}": other for at, (_, other) in enumerate(padded)}
            self.run(family.sized(size), {**params, **listed})

    def close(self) -> None:
        """Closes the connection."""
        if self._pinned is not None:
            with contextlib.suppress(self.database_error):
                self._pinned.close()
        self._pinned = self._connection = self._cursor = None


def sqlite_url(path: Path) -> URL:
    """The URL of a database file, whatever characters its path has."""
    return URL.create(SQLITE_DRIVER, database=str(path))


def open_engine(url: str | URL | Server) -> Engine:
    """An engine with this project's settings.

    Raises:
        Misconfigured: `config_invalid`: not a database URL this version can use; `extra_missing`.
    """
    if isinstance(url, Server):
        return engine_of(url)
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Misconfigured("config_invalid", setting="database") from None
    if parsed.drivername == SQLITE_DRIVER and parsed.database:
        return _sqlite_engine(Path(parsed.database))
    if parsed.drivername == DRIVER:
        return engine_of(parsed)
    raise Misconfigured("config_invalid", setting="database")


def _sqlite_engine(path: Path) -> Engine:
    engine = create_engine(
        sqlite_url(path),
        connect_args={"check_same_thread": False, "timeout": 1.0, "cached_statements": CACHED_STATEMENTS},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",  # an acknowledged commit survives power loss
            "secure_delete = ON",
            "foreign_keys = ON",
            f"busy_timeout = {BUSY_TIMEOUT_MS}",
            f"wal_autocheckpoint = {WAL_AUTOCHECKPOINT_PAGES}",
            f"cache_size = -{CACHE_KIB}",
            "temp_store = MEMORY",  # no values in temporary files
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine
