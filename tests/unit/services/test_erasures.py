"""Erasing a person: denied at once, gone by a job, final with a turn; late writes and holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cells import HOST, NAME, TEXT, BuiltCell, any_cell
from tests.support.hosted import keys_of, shown
from tests.support.turns import turn, with_keys
from tests.unit.services.calls import with_neighbour
from vault.clock import DAY
from vault.errors import CoatcheckError, Conflict, Stale, Unknown
from vault.ledger.committer import drive
from vault.services import datakeys, erasing
from vault.services.batch import BatchRefused
from vault.services.encrypt import EncryptBody, EncryptItem, encrypt
from vault.services.erasures import (
    ErasureAnswer,
    ErasureBody,
    StatusAnswer,
    SubjectBody,
    list_erasures,
    read_erasure,
    read_status,
    request_erasure,
)
from vault.services.fences import ReopenBody, end_fences, reopen_subject
from vault.services.listing import Page
from vault.services.remove_keys import remove_keys
from vault.services.subjects import find
from vault.services.tokenize import TokenizeBody, TokenizeItem, tokenize
from vault.services.transfers import TransferBody, start_transfer
from vault.services.worker import Worker
from vault.store.custody import Slot

ADA, BOB = "cust-ada", "cust-bob"


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield with_keys(made)


def erase(built: BuiltCell, subject: str = ADA, **more: Any) -> ErasureAnswer:
    return built.run(request_erasure, ErasureBody(subject, "consent_withdrawn", **more), by=HOST)


def work(built: BuiltCell) -> None:
    Worker(built.cell).run_due()


def read(built: BuiltCell, erasure: ErasureAnswer) -> ErasureAnswer:
    assert erasure.id is not None
    return built.run(read_erasure, erasure.id, by=HOST)


def status(built: BuiltCell, subject: str) -> StatusAnswer:
    return built.run(read_status, SubjectBody(subject), by=HOST)


def hold(built: BuiltCell, subject: bytes | None, kind: str = "subject", name: str = "") -> None:
    """A legal hold, as its row says it."""
    row = {
        "id": "hold_1", "tenant": "main", "kind": kind, "subject": subject, "name": name, "state": "active",
        "reason": "litigation", "created_by": "host:0", "created_at": 1, "confirmed_by": None,
        "confirmed_at": 0, "release_asked_by": None,
        "release_asked_at": 0, "release_reason": None, "released_by": None, "released_at": 0,
    }  # fmt: skip
    with built.cell.store.engine.begin() as connection:
        connection.execute(built.cell.store.tables.holds.insert(), row)


def release(built: BuiltCell) -> None:
    t = built.cell.store.tables
    with built.cell.store.engine.begin() as connection:
        connection.execute(t.holds.update().values(released_at=2, state="released"))
        connection.execute(t.jobs.update().values(due_at=0))


def test_it_binds_at_once_and_only_the_person(built: BuiltCell) -> None:
    tokens = {person: built.token(NAME, f"name of {person}", person) for person in (ADA, BOB)}
    grant = built.grant(NAME, uses=10)
    made = erase(built)
    assert made.level == "requested"
    assert (made.keys, made.values, made.shared_tokens) == (2, {NAME: 1}, 0)
    assert shown(built, grant, NAME, tokens[ADA]) is None
    assert shown(built, grant, NAME, tokens[BOB]) == f"name of {BOB}"
    work(built)
    gone = read(built, made)
    assert gone.level == "keys_removed"
    assert list(gone.levels) == ["requested", "keys_removed"]
    assert keys_of(built, ADA) == []
    t = built.cell.store.tables
    assert len(built.cell.store.read(t.subjects.select())) == 1
    assert shown(built, grant, NAME, tokens[ADA]) is None
    assert shown(built, grant, NAME, tokens[BOB]) == f"name of {BOB}"


def test_a_turn_closes_what_was_gone_before_its_flip_and_nothing_later(built: BuiltCell) -> None:
    for person in (ADA, BOB):
        built.token(NAME, f"name of {person}", person)
    first = erase(built)
    work(built)
    turn(built)
    later = erase(built, BOB)
    work(built)
    closed = read(built, first)
    assert closed.level == "kms_destroyed"
    assert list(closed.levels) == ["requested", "keys_removed", "epoch_closed", "kms_destroyed"]
    assert sorted(closed.levels.values()) == list(closed.levels.values())
    assert closed.closed_by_turn == 2
    assert read(built, later).level == "keys_removed"
    turn(built)
    assert read(built, later).closed_by_turn == 3


def test_a_late_write_is_refused_until_the_person_is_let_in_again(built: BuiltCell) -> None:
    old = built.token(NAME, "Ada", ADA)
    made = erase(built)
    work(built)
    for _ in range(2):  # before and after a turn, which carries the suppression
        with pytest.raises(BatchRefused, match="subject_erased"):
            built.token(NAME, "Ada", ADA)
        assert status(built, ADA).erasure is not None
        turn(built)
    assert find(built.cell, "main", [ADA]) == {}
    opened = built.run(reopen_subject, ReopenBody(ADA, "she came back"), by=HOST)
    assert opened.id == made.id
    assert opened.reopened is not None
    grant = built.grant(NAME, uses=10)
    new = built.token(NAME, "Ada", ADA)
    assert shown(built, grant, NAME, new) == "Ada"
    assert shown(built, grant, NAME, old) is None
    with pytest.raises(Unknown, match="not_found"):
        built.run(reopen_subject, ReopenBody(ADA, "again"), by=HOST)


def test_asking_again_answers_the_same_and_an_unknown_person_is_erased_too(built: BuiltCell) -> None:
    built.token(NAME, "Ada", ADA)
    made, again = erase(built), erase(built)
    assert again.id == made.id
    nobody = erase(built, "cust-nobody")
    assert (nobody.level, nobody.keys, nobody.job) == ("keys_removed", 0, None)
    work(built)
    assert read(built, nobody).level == "keys_removed"
    with pytest.raises(BatchRefused, match="subject_erased"):
        built.token(NAME, "Nobody", "cust-nobody")
    listed = built.run(list_erasures, Page(10, None), by=HOST).items
    assert [one.id for one in listed] == [nobody.id, made.id]
    assert len(built.events(kind="erasure.request")) == 2
    assert len(built.events(kind="erasure.removed")) == 1


def test_a_dry_run_changes_nothing(built: BuiltCell) -> None:
    token = built.token(NAME, "Ada", ADA)
    would = erase(built, dry_run=True)
    assert (would.id, would.keys, would.values) == (None, 2, {NAME: 1})
    work(built)
    assert shown(built, built.grant(NAME), NAME, token) == "Ada"
    assert status(built, ADA) == StatusAnswer(known=True)


@pytest.mark.parametrize("kind", ["subject", "class", "tenant"])
def test_a_hold_keeps_it_at_requested_and_its_release_lets_it_go_on(built: BuiltCell, kind: str) -> None:
    token = built.token(NAME, "Ada", ADA)
    [person] = find(built.cell, "main", [ADA]).values()
    class_ = built.cell.schemas.of("main").schema.fields[NAME].row_class
    hold(built, person if kind == "subject" else None, kind, class_ if kind == "class" else "")
    assert erase(built, dry_run=True).held_by == ["hold_1"]
    made = erase(built)
    assert made.held_by == ["hold_1"]
    work(built)
    held = read(built, made)
    assert (held.level, held.held_by) == ("requested", ["hold_1"])
    assert shown(built, built.grant(NAME), NAME, token) is None
    t = built.cell.store.tables.data_keys
    assert len(built.cell.store.read(t.select().where(t.c.subject == person))) == 2  # nothing is lost
    turn(built)
    assert read(built, made).level == "requested"
    with pytest.raises(Conflict, match="hold_active"):
        built.run(reopen_subject, ReopenBody(ADA, "too early"), by=HOST)
    release(built)
    work(built)
    gone = read(built, made)
    assert (gone.level, gone.held_by, gone.keys) == ("keys_removed", [], 2)


def test_a_hold_that_comes_between_is_seen_in_the_removal_itself(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: without the look in the transaction, the keys were gone."""
    built.token(NAME, "Ada", ADA)
    [person] = find(built.cell, "main", [ADA]).values()
    made = erase(built)
    real = remove_keys

    def late(*given: Any, **more: Any) -> Any:
        hold(built, person)
        return real(*given, **more)

    monkeypatch.setattr(erasing, "remove_keys", late)
    work(built)
    assert read(built, made).held_by == ["hold_1"]
    t = built.cell.store.tables.data_keys
    assert len(built.cell.store.read(t.select().where(t.c.subject == person))) == 2


