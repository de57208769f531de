"""The committer's session on PostgreSQL: what goes to the server together, and what an error there means.

A round trip costs more than most statements, so statements whose answers are not needed at once are sent in
one (libpq's pipeline mode). Many rows go in by COPY. Spec: PostgreSQL 18, 32.5 and appendix A.
"""

from __future__ import annotations

import contextlib
import re
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from typing import Any, Final

from sqlalchemy import BigInteger, Integer, LargeBinary, Table, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vault.clock import Clock, Micros
from vault.store.session import Asked, Params, Row, Session, Statement

COPIED_ROWS: Final = 48  # from so many on, COPY costs less than a statement a row
PAUSE_AFTER_REFUSAL_S: Final = 0.2  # an address that refuses is not asked for every group
_READ_ONLY: Final = "25006"
_NO_RIGHT: Final = "42501"  # insufficient_privilege
_DENIED: Final = re.compile(r"permission denied for (\w+ \w+)")
_IDLE_TOO_LONG: Final = "25P03"
_IN_THE_WAY: Final = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
_OVERTAKEN: Final = "22012"  # division_by_zero: `RecordStatements.finish` divides by the heads that it moved
# One lock of the database that everybody shares who writes into the cell; migrations take it alone.
CELL_LOCK: Final = (0x636F6174, 0x63656C6C)
BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
HOLD: Final = "SELECT pg_try_advisory_lock_shared(%s, %s), pg_is_in_recovery()"


class ServerClock:
    """The server's clock, as this host can tell between two looks at it.

    What decides is what a transaction reads; this one is for what is prepared and shown.
    """

    def __init__(self, own: Clock) -> None:
        self._own = own
        self._ahead = 0  # of this host's, in microseconds

    def now(self) -> Micros:
        """Microseconds since 1970."""
        return self._own.now() + self._ahead

    def heard(self, now: Micros) -> None:
        """Notes what the server's clock says."""
        self._ahead = now - self._own.now()


