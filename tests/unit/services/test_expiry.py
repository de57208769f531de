"""What falls due: denied at once, removed by the job, kept by holds; the calendar, and events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import HOST, NAME, SCHEMA, SSN, VISIT, BuiltCell, any_cell
from tests.support.hosted import shown
from tests.support.operators import operator
from tests.support.turns import turn, with_keys
from vault.clock import DAY, Clock, Micros, format_time, parse_time
from vault.errors import BadInput, Unknown
from vault.ledger.committer import drive
from vault.services.calendar import CalendarRow, RunBody, read_calendar, run_retention
from vault.services.encrypt import EncryptBody, EncryptItem, encrypt
from vault.services.erasures import ErasureAnswer, list_erasures, read_erasure
from vault.services.events import EventBody, report_event
from vault.services.expiry import expire_due
from vault.services.fences import end_fences
from vault.services.holds import HoldBody, HoldReasonBody, approve_release, ask_release, create_hold
from vault.services.listing import Page
from vault.services.subjects import find
from vault.services.tokenize import TokenizeBody, tokenize
from vault.services.worker import Worker

ADA, BOB, EVE = "cust-ada", "cust-bob", "cust-eve"
PLAN = "customer.plan"
EVENTS = f"""
[retention.contract]
keep = "P1Y"
from = "event:contract_ended"
max = "P10Y"
period = "day"

[retention.open]
keep = "P1M"
from = "event:contract_ended"

[fields."{PLAN}"]
template = "text(max=40)"
protection = "vaulted"
retention = "contract"

