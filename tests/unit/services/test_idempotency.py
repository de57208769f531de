"""Idempotency-Key: one effect and the same answer, whoever races, crashes, waits or is revoked meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import SSN, BuiltCell, any_cell
from tests.unit.services.calls import rows
from vault.clock import DAY, SECOND, FixedClock, parse_time
from vault.errors import CoatcheckError, Conflict, Denied, Unauthenticated
from vault.ledger import committer
from vault.ledger.group import run_group
from vault.services import idempotency as idempotency_of
from vault.services.audit import verify
from vault.services.grants import create_grant
from vault.services.idempotency import KEPT, MAX_DROPPED, drop_expired
from vault.services.identities import (
    PrincipalBody,
    create_principal,
    list_principals,
    remove_principal,
)
from vault.services.listing import Page
from vault.services.service_keys import (
    KeyBody,
    create_key,
    revoke_key,
)
from vault.wiring import perform

KEY = "3f0a7e52-9d1c-4f0e-a6c7-b9d5a7d1c001"
NOON = parse_time("2026-11-23T12:00:00Z")


@pytest.fixture(params=["sqlite", "postgresql"])
def clock(request: pytest.FixtureRequest) -> FixedClock:
    return FixedClock(NOON)


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


def table(built: BuiltCell, name: str) -> list[Any]:
    """All rows of a table, whatever the database calls it."""
    found = rows(built)
    return next(of for full, of in found.items() if full.removeprefix("cu_").removeprefix("re_") == name)


def make(built: BuiltCell, name: str, key: str = KEY, by: str | None = None) -> Any:
    return built.run(create_principal, PrincipalBody("service", name), by=by or built.admin, once=key)


def test_a_key_is_the_caller_s_own(built: BuiltCell) -> None:
    _, other = built.principal("operator", "other", roles=["admin"])
    first = make(built, "one")
    second = make(built, "two", by=other)
    assert first.id != second.id
    assert not second.replayed
    assert make(built, "one").replayed


def test_a_key_is_of_the_principal_not_of_its_credential(built: BuiltCell) -> None:
    page = built.run(list_principals, Page(), by=built.admin).items
    (admin,) = [row.id for row in page if row.name == "operator:admin"]
    first = make(built, "one")
    assert make(built, "one", by=built.key(admin)).id == first.id


def test_a_key_is_one_a_route(built: BuiltCell) -> None:
    principal = make(built, "one").id
    made = built.run(create_key, principal, KeyBody(), by=built.admin, once=KEY)
    assert made.credential
    assert not made.replayed


def test_what_is_refused_before_it_is_done_is_not_kept(built: BuiltCell) -> None:
    built.principal("service", "one")
    with pytest.raises(Conflict, match="name_taken"):
        make(built, "one")
    assert table(built, "idempotency") == []
    assert not make(built, "two").replayed


def test_a_refusal_by_the_ceiling_is_decided_again(built: BuiltCell) -> None:
    body = built.grant_body(SSN)
    limited = built.principal("service", "limited", permissions=["grant:create:support"])[1]
    for _ in range(2):
        with pytest.raises(Denied):
            built.run(create_grant, body, by=limited, once=KEY)
    assert table(built, "idempotency") == []


def test_whoever_may_not_any_more_is_not_answered_again(built: BuiltCell) -> None:
    id_, admin = built.principal("operator", "short", roles=["admin"])
    make(built, "one", by=admin)
    built.run(revoke_key, admin.rpartition("_")[0], by=built.admin)
    with pytest.raises(Unauthenticated):
        make(built, "one", by=admin)
    renewed = built.key(id_)
    assert make(built, "one", by=renewed).replayed
    built.run(remove_principal, id_, by=built.admin)
    with pytest.raises(Unauthenticated):
        make(built, "one", by=renewed)


def test_a_revocation_elsewhere_binds_though_the_key_is_remembered(built: BuiltCell) -> None:
    """Another process revoked it: nothing here was told to forget."""
    _, admin = built.principal("operator", "short", roles=["admin"])
    make(built, "one", by=admin)
    keys = built.cell.store.tables.api_keys
    with built.cell.store.engine.begin() as connection:
        connection.execute(keys.update().where(keys.c.id == admin.rpartition("_")[0]).values(revoked_at=NOON))
    with pytest.raises(Unauthenticated, match="credential_invalid"):
        make(built, "one", by=admin)


def test_nothing_of_it_is_kept_in_the_clear(built: BuiltCell) -> None:
    made = built.run(create_key, built.service_id, KeyBody(), by=built.admin, once=KEY)
    secret = str(made.credential).rpartition("_")[2]
    make(built, "canary-name-4711")
    kept = repr(table(built, "idempotency")).encode()
    assert len(table(built, "idempotency")) == 2
    for text in (KEY, secret, made.id, "canary-name-4711", built.service_id, "operator:admin", "main"):
        assert text.encode() not in kept
        assert text.encode().hex().encode() not in kept
    assert all(len(bytes(row[1])) == 16 and len(bytes(row[2])) == 32 for row in table(built, "idempotency"))


def test_racing_requests_have_one_effect(built: BuiltCell) -> None:
    start = threading.Barrier(8)
    answers: list[Any] = []

    def ask() -> None:
        start.wait()
        answers.append(make(built, "raced"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.id for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 7
    assert len(built.events(kind="principal.create")) == 4
    verify(built.cell.store)


def test_racing_requests_that_differ_have_one_winner(built: BuiltCell) -> None:
    start = threading.Barrier(6)
    outcomes: list[str] = []

    def ask(number: int) -> None:
        start.wait()
        try:
            outcomes.append(make(built, f"raced-{number}").name)
        except Conflict as refusal:
            outcomes.append(refusal.code)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[:5] == ["idempotency_conflict"] * 5
    assert outcomes.count("idempotency_conflict") == 5


def test_a_transaction_that_fails_keeps_nothing(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row and the effect are one transaction: the log refuses both."""

    def fails(session: Any, store: Any, commands: Any) -> Any:
        original = store.record.insert_audit
        store.record.insert_audit = store.record.insert_head  # there is a head already
        try:
            return run_group(session, store, commands)
        finally:
            store.record.insert_audit = original

    monkeypatch.setattr(committer, "run_group", fails)
    with pytest.raises(CoatcheckError):
        make(built, "one")
    monkeypatch.undo()
    assert table(built, "idempotency") == []
    made = make(built, "one")
    assert not made.replayed
    assert make(built, "one").id == made.id


