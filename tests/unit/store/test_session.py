"""Connections: what SQLite is told on each of them, and what an error of the database means."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vault.clock import FixedClock
from vault.errors import Misconfigured, Unavailable
from vault.store import migrations
from vault.store.cell import Store
from vault.store.session import Session, open_engine, sqlite_url

PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "secure_delete": 1,
    "foreign_keys": 1,
    "busy_timeout": 1_000,
    "temp_store": 2,  # MEMORY
    "wal_autocheckpoint": 4_000,
    "cache_size": -65_536,
}


def settings(ask: Callable[[str], Any]) -> dict[str, Any]:
    return {name: ask(f"PRAGMA {name}") for name in PRAGMAS}


def test_sqlite_is_told_the_same_on_every_connection(sqlite: Store) -> None:
    """Several at once, so that none is the same; and the committer's, also after it connected anew."""
    connections = [sqlite.engine.connect() for _ in range(8)]
    for connection in connections:
        assert settings(lambda sql, c=connection: c.exec_driver_sql(sql).scalar()) == PRAGMAS  # type: ignore[misc]
    for connection in connections:
        connection.close()
    session = sqlite.session()
    for _ in range(2):
        session.begin()
        assert settings(lambda sql: session._cursor.execute(sql).fetchone()[0]) == PRAGMAS
        session.rollback()
        session.close()


def test_a_deleted_key_is_not_left_in_the_file(sqlite: Store, tmp_path: Path) -> None:
    """secure_delete, after the log of writes was folded in."""
    canary = b"canary-7f3a91" * 8
    session = sqlite.session()
    session.begin()
    session.run_many(
        sqlite.custody.insert_epoch,
        [
            {
                "epoch": 1, "id": bytes(16), "state": "active", "sealed_half": canary, "created_at": 0,
                "sealed_canary": None, "activated_at": None, "destroy_at": None,
            }
        ],
    )  # fmt: skip
    session.commit()
    session._cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert canary in (tmp_path / "cell.db").read_bytes()  # the control
    session._cursor.execute("DELETE FROM cu_epochs")
    session._cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert canary not in (tmp_path / "cell.db").read_bytes()
    assert canary not in (tmp_path / "cell.db-wal").read_bytes()
    session.close()


@pytest.mark.parametrize(
    "name", ["plain.db", "with space.db", "100%.db", "a?b=c.db", "a#b.db", "ünïcode.db", "a%20b.db"]
)
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    engine = open_engine(sqlite_url(path))
    migrations.upgrade(engine)
    engine.dispose()
    assert path.is_file()
    assert {file.name.removeprefix(name) for file in tmp_path.iterdir()} <= {"", "-wal", "-shm"}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "://",
        "sqlite://",
        "sqlite+aiosqlite:///x.db",
        "mysql://x/y",
        "oracle://x",
        "postgresql://x/y",
        "postgresql+asyncpg://x/y",
    ],
)
def test_what_is_no_database_of_ours_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="config_invalid"):
        open_engine(url)


def test_the_committer_s_connection_is_never_given_to_others(store: Store) -> None:
    """Its mode is not the pool's: others would run without transactions."""
    session = store.session()
    session.begin()
    pinned = session._connection
    session.rollback()
    session.close()
    for _ in range(3):
        with store.engine.connect() as connection:
            assert connection.connection.dbapi_connection is not pinned


def test_a_session_connects_when_it_is_first_needed(store: Store) -> None:
    session = store.session()
    assert session._cursor is None
    assert session.rollback() is False
    session.close()
    session.begin()
    assert session.rollback() is True
    assert session.rollback() is True  # there is nothing to undo
    session.close()


