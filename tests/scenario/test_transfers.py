"""Transfers: only where it is permitted, on both records, once, and kept no longer than before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.cells import CITY, EMAIL, HANDLE, NAME, NOTE, SSN, TEXT, BuiltCell
from tests.support.regions import Pair, make, opened, populate, two_regions, two_settings
from vault.clock import FixedClock, parse_time
from vault.errors import CoatcheckError
from vault.ledger.committer import drive
from vault.services import arriving, transferring, turning
from vault.services.arriving import Arrived, Coming, receive
from vault.services.batch import BatchRefused
from vault.services.jobs import SteerBody, cancel_job, resume_job
from vault.services.transfers import COPY, MOVE
from vault.services.turn import TurnBody, start_turn
from vault.services.turning import DROP
from vault.services.worker import Worker

ADA = "ada"
FIELDS = (NAME, EMAIL, HANDLE, CITY)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with two_regions(tmp_path) as made:
        yield made


def fill(built: BuiltCell, person: str = ADA, number: int = 5) -> dict[str, tuple[str, str]]:
    """Values of a person in every field that may leave: token -> field and value."""
    made: dict[str, tuple[str, str]] = {}
    for field in FIELDS:
        values = [
            f"{person}{field.partition('.')[2]}{index}" + ("@example.org" if field == EMAIL else "")
            for index in range(number)
        ]
        tokens = built.tokens(field, *values, subjects=[person] * number)
        made |= {token or "": (field, value) for token, value in zip(tokens, values, strict=True)}
    return made


def shown(built: BuiltCell, field: str, token: str) -> str | None:
    """What a token opens as; None if it does not."""
    grant = built.grant(field, uses=1, operations=["reveal"])
    try:
        values = built.reveal(grant, field, token)
    except BatchRefused:
        return None
    return values[0] if values else None


def code(call: Any, *given: Any, **more: Any) -> str:
    with pytest.raises(CoatcheckError) as refusal:
        call(*given, **more)
    return refusal.value.code


@pytest.mark.parametrize("mode", [COPY, MOVE])
def test_values_have_tokens_in_the_other_region(pair: Pair, mode: str) -> None:
    made, others = fill(pair.eu), fill(pair.eu, "bob")
    begun = pair.transfer(ADA, *FIELDS, mode=mode)
    assert (begun.state, begun.moved) == ("queued", 0)
    pair.work()
    done = pair.read(begun.id)
    assert (done.state, done.moved, done.refused, done.mode) == ("done", len(made), {}, mode)
    rows = pair.moved(begun.id, limit=7)
    assert {(row.old, row.field) for row in rows} == {(token, field) for token, (field, _) in made.items()}
    assert len({row.new for row in rows}) == len(rows)
    for row in rows:
        field, value = made[row.old]
        assert row.new != row.old
        assert shown(pair.us, field, row.new or "") == value
        assert shown(pair.eu, field, row.old) == (value if mode == COPY else None)
        assert shown(pair.eu, field, row.new or "") is None
        assert shown(pair.us, field, row.old) is None
    for token, (field, value) in others.items():
        assert shown(pair.eu, field, token) == value
    pair.work()
    assert pair.lookup(ADA) == "eu"
    assert len(pair.us.events(kind="subject.create")) == 1


def test_both_records_tell_of_it(pair: Pair) -> None:
    made = fill(pair.eu)
    begun = pair.transfer(ADA, *FIELDS, mode=MOVE)
    pair.work()
    [created] = pair.eu.events(kind="transfer.create")
    [sent] = pair.eu.events(kind="transfer.send")
    [removed] = pair.eu.events(kind="transfer.remove")
    [received] = pair.us.events(kind="transfer.receive")
    for event in (created, sent, removed, received):
        assert event["transfer"] == begun.id
    assert created["legal_basis"] == sent["legal_basis"] == received["legal_basis"] == begun.legal_basis
    assert (sent["to"], received["from"], received["region"]) == ("us", "eu", "us")
    assert created["actor"] == sent["actor"] == "operator:officer"
    assert received["actor"] == "transfer:eu"
    for event in (sent, received):
        assert sum(entry["values"] for entry in event["fields"]) == len(made)
    assert removed["claims"] == len(made)
    for built in (pair.eu, pair.us):  # the name of the person is in none, nor a value, nor a token
        text = msgspec.json.encode(built.events())
        for token, (_, value) in made.items():
            assert token.encode() not in text
            assert value.encode() not in text
        assert b'"ada"' not in text


def test_nothing_is_kept_of_it_in_the_clear(pair: Pair) -> None:
    made = fill(pair.eu)
    begun = pair.transfer(ADA, NAME, EMAIL)
    pair.work()
    for name in ("eu", "us"):
        raw = b"".join(path.read_bytes() for path in pair.config.path(".").glob(f"{name}.db*"))
        for _, value in made.values():
            assert value.encode() not in raw
        for row in pair.moved(begun.id):
            if row.field == NAME:
                assert (row.new or "").encode() not in raw
                assert row.old.encode() not in raw


@pytest.mark.parametrize(
    ("fields", "more", "expected"),
    [
        ([NOTE], {}, "residency_refused"),
        ([NAME, NOTE], {}, "residency_refused"),
        ([NAME], {"to": "eu"}, "residency_refused"),
        ([NAME], {"to": "mars"}, "residency_refused"),
        ([NAME], {"legal_basis": "because"}, "operation_unsupported"),
        ([NAME], {"mode": "steal"}, "operation_unsupported"),
        ([SSN], {}, "operation_unsupported"),
        ([TEXT], {}, "operation_unsupported"),
        (["no.such"], {}, "field_unknown"),
        ([], {}, "limit_invalid"),
    ],
)
def test_what_is_not_permitted_is_refused(
    pair: Pair, fields: list[str], more: dict[str, Any], expected: str
) -> None:
    fill(pair.eu)
    assert code(pair.transfer, ADA, *fields, **more) == expected
    assert pair.eu.events(kind="transfer.create") == []
    if expected == "residency_refused":
        event = pair.eu.events(kind="denied")[-1]
        assert (event["code"], event["fields"]) == (expected, sorted(fields))
        assert "mars" not in str(event)


def test_without_permission_or_person_it_is_refused(pair: Pair) -> None:
    fill(pair.eu)
    assert code(pair.transfer, "nobody", NAME) == "not_found"
    officer, pair.officer = pair.officer, pair.eu.service
    assert code(pair.transfer, ADA, NAME) == "permission_denied"
    pair.officer = officer
    assert pair.transfer(ADA, NAME).state == "queued"


def test_the_cell_has_to_permit_it_too(pair: Pair) -> None:
    fill(pair.eu)
    pair.eu.cell.transfer_to = frozenset()
    assert code(pair.transfer, ADA, NAME) == "residency_refused"


def test_a_permission_that_is_withdrawn_stops_what_was_begun(pair: Pair) -> None:
    made = fill(pair.eu)
    begun = pair.transfer(ADA, *FIELDS)
    pair.eu.cell.transfer_to = frozenset()
    pair.work()
    failed = pair.read(begun.id)
    assert (failed.state, failed.error, failed.moved) == ("failed", "residency_refused", 0)
    assert pair.us.events(kind="transfer.receive") == pair.eu.events(kind="transfer.send") == []
    pair.eu.cell.transfer_to = frozenset({"us"})
    pair.eu.apply(pair.eu.schema.replace(', "us"]', "]"))
    pair.eu.run(resume_job, begun.job, SteerBody(), by=pair.eu.admin)
    pair.work()
    assert pair.read(begun.id).error == "residency_refused"
    pair.eu.apply(pair.eu.schema)
    pair.eu.run(resume_job, begun.job, SteerBody(), by=pair.eu.admin)
    pair.work()
    assert pair.read(begun.id).moved == len(made)


def test_a_cell_of_another_process_is_refused(pair: Pair) -> None:
    fill(pair.eu)
    begun = pair.transfer(ADA, NAME)
    neighbours = dict(pair.eu.cell.neighbours)
    pair.eu.cell.neighbours.clear()
    assert code(pair.transfer, ADA, NAME) == "transfer_unsupported"
    assert code(pair.moved, begun.id) == "transfer_unsupported"
    pair.work()
    waiting = pair.read(begun.id)
    assert (waiting.state, waiting.error) == ("waiting", "transfer_unsupported")
    pair.eu.cell.neighbours.update(neighbours)
    pair.eu.run(resume_job, begun.job, SteerBody(), by=pair.eu.admin)
    pair.work()
    assert pair.read(begun.id).state == "done"


def test_equal_values_join_where_the_other_region_has_them(pair: Pair) -> None:
    there = pair.us.token(EMAIL, "ada@example.org", "somebody")
    here = pair.eu.token(EMAIL, "ada@example.org", ADA)
    begun = pair.transfer(ADA, EMAIL)
    pair.work()
    [row] = pair.moved(begun.id)
    assert (row.old, row.new) == (here, there)
    assert pair.us.token(EMAIL, "ada@example.org", ADA) == there


def test_a_token_that_people_share_goes_for_one_of_them(pair: Pair) -> None:
    token = pair.eu.token(EMAIL, "both@example.org", ADA)
    assert pair.eu.token(EMAIL, "both@example.org", "bob") == token
    pair.transfer(ADA, EMAIL, mode=MOVE)
    pair.work()
    assert shown(pair.eu, EMAIL, token) == "both@example.org"  # bob's
    grant = pair.eu.grant(EMAIL, uses=1, operations=["reveal"], subjects=[ADA])
    with pytest.raises(BatchRefused) as refusal:
        pair.eu.reveal(grant, EMAIL, token)
    assert refusal.value.first == "token_unknown"


def test_what_the_other_region_does_not_take_stays(tmp_path: Path) -> None:
    config = two_settings(tmp_path)
    make(config)
    with opened(config) as pair:
        pair.us.schema = pair.us.schema.replace('template = "text(max=80)"', 'template = "text(max=3)"')
        populate(pair)
        short, long = pair.eu.tokens(CITY, "Rom", "Paris", subjects=[ADA, ADA])
        begun = pair.transfer(ADA, CITY, mode=MOVE)
        pair.work()
        done = pair.read(begun.id)
        assert (done.state, done.moved, done.refused) == ("done", 1, {"value_length": 1})
        by_old = {row.old: row for row in pair.moved(begun.id)}
        assert (by_old[long or ""].new, by_old[long or ""].code) == (None, "value_length")
        assert shown(pair.eu, CITY, long or "") == "Paris"
        assert shown(pair.eu, CITY, short or "") is None
        assert shown(pair.us, CITY, by_old[short or ""].new or "") == "Rom"


class Died(BaseException):
    """A worker that is no more."""


def test_a_worker_that_dies_between_the_two_cells_doubles_and_loses_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transferring, "BATCH", 3)
    made = fill(pair.eu)
    begun = pair.transfer(ADA, *FIELDS, mode=MOVE)
    sent, deaths = transferring.Sent, 0

    class Dying(sent):  # type: ignore[valid-type,misc]
        def __init__(self, *given: Any) -> None:
            nonlocal deaths
            if deaths < 9:
                deaths += 1
                raise Died
            super().__init__(*given)

    monkeypatch.setattr(transferring, "Sent", Dying)
    for _ in range(12):
        worker = Worker(pair.eu.cell)
        try:
            worker.run_due()
        except Died:
            free(pair)
    assert deaths == 9
    pair.work()
    assert (pair.read(begun.id).state, pair.read(begun.id).moved) == ("done", len(made))
    rows = pair.moved(begun.id)
    assert len(rows) == len(made)
    assert {made[row.old][1]: shown(pair.us, row.field, row.new or "") for row in rows} == {
        value: value for _, value in made.values()
    }
    tokens = pair.us.cell.store.read(pair.us.cell.store.tables.tokens.select())
    assert len(tokens) == len(made)
    assert all(shown(pair.eu, field, token) is None for token, (field, _) in made.items())


def free(pair: Pair) -> None:
    """Lets the lease of a dead worker lapse."""
    tables = pair.eu.cell.store.tables
    with pair.eu.cell.store.engine.begin() as connection:
        connection.execute(tables.jobs.update().values(lease_until=0, runner=None))


def test_a_stopped_transfer_goes_on_where_it_was(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transferring, "BATCH", 3)
    made = fill(pair.eu)
    begun = pair.transfer(ADA, *FIELDS)
    pair.eu.run(cancel_job, begun.job, SteerBody(), by=pair.eu.admin)
    pair.work()
    assert pair.read(begun.id).state == "cancelled"
    assert pair.us.events(kind="transfer.receive") == []
    pair.eu.run(resume_job, begun.job, SteerBody(), by=pair.eu.admin)
    pair.work()
    assert pair.read(begun.id).moved == len(made)


def test_a_window_may_split_anywhere(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transferring, "WINDOW", 2)
    for person in ("bob", "eve"):
        fill(pair.eu, person)
    made = fill(pair.eu)
    fill(pair.eu, "zoe")
    begun = pair.transfer(ADA, *FIELDS)
    pair.work()
    assert pair.read(begun.id).moved == len(made)
    assert {row.old for row in pair.moved(begun.id)} == set(made)


def test_a_second_transfer_gives_tokens_of_its_own(pair: Pair) -> None:
    token = pair.eu.token(NAME, "Ada", ADA)
    first, second = pair.transfer(ADA, NAME), pair.transfer(ADA, NAME)
    pair.work()
    [one], [other] = pair.moved(first.id), pair.moved(second.id)
    assert one.old == other.old == token
    assert one.new != other.new
    assert shown(pair.us, NAME, one.new or "") == shown(pair.us, NAME, other.new or "") == "Ada"


def test_what_was_moved_is_a_new_value_when_it_comes_back(pair: Pair) -> None:
    """The token that it had is over, and is never another value's."""
    token = pair.eu.token(EMAIL, "ada@example.org", ADA)
    pair.transfer(ADA, EMAIL, mode=MOVE)
    pair.work()
    again = pair.eu.token(EMAIL, "ada@example.org", ADA)
    assert again != token
    assert (shown(pair.eu, EMAIL, again), shown(pair.eu, EMAIL, token)) == ("ada@example.org", None)


