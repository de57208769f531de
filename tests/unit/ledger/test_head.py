"""The head row: gap-free numbers, a condition that binds, and a time that never goes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support import ledgers
from tests.support.ledgers import Ledger, Note
from vault.clock import SECOND, FixedClock, format_time
from vault.errors import Unavailable
from vault.ledger import group, writing
from vault.ledger.command import Committed, State, Writes
from vault.ledger.group import MAX_TRIES
from vault.ledger.state import Overtaken
from vault.store.cell import Store

MEMBERS = ("write_epoch", "read_epoch", "fence", "schema_version")
START = 1_795_000_000 * SECOND


class OtherProcess:
    """Moves the head from another connection while a group is being decided, a number of times."""

    def __init__(self, store: Store, member: str, times: int) -> None:
        self._store = store
        self._column = store.tables.head.c[member]
        self.left = times

    def __call__(self, _state: State, _writes: Writes) -> None:
        if self.left > 0:
            self.left -= 1
            with self._store.engine.begin() as connection:
                connection.execute(self._store.tables.head.update().values({self._column: self._column + 1}))


@pytest.mark.parametrize("member", MEMBERS)
def test_a_group_that_another_connection_overtook_is_decided_again(
    postgresql_ledger: Ledger, member: str
) -> None:
    move = OtherProcess(postgresql_ledger.store, member, times=1)
    commands = [Note(0, "tenant-0"), Note(1, "tenant-1", move), Note(2, "tenant-2")]
    outcomes = postgresql_ledger.submit(commands)
    assert all(isinstance(outcome, Committed) for outcome in outcomes)
    assert [len(command.decided) for command in commands] == [2, 2, 2]
    before, after = (getattr(state.head, member) for state in commands[0].decided)
    assert after == before + 1
    assert postgresql_ledger.numbers() == [0, 1, 2]
    assert postgresql_ledger.tenants() == {"tenant-0", "tenant-1", "tenant-2"}


def test_a_group_that_is_always_overtaken_gives_up_without_effect(postgresql_ledger: Ledger) -> None:
    move = OtherProcess(postgresql_ledger.store, "fence", times=1_000)
    commands = [Note(0, "tenant-0"), Note(1, None, move)]
    outcomes = postgresql_ledger.submit(commands)
    assert [getattr(outcome, "code", None) for outcome in outcomes] == ["too_busy", "too_busy"]
    assert len(commands[0].decided) == MAX_TRIES
    assert postgresql_ledger.numbers() == []
    assert postgresql_ledger.tenants() == set()
    assert isinstance(postgresql_ledger.submit([Note(2)])[0], Committed)


def test_the_same_on_sqlite(sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the writer holds the file from its first read, so the head is moved by hand."""
    write, left = writing.write, [2]

    def overtaken(*arguments: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raise Overtaken
        write(*arguments)

    monkeypatch.setattr(group, "write", overtaken)
    command = Note(0, "tenant-0")
    assert isinstance(sqlite_ledger.submit([command])[0], Committed)
    assert len(command.decided) == 3
    left[0] = MAX_TRIES
    refused = sqlite_ledger.submit([Note(1)])[0]
    assert isinstance(refused, Unavailable)
    assert sqlite_ledger.numbers() == [0]


@pytest.mark.parametrize("member", MEMBERS)
def test_the_condition_names_every_member(ledger: Ledger, member: str) -> None:
    head = ledger.store.record.head
    seen = ledger.store.read(head)[0]
    params = {
        "events": 1, "write_by": 0, "read_by": 0, "fence_by": 0, "schema_by": 0, "at": 1,
        "seen_write_epoch": seen[2],
        "seen_read_epoch": seen[3], "seen_fence": seen[4], "seen_schema": seen[5],
    }  # fmt: skip
    name = "seen_schema" if member == "schema_version" else f"seen_{member}"
    session = ledger.store.session()
    session.begin()
    assert session.rows(ledger.store.record.advance_head, {**params, name: params[name] + 1}) == []
    assert [tuple(row) for row in session.rows(ledger.store.record.advance_head, params)] == [(1, 1)]
    session.rollback()
    session.close()


def times(ledger: Ledger) -> list[str]:
    rows = ledger.store.read(ledger.store.record.audit_range, {"first": 0, "end": 2**62})
    return [msgspec.json.decode(row[2])["at"] for row in rows]


def test_time_never_goes_back(tmp_path: Path) -> None:
    clock = FixedClock(START)
    with ledgers.ledger("sqlite", tmp_path, clock) as made:
        seen = []
        for step in (0, 10, -3_600, 1, -(10**6), 10**6 + 3_599 + 5):
            clock.advance(step * SECOND)
            seen.append(made.committer.execute(Note(step)).at)
        latest = START + 10 * SECOND
        assert seen == [START, *[latest] * 4, START + 15 * SECOND]
        assert times(made) == [format_time(at) for at in seen]


def test_postgresql_decides_by_its_own_clock(tmp_path: Path) -> None:
    with ledgers.ledger("postgresql", tmp_path, FixedClock(START + 10**6 * SECOND)) as made:
        with made.store.engine.connect() as connection:
            sql = "SELECT (extract(epoch from clock_timestamp()) * 1000000)::bigint"
            before = connection.exec_driver_sql(sql).scalar_one()
            at = made.committer.execute(Note(0)).at
            after = connection.exec_driver_sql(sql).scalar_one()
        assert before <= at <= after


def test_an_event_is_never_older_than_the_one_another_process_wrote_first(postgresql_ledger: Ledger) -> None:
    store = postgresql_ledger.store
    later = 4_000_000_000 * SECOND

    def overtake(_state: State, _writes: Writes) -> None:
        with store.engine.begin() as connection:
            connection.execute(store.tables.head.update().values(last_at=later))

    postgresql_ledger.submit([Note(0, None, overtake)])
    postgresql_ledger.submit([Note(1)])
    assert times(postgresql_ledger) == [format_time(later)] * 2
    assert store.read(store.record.head)[0][6] == later


def test_numbers_are_handed_out_by_the_head(ledger: Ledger) -> None:
    for size in (1, 5, 2):
        ledger.submit([Note(0) for _ in range(size)])
    assert ledger.store.read(ledger.store.record.head)[0][1] == 8
    assert len(ledger.numbers()) == 8
