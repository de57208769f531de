"""A database that cannot write: nothing is done, everybody is told, and it goes on when it can again."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg_errors

from tests.support.ledgers import Ledger, Note
from vault.errors import Unavailable
from vault.ledger import group as groups
from vault.ledger.command import Committed, State, Writes
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
    # No commit was on its way, so nothing can have taken place: it is done on another connection.
    assert all(isinstance(outcome, Committed) for outcome in postgresql_ledger.submit(commands))
    assert [len(command.decided) for command in commands] == [2, 2, 2]
    assert postgresql_ledger.numbers() == [0, 1, 2, 3]
    check_recovery(postgresql_ledger)


@pytest.fixture(params=["at once", "in steps"])
def lossy(
    request: pytest.FixtureRequest, postgresql_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> Callable[[bool], None]:
    """Makes the connection go during the next commit, before the server had it or after it took place."""
    postgresql_ledger.submit([Note(0, "tenant-0")])
    session = postgresql_ledger.sessions[0]
    session.at_once = request.param == "at once"

    def lose(took_place: bool) -> None:
        commit, sent = session.commit, list[int]()

        def lost() -> None:
            if sent:
                return commit()
            sent.append(1)
            if took_place:
                commit()
                if session.at_once:
                    session._connection._pipeline.sync()
            session._connection.close()
            raise psycopg.OperationalError("planted")

        monkeypatch.setattr(session, "commit", lost)

    return lose


@pytest.mark.parametrize("took_place", [False, True])
def test_a_commit_whose_answer_is_lost_is_looked_for(
    postgresql_ledger: Ledger, lossy: Callable[[bool], None], took_place: bool
) -> None:
    lossy(took_place)
    commands = group(1)
    assert all(isinstance(outcome, Committed) for outcome in postgresql_ledger.submit(commands))
    assert {len(command.decided) for command in commands} == {1 if took_place else 2}
    assert postgresql_ledger.numbers() == list(range(SIZE + 1))  # each once
    check_recovery(postgresql_ledger)


def test_a_commit_that_nothing_is_found_of_in_time_is_not_guessed_at(
    postgresql_ledger: Ledger, lossy: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy(True)
    monkeypatch.setattr(groups, "FIND_OUT_S", 0.3)
    store = postgresql_ledger.store
    with monkeypatch.context() as patched:
        patched.setattr(postgresql_ledger.sessions[0], "_connect", gone)
        assert codes(postgresql_ledger.submit(group(1))) == {"outcome_unknown"}
    assert postgresql_ledger.numbers() == list(range(SIZE + 1))
    assert store.read(store.record.head)[0][1] == SIZE + 1
    check_recovery(postgresql_ledger)


def gone() -> None:
    raise psycopg.OperationalError("planted")


@pytest.mark.parametrize("problem", [pg_errors.SerializationFailure, pg_errors.DeadlockDetected])
def test_who_was_in_the_way_is_waited_for(postgresql_ledger: Ledger, problem: type[Exception]) -> None:
    left = [3]

    def fail(_state: State, _writes: Writes) -> None:
        if left[0]:
            left[0] -= 1
            raise problem("planted")

    commands = [Note(1, "tenant-1"), Note(2, "tenant-2", fail)]
    assert all(isinstance(outcome, Committed) for outcome in postgresql_ledger.submit(commands))
    assert [len(command.decided) for command in commands] == [4, 4]  # as one group, four times
    assert postgresql_ledger.numbers() == [1, 2]


def test_a_server_that_is_away_is_503_at_once_and_is_back_when_it_is(
    postgresql_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        postgresql_ledger.submit([Note(0, "tenant-0")])
        postgresql_ledger.sessions[0]._connection.close()
        patched.setattr(postgresql_ledger.store.engine, "raw_connection", gone)
        began = time.monotonic()
        assert codes(postgresql_ledger.submit(group(1))) == {"database_unavailable"}
        assert time.monotonic() - began < 5
    time.sleep(0.3)
    check_recovery(postgresql_ledger)


def test_a_row_locked_by_another_process(postgresql_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    postgresql_ledger.submit([Note(0, "tenant-0")])
    monkeypatch.setattr(groups, "SINGLY_S", 0.0)  # the others are not kept waiting one by one
    postgresql_ledger.sessions[0]._cursor.execute("SET lock_timeout = 10")
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


def test_what_was_prepared_in_vain_is_prepared_again(postgresql_ledger: Ledger) -> None:
    """Groups fail while their statements become prepared ones: the connection is none the worse."""
    postgresql_ledger.submit([Note(0, "tenant-0")])
    session = postgresql_ledger.sessions[0]
    for number in range(20):
        session._cursor.execute("SET default_transaction_read_only = on")
        assert codes(postgresql_ledger.submit([Note(1, "tenant-1")])) == {"database_unavailable"}
        session._cursor.execute("SET default_transaction_read_only = off")
        assert isinstance(postgresql_ledger.submit([Note(2 + number)])[0], Committed)
    assert postgresql_ledger.numbers() == [0, *range(2, 22)]


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
