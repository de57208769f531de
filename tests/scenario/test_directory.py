"""The directory: who is where, without a name in it; nobody is lost when it is away, and nobody stays."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from tests.support.cells import NAME, BuiltCell
from tests.support.databases import new_database
from tests.support.hosted import keys_of, remove
from tests.support.regions import Pair, make, opened, populate, two_regions, two_settings
from vault.errors import CoatcheckError
from vault.identifiers import uuid7
from vault.ledger.command import Command
from vault.services import enlisting
from vault.services.directory import RELIST, referred
from vault.services.enlisting import Enlisting
from vault.services.regions import LookupBody, look_up
from vault.services.subjects import find
from vault.store import directory_migrations, migrations
from vault.store.directory import DirectoryStore, DirectoryTables, Overrun, RegionRow
from vault.store.session import open_engine
from vault.wiring import Wiring

PEOPLE = [f"person-{number}@example.org" for number in range(20)]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with two_regions(tmp_path) as made:
        yield made


def fill(built: BuiltCell, people: list[str]) -> None:
    built.tokens(NAME, *[f"name of {one}" for one in people], subjects=[*people])


def entries(pair: Pair) -> list[tuple[bytes, str, int]]:
    with closing(sqlite3.connect(pair.config.path("directory.db"))) as database:
        return database.execute("SELECT ref, region, version FROM directory_entries").fetchall()


def code(call: Any, *given: Any) -> str:
    with pytest.raises(CoatcheckError) as refusal:
        call(*given)
    return refusal.value.code


def test_who_is_seen_in_a_cell_is_found(pair: Pair) -> None:
    fill(pair.eu, PEOPLE[:10])
    fill(pair.us, PEOPLE[10:])
    assert code(pair.lookup, PEOPLE[0]) == "not_found"
    pair.work()
    assert [pair.lookup(one) for one in PEOPLE] == ["eu"] * 10 + ["us"] * 10
    assert code(pair.lookup, "somebody else") == "not_found"
    assert len(entries(pair)) == len(PEOPLE)
    fill(pair.us, PEOPLE[:1])
    pair.work()
    assert pair.lookup(PEOPLE[0]) == "eu"  # the one that is asked is named first
    assert len(entries(pair)) == len(PEOPLE) + 1


def test_nothing_in_it_names_anybody_or_a_row(pair: Pair) -> None:
    fill(pair.eu, PEOPLE)
    pair.work()
    raw = b"".join(path.read_bytes() for path in pair.config.path(".").glob("directory.db*"))
    assert entries(pair)
    refs = {bytes(ref) for ref, _, _ in entries(pair)}
    rows = find(pair.eu.cell, "main", PEOPLE)
    cells_refs = {pair.eu.cell.keyring.references("main").of(one) for one in PEOPLE}
    for secret in (*(one.encode() for one in PEOPLE), *rows.values(), *cells_refs):
        assert secret not in raw
    assert refs.isdisjoint(cells_refs)
    assert all(ref in raw for ref in refs)  # the control: what is there is found


def test_a_person_of_another_tenant_is_another(pair: Pair) -> None:
    fill(pair.eu, PEOPLE[:1])
    other = pair.us.another_tenant("acme")
    fill(other, PEOPLE[:1])
    pair.work()
    assert len({bytes(ref) for ref, _, _ in entries(pair)}) == 2
    assert pair.lookup(PEOPLE[0]) == "eu"
    _, key = other.principal("service", "asker", permissions=["directory:lookup"])
    assert other.run(look_up, LookupBody(PEOPLE[0]), by=key).region == "us"


def test_a_look_up_is_counted_and_never_says_about_whom(tmp_path: Path) -> None:
    config = two_settings(tmp_path)
    assert config.directory is not None
    with two_regions(tmp_path) as pair:
        pair.eu.cell.directory.lookups_per_day = 3  # type: ignore[union-attr]
        fill(pair.eu, PEOPLE[:2])
        pair.work()
        assert pair.lookup(PEOPLE[0]) == "eu"
        assert code(pair.lookup, "nobody") == "not_found"
        assert pair.lookup(PEOPLE[1]) == "eu"
        assert code(pair.lookup, PEOPLE[1]) == "budget_exhausted"
        events = pair.eu.events(kind="directory.lookup")
        assert [event.get("outcome") for event in events] == [None, None, None, "denied"]
        assert {event["actor"] for event in events} == {"operator:officer"}
        rows = pair.eu.cell.store.read(pair.eu.cell.store.record.audit_range, {"first": 0, "end": 2**62})
        text = b"".join(bytes(row[2]) for row in rows)
        assert not any(one.encode() in text for one in (*PEOPLE, "nobody"))
        assert all(
            bytes(ref) not in text and bytes(ref).hex().encode() not in text for ref, _, _ in entries(pair)
        )
        _, plain = pair.eu.principal("service", "plain")
        assert code(lambda: pair.eu.run(look_up, LookupBody("x"), by=plain)) == "permission_denied"


def test_when_it_is_away_everybody_goes_on_and_nobody_is_lost(pair: Pair) -> None:
    fill(pair.eu, PEOPLE[:5])
    pair.work()
    path = pair.config.path("directory.db")
    for built in (pair.eu, pair.us):
        built.cell.directory.close()  # type: ignore[union-attr]
        built.cell.directory._store = None  # type: ignore[union-attr]
    away = path.with_name("away")
    away.mkdir()
    for part in path.parent.glob("directory.db*"):
        part.rename(away / part.name)
    fill(pair.eu, PEOPLE[5:])
    pair.work()
    assert code(pair.lookup, PEOPLE[0]) == "directory_unavailable"
    for part in away.iterdir():
        part.rename(path.parent / part.name)
    pair.work()
    assert [pair.lookup(one) for one in PEOPLE] == ["eu"] * len(PEOPLE)


def test_a_worker_that_dies_between_directory_and_cell_loses_nobody(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pair.eu, PEOPLE)
    monkeypatch.setattr(enlisting, "BATCH", 7)
    runner = uuid7()
    listing = Enlisting(pair.eu.cell, pair.eu.cell.directory, runner)  # type: ignore[arg-type]
    listing.run()
    deaths = 0
    execute = pair.eu.cell.committer.execute

    def dies(command: Command) -> Any:
        nonlocal deaths
        if isinstance(command, enlisting.Listed) and deaths < 4:
            deaths += 1
            raise KeyboardInterrupt
        return execute(command)

    monkeypatch.setattr(pair.eu.cell.committer, "execute", dies)
    for _ in range(12):
        try:
            listing.run()
        except KeyboardInterrupt:
            continue
    assert deaths == 4
    assert [pair.lookup(one) for one in PEOPLE] == ["eu"] * len(PEOPLE)
    assert len(entries(pair)) == len(PEOPLE)


def forget(built: BuiltCell, people: list[str]) -> None:
    """Removes people's keys, as an erasure does: their rows go, and their references are noted."""
    remove(built, keys_of(built, *people))


