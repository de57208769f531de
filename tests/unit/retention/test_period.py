"""Due periods: named by their last day or month, never too early and at most one period late."""

from __future__ import annotations

import calendar
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.clock import DAY, Micros, Period, parse_period, parse_time, start_of
from vault.retention.period import IDENTIFIER_CLASS, NO_DUE, RetentionClass, Unit, falls_due
from vault.schema.refusals import is_label

instants = st.integers(0, start_of(date(2300, 1, 1)) - 1)
keeps = st.builds(Period, months=st.integers(0, 240), seconds=st.integers(0, 4_000 * 86_400)).filter(
    lambda keep: keep.months + keep.seconds > 0
)
units = st.sampled_from(Unit)


def at(text: str) -> Micros:
    return parse_time(text)


def due(keep: str, unit: Unit, created: str) -> str:
    return RetentionClass("c", parse_period(keep), unit).due(at(created))


@pytest.mark.parametrize(
    ("keep", "unit", "created", "period", "over"),
    [
        # ordinary
        ("P2Y", Unit.MONTH, "2026-11-23T14:00:00Z", "2028-11", "2028-12-01T00:00:00Z"),
        ("P30D", Unit.DAY, "2026-11-23T14:00:00Z", "2026-12-23", "2026-12-24T00:00:00Z"),
        ("P30D", Unit.MONTH, "2026-11-23T14:00:00Z", "2026-12", "2027-01-01T00:00:00Z"),
        # the first and the last instant of a period
        ("P1M", Unit.MONTH, "2026-01-01T00:00:00Z", "2026-02", "2026-03-01T00:00:00Z"),
        ("P1M", Unit.MONTH, "2026-01-31T23:59:59.999999Z", "2026-02", "2026-03-01T00:00:00Z"),
        ("P1D", Unit.DAY, "2026-12-30T23:59:59.999999Z", "2026-12-31", "2027-01-01T00:00:00Z"),
        ("P1D", Unit.DAY, "2026-12-31T00:00:00Z", "2027-01-01", "2027-01-02T00:00:00Z"),
        # a day that the month lacks becomes its last
        ("P1M", Unit.DAY, "2026-01-31T12:00:00Z", "2026-02-28", "2026-03-01T00:00:00Z"),
        ("P1M", Unit.DAY, "2028-01-31T12:00:00Z", "2028-02-29", "2028-03-01T00:00:00Z"),
        ("P6M", Unit.DAY, "2026-08-31T12:00:00Z", "2027-02-28", "2027-03-01T00:00:00Z"),
        ("P13M", Unit.MONTH, "2026-12-31T12:00:00Z", "2028-01", "2028-02-01T00:00:00Z"),
        # leap days
        ("P1Y", Unit.DAY, "2028-02-29T12:00:00Z", "2029-02-28", "2029-03-01T00:00:00Z"),
        ("P4Y", Unit.DAY, "2028-02-29T12:00:00Z", "2032-02-29", "2032-03-01T00:00:00Z"),
        ("P1D", Unit.DAY, "2028-02-28T12:00:00Z", "2028-02-29", "2028-03-01T00:00:00Z"),
        ("P72Y", Unit.DAY, "2028-02-29T12:00:00Z", "2100-02-28", "2100-03-01T00:00:00Z"),  # 2100 has none
        # the zone of an instant does not matter, only UTC
        ("P1D", Unit.DAY, "2026-11-23T23:30:00-02:00", "2026-11-25", "2026-11-26T00:00:00Z"),
    ],
)
def test_the_calendar(keep: str, unit: Unit, created: str, period: str, over: str) -> None:
    assert due(keep, unit, created) == period
    assert falls_due(period) == at(over)


@given(instants, keeps, units)
def test_a_value_is_kept_at_least_its_time_and_at_most_one_period_more(
    created: Micros, keep: Period, unit: Unit
) -> None:
    period = RetentionClass("c", keep, unit).due(created)
    promised, over = keep.after(created), falls_due(period)
    assert created < promised < over
    longest = DAY if unit is Unit.DAY else 31 * DAY
    assert over - promised <= longest
    if unit is Unit.MONTH:
        year, month = int(period[:4]), int(period[5:])
        assert over - promised <= calendar.monthrange(year, month)[1] * DAY


@given(instants, instants, keeps, units)
def test_what_is_made_later_never_falls_due_earlier(
    one: Micros, other: Micros, keep: Period, unit: Unit
) -> None:
    first, last = sorted((one, other))
    rule = RetentionClass("c", keep, unit)
    assert rule.due(first) <= rule.due(last)  # names sort as their periods do
    assert falls_due(rule.due(first)) <= falls_due(rule.due(last))


@given(st.dates(date(1970, 1, 1), date(9999, 11, 30)))
def test_names_sort_and_lead_back(day: date) -> None:
    assert falls_due(day.isoformat()) == start_of(day) + DAY
    assert start_of(day) < falls_due(day.isoformat()[:7])


def test_a_class_kept_with_the_field_key_has_no_due_date() -> None:
    assert RetentionClass("key-lifetime", None).due(at("2026-11-23T14:00:00Z")) == NO_DUE == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        "2026",
        "2026-13",
        "2026-00",
        "2026-02-29",
        "2026-02-30",
        "2026-11-23T00:00:00Z",
        "20261123",
        "202611",
        "2026-W48",
        "2026-W48-1",
        "2026-328",
        "26-11-23",
        " 2026-11",
        "2026-11 ",
        "2026-1",
        "2026-1-01",
        "+026-11",
        "-026-11",
        "２０２６-11",
        "２０２６-11-23",
        "2026/11",
        "2026-11\n",
        "0000-01",
        "9999-12",
        "9999-12-31",
    ],
)
def test_what_is_no_period_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        falls_due(name)


def test_what_lies_past_the_end_of_the_calendar_is_refused() -> None:
    rule = RetentionClass("c", parse_period("P200Y"))
    assert rule.due(at("9799-11-30T00:00:00Z")) == "9999-11"
    with pytest.raises(ValueError):
        rule.due(at("9800-01-01T00:00:00Z"))


def test_no_schema_can_name_the_class_of_identifiers() -> None:
    assert not is_label(IDENTIFIER_CLASS)
