"""Copying a cell to another database, and restores and copies that are killed and gone on with."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.dying import die, points_of, spread
from tests.support.cells import EMAIL, NAME, REGION, SSN
from tests.support.hosted import Hosted, keys_of, remove
from tests.support.servers import PostgreSQL, server
from tests.support.service import coatcheck_here
from vault.config import load
from vault.store.snapshot import digest_of, name_of, snapshot, tables_of
from vault.wiring import Wiring

FULL: Final = os.environ.get("COATCHECK_FULL") == "1"
PEOPLE: Final = [f"cust-{number}" for number in range(20)]
_names = iter(range(1, 1_000))


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQL]:
    with server() as made:
        yield made


def filled(folder: Path, database: str = "sqlite:///eu.db") -> tuple[Hosted, dict[str, str]]:
    """A deployment with a value of each person, and its tokens."""
    host = Hosted.new(folder, database)
    tokens = {}
    with host.opened() as built:
        for person in PEOPLE:
            tokens[person] = built.token(NAME, f"name of {person}", person)
        built.token(EMAIL, "ada@example.com", PEOPLE[0])
        built.tokens(SSN, "123-45-6789")
    return host, tokens


def digests(host: Hosted) -> dict[str, Any]:
    """Every table of a cell: its rows, and a digest over them."""
    wiring = Wiring(load(host.folder / "coatcheck.toml"))
    with wiring.reader(REGION) as store, snapshot(store) as connection:
        return {name_of(table): digest_of(connection, table) for table in tables_of(store.tables)}


def but_for_the_event(found: dict[str, Any]) -> dict[str, Any]:
    """What a copy has in common with its source."""
    return {name: digest for name, digest in found.items() if name not in ("head", "audit")}


def names(tokens: dict[str, str]) -> list[str | None]:
    return [f"name of {person}" for person in tokens]


def copy(one: Hosted, other: Hosted, *words: str) -> tuple[str | Path, ...]:
    return ("cell", "copy", one.folder, other.folder, "--yes", *words)


def run(host: Hosted, *words: str | Path) -> Any:
    """`cell copy` takes no --config of its own that matters."""
    return host.answer(*words)


def test_from_sqlite_to_a_server_and_back(tmp_path: Path, postgres: PostgreSQL) -> None:
    one, tokens = filled(tmp_path / "one")
    before = digests(one)
    other = one.moved_to(tmp_path / "two", postgres.database(f"copy_{next(_names)}"))
    done = run(other, *copy(one, other))
    assert done["opened"] == len(PEOPLE) + 1
    assert done["tables"]["claims"] == len(PEOPLE) + 1
    assert digests(one) == before  # the source stays as it is
    after = digests(other)
    assert but_for_the_event(after) == but_for_the_event(before)
    assert after["audit"][0] == before["audit"][0] + 1
    [event] = other.events("cell.copy")
    assert (event["rows"], event["digest"]) == (done["rows"], done["digest"])
    assert other.reveal(NAME, *tokens.values()) == names(tokens)  # by the same credential
    assert other.answer("audit", "verify")["events"] > before["audit"][0]
    assert other.refusal(*copy(one, other))["code"] == "already_initialised"

    third = one.moved_to(tmp_path / "three", "sqlite:///eu.db")
    run(third, *copy(other, third))
    assert third.reveal(NAME, *tokens.values()) == names(tokens)
    assert third.answer("audit", "verify")["events"] > 0
    with third.opened() as built:  # equal values find each other still
        assert built.token(EMAIL, "ada@example.com", PEOPLE[0])
        assert len(built.cell.store.read(built.cell.store.tables.blind_index.select())) == 1


def test_a_cell_that_is_held_is_not_copied(tmp_path: Path, postgres: PostgreSQL) -> None:
    one, _ = filled(tmp_path / "one")
    other = one.moved_to(tmp_path / "two", postgres.database(f"copy_{next(_names)}"))
    with one.opened():
        assert other.refusal(*copy(one, other))["code"] == "cell_locked"
    run(other, *copy(one, other))
    third = one.moved_to(tmp_path / "three", "sqlite:///eu.db")
    with other.opened() as built:
        built.tokens(SSN, "123-45-6789")  # its committer has written
        assert other.refusal(*copy(other, third))["code"] == "cell_locked"
    assert one.refusal(*copy(one, one))["code"] == "usage"
    us = third.folder / "coatcheck.toml"
    us.write_text(us.read_text().replace("[cell.eu]", "[cell.us]"))
    assert one.refusal(*copy(one, third))["code"] == "usage"


class Places:
    """The same deployment on new databases of a kind, all of them empty."""

    def __init__(self, kind: str, one: Hosted, folder: Path, request: pytest.FixtureRequest) -> None:
        self._server = request.getfixturevalue("postgres") if kind == "postgresql" else None
        self._one, self._folder, self._kind = one, folder, kind

    def new(self) -> Hosted:
        number = next(_names)
        server = self._server
        database = "sqlite:///eu.db" if server is None else server.database(f"copy_{number}")
        return self._one.moved_to(self._folder / f"{self._kind}-{number}", database)


def points(kind: str, total: int) -> list[int]:
    """Where it is killed; on a server, which takes longer to make, at fewer places."""
    if FULL:
        return list(range(1, total + 1))
    return spread(total, few=1, last=3) if kind == "sqlite" else spread(total, few=0, last=2)


def refused(host: Hosted, point: int) -> None:
    """Nothing takes a cell that is not whole for one."""
    code = host.refusal("audit", "verify")["code"]
    assert code in ("cell_incomplete", "not_initialised"), point
    if code == "cell_incomplete":
        for words in (("init", host.folder), ("serve", "--config", host.folder)):
            assert code in coatcheck_here(*words).stderr, point


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_copy_that_is_killed_is_refused_and_gone_on_with(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    one, tokens = filled(tmp_path / "one")
    before = but_for_the_event(digests(one))
    places = Places(kind, one, tmp_path, request)
    total = points_of(*copy(one, places.new()))
    assert total > 60
    for point in points(kind, total):
        other = places.new()
        die(point, *copy(one, other))
        if point < total:  # the last one lies behind the end
            refused(other, point)
            run(other, *copy(one, other))
        assert but_for_the_event(digests(other)) == before, point
        assert len(other.events("cell.copy")) == 1, point
        assert other.reveal(NAME, *tokens.values()) == names(tokens)


def test_a_source_that_changed_meanwhile_is_noticed(tmp_path: Path) -> None:
    one, tokens = filled(tmp_path / "one")
    other = one.moved_to(tmp_path / "two", "sqlite:///eu.db")
    die(30, *copy(one, other))
    with one.opened() as built:
        tokens["new"] = built.token(NAME, "name of new", "cust-new")
    assert one.refusal(*copy(one, other))["code"] == "source_changed"
    run(one, *copy(one, other, "--again"))
    assert but_for_the_event(digests(other)) == but_for_the_event(digests(one))
    assert other.reveal(NAME, *tokens.values()) == names(tokens)


def test_what_somebody_wrote_into_the_copy_is_noticed(tmp_path: Path) -> None:
    one, _ = filled(tmp_path / "one")
    other = one.moved_to(tmp_path / "two", "sqlite:///eu.db")
    die(83, *copy(one, other))
    with sqlite3.connect(other.folder / "eu.db") as connection:
        assert connection.execute("UPDATE cu_tokens SET created_at = created_at + 1").rowcount > 0
    refused = one.refusal(*copy(one, other))
    assert (refused["code"], refused["table"]) == ("copy_differs", "tokens")
    assert other.refusal("audit", "verify")["code"] == "cell_incomplete"
    run(one, *copy(one, other, "--again"))
    assert other.answer("audit", "verify")["events"] > 0


def test_a_destination_with_other_keys_is_refused(tmp_path: Path) -> None:
    one, _ = filled(tmp_path / "one")
    stranger = Hosted.new(tmp_path / "two", "sqlite:///eu.db")
    (stranger.folder / "eu.db").unlink()
    assert one.refusal(*copy(one, stranger))["code"] == "integrity_failed"
    assert stranger.refusal("audit", "verify")["code"] == "cell_incomplete"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_restore_that_is_killed_is_refused_and_gone_on_with(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    one, tokens = filled(tmp_path / "one")
    backups = tmp_path / "backups"
    one.answer("cell", "backup", backups)
    with one.opened() as built:
        remove(built, keys_of(built, *PEOPLE[:5]))
    survivors = [None] * 5 + names(tokens)[5:]
    words = ("cell", "restore", backups, "--region", REGION, "--yes", "--config")
    places = Places(kind, one, tmp_path, request)
    total = points_of(*words, places.new().folder)
    assert total > 50
    for point in points(kind, total):
        other = places.new()
        die(point, *words, other.folder)
        if point < total:
            refused(other, point)
            other.answer("cell", "restore", backups, "--yes")
        assert len(other.events("cell.restore")) == 1, point
        other.new_key()
        assert other.reveal(NAME, *tokens.values()) == survivors, point
        assert other.answer("audit", "verify")["events"] > 0


def test_other_files_than_those_begun_with_are_refused(tmp_path: Path) -> None:
    one, tokens = filled(tmp_path / "one")
    first, second = tmp_path / "first", tmp_path / "second"
    one.answer("cell", "backup", first)
    one.answer("cell", "backup", second)
    other = one.moved_to(tmp_path / "two", "sqlite:///eu.db")
    die(20, "cell", "restore", first, "--yes", "--region", REGION, "--config", other.folder)
    assert other.refusal("cell", "restore", second, "--yes")["code"] == "source_changed"
    assert other.refusal("cell", "restore", first, "--newest", "--yes")["code"] == "source_changed"
    assert other.refusal(*copy(one, other))["code"] == "source_changed"
    assert other.refusal("cell", "downgrade", "0004", "--yes")["code"] == "cell_incomplete"
    doctor = other("doctor")
    assert "cell_incomplete" in doctor.stdout
    other.answer("cell", "restore", second, "--again", "--yes")
    other.new_key()
    assert other.reveal(NAME, *tokens.values()) == names(tokens)
