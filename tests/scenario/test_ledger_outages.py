"""A cell whose database cannot write: every verb says so, nothing is given, and it goes on by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import NAME, SSN, BuiltCell, development_cell
from tests.support.operators import cheapen
from tests.unit.services.calls import CALLS, READERS, WRITERS, rows
from vault.errors import Unavailable
from vault.services import use_grant as opening
from vault.services.audit import verify
from vault.store.cell import Store
from vault.store.session import Session

VALUE = "123-45-6789"
Outage = Callable[[BuiltCell, Session], AbstractContextManager[None]]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are many passwords here."""
    cheapen(monkeypatch)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """Every session that is made, the committer's being the last."""
    made: list[Session] = []
    session = Store.session

    def kept(store: Store) -> Session:
        made.append(session(store))
        return made[-1]

    monkeypatch.setattr(Store, "session", kept)
    return made


@pytest.fixture
def built(tmp_path: Path, sessions: list[Session]) -> Iterator[BuiltCell]:
    with development_cell(tmp_path) as made:
        made.token(SSN, VALUE)  # now the committer has its connection
        assert sessions
        yield made


@contextmanager
def locked(built: BuiltCell, session: Session) -> Iterator[None]:
    """Another process holds the file."""
    session._connection.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(Path(built.config.base) / "eu.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(_built: BuiltCell, session: Session, room: int = 0) -> Iterator[None]:
    """The file may grow by `room` pages, and no page of it is free."""
    connection = session._connection
    connection.execute("VACUUM")  # a migration may have left free pages
    free = connection.execute("PRAGMA freelist_count").fetchone()[0]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    assert free == 0
    connection.execute(f"PRAGMA max_page_count = {pages + room}")
    yield
    connection.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def read_only(_built: BuiltCell, session: Session) -> Iterator[None]:
    """Nothing may be written."""
    session._connection.execute("PRAGMA query_only = ON")
    yield
    session._connection.execute("PRAGMA query_only = OFF")


OUTAGES: list[Outage] = [locked, read_only]


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("name", WRITERS)
def test_what_writes_is_refused_and_changes_nothing(
    built: BuiltCell, sessions: list[Session], name: str, outage: Outage, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = CALLS[name]
    by, arguments = call.prepare(built)
    before = rows(built)
    opened: list[Any] = []
    with monkeypatch.context() as patched, outage(built, sessions[-1]):
        patched.setattr(opening, "open_values", opened.append)
        for _ in range(2):
            with pytest.raises(Unavailable) as refusal:
                built.run(call.verb, *arguments, by=by)
            assert refusal.value.code == "database_unavailable"
            assert refusal.value.facts == {}
    assert opened == []
    assert rows(built) == before
    built.run(call.verb, *arguments, by=by)  # it goes on without a restart
    verify(built.cell.store)


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("name", READERS)
def test_what_only_reads_goes_on(
    built: BuiltCell, sessions: list[Session], name: str, outage: Outage
) -> None:
    by, arguments = CALLS[name].prepare(built)
    with outage(built, sessions[-1]):
        built.run(CALLS[name].verb, *arguments, by=by)


def test_a_disk_that_fills_up_while_grants_are_used(built: BuiltCell, sessions: list[Session]) -> None:
    """Some requests still fit; what is answered is charged and on the record, the rest is not."""
    token, credential = built.token(SSN, VALUE), built.grant(SSN, uses=50)
    answers: list[Any] = []
    with full(built, sessions[-1], room=4):
        for _ in range(50):
            try:
                answers.append(built.reveal(credential, SSN, token))
            except Unavailable as refusal:
                answers.append(refusal.code)
    assert set(map(str, answers)) == {f"['{VALUE}']", "database_unavailable"}
    given = answers.count([VALUE])
    assert len(built.events(kind="detokenize")) == given
    grants = built.cell.store.tables.grants
    assert built.cell.store.read(grants.select().with_only_columns(grants.c.uses)) == [(given,)]
    assert built.reveal(credential, SSN, token) == [VALUE]
    verify(built.cell.store)


def test_a_disk_that_is_full_of_values(built: BuiltCell, sessions: list[Session]) -> None:
    built.token(NAME, "warm")
    before = rows(built)
    with full(built, sessions[-1]), pytest.raises(Unavailable, match="database_unavailable"):
        built.tokens(NAME, *["x" * 200] * 500)
    assert rows(built) == before
    made = built.tokens(NAME, *["x" * 200] * 500)
    assert len(rows(built)["cu_tokens"]) == len(made) + 1
    verify(built.cell.store)
