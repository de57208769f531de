"""A database that cannot write: nothing is done, everybody is told, and it goes on when it can again."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.ledgers import Ledger, Note
from vault.errors import Unavailable
from vault.ledger.command import Committed, State, Writes
from vault.store import session as sessions
from vault.store.cell import Store

SIZE = 8


def codes(outcomes: list[Any]) -> set[str]:
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    return {outcome.code for outcome in outcomes}


def group(first: int) -> list[Note]:
    return [Note(number, f"tenant-{number}") for number in range(first, first + SIZE)]


def check_recovery(ledger: Ledger) -> None:
    """The next group succeeds on the same committer, and nothing of the failed ones is there."""
    outcomes = ledger.submit(group(100))
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    assert [n for n in ledger.numbers() if n >= 100] == list(range(100, 100 + SIZE))
    assert ledger.tenants() == {f"tenant-{n}" for n in ledger.numbers()}


@pytest.fixture
def started(sqlite_ledger: Ledger) -> Ledger:
    """A ledger on SQLite whose committer has its connection."""
    sqlite_ledger.submit([Note(0, "tenant-0")])
    return sqlite_ledger


def pragma(ledger: Ledger, text: str) -> Any:
    """Sets something on the committer's own connection, while it is idle."""
    return ledger.sessions[0]._connection.execute(f"PRAGMA {text}").fetchone()