def test_it_goes_on_through_keys_in_pages(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a turn of the epoch keys lie in pages, of values and of identifiers."""
    monkeypatch.setattr(turning, "WAIT_S", 0.05)
    made = fill(pair.eu)
    pair.eu.run(start_turn, TurnBody(DROP), by=pair.eu.admin)
    end = time.monotonic() + 60
    while pair.eu.cell.keyring.in_use != (2, 2) and time.monotonic() < end:
        pair.work()
        time.sleep(0.05)
    assert pair.eu.cell.keyring.in_use == (2, 2)
    begun = pair.transfer(ADA, *FIELDS)
    pair.work()
    rows = pair.moved(begun.id)
    assert {made[row.old][1] for row in rows} == {value for _, value in made.values()}
    assert all(shown(pair.us, row.field, row.new or "") == made[row.old][1] for row in rows)
    assert pair.lookup(ADA) == "eu"


def test_two_who_bring_the_same_make_one_token(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second looked before the first had written; the ledger looks again, and the database is last."""
    coming = [Coming(b"s" * 16, NAME, "Ada", None)]
    given = ("main", "eu", "xfer_1", "contract", ADA, coming)

    def bring() -> dict[bytes, Arrived]:
        return drive(pair.us.cell.committer, lambda: receive(pair.us.cell, *given), pair.us.cell.forget)

    first = bring()
    assert bring() == first
    monkeypatch.setattr(arriving, "arrivals", lambda *_: {})
    assert code(bring) == "too_busy"
    tokens = pair.us.cell.store.read(pair.us.cell.store.tables.tokens.select())
    assert [bytes(row[0]) for row in tokens] == [first[b"s" * 16].token]


def at(text: str) -> FixedClock:
    return FixedClock(parse_time(text))


def test_tokens_are_told_for_seven_days(tmp_path: Path) -> None:
    clock = at("2026-11-23T12:00:00Z")
    config = two_settings(tmp_path)
    make(config, clock)
    with opened(config, clock) as pair:
        populate(pair)
        fill(pair.eu)
        begun = pair.transfer(ADA, NAME)
        pair.work()
        assert pair.read(begun.id).tokens_until == "2026-11-30T12:00:00.000000Z"
        pair.eu.run(resume_job, begun.job, SteerBody(), by=pair.eu.admin)
        clock.at = parse_time("2026-11-30T11:59:59Z")
        pair.work()
        assert len(pair.moved(begun.id)) == 5
        clock.at = parse_time("2026-11-30T12:00:00Z")
        pair.work()
        assert pair.moved(begun.id) == []
        done = pair.read(begun.id)
        assert (done.state, done.moved, done.tokens_until) == ("done", 5, None)
        assert pair.us.cell.store.read(pair.us.cell.store.tables.arrivals.select()) == []


def test_a_value_is_kept_no_longer_than_it_would_have_been(tmp_path: Path) -> None:
    """A year later it is due there when it was due here; what is made there then, a year after that."""
    clock = at("2026-11-23T12:00:00Z")
    config = two_settings(tmp_path)
    make(config, clock)
    with opened(config, clock) as pair:
        populate(pair)
        pair.eu.token(NAME, "Ada", ADA)
        clock.at = parse_time("2027-11-23T12:00:00Z")
        pair.transfer(ADA, NAME)
        pair.work()
        assert dues(pair.eu) == dues(pair.us) == {"2028-11"}
        pair.us.token(NAME, "Ada", ADA)
        assert dues(pair.us) == {"2028-11", "2029-11"}


def dues(built: BuiltCell) -> set[str]:
    """The due periods of a cell's keys."""
    tables = built.cell.store.tables
    return {row[4] for row in built.cell.store.read(tables.data_keys.select()) if row[3] == "customer"}