class ServerSession(Session):
    """A pinned connection to a server. Begun is a transaction with its first statement."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        super().__init__(engine, clock)
        dbapi: Any = engine.dialect.loaded_dbapi
        self._operational_error: type[Exception] = dbapi.OperationalError
        self._clock_statement = Statement(
            text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"), engine.dialect
        )
        self._begun = True
        self._rollbacks = 0
        self._refused_until = 0.0
        self._heard = clock.heard if isinstance(clock, ServerClock) else None
        self.at_once = True

    def begin(self) -> None:
        """Starts a write transaction, with the first statement of it; connects if need be."""
        if self._cursor is not None and self._connection.closed:
            self.close()
        if self._cursor is None:
            self._connect()
        self._begun = False

    def rollback(self) -> bool:
        """Undoes the transaction, if there is one; whether the connection still stands."""
        if self._cursor is None:
            return False
        try:
            if self._begun:
                # psycopg 3.3 takes statements that it prepared in a pipeline that failed for prepared. It
                # forgets them at a ROLLBACK, but looks only at the first one of a text.
                self._rollbacks += 1
                self._cursor.execute(f"ROLLBACK /* {self._rollbacks} */")
        except self.database_error:
            self.close()
            return False
        if self._connection.closed:
            self.close()
            return False
        self._begun = True
        return True

    def unavailable(self, problem: BaseException | None) -> bool:
        """Whether an error means that the database cannot be reached or cannot write now."""
        state = getattr(problem, "sqlstate", None)
        return isinstance(problem, self._operational_error) or state in (_READ_ONLY, _IDLE_TOO_LONG)

    def lacks_right(self, problem: BaseException | None) -> str | None:
        """The table, or what else it is, that the role lacks a right to; its name is ours."""
        if getattr(problem, "sqlstate", None) != _NO_RIGHT:
            return None
        found = _DENIED.search(str(problem))
        return "something" if found is None else found[1]

    def in_the_way(self, problem: BaseException) -> bool:
        """Whether another transaction was in the way."""
        return getattr(problem, "sqlstate", None) in _IN_THE_WAY

    def overtaken(self, problem: BaseException) -> bool:
        """Whether `finish` found another head than the group was decided on."""
        return getattr(problem, "sqlstate", None) == _OVERTAKEN

    def look(self, asked: Sequence[Asked]) -> tuple[list[list[Row]], Micros]:
        """Runs statements in this order, and the time thereafter: one round trip."""
        cursors = []
        with self._connection.pipeline():
            self._start()
            for statement, params in (*asked, (self._clock_statement, {})):
                cursor = self._connection.cursor(binary=True)
                cursors.append(cursor.execute(statement.sql, statement.bind(params)))
        *found, [[now]] = [cursor.fetchall() for cursor in cursors]
        if self._heard is not None:
            self._heard(int(now))
        return found, int(now)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is sent inside goes in one round trip, and fails as one."""
        with self._connection.pipeline():
            yield

    def send(self, statement: Statement, params: Mapping[str, Any]) -> None:
        """Sends a statement whose answer nobody reads."""
        self._start()
        self._connection.cursor().execute(statement.sql, statement.bind(params))

    def send_many(self, statement: Statement, rows: Sequence[Params]) -> None:
        """Sends a statement for each of a few rows."""
        self._start()
        for row in rows:
            self._connection.cursor().execute(statement.sql, statement.bind(row))

    def rows(self, statement: Statement, params: Mapping[str, Any]) -> list[Row]:
        """Runs a statement and fetches all its rows."""
        self._start()
        return super().rows(statement, params)

    def run(self, statement: Statement, params: Mapping[str, Any]) -> int:
        """Runs a statement; the number of rows it changed."""
        self._start()
        return super().run(statement, params)

    def run_many(self, statement: Statement, rows: Sequence[Params]) -> int:
        """Runs a statement for each row; the number of rows that they changed in all."""
        self._start()
        if statement.target is not None and len(rows) >= COPIED_ROWS:
            return self.copy(statement, rows)
        return super().run_many(statement, rows)

    def copy(self, statement: Statement, rows: Sequence[Params]) -> int:
        """Puts the rows of a plain INSERT in by COPY."""
        self._start()
        table = statement.target
        assert table is not None  # noqa: S101 - asked by the caller
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        with self._cursor.copy(f"COPY {table.fullname} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(_binary(table, statement.columns(rows)))
        return len(rows)

    def _start(self) -> None:
        if not self._begun:
            self._begun = True
            self._connection.cursor().execute(BEGIN)

    def _connect(self) -> None:
        """Connects, and takes its share of the cell's lock.

        Raises:
            psycopg.OperationalError: it cannot be reached, cannot write, or is being migrated.
        """
        if time.monotonic() < self._refused_until:
            raise self._operational_error("refused a moment ago")
        try:
            pinned = self._engine.raw_connection()
        except (DBAPIError, PoolTimeout) as problem:
            self._refused_until = time.monotonic() + PAUSE_AFTER_REFUSAL_S
            raise self._operational_error("cannot connect") from problem
        pinned.detach()  # it is never given back to the pool: its mode is not the pool's
        self._pinned = pinned
        self._connection = pinned.dbapi_connection
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        free, standby = self._cursor.execute(HOLD, CELL_LOCK).fetchone()
        if standby or not free:
            self.close()
            self._refused_until = time.monotonic() + PAUSE_AFTER_REFUSAL_S
            raise self._operational_error("a stand-by" if standby else "being migrated")


def _binary(table: Table, rows: Sequence[Sequence[Any]]) -> bytes:
    """Rows as COPY takes them (PostgreSQL 18, the page of COPY, "Binary Format").

    The driver's own form of this looks up how a value is written for every value. A column of one value
    goes along with what stands before it.
    """
    pieces: list[Iterable[bytes]] = []
    same = len(table.columns).to_bytes(2)
    for at, column in enumerate(table.columns):
        values = [row[at] for row in rows]
        if values.count(values[0]) == len(values):
            same += _written(column.type, values[:1])[0]
        else:
            pieces += [repeat(same, len(rows)), _written(column.type, values)]
            same = b""
    pieces.append(repeat(same, len(rows)))
    return b"".join((_COPY_HEAD, *chain.from_iterable(zip(*pieces, strict=True)), _COPY_END))


def _written(kind: Any, values: Sequence[Any]) -> list[bytes]:
    """A column's values, each behind its length. Most columns have few values, or lengths that are short."""
    if isinstance(kind, LargeBinary):
        return [_LENGTHS[len(v)] + v if len(v) < _SHORT else len(v).to_bytes(4) + v for v in values]
    form = _form(kind)
    known: dict[Any, bytes] = {None: _NULL}
    for value in set(values) - {None}:
        written = form(value)
        known[value] = len(written).to_bytes(4) + written
    return [known[value] for value in values]


def _form(kind: Any) -> Callable[[Any], bytes]:
    """How a column's values are written."""
    if isinstance(kind, BigInteger):
        return struct.Struct(">q").pack
    if isinstance(kind, Integer):
        return struct.Struct(">i").pack
    return str.encode


_SHORT: Final = 1024
_LENGTHS: Final = [length.to_bytes(4) for length in range(_SHORT)]
_NULL: Final = b"\xff\xff\xff\xff"
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"