def removals(built: BuiltCell) -> int:
    return len(built.cell.store.read(built.cell.store.crossing.directory_removals, {"most": 100}))


def test_how_far_it_lags_is_counted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    store, directory = pair.eu.cell.store, pair.eu.cell.directory
    assert directory is not None
    assert enlisting.untold(store) == 0
    fill(pair.eu, PEOPLE[:5])
    assert enlisting.untold(store) == 5
    pair.work()
    assert enlisting.untold(store) == 0
    forget(pair.eu, PEOPLE[:2])
    fill(pair.eu, PEOPLE[5:])
    assert enlisting.untold(store) == 2 + 15
    monkeypatch.setattr(enlisting, "MOST_UNTOLD", 10)
    assert enlisting.untold(store) == 2 + 10
    pair.work()
    assert directory.rotate() == 2
    assert enlisting.untold(store) == 0  # what only the directory knows yet
    monkeypatch.setattr(enlisting, "BATCH", 4)
    monkeypatch.setattr(enlisting, "SLICE_S", 0)
    expire(pair)
    Enlisting(pair.eu.cell, directory, uuid7()).run()
    assert enlisting.untold(store) == 10  # 14 of 18, counted to 10
    pair.work()


def test_a_deployment_looks_how_far_it_lags(pair: Pair) -> None:
    fill(pair.eu, PEOPLE[:3])
    pair.deployment._look()
    assert (pair.eu.cell.untold, pair.us.cell.untold) == (3, 0)