[fields."customer.wish"]
template = "text(max=40)"
protection = "vaulted"
subject = "required"
retention = "open"
"""


class Ahead:
    """A clock that goes before another."""

    def __init__(self, other: Clock, by: Micros) -> None:
        self._other, self._by = other, by

    def now(self) -> Micros:
        return self._other.now() + self._by


@contextmanager
def after(built: BuiltCell, days: int) -> Iterator[None]:
    """As the schedule sees it so many days from now; on PostgreSQL the ledger's clock is the server's."""
    clock = built.cell.clock
    built.cell.clock = Ahead(clock, days * DAY)
    try:
        yield
    finally:
        built.cell.clock = clock


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield with_keys(made)


def expire(built: BuiltCell, days: int) -> int:
    with after(built, days):
        return drive(built.cell.committer, lambda: expire_due(built.cell), built.cell.forget)


def erasures(built: BuiltCell) -> list[ErasureAnswer]:
    return list(built.run(list_erasures, Page(), by=HOST).items)


def classes(built: BuiltCell) -> dict[str, int]:
    """How many data keys there are, by class."""
    k, found = built.cell.store.tables.data_keys, dict[str, int]()
    for (class_,) in built.cell.store.read(k.select().with_only_columns(k.c["class"])):
        found[class_] = found.get(class_, 0) + 1
    return found


def pages(built: BuiltCell) -> list[str]:
    return [row[2] for row in built.cell.store.read(built.cell.store.tables.key_pages.select())]


def visit(built: BuiltCell, subject: str) -> str:
    body = EncryptBody([EncryptItem(VISIT, "a visit", subject)])
    return str(built.run(encrypt, body).items[0].ciphertext)


@pytest.mark.parametrize("packed", [False, True])
def test_a_period_ends_as_one_and_nothing_else_does(built: BuiltCell, packed: bool) -> None:
    tokens = [built.token(NAME, f"name of {who}", who) for who in (ADA, BOB, None)]
    visit(built, ADA)
    if packed:
        turn(built)
    grant = built.grant(NAME, uses=10)
    assert expire(built, 29) == expire(built, 729) - 1 == 0  # the visit's month is over after the first look
    assert [one.kind for one in erasures(built)] == ["dates"]
    assert [shown(built, grant, NAME, one) for one in tokens[:1]] == ["name of cust-ada"]
    assert expire(built, 800) == 1
    assert [shown(built, grant, NAME, one) for one in tokens] == [None] * 3  # before any key is removed
    assert classes(built) == {":identifier": 2, "customer": 3, "visit": 1}
    period = erasures(built)[0]
    assert (period.kind, period.class_, period.level, period.grounds) == (
        "period", "customer", "requested", "retention",
    )  # fmt: skip
    Worker(built.cell).run_due()
    assert classes(built) == {":identifier": 2}
    assert pages(built) == ([":identifier"] if packed else [])
    gone = built.run(read_erasure, str(period.id), by=HOST)
    assert (gone.level, gone.keys, gone.fenced_until) == ("keys_removed", 3, None)
    assert drive(built.cell.committer, lambda: end_fences(built.cell), built.cell.forget) == 0
    assert built.events(kind="erasure.fence") == []
    assert len(find(built.cell, "main", [ADA, BOB])) == 2
    assert expire(built, 800) == 0
    turn(built)
    assert built.run(read_erasure, str(period.id), by=HOST).level == "kms_destroyed"


@pytest.mark.parametrize("packed", [False, True])
def test_a_person_who_is_held_keeps_the_keys_of_an_ended_period(built: BuiltCell, packed: bool) -> None:
    tokens = {who: built.token(NAME, f"name of {who}", who) for who in (ADA, BOB, EVE)}
    if packed:
        turn(built)
    hold = built.run(create_hold, HoldBody(reason="a case", subject=BOB), by=HOST).id
    expire(built, 800)
    for _ in range(2):
        Worker(built.cell).run_due()
    [period] = erasures(built)
    assert (period.level, period.held_by) == ("requested", [hold])
    assert classes(built) == {":identifier": 3, "customer": 1}
    assert all(shown(built, built.grant(NAME), NAME, token) is None for token in tokens.values())
    turn(built)  # what is held is carried
    assert classes(built) == {":identifier": 3, "customer": 1}
    end(built, hold)
    Worker(built.cell).run_due()
    assert classes(built) == {":identifier": 3}
    assert (erasures(built)[0].level, erasures(built)[0].keys) == ("keys_removed", 3)


def end(built: BuiltCell, hold: str) -> None:
    built.run(ask_release, hold, HoldReasonBody("over"), by=HOST)
    built.run(
        approve_release, hold, HoldReasonBody("over"), by=operator(built, "pia", roles=["privacy-officer"])[0]
    )


@pytest.mark.parametrize("what", [{"class_": "customer"}, {"everything": True}])
def test_a_class_that_is_held_keeps_all(built: BuiltCell, what: dict[str, Any]) -> None:
    built.token(NAME, "Ada", ADA)
    hold = built.run(create_hold, HoldBody(reason="a case", **what), by=HOST).id
    expire(built, 800)
    Worker(built.cell).run_due()
    [period] = erasures(built)
    assert (period.level, period.held_by, classes(built)) == (
        "requested", [hold], {":identifier": 1, "customer": 1},
    )  # fmt: skip
    end(built, hold)
    Worker(built.cell).run_due()
    assert classes(built) == {":identifier": 1}


def test_a_hold_that_comes_while_a_period_is_being_removed(
    built: BuiltCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    built.token(NAME, "Ada", ADA)
    expire(built, 800)
    from vault.services import expiring

    plain, placed = expiring.DropKeys, list[str]()

    def between(*args: Any, **more: Any) -> Any:
        if not placed:
            placed.append(built.run(create_hold, HoldBody(reason="a case", subject=ADA), by=HOST).id)
        return plain(*args, **more)

    monkeypatch.setattr(expiring, "DropKeys", between)
    Worker(built.cell).run_due()
    assert classes(built) == {":identifier": 1, "customer": 1}
    assert erasures(built)[0].held_by == placed


def test_use_moves_a_date_until_it_has_come(built: BuiltCell) -> None:
    sealed = [visit(built, who) for who in (ADA, BOB)]
    k = built.cell.store.tables.data_keys
    [person] = find(built.cell, "main", [ADA]).values()
    with built.cell.store.engine.begin() as connection:  # as if Ada's was used ten days later
        own = (k.c.subject == person) & (k.c["class"] == "visit")
        connection.execute(k.update().where(own).values(due_at=k.c.due_at + 10 * DAY))
    assert expire(built, 32) == 1
    Worker(built.cell).run_due()
    assert classes(built) == {":identifier": 2, "visit": 1}
    assert erasures(built)[0].keys == 1
    assert expire(built, 32) == 0
    assert expire(built, 43) == 1
    Worker(built.cell).run_due()
    assert classes(built) == {":identifier": 2}
    assert len(sealed) == 2


def test_the_calendar_shows_what_a_run_would_begin(built: BuiltCell) -> None:
    for who in (ADA, BOB):
        built.token(NAME, "Ada", who)
        built.token(NAME, "Eve", who)
        visit(built, who)
    hold = built.run(create_hold, HoldBody(reason="a case", field=NAME), by=HOST).id
    until = format_time(built.cell.clock.now() + 800 * DAY)
    found: list[CalendarRow] = built.run(read_calendar, until, by=HOST).items
    assert [(row.class_, row.keys, row.values, row.held_by) for row in found] == [
        ("visit", 2, 0, []), ("customer", 2, 4, [hold]),
    ]  # fmt: skip
    assert found[0].due is None
    assert parse_time(found[1].at) > parse_time(found[0].at)
    assert [row.class_ for row in built.run(read_calendar, None, by=HOST).items] == ["visit"]
    with after(built, 800):
        would = built.run(run_retention, RunBody(dry_run=True), by=HOST)
        assert [(row.kind, row.class_, row.erasure) for row in would.items] == [
            ("period", "customer", None), ("dates", "visit", None),
        ]  # fmt: skip
        assert erasures(built) == []
        begun = built.run(run_retention, RunBody(), by=HOST)
        assert [row.erasure for row in reversed(begun.items)] == [one.id for one in erasures(built)]
        assert built.run(run_retention, RunBody(), by=HOST).items == []
    assert built.run(read_calendar, until, by=HOST).items == []
    for wrong in ("tomorrow", "2026-13-01T00:00:00Z", ""):
        with pytest.raises(BadInput, match="parameter_invalid"):
            built.run(read_calendar, wrong, by=HOST)


def due_of(built: BuiltCell, subject: str, class_: str) -> int | None:
    k = built.cell.store.tables.data_keys
    [person] = find(built.cell, "main", [subject]).values()
    own = (k.c.subject == person) & (k.c["class"] == class_)
    [[at]] = built.cell.store.read(k.select().with_only_columns(k.c.due_at).where(own))
    return None if at is None else int(at)


def test_an_event_starts_the_time_of_what_was_kept_for_it(built: BuiltCell) -> None:
    built.apply(SCHEMA + EVENTS)
    may = [f"tokenize:{field}" for field in (PLAN, "customer.wish")]
    built.service = built.principal("service", "planner", permissions=may)[1]
    for who in (ADA, BOB):
        built.token(PLAN, "a plan", who)
        built.token("customer.wish", "a wish", who)
    at = format_time(built.cell.clock.now() - 10 * DAY)
    told = built.run(report_event, EventBody("contract_ended", ADA, at), by=HOST)
    assert {class_: parse_time(due) for class_, due in told.due.items()} == {
        class_: due_of(built, ADA, class_) for class_ in ("contract", "open")
    }
    again = built.run(report_event, EventBody("contract_ended", ADA, at), by=HOST)
    assert (again.due, again.decision) == (told.due, None)
    earlier = format_time(built.cell.clock.now() - 100 * DAY)
    assert built.run(report_event, EventBody("contract_ended", ADA, earlier), by=HOST).due == told.due
    assert due_of(built, BOB, "open") is None
    assert len(built.events(kind="retention.event")) == 1
    built.token("customer.wish", "another", ADA)  # waits for the next
    assert expire(built, 360) == 1
    Worker(built.cell).run_due()
    assert classes(built) == {":identifier": 2, "contract": 1, "open": 2}
    built.run(report_event, EventBody("contract_ended", ADA), by=HOST)
    assert expire(built, 70) == 1
    Worker(built.cell).run_due()
    assert classes(built) == {":identifier": 2, "contract": 1, "open": 1}


def test_events_that_cannot_be_taken(built: BuiltCell) -> None:
    built.apply(SCHEMA + EVENTS)
    for event, subject, at, error, code in (
        ("account_closed", ADA, None, BadInput, "event_unknown"),
        ("contract_ended", ADA, None, Unknown, "not_found"),
        ("contract_ended", "", None, BadInput, "subject_invalid"),
        ("contract_ended", ADA, "yesterday", BadInput, "parameter_invalid"),
        ("contract_ended", ADA, "2099-01-01T00:00:00Z", BadInput, "parameter_invalid"),
    ):
        with pytest.raises(error, match=code):
            built.run(report_event, EventBody(event, subject, at), by=HOST)


@pytest.mark.parametrize(
    ("keep", "after_days"),
    [("PT1H", 1), ("P7D", 8), ("P1M", 32), ("P9Y", 800)],  # the class keeps two years
)
def test_a_value_may_have_a_time_of_its_own_that_is_shorter(
    built: BuiltCell, keep: str, after_days: int
) -> None:
    body = TokenizeBody(field=NAME, values=["short"], subjects=[ADA], keep=keep)
    made: Any = built.run(tokenize, body)
    short = str(made.tokens[0])
    long = built.token(NAME, "long", ADA)
    texts = [EncryptItem(VISIT, "seen", ADA)]
    sealed = built.run(encrypt, EncryptBody(texts, keep=keep)).items[0].ciphertext
    assert isinstance(sealed, str)
    grant = built.grant(NAME, uses=9)
    assert [shown(built, grant, NAME, one) for one in (short, long)] == ["short", "long"]
    assert expire(built, after_days - 1) == 0 or after_days > 30
    expire(built, after_days)
    assert shown(built, grant, NAME, short) is None
    kept = "long" if after_days < 800 else None
    assert shown(built, grant, NAME, long) == kept
    Worker(built.cell).run_due()
    assert classes(built).get("visit", 0) == 0
    assert classes(built).get("customer", 0) == (1 if kept else 0)


def test_times_that_cannot_be_taken(built: BuiltCell) -> None:
    for keep in ("", "7 days", "P", "P-1D", "P99999999Y"):
        for verb, body in (
            (tokenize, TokenizeBody(field=NAME, values=["x"], keep=keep)),
            (encrypt, EncryptBody([EncryptItem(VISIT, "x", ADA)], keep=keep)),
        ):
            with pytest.raises(BadInput, match="operation_unsupported"):
                built.run(verb, body)
    with pytest.raises(BadInput, match="operation_unsupported"):  # no row to end
        built.run(tokenize, TokenizeBody(field=SSN, values=["123-45-6789"], keep="P1D"))