def test_a_suppression_ends_with_its_time(built: BuiltCell) -> None:
    made = erase(built)
    clock = built.cell.clock

    class Ahead:
        def now(self) -> int:
            return clock.now() + 3_653 * DAY

    built.cell.clock = Ahead()
    ended = [drive(built.cell.committer, lambda: end_fences(built.cell), built.cell.forget) for _ in range(2)]
    built.cell.clock = clock
    assert ended == [1, 0]
    assert built.token(NAME, "Ada again", ADA)
    assert read(built, made).reopened_by == "schedule"
    [event] = built.events(kind="erasure.fence")
    assert (event["because"], event["erasure"]) == ("time", made.id)


def test_what_is_held_is_not_moved_away(built: BuiltCell) -> None:
    body = msgspec.convert(with_neighbour(built), TransferBody)
    hold(built, None, "tenant")
    with pytest.raises(Conflict, match="hold_active"):
        built.run(start_transfer, msgspec.structs.replace(body, mode="move"), by=HOST)
    assert built.run(start_transfer, body, by=HOST).id


def test_nobody_makes_a_key_for_a_person_who_is_being_erased(built: BuiltCell) -> None:
    """Whoever looked the person up before the erasure is told that it is stale."""
    built.token(NAME, "Ada", ADA)
    [person] = find(built.cell, "main", [ADA]).values()
    erase(built)
    slot = Slot("main", person, "customer", "2031-01")
    caller = built.request().host
    assert caller is not None
    steps = datakeys.obtain(built.cell, caller, built.request().origin, [slot])
    command = next(steps)
    with pytest.raises(Stale):
        built.cell.committer.execute(command)