def test_who_is_removed_is_taken_out(pair: Pair) -> None:
    fill(pair.eu, PEOPLE)
    pair.work()
    forget(pair.eu, PEOPLE[:3])
    assert removals(pair.eu) == 3
    pair.work()
    assert removals(pair.eu) == 0
    assert len(entries(pair)) == len(PEOPLE) - 3
    assert code(pair.lookup, PEOPLE[0]) == "not_found"
    assert pair.lookup(PEOPLE[3]) == "eu"


def test_who_is_removed_while_it_is_away_is_taken_out_too(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pair.eu, PEOPLE)
    pair.work()
    directory = pair.eu.cell.directory
    assert directory is not None
    directory.close()
    directory._store = None
    path = pair.config.path("directory.db")
    path.rename(path.with_suffix(".gone"))
    assert referred(directory, "main", PEOPLE[:1]) == [RELIST]
    forget(pair.eu, PEOPLE[:3])
    path.with_suffix(".gone").rename(path)
    pair.work()
    pair.work()
    assert (removals(pair.eu), len(entries(pair))) == (0, len(PEOPLE) - 3)
    assert pair.lookup(PEOPLE[3]) == "eu"


def test_a_runner_that_was_overtaken_writes_nothing_more(pair: Pair) -> None:
    """It read a person, was held up, and the person was removed and taken out by another runner."""
    fill(pair.eu, PEOPLE[:1])
    pair.work()
    store = directory_store(pair)
    late = take(store, "eu")
    key = pair.eu.cell.directory.keys()[0]  # type: ignore[union-attr]
    forget(pair.eu, PEOPLE[:1])
    expire(pair)
    pair.work()
    assert entries(pair) == []
    with pytest.raises(Overrun):
        store.put(late, key.version, [key.of("main", PEOPLE[0])])
    assert entries(pair) == []
    # the control: without a newer fence it is written
    store.put(take(store, "us"), key.version, [key.of("main", PEOPLE[0])])
    assert len(entries(pair)) == 1


def directory_store(pair: Pair) -> DirectoryStore:
    assert pair.eu.cell.directory is not None
    return pair.eu.cell.directory.store


def take(store: DirectoryStore, region: str) -> RegionRow:
    expired(store)
    held = store.take(region, uuid7())
    assert held is not None
    return held


def expired(store: DirectoryStore) -> None:
    with store.engine.begin() as connection:
        connection.execute(store.tables.regions.update().values(lease_until=0))


def expire(pair: Pair) -> None:
    expired(directory_store(pair))


def test_a_region_has_one_runner_at_a_time(pair: Pair) -> None:
    pair.work()
    store = directory_store(pair)
    expire(pair)
    one, other = uuid7(), uuid7()
    held = store.take("eu", one)
    assert held is not None
    assert store.take("eu", other) is None
    again = store.take("eu", one)
    assert again is not None
    assert again.fence == held.fence + 1
    expire(pair)
    assert store.take("eu", other) is not None


def test_a_new_key_lists_everybody_anew_and_ends_the_old_one(pair: Pair) -> None:
    fill(pair.eu, PEOPLE[:10])
    fill(pair.us, PEOPLE[10:])
    pair.work()
    old = {bytes(ref) for ref, _, _ in entries(pair)}
    directory = pair.eu.cell.directory
    assert directory is not None
    folder = pair.config.path("keys/directory")
    assert directory.rotate() == 2
    assert [pair.lookup(one) for one in PEOPLE] == ["eu"] * 10 + ["us"] * 10  # in between: under both keys
    expire(pair)
    Enlisting(pair.eu.cell, directory, uuid7()).run()
    assert {version for _, region, version in entries(pair) if region == "eu"} == {2}
    assert [pair.lookup(one) for one in PEOPLE] == ["eu"] * 10 + ["us"] * 10
    assert (folder / "half-000001").exists()
    pair.work()
    assert [pair.lookup(one) for one in PEOPLE] == ["eu"] * 10 + ["us"] * 10
    assert old.isdisjoint({bytes(ref) for ref, _, _ in entries(pair)})
    assert len(entries(pair)) == len(PEOPLE)
    assert [(row.version, row.state) for row in directory.store.key_rows()] == [
        (1, "destroyed"),
        (2, "active"),
    ]
    assert directory.store.key_rows()[0].sealed_half == b""
    assert not (folder / "half-000001").exists()
    assert not (folder / "root-000001").exists()