def test_locked_by_another(started: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pragma(started, "busy_timeout = 1")
    with closing(sqlite3.connect(tmp_path / "cell.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        commands = group(1)
        assert codes(started.submit(commands)) == {"database_unavailable"}
        assert all(not command.decided for command in commands)  # nothing began, so nothing ran singly
        other.execute("ROLLBACK")
    check_recovery(started)


def test_full(started: Ledger) -> None:
    pages = pragma(started, "page_count")[0]
    assert pragma(started, f"max_page_count = {pages}")[0] == pages

    def bulky(_state: State, writes: Writes) -> None:
        row = {"class": "c", "due": "d", "state": "active", "tenant": "main"}
        writes.insert("schema", tenant="main", version=1, digest="", body="x" * 100_000, applied_by="",
                      applied_at=0)  # fmt: skip
        writes.insert("due_period", **row)

    commands: list[Note] = [Note(1, "tenant-1"), Note(2, "tenant-2", bulky), Note(3, "tenant-3")]
    outcomes = started.submit(commands)
    assert codes([outcomes[1]]) == {"database_unavailable"}
    assert codes(started.submit([Note(5, None, bulky)])) == {"database_unavailable"}
    pragma(started, "max_page_count = 1000000")
    assert isinstance(started.submit([Note(6, "tenant-6", bulky)])[0], Committed)
    check_recovery(started)


def test_full_while_the_audit_is_written(started: Ledger) -> None:
    pragma(started, f"max_page_count = {pragma(started, 'page_count')[0]}")
    outcomes: list[Any] = []
    while not outcomes or isinstance(outcomes[-1], Committed):
        outcomes += started.submit([Note(len(outcomes) + 1)])
        assert len(outcomes) < 1_000
    assert codes(outcomes[-1:]) == {"database_unavailable"}
    pragma(started, "max_page_count = 1000000")
    assert isinstance(started.submit([Note(0)])[0], Committed)
    assert len(started.numbers()) == len(outcomes) + 1


def test_read_only(started: Ledger, tmp_path: Path) -> None:
    session = started.sessions[0]
    session.close()
    path = tmp_path / "cell.db"
    read_only = sqlite3.connect(
        f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
    )
    session._connection, session._cursor = read_only, read_only.cursor()
    assert codes(started.submit(group(1))) == {"database_unavailable"}
    session.close()
    read_only.close()
    check_recovery(started)


def test_gone_when_it_is_first_needed(sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Any:
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite_ledger.store.engine, "raw_connection", refuse)
        assert codes(sqlite_ledger.submit(group(1))) == {"database_unavailable"}
    check_recovery(sqlite_ledger)


def test_reads_outside_the_ledger_say_so_too(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    store = sqlite_ledger.store
    sqlite_ledger.submit([Note(0)])
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE re_head RENAME TO gone")
    with pytest.raises(Unavailable, match="database_unavailable"):
        store.read(store.record.head)
    missing = Store(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder.db'}", store.clock)
    with pytest.raises(Unavailable, match="database_unavailable"):
        missing.read(store.record.head)
    missing.close()


def terminate(ledger: Ledger) -> None:
    """Ends the committer's connection from the server's side, as a restart of the server does."""
    pid = ledger.sessions[0]._connection.info.backend_pid
    with ledger.store.engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(%s, 10000)", (pid,))


def test_an_idle_connection_that_the_server_dropped_costs_nothing(postgresql_ledger: Ledger) -> None:
    postgresql_ledger.submit([Note(0, "tenant-0")])
    terminate(postgresql_ledger)
    check_recovery(postgresql_ledger)


def test_a_connection_lost_half_way(postgresql_ledger: Ledger) -> None:
    postgresql_ledger.submit([Note(0, "tenant-0")])
    once = [True]

    def lose(_state: State, _writes: Writes) -> None:
        if once:
            once.clear()
            terminate(postgresql_ledger)

    commands = [Note(1, "tenant-1"), Note(2, "tenant-2", lose), Note(3, "tenant-3")]
    assert codes(postgresql_ledger.submit(commands)) == {"database_unavailable"}
    assert [len(command.decided) for command in commands] == [1, 1, 1]  # not run again
    check_recovery(postgresql_ledger)


def test_a_commit_whose_end_is_not_known_is_not_run_again(
    postgresql_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgresql_ledger.submit([Note(0, "tenant-0")])
    session = postgresql_ledger.sessions[0]
    commit = session.commit

    def lost() -> None:
        commit()  # it took place, and the answer is lost
        terminate(postgresql_ledger)
        session._cursor.execute("SELECT 1")

    with monkeypatch.context() as patched:
        patched.setattr(session, "commit", lost)
        assert codes(postgresql_ledger.submit(group(1))) == {"database_unavailable"}
    assert postgresql_ledger.numbers() == list(range(SIZE + 1))  # each once
    check_recovery(postgresql_ledger)


def test_a_row_locked_by_another_process(postgresql_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    postgresql_ledger.submit([Note(0, "tenant-0")])
    monkeypatch.setattr(sessions, "LOCK_TIMEOUT_MS", 10)
    store = postgresql_ledger.store
    with store.engine.begin() as connection:
        connection.execute(store.tables.head.update().values(last_at=0))
        assert codes(postgresql_ledger.submit(group(1))) == {"database_unavailable"}
    check_recovery(postgresql_ledger)


def test_a_read_only_server(postgresql_ledger: Ledger) -> None:
    postgresql_ledger.submit([Note(0, "tenant-0")])
    session = postgresql_ledger.sessions[0]
    session._cursor.execute("SET default_transaction_read_only = on")
    assert codes(postgresql_ledger.submit(group(1))) == {"database_unavailable"}
    session._cursor.execute("SET default_transaction_read_only = off")
    check_recovery(postgresql_ledger)


def test_no_service_without_an_audit(ledger: Ledger) -> None:
    """The log alone cannot be written: nothing else is, and the code says which."""
    ledger.submit([Note(0, "tenant-0")])
    audit = ledger.store.tables.audit
    with ledger.store.engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {audit.fullname} RENAME TO gone")
    assert codes(ledger.submit(group(1))) == {"audit_unavailable"}
    gone = "gone" if audit.schema is None else f"{audit.schema}.gone"
    with ledger.store.engine.begin() as connection:
        connection.exec_driver_sql(f"ALTER TABLE {gone} RENAME TO {audit.name}")
    check_recovery(ledger)


def test_the_committer_is_not_held_up_by_readers(started: Ledger) -> None:
    """A reader in the middle of a transaction does not keep the writer from writing (WAL)."""
    reading, done = threading.Event(), threading.Event()

    def reader() -> None:
        with started.store.engine.connect() as connection:
            connection.execute(started.store.tables.audit.select()).fetchall()
            reading.set()
            done.wait(30)

    thread = threading.Thread(target=reader)
    thread.start()
    assert reading.wait(30)
    assert isinstance(started.submit([Note(1)])[0], Committed)
    done.set()
    thread.join()
