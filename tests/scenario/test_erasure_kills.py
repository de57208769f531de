"""An erasure whose process is killed, at each point: asked for or not, and then it goes on to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.dying import die, points_of
from tests.support.cells import EMAIL, NAME
from tests.support.hosted import Hosted
from tests.support.servers import PostgreSQL, server

SHARED = "ada@example.org"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQL]:
    with server() as running:
        yield running


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_it_is_asked_for_or_not_and_goes_on(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    database = "sqlite:///eu.db"
    if kind == "postgresql":
        database = request.getfixturevalue("postgres").database("erasures")
    host = Hosted.new(tmp_path / "cell", database)
    people = [f"person-{number}" for number in range(40)]
    with host.opened() as built:
        tokens = {one: built.token(NAME, f"name of {one}", one) for one in people}
        shared = [built.token(EMAIL, SHARED, one) for one in people]
    assert len(set(shared)) == 1

    def words(person: str) -> tuple[str | Path, ...]:
        path = tmp_path / "subject"
        path.write_text(person + "\n", encoding="utf-8")
        options = ("--grounds", "objection", "--yes", "--config", host.folder, "--region", "eu")
        return ("erasure", "request", "--in", path, *options)

    first, total = (points_of(*words(one)) for one in people[:2])
    assert first > total  # it makes a key too
    assert 8 <= total <= len(people) - 4
    asked = 0
    for point in range(1, total + 1):
        person = people[point + 1]
        die(point, *words(person))
        with host.opened() as built, built.cell.store.engine.begin() as connection:
            jobs = built.cell.store.tables.jobs  # a minute later: the lease of the dead is over
            connection.execute(jobs.update().where(jobs.c.lease_until > 0).values(lease_until=1))
        done = host("worker", "--once")
        assert done.returncode == 0, done.stderr
        status = host.answer("subject", "status", "--in", tmp_path / "subject")
        begun = status.get("erasure")
        if begun is None:  # killed before its commit: nothing has changed
            assert host.reveal(NAME, tokens[person]) == [f"name of {person}"], point
            assert host.answer(*words(person)[:-4])["level"] == "keys_removed"
        else:
            asked += 1
            assert begun["level"] == "keys_removed", point
        assert host.reveal(NAME, tokens[person], tokens[people[-1]]) == [None, f"name of {people[-1]}"], point
    assert 0 < asked < total
    assert host.reveal(EMAIL, shared[0]) == [SHARED]  # it is other people's too
    assert len(host.events("erasure.request")) == len(host.events("erasure.removed")) == total + 2
    assert host("epoch", "turn", "--yes").returncode == 0
    listed = host.answer("erasure", "list")
    assert {one["level"] for one in listed} == {"kms_destroyed"}
    left = people[total + 2 :]
    assert host.reveal(NAME, *(tokens[one] for one in left)) == [f"name of {one}" for one in left]