class TestErrors:
    """Out of reach now, or a statement that cannot be taken."""

    @pytest.fixture
    def session(self, sqlite: Store) -> Session:
        return sqlite.session()

    @pytest.mark.parametrize(
        ("name", "unavailable"),
        [
            ("SQLITE_BUSY", True), ("SQLITE_LOCKED", True), ("SQLITE_FULL", True), ("SQLITE_READONLY", True),
            ("SQLITE_IOERR", True), ("SQLITE_CANTOPEN", True), ("SQLITE_CORRUPT", True),
            ("SQLITE_NOMEM", True), ("SQLITE_NOTADB", True), ("SQLITE_PERM", True),
            ("SQLITE_INTERRUPT", True), ("SQLITE_PROTOCOL", True), ("SQLITE_IOERR_FSYNC", True),
            ("SQLITE_READONLY_DBMOVED", True), ("SQLITE_BUSY_SNAPSHOT", True),
            ("SQLITE_ERROR", False), ("SQLITE_CONSTRAINT", False), ("SQLITE_CONSTRAINT_UNIQUE", False),
            ("SQLITE_MISMATCH", False), ("SQLITE_TOOBIG", False), ("SQLITE_RANGE", False),
            ("SQLITE_MISUSE", False),
        ],
    )  # fmt: skip
    def test_of_sqlite(self, session: Session, name: str, unavailable: bool) -> None:
        problem = sqlite3.OperationalError("x")
        problem.sqlite_errorcode = getattr(sqlite3, name)
        assert session.unavailable(problem) is unavailable

    def test_others(self, session: Session) -> None:
        assert not session.unavailable(sqlite3.ProgrammingError("not bound"))
        assert not session.unavailable(RuntimeError("x"))
        assert not session.unavailable(None)


def test_a_driver_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name="psycopg")

    monkeypatch.setattr("vault.extras.import_module", missing)
    with pytest.raises(Misconfigured) as refusal:
        open_engine("postgresql+psycopg://x/y")
    assert (refusal.value.code, refusal.value.facts) == ("extra_missing", {"extra": "postgres"})


def test_an_exhausted_pool_is_no_defect(sqlite: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise PoolTimeout("QueuePool limit reached")

    monkeypatch.setattr(sqlite.engine, "connect", refuse)
    with pytest.raises(Unavailable, match="database_unavailable"):
        sqlite.read(sqlite.record.head)


def test_time_on_sqlite_is_the_clock_s_and_never_goes_back(tmp_path: Path) -> None:
    clock = FixedClock(1_000)
    store = Store(f"sqlite:///{tmp_path / 'x.db'}", clock)
    session = store.session()
    assert [session.now(last) for last in (0, 999, 1_000, 1_001)] == [1_000, 1_000, 1_000, 1_001]
    clock.at = 5
    assert session.now(1_000) == 1_000
    store.close()


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 255, 256, 257, 1000])
def test_many_rows_go_in_with_few_statements(sqlite: Store, count: int, whole: bool) -> None:
    session = sqlite.session()
    session.begin()
    asked: list[str] = []
    session._connection.set_trace_callback(asked.append)
    rows = [{"number": n, "leaf": n.to_bytes(32, "big"), "body": b"b%d" % n} for n in range(count)]
    asked_for = [tuple(row.values()) for row in rows] if whole else rows
    assert session.run_many(sqlite.record.insert_audit, asked_for) == count
    session._connection.set_trace_callback(None)
    assert len(asked) <= 4 + count // 256 + 4
    found = session._cursor.execute("SELECT number, leaf, body FROM re_audit ORDER BY number").fetchall()
    assert found == [tuple(row.values()) for row in rows]
    session.rollback()
    session.close()


def test_only_the_rows_that_went_in_are_counted(sqlite: Store) -> None:
    session = sqlite.session()
    session.begin()
    row = {"tenant": "main", "class": "c", "state": "active"}
    rows = [{**row, "due": f"{day}"} for day in (1, 2, 1, 3, 1)]
    assert session.run_many(sqlite.custody.insert_due_period, rows) == 3
    assert session.run_many(sqlite.custody.insert_due_period, rows) == 0
    session.rollback()
    session.close()


def test_a_statement_with_other_parameters_runs_row_by_row(sqlite: Store) -> None:
    session = sqlite.session()
    session.begin()
    assert not sqlite.record.charge_grant.plain
    assert not sqlite.requests.insert_idempotency.plain
    assert sqlite.record.insert_audit.plain
    rows = [{"grant_id": f"gr_{number}", "by": 1, "to_tat": 0} for number in range(3)]
    assert session.run_many(sqlite.record.charge_grant, rows) == 0
    session.rollback()
    session.close()