def test_an_answer_that_was_lost_is_given_again(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Committed, but the process never heard of it: as after a crash between commit and answer."""

    class Lost(Exception):
        pass

    def lost(*given: Any) -> Any:
        run_group(*given)
        raise Lost

    monkeypatch.setattr(committer, "run_group", lost)
    with pytest.raises(CoatcheckError, match="internal"):
        make(built, "one")
    monkeypatch.undo()
    again = make(built, "one")
    assert again.replayed
    assert [row[0] for row in table(built, "principals") if row[3] == "service:one"] == [again.id]


@pytest.fixture
def timed(tmp_path: Path) -> Iterator[tuple[BuiltCell, FixedClock]]:
    clock = FixedClock(NOON)
    with any_cell("sqlite", tmp_path, clock) as made:
        yield made, clock


def test_an_answer_is_kept_for_a_day(timed: tuple[BuiltCell, FixedClock]) -> None:
    built, clock = timed
    first = make(built, "one")
    clock.advance(KEPT - SECOND)
    assert make(built, "one").id == first.id
    clock.advance(SECOND)
    assert KEPT == DAY
    second = make(built, "two")  # the key is free again, for another request too
    assert not second.replayed
    assert make(built, "two").id == second.id
    assert len(table(built, "idempotency")) == 1


def test_what_expired_is_removed_a_bounded_number_at_a_time(
    timed: tuple[BuiltCell, FixedClock], monkeypatch: pytest.MonkeyPatch
) -> None:
    built, clock = timed
    monkeypatch.setattr(idempotency_of, "MAX_ROUNDS", 1)
    idempotency = built.cell.store.tables.idempotency
    with built.cell.store.engine.begin() as connection:
        for number in range(MAX_DROPPED + 5):
            row = {"epoch": 1, "ref": number.to_bytes(16, "big"), "fingerprint": bytes(32), "sealed": b""}
            connection.execute(idempotency.insert().values(**row, expires_at=NOON - 1))
    make(built, "one")
    before = built.next_number
    for left in (6, 1, 1):
        perform(built.cell, lambda: drop_expired(built.cell))
        assert len(table(built, "idempotency")) == left
    assert built.next_number == before
    assert make(built, "one").replayed
    clock.advance(KEPT)
    perform(built.cell, lambda: drop_expired(built.cell))
    assert table(built, "idempotency") == []
    verify(built.cell.store)


def test_what_expired_is_removed_however_much_it_is(timed: tuple[BuiltCell, FixedClock]) -> None:
    built, _ = timed
    idempotency = built.cell.store.tables.idempotency
    expired = [
        {
            "epoch": 1,
            "ref": number.to_bytes(16, "big"),
            "fingerprint": bytes(32),
            "sealed": b"",
            "expires_at": NOON - number,
        }
        for number in range(3 * MAX_DROPPED + 1)
    ]
    with built.cell.store.engine.begin() as connection:
        connection.execute(idempotency.insert(), expired)
    groups = built.cell.committer.groups
    perform(built.cell, lambda: drop_expired(built.cell))
    assert table(built, "idempotency") == []
    assert built.cell.committer.groups == groups + 4


def test_removing_what_expired_writes_nothing_when_there_is_none(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(built, "one")
    monkeypatch.setattr(committer, "run_group", None)
    perform(built.cell, lambda: drop_expired(built.cell))


def test_a_damaged_answer_is_damage_and_not_a_new_request(built: BuiltCell) -> None:
    make(built, "one")
    idempotency = built.cell.store.tables.idempotency
    with built.cell.store.engine.begin() as connection:
        connection.execute(idempotency.update().values(sealed=b"\x01" * 200))
    with pytest.raises(CoatcheckError, match="integrity_failed"):
        make(built, "one")


def test_a_row_moved_to_another_request_does_not_open(built: BuiltCell) -> None:
    make(built, "one")
    make(built, "two", key="another")
    idempotency = built.cell.store.tables.idempotency
    one, two = table(built, "idempotency")
    with built.cell.store.engine.begin() as connection:
        connection.execute(idempotency.update().where(idempotency.c.ref == one[1]).values(sealed=two[3]))
        connection.execute(idempotency.update().where(idempotency.c.ref == two[1]).values(sealed=one[3]))
    for name, key in (("one", KEY), ("two", "another")):
        with pytest.raises(CoatcheckError, match="integrity_failed"):
            make(built, name, key=key)