def test_a_directory_that_is_lost_or_restored_is_filled_again(tmp_path: Path) -> None:
    config = two_settings(tmp_path)
    make(config)
    path = tmp_path / "directory.db"
    with opened(config) as pair:
        populate(pair)
        fill(pair.eu, PEOPLE[:5])
        pair.work()
    shutil.copy(path, tmp_path / "older")
    with opened(config) as pair:
        again(pair)
        expire(pair)
        directory_store(pair).anew("eu")
        fill(pair.eu, PEOPLE[5:])
        pair.work()
        assert len(entries(pair)) == len(PEOPLE)
    for part in tmp_path.glob("directory.db*"):
        part.unlink()
    shutil.copy(tmp_path / "older", path)
    with opened(config) as pair:
        again(pair)
        expire(pair)
        pair.work()
        assert len(entries(pair)) == len(PEOPLE)


def test_a_directory_that_is_made_anew_has_another_key(tmp_path: Path) -> None:
    """Though it is version 1 again, of the same root and half, and the process goes on."""
    with two_regions(tmp_path) as pair:
        fill(pair.eu, PEOPLE)
        pair.work()
        directory = pair.eu.cell.directory
        assert directory is not None
        old = {bytes(ref) for ref, _, _ in entries(pair)}
        directory.store.close()
        directory._store = None
        for part in tmp_path.glob("directory.db*"):
            part.unlink()
        assert Wiring(pair.config).create_directory()
        for _ in range(3):
            Enlisting(pair.eu.cell, directory, uuid7()).run()
            expire(pair)
        assert [pair.lookup(one) for one in PEOPLE] == ["eu"] * len(PEOPLE)
        assert old.isdisjoint({bytes(ref) for ref, _, _ in entries(pair)})


def again(pair: Pair) -> None:
    """Credentials for a pair that was opened again."""
    pair.eu.service = pair.eu.key(
        next(row[0] for row in pair.eu.cell.store.read(pair.eu.cell.store.tables.principals.select())
             if row[3] == "service:demo")
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_its_tables_are_those_of_its_migrations(kind: str, tmp_path: Path) -> None:
    engine = open_engine(new_database(kind, tmp_path, empty=True))
    try:
        assert migrations.current(engine) is None
        directory_migrations.upgrade(engine)
        directory_migrations.check(engine)
        with pytest.raises(CoatcheckError):
            migrations.check(engine)  # it is no cell's
        with engine.connect() as connection:
            options = {"compare_type": True, "include_object": lambda _o, name, *_: name != "alembic_version"}
            context = MigrationContext.configure(connection, opts=options)
            assert list(compare_metadata(context, DirectoryTables().metadata)) == []
        directory_migrations.downgrade(engine, "base")
        assert [name for name in inspect(engine).get_table_names() if name != "alembic_version"] == []
        directory_migrations.upgrade(engine)
    finally:
        engine.dispose()


def test_listing_everybody_anew_leaves_time_for_other_work(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(pair.eu, PEOPLE)
    monkeypatch.setattr(enlisting, "BATCH", 4)
    monkeypatch.setattr(enlisting, "SLICE_S", -1.0)
    listing = Enlisting(pair.eu.cell, pair.eu.cell.directory, uuid7())  # type: ignore[arg-type]
    assert [listing.run() for _ in range(7)] == [0, 4, 4, 4, 4, 4, 0]
    assert len(entries(pair)) == len(PEOPLE)
    assert directory_store(pair).regions()[0].through == 1


@pytest.mark.parametrize("damage", ["sealed", "key"])
def test_a_person_that_does_not_open_stops_nobody_else(pair: Pair, damage: str) -> None:
    fill(pair.eu, PEOPLE)
    row = find(pair.eu.cell, "main", PEOPLE[:1])[PEOPLE[0]]
    tables = pair.eu.cell.store.tables
    with pair.eu.cell.store.engine.begin() as connection:
        if damage == "sealed":
            connection.execute(
                tables.subjects.update().where(tables.subjects.c.id == row).values(sealed=b"x")
            )
        else:
            of = tables.data_keys.c.subject == row
            connection.execute(tables.data_keys.update().where(of).values(sealed=b"x" * 200))
    pair.eu.cell.keyring.forget()
    pair.work()
    assert len(entries(pair)) == len(PEOPLE) - 1
    [alert] = pair.eu.events(kind="alert")
    assert (alert["code"], alert["subjects"]) == ("integrity_failed", 1)
