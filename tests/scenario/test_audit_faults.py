"""P1 at every route: no audit, no service. The log or the head cannot be written while the route is driven.

The routes are found in the table of routes; one without a drive in `tests/harness/drives.py` fails here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.harness.drives import ALL, DRIVES, Drive, Sent, send
from tests.harness.faults import Fault, Watch, watching
from tests.harness.states import Rows, changed, dump
from tests.support.operators import cheapen
from tests.support.service import Answer
from tests.support.within import Door, within
from vault.api.app import ROUTES
from vault.services.audit import verify

LOG: Final = "^INSERT INTO re_audit"
HEAD: Final = "^UPDATE re_head"
FAULTS: Final = {
    "log full": (Fault("full", of=LOG, lasting=True), "database_unavailable"),
    "log locked": (Fault("locked", of=LOG, lasting=True), "database_unavailable"),
    "log refused": (Fault("integrity", of=LOG, lasting=True), "audit_unavailable"),
    "log gone": (Fault("no such table", of=LOG, lasting=True), "audit_unavailable"),
    "head full": (Fault("full", of=HEAD, lasting=True), "database_unavailable"),
    "head locked": (Fault("locked", of=HEAD, lasting=True), "database_unavailable"),
    "commit fails": (Fault("input and output", of="^COMMIT", lasting=True), "database_unavailable"),
}


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are many passwords here."""
    cheapen(monkeypatch)


FOR_NOBODY: Final = {f"{route.method} {route.path}" for route in ROUTES if not route.who}
FOR_ALL: Final = {"POST intake-key"}
"""Refused to nobody who is known, and on the record when it has a key made."""


class Driven:
    """One route with a request that it takes."""

    def __init__(self, door: Door, watch: Watch, route: str, drive: Drive) -> None:
        self.door, self.watch, self.route = door, watch, route
        self.sent: Sent = drive(door)

    def send(self) -> Answer:
        return send(self.door, self.route, self.sent)

    def dump(self) -> Rows:
        return dump(self.door.built.cell.store)

    def events(self) -> int:
        return self.door.built.next_number


@contextmanager
def driven(folder: Path, route: str, what: str) -> Iterator[Driven]:
    with watching() as watch, within(folder) as door:
        yield Driven(door, watch, route, DRIVES[route][what])


def test_every_route_there_is_is_driven() -> None:
    assert {f"{route.method} {route.path}" for route in ROUTES} == DRIVES.keys()


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], bool]:
    """Which drives have an event; each is taken, and what changes anything has one."""
    found = {}
    for route, what in ALL:
        with driven(tmp_path_factory.mktemp("taken"), route, what) as one:
            before, first = one.dump(), one.events()
            answer = one.send()
            assert answer.status < 300, (route, what, answer.body)
            found[route, what] = one.events() > first
            assert found[route, what] or changed(before, one.dump()) == set(), (route, what)
            assert not one.sent.shows or any(text in answer.body.decode() for text in one.sent.shows)
            verify(one.door.built.cell.store)
    return found


def test_what_reads_decides_and_changes_is_told_apart(writes: dict[tuple[str, str], bool]) -> None:
    """A POST, DELETE, PUT or PATCH without an event is one that this list knows to change nothing."""
    silent = {route for (route, _), written in writes.items() if not written}
    assert {route for route in silent if not route.startswith("GET ")} <= {
        "POST grants/simulate",
        "POST policy/explain",
        "POST policy/plan",
        "POST reports/disclosures",
        "POST schema/plan",
        "POST subjects/status",
        "POST self/passkeys/options",
        "POST sessions/passkey/options",
        "POST sessions/step-up/options",
        "POST tokenize/check",
    }
    reading = [route for (route, _), written in writes.items() if written and route.startswith("GET ")]
    assert reading == ["GET approvals/{id}"]  # it shows masked data, which is on the record


@pytest.mark.parametrize(("route", "what"), ALL)
def test_without_its_event_nothing_is_shown_and_nothing_changes(
    route: str, what: str, tmp_path: Path, writes: dict[tuple[str, str], bool]
) -> None:
    with driven(tmp_path, route, what) as one:
        for name, (fault, code) in FAULTS.items():
            before = one.dump()
            one.watch.start(fault)
            answer = one.send()
            one.watch.stop()
            if not writes[route, what]:
                assert answer.status < 300, (name, answer.body)
                continue
            assert one.watch.hits > 0, name
            assert (answer.status, answer.code) == (503, code), name
            document = answer.json()
            assert document.keys() <= {"type", "title", "status", "code", "request", "retry", "hint"}, name
            assert not [text for text in one.sent.shows if text in answer.body.decode()], name
            assert changed(before, one.dump()) == set(), name
        assert one.send().status < 300  # it works again, without a restart
        verify(one.door.built.cell.store)


@pytest.mark.parametrize("route", [name for name in DRIVES if name not in FOR_NOBODY | FOR_ALL])
def test_a_refusal_without_its_event_is_not_given_either(route: str, tmp_path: Path) -> None:
    """Whoever may not is told so only once it is on the record."""
    what = next(iter(DRIVES[route]))
    with driven(tmp_path, route, what) as one:
        built = one.door.built
        _, powerless = built.principal("service", "powerless")
        key = one.sent.key
        if key in ("", built.admin, built.service) or key.startswith("cs_"):
            key = powerless
        sent = Sent(one.sent.path, one.sent.body, key)
        if key != powerless:
            sent = Sent(sent.path, {**sent.body, "purpose": "files"}, key)
        first = one.events()
        refused = send(one.door, route, sent)
        if one.events() == first:
            return  # it is refused to nobody, or like what is not there
        assert refused.status in (401, 403, 404)
        before = one.dump()
        one.watch.start(FAULTS["log gone"][0])
        answer = send(one.door, route, sent)
        one.watch.stop()
        assert (answer.status, answer.code) == (503, "audit_unavailable")
        assert changed(before, one.dump()) == set()


def test_the_control_shows(tmp_path: Path) -> None:
    """A log that looks written and is not: the value is shown, so the tests above could have failed."""
    with driven(tmp_path, "POST detokenize", "vaulted") as one:
        path = one.door.built.config.path("eu.db")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "CREATE TRIGGER silent BEFORE INSERT ON re_audit BEGIN SELECT RAISE(IGNORE); END"
            )
        before = len(one.dump()["re_audit"])
        answer = one.send()
        assert answer.status == 200
        assert one.sent.shows[0] in answer.body.decode()
        assert len(one.dump()["re_audit"]) == before
