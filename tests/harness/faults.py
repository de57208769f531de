"""Statements that fail: put in at the driver, below every line of the program, by number or by text.

with watching() as watch, development_cell(folder) as built:
    watch.start(Fault("full", at=3))
    ...
    watch.stop()

Every statement that any connection made inside runs is counted: the committer's, the readers', the set-up
of a new connection, BEGIN, COMMIT and ROLLBACK.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg import errors as postgresql
from sqlalchemy import Engine, event

_CODES: Final = {
    "full": sqlite3.SQLITE_FULL,
    "locked": sqlite3.SQLITE_BUSY,
    "input and output": sqlite3.SQLITE_IOERR,
    "lost": sqlite3.SQLITE_CANTOPEN,
    "integrity": sqlite3.SQLITE_CONSTRAINT_UNIQUE,
    "no such table": sqlite3.SQLITE_ERROR,
}
_SERVER_ERRORS: Final[dict[str, type[psycopg.Error]]] = {
    "full": postgresql.DiskFull,
    "locked": postgresql.LockNotAvailable,
    "input and output": postgresql.IoError,
    "lost": postgresql.AdminShutdown,
    "integrity": postgresql.UniqueViolation,
    "deadlock": postgresql.DeadlockDetected,
    "serialization": postgresql.SerializationFailure,
    "no such table": postgresql.UndefinedTable,
}
OUTAGES: Final = ("full", "locked", "input and output", "lost")
SQLITE_KINDS: Final = (*OUTAGES, "integrity")
POSTGRESQL_KINDS: Final = (*OUTAGES, "integrity", "deadlock", "serialization")


@dataclass
class Fault:
    """What goes wrong, and where.

    Attributes:
        kind: `full`, `locked`, `input and output`, `lost` (a server's connection; SQLite's file), ...
        at: the number of the statement that fails, from 1; 0: every one that `of` finds.
        of: found in the text of a statement that fails.
        lasting: whether all later ones fail too, until told to stop.
        afterwards: whether the statement runs before it fails: its effect stands, its answer is lost.
    """

    kind: str
    at: int = 0
    of: str = ""
    lasting: bool = False
    afterwards: bool = False


@dataclass
class Watch:
    """Counts statements, and makes some fail.

    Attributes:
        statements: the texts of all statements since `start`.
        hits: how many failed.
        committed: called after each COMMIT since `start`.
        before: called before each statement since `start`, after it was counted.
        after: called after each statement since `start` that did not fail.
    """

    statements: list[str] = field(default_factory=list)
    hits: int = 0
    committed: Callable[[], None] | None = None
    before: Callable[[str], None] | None = None
    after: Callable[[str], None] | None = None
    _fault: Fault | None = None
    _counting: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, fault: Fault | None = None) -> None:
        """Counts from 1 again, with a fault to come."""
        with self._lock:
            self.statements, self.hits, self._fault, self._counting = [], 0, fault, True

    def stop(self) -> None:
        """Nothing fails any more, and nothing is counted."""
        with self._lock:
            self._fault, self._counting = None, False

    def run(self, connection: Any, sql: Any, execute: Callable[[], Any]) -> Any:
        """Runs a statement, or makes it fail."""
        text = sql if isinstance(sql, str) else str(sql)
        with self._lock:
            if not self._counting:
                due = None
            else:
                self.statements.append(text)
                due = self._due(text)
                self.hits += due is not None
        if due is not None:
            if due.afterwards:
                execute()
            raise _failure(connection, due.kind)
        if not self._counting:
            return execute()
        if self.before is not None:
            self.before(text)
        result = execute()
        if self.after is not None:
            self.after(text)
        if self.committed is not None and text == "COMMIT":
            if isinstance(connection, psycopg.Connection):
                with connection.pipeline():  # its end is a sync: before, a COMMIT may be no more than sent
                    pass
            self.committed()
        return result

    def _due(self, text: str) -> Fault | None:
        fault, number = self._fault, len(self.statements)
        if fault is None:
            return None
        if fault.at:
            due = number == fault.at or (fault.lasting and number > fault.at)
        else:
            due = re.search(fault.of, text) is not None and (fault.lasting or not self.hits)
        return fault if due else None


def _failure(connection: Any, kind: str) -> Exception:
    """The driver's own error, the connection being in the state that the error leaves it in."""
    if isinstance(connection, sqlite3.Connection):
        if kind in ("full", "input and output") and connection.in_transaction:
            # SQLite rolls back by itself when it cannot write (lang_transaction.html, 3).
            sqlite3.Connection.execute(connection, "ROLLBACK")
        family = sqlite3.IntegrityError if kind == "integrity" else sqlite3.OperationalError
        problem = family(f"planted: {kind}")
        problem.sqlite_errorcode = _CODES[kind]
        return problem
    if kind == "lost":
        connection.close()
    return _SERVER_ERRORS[kind](f"planted: {kind}")


@contextmanager
def watching() -> Iterator[Watch]:
    """Watches every connection that is made inside."""
    watch = Watch()

    class Cursor(sqlite3.Cursor):
        def execute(self, sql: str, *given: Any) -> Any:
            return watch.run(self.connection, sql, lambda: sqlite3.Cursor.execute(self, sql, *given))

        def executemany(self, sql: str, rows: Any) -> Any:
            return watch.run(self.connection, sql, lambda: sqlite3.Cursor.executemany(self, sql, rows))

    class Connection(sqlite3.Connection):
        def cursor(self, *_: Any) -> Any:
            return sqlite3.Connection.cursor(self, Cursor)

    class ServerCursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, *given: Any, **more: Any) -> Any:
            run = psycopg.Cursor.execute
            return watch.run(self.connection, query, lambda: run(self, query, *given, **more))

        def executemany(self, query: Any, *given: Any, **more: Any) -> Any:
            run = psycopg.Cursor.executemany
            return watch.run(self.connection, query, lambda: run(self, query, *given, **more))

    def connect(_dialect: Any, _record: Any, _arguments: Any, more: dict[str, Any]) -> None:
        if _dialect.name == "sqlite":
            more["factory"] = Connection
        else:
            more["cursor_factory"] = ServerCursor

    event.listen(Engine, "do_connect", connect)
    try:
        yield watch
    finally:
        watch.stop()
        event.remove(Engine, "do_connect", connect)
