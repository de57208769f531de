"""What is kept, why and until when: the record of processing, and the report on retention."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cells import CITY, EMAIL, HOST, NAME, PAN, SSN, BuiltCell, any_cell
from tests.support.turns import turn, with_keys
from tests.unit.services.test_expiry import expire
from vault.clock import SECOND, utc_date
from vault.errors import BadInput, Denied
from vault.retention.period import falls_due
from vault.services import due_report as due
from vault.services import report_parts, reports
from vault.services.due_report import DueQuery, RetentionReport, retention_report
from vault.services.erasures import ErasureBody, request_erasure
from vault.services.holds import HoldBody, create_hold
from vault.services.reports import ProcessingReport, processing_report
from vault.services.worker import Worker

FAR = "2099-01-01T00:00:00Z"
CLASSES = """
[retention.short]
keep = "P3D"
period = "day"

[fields."case.note"]
template = "text(max=80)"
protection = "vaulted"
retention = "short"
subject = "required"
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield with_keys(made)


def processing(built: BuiltCell) -> ProcessingReport:
    return built.run(processing_report, by=HOST)


def retention(built: BuiltCell, **query: object) -> RetentionReport:
    return built.run(retention_report, DueQuery(**query), by=HOST)  # type: ignore[arg-type]


def erase(built: BuiltCell, subject: str, *, remove: bool = True) -> None:
    built.run(request_erasure, ErasureBody(subject, "objection"), by=HOST)
    if remove:
        Worker(built.cell).run_due()


def age(built: BuiltCell, month: str) -> None:
    """Makes every token there is one of a month."""
    at = falls_due(month) - SECOND  # its last second, in UTC
    with built.cell.store.engine.begin() as connection:
        connection.execute(built.cell.store.tables.tokens.update().values(created_at=at))


def test_the_record_says_what_is_kept_and_why(built: BuiltCell) -> None:
    built.token(NAME, "Ada", "ada")
    built.token(EMAIL, "ada@example.org", "ada")
    built.token(SSN, "123-45-6789")
    age(built, "2026-02")
    built.token(NAME, "Bob", "bob")
    built.grant(NAME)
    built.grant(NAME, EMAIL)
    report = processing(built)
    assert (report.complete, report.people, report.being_erased, report.tenant) == (True, 2, 0, "main")
    by_name = {line.field: line for line in report.fields}
    assert [*by_name] == sorted(built.cell.schemas.of("main").schema.fields)
    name, pan = by_name[NAME], by_name[PAN]
    assert (name.protection, name.class_, name.classification, name.values, name.issued) == (
        "vaulted", "customer", "name", 2, 2,
    )  # fmt: skip
    assert (name.purposes, name.masks, by_name[EMAIL].person) == (["support"], ["initial"], "required")
    assert (by_name[CITY].transfer_to, by_name[CITY].purposes, by_name[CITY].values) == (["us"], [], 0)
    assert (pan.protection, pan.values, by_name[SSN].values, by_name[SSN].issued) == ("vaultless", 0, 0, 1)
    purposes = {line.purpose: line for line in report.purposes}
    assert (purposes["support"].legal_basis, purposes["support"].activity) == ("contract", "RoPA-07")
    assert (purposes["support"].grants, purposes["support"].recipients) == (2, ["agent:demo"])
    assert (purposes["sealed"].grants, purposes["sealed"].recipients) == (0, [])
    kept = {line.class_: (line.keep, line.from_, line.period) for line in report.classes}
    assert (kept["customer"], kept["key-lifetime"]) == (("P2Y", "creation", "month"), ("key", None, None))
    assert kept["visit"] == ("P30D", "last_use", "day")
    this_month = utc_date(built.cell.clock.now()).strftime("%Y-%m")
    assert [(line.class_, line.month, line.values) for line in report.ages] == [
        ("customer", "2026-02", 2), ("customer", this_month, 1),
    ]  # fmt: skip


