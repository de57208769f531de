"""Outages over the HTTP door: a full disk, a locked database, a key store that is gone, a clock that jumps.

Each is answered 503 with a code and changes nothing; other requests of the moment are unharmed; when it is
over, the same process goes on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_FSIZE, prlimit
from typing import Any, Final

import pytest

from tests.harness.drives import PERSON, PURPOSE, VALUE
from tests.harness.roomy import NAME, SSN, add_principal, initialise_roomy
from tests.support.cells import AGENT, BuiltCell, development_cell
from tests.support.service import Answer, Service, coatcheck_here, running
from tests.support.within import within
from vault.clock import SECOND, FixedClock, SystemClock
from vault.errors import CoatcheckError, Unauthenticated
from vault.services.audit import verify

DAY: Final = 86_400 * SECOND
Trouble = Callable[[Service], AbstractContextManager[None]]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    folder = tmp_path / "deployment"
    initialise_roomy(folder)
    made = Service(folder)
    try:
        made.start()
        yield made
    finally:
        made.kill()


@contextmanager
def full(service: Service) -> Iterator[None]:
    """No file may grow beyond what the log of the database is, as on a disk that is full."""
    size = (service.folder / "eu.db-wal").stat().st_size
    prlimit(service.pid, RLIMIT_FSIZE, (size, RLIM_INFINITY))
    try:
        yield
    finally:
        prlimit(service.pid, RLIMIT_FSIZE, (RLIM_INFINITY, RLIM_INFINITY))


@contextmanager
def locked(service: Service) -> Iterator[None]:
    """Another process writes, and does not end."""
    with closing(sqlite3.connect(service.folder / "eu.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


class Works:
    """What a client does all day."""

    def __init__(self, service: Service) -> None:
        self.service = service
        _, self.key = add_principal(service, "works")
        self.values = ["Ada " + "x" * 150] * 200
        self.token = self.call("tokenize", {"field": NAME, "values": [PERSON]}).json()["tokens"][0]
        body = {
            "agent": AGENT, "purpose": PURPOSE, "limits": {"uses": 1000},
            "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}],
        }  # fmt: skip
        self.grant = self.call("grants", body).json()["credential"]

    def call(self, path: str, body: Any, key: str | None = None) -> Answer:
        return self.service.call("POST", path, body, key=key or self.key)

    def tokenize(self) -> Answer:
        return self.call("tokenize", {"field": NAME, "values": self.values})

    def reveal(self) -> Answer:
        body = {"purpose": PURPOSE, "field": NAME, "tokens": [self.token]}
        return self.call("detokenize", body, self.grant)

    def rows(self) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.service.folder / "eu.db")) as database:
            return [
                database.execute(f"SELECT count(*) FROM {table}").fetchone()
                for table in ("re_audit", "cu_tokens", "va_claims", "cu_audit_items", "re_grants")
            ]


@pytest.mark.parametrize("trouble", [full, locked])
def test_what_cannot_be_written_is_503_and_is_over_when_it_is_over(
    service: Service, trouble: Trouble
) -> None:
    works = Works(service)
    before = works.rows()
    pid = service.pid
    with trouble(service):
        answers = [works.tokenize(), works.tokenize()]
        assert [(answer.status, answer.code) for answer in answers] == [(503, "database_unavailable")] * 2
        assert "x" * 150 not in answers[0].body.decode()
        read = [service.call("GET", path, key=works.key) for path in ("whoami", "fields")]
        assert {answer.status for answer in read} == {200}
        assert service.get("/livez").status == 200
    assert works.rows() == before
    assert works.tokenize().status == 200
    assert works.reveal().json()["values"] == [PERSON]
    assert service.pid == pid
    log = service.log()
    assert "Traceback" not in log
    assert "x" * 150 not in log
    done = coatcheck_here("audit", "verify", "--config", service.folder, "--region", "eu")
    assert done.returncode == 0, done.stderr


def test_a_key_store_that_is_gone_and_comes_back(service: Service) -> None:
    """A process that has its keys goes on; one that starts without them says so, and the next one starts."""
    works = Works(service)
    keys, away = service.folder / "keys", service.folder / "away"
    keys.rename(away)
    try:
        assert works.tokenize().status == 200
        assert works.reveal().json()["values"] == [PERSON]
        service.kill()
        refused = coatcheck_here("schema", "show", "--config", service.folder, "--region", "eu")
        assert refused.returncode in (9, 11)
        assert "key_unavailable" in refused.stderr or "host_permissions" in refused.stderr
        assert "Traceback" not in refused.stderr
    finally:
        away.rename(keys)
    service.start()
    assert works.reveal().json()["values"] == [PERSON]


@pytest.mark.parametrize("gone", ["half-000001", "root-000001"])
def test_a_part_of_a_key_that_is_gone_and_comes_back(service: Service, gone: str) -> None:
    works = Works(service)
    path = service.folder / "keys" / "eu" / gone
    kept = path.read_bytes()
    service.kill()
    path.unlink()
    refused = coatcheck_here("schema", "show", "--config", service.folder, "--region", "eu")
    assert refused.returncode in (9, 10, 11)
    assert not path.exists()  # none is made in its place
    path.write_bytes(kept)
    path.chmod(0o600)
    service.start()
    assert works.reveal().json()["values"] == [PERSON]


def test_one_cell_in_trouble_leaves_the_other_alone(tmp_path: Path) -> None:
    with running(tmp_path / "deployment") as service, locked(service):
        body = {"field": NAME, "values": ["Ada"]}
        here = service.call("POST", "tokenize", body)
        there = service.call("POST", "tokenize", body, region="us", key=service.credential(region="us"))
        assert (here.status, here.code) == (503, "database_unavailable")
        assert there.status == 200


def test_only_the_command_that_fails_is_refused(tmp_path: Path) -> None:
    """Requests that come at once share a transaction; one that does not fit takes no other with it."""
    with within(tmp_path) as door:
        connection = door.built.cell.store.engine
        door.call("POST", "tokenize", {"field": NAME, "values": ["warm"]})
        with connection.begin() as transaction:
            transaction.exec_driver_sql(
                "CREATE TRIGGER poison BEFORE INSERT ON re_principals WHEN NEW.name LIKE '%poison%' "
                "BEGIN SELECT RAISE(ABORT, 'disk'); END"
            )
        admin, key = door.built.admin, door.built.service
        requests = [("POST", "tokenize", {"field": SSN, "values": [VALUE]}, key) for _ in range(15)]
        requests.insert(7, ("POST", "principals", {"kind": "service", "name": "poison"}, admin))
        answers = door.together(requests)
        assert answers.pop(7).status == 503
        assert [answer.status for answer in answers] == [200] * 15
        verify(door.built.cell.store)


class TestClock:
    """A clock that jumps: the ledger's time never goes back, and nothing is refused that need not be."""

    @pytest.fixture
    def clock(self) -> FixedClock:
        return FixedClock(SystemClock().now())

    @pytest.fixture
    def built(self, tmp_path: Path, clock: FixedClock) -> Iterator[BuiltCell]:
        with development_cell(tmp_path, clock) as made:
            yield made

    @pytest.mark.parametrize("jump", [-400 * DAY, -DAY, -SECOND, SECOND])
    def test_what_is_kept_opens_and_the_log_stays_in_order(
        self, built: BuiltCell, clock: FixedClock, jump: int
    ) -> None:
        token, grant = built.token(NAME, PERSON, "p"), built.grant(NAME, uses=9)
        clock.advance(jump)
        assert built.reveal(grant, NAME, token) == [PERSON]
        assert built.token(NAME, PERSON, "p") != token
        at = [event["at"] for event in built.events()]
        assert at == sorted(at)
        verify(built.cell.store)
        clock.advance(-jump)
        assert built.reveal(grant, NAME, token) == [PERSON]
        assert [event["at"] for event in built.events()] == sorted(event["at"] for event in built.events())

    def test_a_grant_that_is_over_stays_over_when_the_clock_goes_back(
        self, built: BuiltCell, clock: FixedClock
    ) -> None:
        """The ledger's time is the latest that it saw: a clock set back revives nothing."""
        token, grant = built.token(NAME, PERSON), built.grant(NAME, uses=9)
        clock.advance(DAY)
        with pytest.raises(CoatcheckError):
            built.reveal(grant, NAME, token)
        built.token(NAME, "later")  # the ledger has seen the day after
        clock.advance(-DAY)
        with pytest.raises(CoatcheckError):
            built.reveal(grant, NAME, token)

    def test_a_jump_ahead_ends_what_is_over_by_it_and_a_new_grant_works(
        self, built: BuiltCell, clock: FixedClock
    ) -> None:
        token, grant = built.token(NAME, PERSON), built.grant(NAME)
        clock.advance(3 * DAY)
        with pytest.raises(Unauthenticated, match="grant_invalid"):
            built.reveal(grant, NAME, token)
        assert built.reveal(built.grant(NAME), NAME, token) == [PERSON]
        clock.advance(-3 * DAY)
        assert built.reveal(built.grant(NAME), NAME, token) == [PERSON]