def test_what_an_erasure_is_told_and_who_may_not(built: BuiltCell) -> None:
    with pytest.raises(CoatcheckError, match="operation_unsupported"):
        built.run(request_erasure, ErasureBody(ADA, "because"), by=HOST)
    with pytest.raises(CoatcheckError, match="subject_invalid"):
        built.run(request_erasure, ErasureBody("", "objection"), by=HOST)
    with pytest.raises(CoatcheckError, match="permission_denied"):
        built.run(request_erasure, ErasureBody(ADA, "objection"), by=built.service)
    with pytest.raises(Unknown, match="not_found"):
        built.run(read_erasure, "er_00000000000000000000000000", by=HOST)


@pytest.mark.parametrize("many", [1, 3])
def test_a_batch_names_the_values_of_people_who_were_erased(built: BuiltCell, many: int) -> None:
    erased = [f"gone-{number}" for number in range(many)]
    for one in erased:
        erase(built, one)
    people = [ADA, *erased, BOB, None]
    refused = [{"index": place + 1, "code": "subject_erased"} for place in range(many)]
    for body in (
        TokenizeBody(field=NAME, values=["x"] * len(people), subjects=people),
        TokenizeBody(items=[TokenizeItem(NAME, "x", one) for one in people]),
    ):
        with pytest.raises(BatchRefused) as refusal:
            built.run(tokenize, body)
        assert (refusal.value.code, refusal.value.facts["errors"]) == ("subject_erased", refused)
        answer: Any = built.run(tokenize, msgspec.structs.replace(body, on_error="report"))
        assert answer.failed == many
    texts = [EncryptItem(TEXT, "x", one) for one in people]
    with pytest.raises(BatchRefused, match="subject_erased"):
        built.run(encrypt, EncryptBody(texts))
    sealed = built.run(encrypt, EncryptBody(texts, "report"))
    errors = [one.error.code for one in sealed.items if not isinstance(one.error, msgspec.UnsetType)]
    assert errors == ["subject_erased"] * many
    opened = [isinstance(one.ciphertext, str) for one in sealed.items]
    assert opened == [True, *[False] * many, True, True]
