"""Time at the doors: one way to write an instant, strict ways to read one, and months that vary."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.clock import (
    DAY,
    SECOND,
    FixedClock,
    Period,
    SystemClock,
    day_of,
    format_time,
    parse_period,
    parse_time,
    start_of,
    utc_date,
)

LAST = 253_402_300_800 * SECOND - 1  # the last microsecond of the year 9999
instants = st.integers(0, LAST)


@given(instants)
def test_a_time_leads_back_to_its_instant(at: int) -> None:
    assert parse_time(format_time(at)) == at


@given(instants, instants)
def test_texts_sort_as_instants_do(one: int, other: int) -> None:
    assert (format_time(one) < format_time(other)) == (one < other)


@given(instants, st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_an_offset_names_the_same_instant(at: int, minutes: int) -> None:
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    try:
        local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at, minutes=minutes)
    except OverflowError:
        return
    text = local.strftime("%Y-%m-%dT%H:%M:%S.%f") + f"{sign}{hours:02}:{rest:02}"
    assert parse_time(text) == at


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1970-01-01T00:00:00.1Z", 100_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:00:00-01:00", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("2024-02-29T00:00:00Z", 1_709_164_800 * SECOND),
        ("9999-12-31T23:59:59.999999Z", LAST),
        ("9999-12-31T22:59:59.999999-01:00", LAST),
    ],
)
def test_what_rfc_3339_says(text: str, at: int) -> None:
    assert parse_time(text) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T14:00:00",
        "2026-11-23 14:00:00Z",
        "2026-11-23t14:00:00Z",
        "2026-11-23T14:00:00z",
        "2026-11-23T14:00Z",
        "2026-11-23T14:00:00.Z",
        "2026-11-23T14:00:00.1234567Z",
        "2026-11-23T14:00:00,5Z",
        "2026-11-23T14:00:00+0100",
        "2026-11-23T14:00:00+01",
        "2026-11-23T14:00:00+24:00",
        "2026-11-23T14:00:00+01:60",
        "2026-11-23T14:00:00Z\n",
        " 2026-11-23T14:00:00Z",
        "+2026-11-23T14:00:00Z",
        "-2026-11-23T14:00:00Z",
        "12026-11-23T14:00:00Z",
        "2026-1-23T14:00:00Z",
        "２０２６-11-23T14:00:00Z",
        "2026-11-23T14:00:0４Z",
        "2026-11-23T14:00:00.４Z",
        "2026-11-23T14:00:00+0４:00",
        "٢٠٢٦-11-23T14:00:00Z",
        "2026-11-23T14:00:00\u2212" + "01:00",
        "2026-00-23T14:00:00Z",
        "2026-13-23T14:00:00Z",
        "2026-11-31T14:00:00Z",
        "2025-02-29T14:00:00Z",
        "2100-02-29T14:00:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T14:60:00Z",
        "2026-11-23T14:00:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:59:59+01:00",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:00:00-01:00",
    ],
)
def test_what_is_no_time_here(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_time(text)
    assert not text.strip() or text.strip() not in str(refusal.value)


@pytest.mark.parametrize("at", [-1, LAST + 1, 10**30, -(10**30)])
def test_an_instant_out_of_range_is_refused(at: int) -> None:
    for use in (format_time, day_of, utc_date, Period(0, 0).after, Period(1, 0).after):
        with pytest.raises(ValueError, match="out of range"):
            use(at)


@pytest.mark.parametrize(
    ("text", "months", "seconds"),
    [
        ("P2Y", 24, 0),
        ("P13M", 13, 0),
        ("P1Y6M", 18, 0),
        ("P30D", 0, 30 * 86_400),
        ("P2W", 0, 14 * 86_400),
        ("PT15M", 0, 900),
        ("PT1H30M5S", 0, 5_405),
        ("P1Y2M3DT4H5M6S", 14, 3 * 86_400 + 4 * 3_600 + 5 * 60 + 6),
        ("P0D", 0, 0),
    ],
)
def test_periods(text: str, months: int, seconds: int) -> None:
    assert parse_period(text) == Period(months, seconds)


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "P",
            "PT",
            "P1YT",
            "1Y",
            "p1Y",
            "P1y",
            "P-1D",
            "-P1D",
            "P1.5D",
            "P1,5D",
            "PT1Y",
            "P1H",
            "P1D1Y",
        ],
        *["P1S", "P４D", "P٤D", "P1D\n", " P1D", "P99999Y", "P1Y1Y", "P1DT", "P 1D", "PT1S1M"],
    ],
)
def test_no_periods(text: str) -> None:
    with pytest.raises(ValueError, match="not an ISO 8601 duration"):
        parse_period(text)


@pytest.mark.parametrize(
    ("start", "period", "then"),
    [
        ("2024-02-29T12:00:00Z", "P1Y", "2025-02-28T12:00:00Z"),
        ("2024-02-29T12:00:00Z", "P4Y", "2028-02-29T12:00:00Z"),
        ("2096-02-29T12:00:00Z", "P4Y", "2100-02-28T12:00:00Z"),
        ("2023-02-28T12:00:00Z", "P1Y", "2024-02-28T12:00:00Z"),
        ("2024-01-31T00:00:00Z", "P1M", "2024-02-29T00:00:00Z"),
        ("2025-01-31T00:00:00Z", "P1M", "2025-02-28T00:00:00Z"),
        ("2025-01-31T00:00:00Z", "P2M", "2025-03-31T00:00:00Z"),
        ("2025-03-31T00:00:00Z", "P1M", "2025-04-30T00:00:00Z"),
        ("2025-12-31T23:59:59.999999Z", "P1M", "2026-01-31T23:59:59.999999Z"),
        ("2025-12-15T00:00:00Z", "P13M", "2027-01-15T00:00:00Z"),
        ("2025-11-30T00:00:00Z", "P3M", "2026-02-28T00:00:00Z"),
        ("2024-01-31T00:00:00Z", "P1M1D", "2024-03-01T00:00:00Z"),
        ("2024-02-28T00:00:00Z", "P1D", "2024-02-29T00:00:00Z"),
        ("2025-10-26T00:30:00Z", "PT24H", "2025-10-27T00:30:00Z"),
        ("2026-11-23T14:00:00Z", "PT15M", "2026-11-23T14:15:00Z"),
        ("9999-11-30T00:00:00Z", "P1M", "9999-12-30T00:00:00Z"),
        ("9999-12-30T23:59:59.999999Z", "P1D", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_one_period_later(start: str, period: str, then: str) -> None:
    assert format_time(parse_period(period).after(parse_time(start))) == format_time(parse_time(then))


@pytest.mark.parametrize("period", ["P1D", "P1M", "P9999Y", "P9999Y9999M99999D", "PT1S"])
def test_a_period_that_ends_after_the_last_year_is_refused(period: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        parse_period(period).after(LAST)


def test_a_period_that_ends_with_the_last_year_is_refused() -> None:
    assert Period(0, 1).after(LAST - SECOND) == LAST
    with pytest.raises(ValueError, match="out of range"):
        Period(0, 1).after(LAST + 1 - SECOND)


def test_the_lower_bound_is_reached() -> None:
    period = Period(1, 5)
    february = start_of(date(2025, 2, 1))
    assert (period.after(february) - february) // SECOND == period.shortest_seconds == 28 * 86_400 + 5
    assert Period(12, 0).shortest_seconds == 12 * 28 * 86_400


@given(st.integers(0, LAST // 2), st.integers(0, 2_400), st.integers(0, 400 * 86_400))
def test_a_period_is_never_shorter_than_its_lower_bound(at: int, months: int, seconds: int) -> None:
    period = Period(months, seconds)
    assert period.after(at) - at >= period.shortest_seconds * SECOND


@given(instants)
def test_days_agree(at: int) -> None:
    day = utc_date(at)
    assert day_of(at) == day.isoformat() == format_time(at)[:10]
    assert start_of(day) <= at < start_of(day) + DAY


def test_the_first_instant_of_a_day() -> None:
    assert start_of(date(1970, 1, 2)) == DAY
    assert format_time(start_of(date(2024, 2, 29))) == "2024-02-29T00:00:00.000000Z"


def test_the_hosts_clock_tells_the_time_in_microseconds() -> None:
    before = time.time_ns() // 1_000
    now = SystemClock().now()
    assert before <= now <= time.time_ns() // 1_000


def test_a_fixed_clock_stands_until_it_is_moved() -> None:
    clock = FixedClock(5)
    assert (clock.now(), clock.now()) == (5, 5)
    clock.advance(DAY)
    assert clock.now() == 5 + DAY
    clock.advance(-DAY)
    assert clock.now() == 5