def test_erasures_are_counted_by_level(built: BuiltCell) -> None:
    for subject in ("ada", "bob", "cat"):
        built.token(NAME, subject, subject)
    erase(built, "ada")
    turn(built)
    erase(built, "bob")
    assert {line.level: line.erasures for line in processing(built).levels} == {
        "kms_destroyed": 1, "keys_removed": 1,
    }  # fmt: skip
    erase(built, "cat", remove=False)
    report = processing(built)
    assert {line.level: line.erasures for line in report.levels} == {
        "requested": 1, "kms_destroyed": 1, "keys_removed": 1,
    }  # fmt: skip
    [line] = report.erasures
    # A person's data keys: that of the class, and that of the identifier.
    assert (line.kind, line.grounds, line.asked, line.removed, line.keys) == ("subject", "objection", 3, 2, 4)
    assert (report.people, report.being_erased) == (1, 1)
    Worker(built.cell).run_due()
    turn(built)
    assert {line.level: line.erasures for line in processing(built).levels} == {"kms_destroyed": 3}


def test_holds_are_told_without_whom_they_name(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    built.token(NAME, "Ada", "ada")
    person = built.run(create_hold, HoldBody(reason="a case", subject="ada"), by=HOST)
    whole = built.run(create_hold, HoldBody(reason="a case", class_="customer"), by=HOST)
    report = processing(built)
    assert [(line.hold, line.kind, line.class_, line.confirmed) for line in report.holds] == [
        (person.id, "subject", None, False), (whole.id, "class", "customer", False),
    ]  # fmt: skip
    monkeypatch.setattr(report_parts, "MAX_HOLDS", 1)
    report = processing(built)
    assert ([line.hold for line in report.holds], report.holds_in_force) == ([person.id], 2)


def test_a_report_that_is_cut_says_so(built: BuiltCell, monkeypatch: pytest.MonkeyPatch) -> None:
    built.token(NAME, "Ada", "ada")
    built.token(EMAIL, "ada@example.org", "ada")
    assert processing(built).complete
    assert retention(built).complete
    for module in (reports, report_parts, due):
        monkeypatch.setattr(module, "MAX_GROUPS", 1)
    report = processing(built)
    assert (report.complete, sum(line.values for line in report.fields)) == (False, 1)
    assert not retention(built).complete


@pytest.mark.parametrize("part", [1, 2, 3, 100])
def test_values_are_counted_in_parts(built: BuiltCell, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    for number in range(5):
        built.token(NAME, "Ada", f"person {number}")
    shared = [built.token(EMAIL, "ada@example.org", subject) for subject in ("ada", "bob")]
    assert shared[0] == shared[1]  # two values under one token
    monkeypatch.setattr(report_parts, "PART", part - 1)
    values = {line.field: line.values for line in processing(built).fields}
    assert (values[NAME], values[EMAIL], [line.values for line in processing(built).ages]) == (5, 2, [7])
    assert [(line.keys, line.values) for line in retention(built).periods] == [(7, 7)]


def test_what_falls_due_and_when(built: BuiltCell) -> None:
    built.apply(built.schema + CLASSES)
    _, key = built.principal("service", "noter", permissions=["tokenize:case.note"])
    for subject, value in (("ada", "a"), ("ada", "b"), ("bob", "c")):
        built.token(NAME, value, subject)
    built.service, service = key, built.service
    built.token("case.note", "d", "ada")
    built.service = service
    built.ciphertext("chat.visit", "hello", subject="ada")
    report = retention(built, until=FAR)
    lines = {line.class_: line for line in report.periods}
    assert [*lines] == ["customer", "short", "visit"]
    now = built.cell.clock.now()
    for name, keys, values in (("customer", 2, 3), ("short", 1, 1), ("visit", 1, 0)):
        line = lines[name]
        assert (line.keys, line.values, line.suspended, line.falls_due, line.held) == (
            keys, values, 0, True, False,
        )  # fmt: skip
        assert line.due_at is not None
    assert len(lines["short"].period or "") == len("2026-12-04")
    assert lines["visit"].period is None  # the date moves
    assert (report.due_keys, report.due_values) == (4, 4)
    soon = falls_due(lines["short"].period or "")
    assert now < soon
    for until, which in ((lines["short"].due_at, ["short"]), (None, [])):
        report = retention(built, until=until)
        assert [line.class_ for line in report.periods if line.falls_due] == which
        assert report.due_keys == len(which)


def test_a_hold_and_an_erasure_are_seen(built: BuiltCell) -> None:
    built.token(NAME, "Ada", "ada")
    built.token(NAME, "Bob", "bob")
    [line] = retention(built).periods
    assert (line.keys, line.suspended, line.held) == (2, 0, False)
    erase(built, "bob", remove=False)
    built.run(create_hold, HoldBody(reason="a case", subject="ada"), by=HOST)
    [line] = retention(built).periods
    assert (line.keys, line.suspended, line.held) == (2, 1, False)  # of one person: not of the class
    built.run(create_hold, HoldBody(reason="a case", class_="customer"), by=HOST)
    [line] = retention(built).periods
    assert line.held
    assert retention(built).holds_in_force == 2


def test_what_fell_due_is_told_by_class_and_period(built: BuiltCell) -> None:
    for subject in ("ada", "bob"):
        built.token(NAME, subject, subject)
    built.ciphertext("chat.visit", "hello", subject="ada")
    [customer, _] = retention(built).periods
    assert expire(built, 800) == 2
    seen = {line.class_: (line.keys, line.suspended) for line in retention(built).periods}
    assert seen == {"customer": (2, 2), "visit": (1, 1)}
    assert [(line.class_, line.asked, line.removed) for line in processing(built).erasures] == [
        ("visit", 1, 0), ("customer", 1, 0),
    ]  # fmt: skip
    Worker(built.cell).run_due()
    report = retention(built)
    told = [
        (line.kind, line.class_, line.period, line.removed, line.keys, line.grounds)
        for line in report.erasures
    ]
    assert told == [
        ("dates", "visit", None, 1, 1, "retention"),
        ("period", "customer", customer.period, 1, 2, "retention"),
    ]
    assert (report.periods, report.complete) == ([], True)
    assert {line.level: line.erasures for line in report.levels} == {"keys_removed": 2}


def test_periods_come_in_pages(built: BuiltCell) -> None:
    built.token(NAME, "Ada", "ada")
    built.ciphertext("chat.visit", "hello", subject="ada")
    t = built.cell.store.tables
    with built.cell.store.engine.begin() as connection:
        rows = connection.execute(t.data_keys.select().where(t.data_keys.c["class"] == "visit")).mappings()
        visit = dict(rows.one())
        # Of other people, whose dates have moved elsewhere.
        for number in range(1, 4):
            other = bytes([number]) * 16
            row = {**visit, "id": other, "subject": other, "due_at": visit["due_at"] + number}
            connection.execute(t.data_keys.insert(), row)
    whole = retention(built)
    assert len(whole.periods) == 5
    assert whole.next is None
    seen, cursor = [], None
    for _ in range(5):
        page = retention(built, limit=1, cursor=cursor)
        seen += page.periods
        cursor = page.next
    assert (cursor, seen) == (None, whole.periods)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0}, {"limit": due.MAX_ROWS + 1}, {"until": "tomorrow"}, {"until": ""}, {"cursor": ""},
        {"cursor": "customer"}, {"cursor": "A b:2026-01:0"}, {"cursor": "customer:2026-01:-1"},
        {"cursor": "customer:\uff12:0"}, {"cursor": "customer:2026-01:" + "9" * 19},
    ],
)  # fmt: skip
def test_what_is_no_query(built: BuiltCell, query: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="parameter_invalid"):
        retention(built, **query)


def test_another_tenant_s_values_are_not_counted(built: BuiltCell) -> None:
    built.token(NAME, "Ada", "ada")
    erase(built, "ada", remove=False)
    built.run(create_hold, HoldBody(reason="a case", everything=True), by=HOST)
    other = built.another_tenant("acme")
    report, kept = processing(other), retention(other)
    assert (report.people, report.holds, report.erasures, report.levels, report.ages) == (0, [], [], [], [])
    assert (kept.periods, kept.holds, kept.erasures) == ([], [], [])
    assert all(not line.values and not line.purposes for line in report.fields)


def test_it_needs_the_permission(built: BuiltCell) -> None:
    for role in ("privacy-officer", "auditor"):
        _, key = built.principal("operator", role, roles=[role])
        assert built.run(processing_report, by=key).tenant == "main"
        assert built.run(retention_report, DueQuery(), by=key).tenant == "main"
    with pytest.raises(Denied, match="permission_denied"):
        built.run(processing_report, by=built.service)
    with pytest.raises(Denied, match="permission_denied"):
        built.run(retention_report, DueQuery(), by=built.service)
