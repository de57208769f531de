"""A cell's database as one thing: engine, tables, statements, and reads outside the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import URL, Engine
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vault.clock import Clock
from vault.errors import Unavailable
from vault.store.approving import ApprovingStatements
from vault.store.crossing import CrossingStatements
from vault.store.custody import CustodyStatements
from vault.store.expiring import ExpiringStatements
from vault.store.forgetting import ForgettingStatements
from vault.store.granting import GrantingStatements
from vault.store.indexes import IndexStatements
from vault.store.operators import OperatorStatements
from vault.store.oversight import OversightStatements
from vault.store.pipeline import ServerClock, ServerSession
from vault.store.postgresql import Server
from vault.store.record import RecordStatements
from vault.store.reporting import ReportingStatements
from vault.store.requests import RequestStatements
from vault.store.session import Row, Session, Statement, StatementFamily, open_engine
from vault.store.tables import SQLITE, Tables
from vault.store.turning import TurnStatements
from vault.store.values import ValuesStatements
from vault.store.work import WorkStatements


class _Statements(NamedTuple):
    """Every statement there is, compiled for one kind of database."""

    tables: Tables
    custody: CustodyStatements
    record: RecordStatements
    values: ValuesStatements
    requests: RequestStatements
    turning: TurnStatements
    work: WorkStatements
    indexes: IndexStatements
    crossing: CrossingStatements
    granting: GrantingStatements
    operators: OperatorStatements
    approving: ApprovingStatements
    oversight: OversightStatements
    forgetting: ForgettingStatements
    expiring: ExpiringStatements
    reporting: ReportingStatements


_compiled: Final[dict[str, _Statements]] = {}


def _statements(name: str, dialect: Dialect) -> _Statements:
    """The statements for a kind of database; compiling them takes a fifth of a second, so once a process."""
    found = _compiled.get(name)
    if found is None:
        tables = Tables(name)
        found = _compiled[name] = _Statements(
            tables,
            CustodyStatements(tables, dialect),
            RecordStatements(tables, dialect),
            ValuesStatements(tables, dialect),
            RequestStatements(tables, dialect),
            TurnStatements(tables, dialect),
            WorkStatements(tables, dialect),
            IndexStatements(tables, dialect),
            CrossingStatements(tables, dialect),
            GrantingStatements(tables, dialect),
            OperatorStatements(tables, dialect),
            ApprovingStatements(tables, dialect),
            OversightStatements(tables, dialect),
            ForgettingStatements(tables, dialect),
            ExpiringStatements(tables, dialect),
            ReportingStatements(tables, dialect),
        )
    return found


class Store:
    """The database of one cell.

    Args:
        url: a server, or a SQLAlchemy database URL.
        clock: for SQLite, which has none of its own.
    """

    def __init__(self, url: str | URL | Server, clock: Clock) -> None:
        self.engine: Engine = open_engine(url)
        self.is_file = self.engine.dialect.name == SQLITE
        # On a server a read is one statement and one round trip; SQLite's engine begins by itself.
        self._reader = (
            self.engine if self.is_file else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        self.clock: Clock = clock if self.is_file else ServerClock(clock)
        statements = _statements(self.engine.dialect.name, self.engine.dialect)
        self.tables = statements.tables
        self.custody = statements.custody
        self.record = statements.record
        self.values = statements.values
        self.requests = statements.requests
        self.turning = statements.turning
        self.work = statements.work
        self.indexes = statements.indexes
        self.crossing = statements.crossing
        self.granting = statements.granting
        self.unkilled_at = -1  # the fence of the head at which no kill switch was set, as last looked at
        self.operators = statements.operators
        self.approving = statements.approving
        self.oversight = statements.oversight
        self.forgetting = statements.forgetting
        self.expiring = statements.expiring
        self.reporting = statements.reporting

    def insert(self, table: str) -> Statement:
        """The insert statement of a table, by its singular name."""
        for part in (
            *(self.custody, self.record, self.values, self.requests, self.turning, self.work),
            *(self.crossing, self.granting, self.operators, self.approving, self.oversight),
            *(self.forgetting, self.expiring),
        ):
            statement = getattr(part, f"insert_{table}", None)
            if isinstance(statement, Statement):
                return statement
        raise KeyError(table)

    def update(self, name: str) -> Statement:
        """An update statement of record or custody, by its name."""
        for part in (
            *(self.record, self.custody, self.requests, self.turning, self.work, self.indexes),
            *(self.crossing, self.granting, self.operators, self.approving, self.oversight),
            *(self.forgetting, self.expiring),
        ):
            statement = getattr(part, name, None)
            if isinstance(statement, Statement):
                return statement
        raise KeyError(name)

    def family(self, name: str) -> StatementFamily:
        """A family of statements over pairs of index rows, by its name."""
        for part in (self.turning, self.indexes):
            family = getattr(part, name, None)
            if isinstance(family, StatementFamily):
                return family
        raise KeyError(name)

    def session(self) -> Session:
        """A pinned session for a committer."""
        return (Session if self.is_file else ServerSession)(self.engine, self.clock)

    def read(self, statement: Any, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Rows of a Core statement, outside any write transaction.

        Raises:
            Unavailable: `database_unavailable`.
        """
        element: Any = statement.element if isinstance(statement, Statement) else statement
        for last in (False, True):
            try:
                with self._reader.connect() as connection:
                    return [tuple(row) for row in connection.execute(element, dict(params or {}))]
            except DBAPIError as problem:
                # The pool's connections go at once when the server has; a read may be made twice.
                if last or not problem.connection_invalidated:
                    break
            except PoolTimeout:
                break
        raise Unavailable("database_unavailable")

    def read_keys(self, family: StatementFamily, keys: list[Any], /, **params: Any) -> list[Row]:
        """Rows of a family's statements over any number of keys."""
        rows: list[Row] = []
        for statement, listing in family.chunks(keys):
            rows += self.read(statement, {**listing, **params})
        return rows

    def fold(self) -> None:
        """Folds what was written into the file itself: of what was removed, nothing is left beside it.

        A deleted row lies in SQLite's write-ahead log until that is cut. On a server nothing is done.

        Raises:
            Unavailable: `database_unavailable`: somebody reads from the log for longer than is waited.
        """
        if not self.is_file:
            return
        connection: Any = self.engine.raw_connection()
        try:
            busy = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            connection.close()
        if busy:
            raise Unavailable("database_unavailable", reason="its log is being read")

    def close(self) -> None:
        """Closes all connections."""
        self.engine.dispose()
