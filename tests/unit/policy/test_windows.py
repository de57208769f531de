"""Windows of time: half-open, over midnight, and where clocks are put forward and back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.clock import SECOND, parse_time
from vault.errors import BadInput
from vault.policy.windows import DAYS, MAX_WINDOWS, Window, check_windows, inside

WORK = ("mon", "tue", "wed", "thu", "fri")
MINUTE = 60 * SECOND
STEP = 5 * MINUTE  # all times of these tests lie on it
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def window(start: str, until: str, days: tuple[str, ...] = DAYS, zone: str = BERLIN) -> list[Window]:
    windows = [Window(days, start, until, zone)]
    check_windows(windows)
    return windows


def edges(windows: list[Window], start: str, end: str) -> list[str]:
    """When windows begin or end, in UTC, between two instants that are not edges."""
    now, last = parse_time(start), parse_time(end)
    before, found = inside(windows, now - 1), []
    while now <= last:
        after = inside(windows, now)
        if after != before:
            assert inside(windows, now - 1) == before
            found.append(datetime.fromtimestamp(now / SECOND, ZoneInfo("UTC")).strftime("%dT%H:%M"))
        before = after
        now += STEP
    return found


def test_a_window_is_half_open() -> None:
    office = window("08:00", "18:00", WORK)
    monday = parse_time("2026-11-23T07:00:00Z")  # 08:00 in Berlin
    assert [inside(office, monday + step) for step in (-1, 0, 1)] == [False, True, True]
    evening = monday + 10 * 3600 * SECOND
    assert [inside(office, evening + step) for step in (-1, 0)] == [True, False]
    assert edges(office, "2026-11-20T00:00:00Z", "2026-11-24T00:00:00Z") == [
        "20T07:00", "20T17:00", "23T07:00", "23T17:00"]  # fmt: skip


def test_a_window_over_midnight_belongs_to_the_day_it_begins_on() -> None:
    night = window("22:00", "06:00", ("fri",))
    assert edges(night, "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z") == ["20T21:00", "21T05:00"]
    sunday = window("22:00", "06:00", ("sun",))
    assert edges(sunday, "2026-11-16T06:00:00Z", "2026-11-23T12:00:00Z") == ["22T21:00", "23T05:00"]


def test_days_whole() -> None:
    day = window("00:00", "24:00", ("wed",))
    assert edges(day, "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z") == ["17T23:00", "18T23:00"]
    all_but_an_hour = window("13:00", "12:00")
    assert edges(all_but_an_hour, "2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z") == ["18T11:00", "18T12:00"]
    always = window("00:00", "24:00")
    assert edges(always, "2026-10-24T00:00:00Z", "2026-10-26T00:00:00Z") == []


@pytest.mark.parametrize(
    ("start", "until", "expected"),
    [
        # 29 March 2026: at 02:00 clocks are put to 03:00, at 01:00 UTC
        ("01:00", "04:00", ["29T00:00", "29T02:00"]),
        ("01:30", "02:30", ["29T00:30", "29T01:00"]),
        ("02:30", "03:30", ["29T01:00", "29T01:30"]),
        ("02:00", "03:00", []),
        ("02:10", "02:50", []),
        ("03:00", "04:00", ["29T01:00", "29T02:00"]),
    ],
)
def test_where_clocks_are_put_forward(start: str, until: str, expected: list[str]) -> None:
    """What never is on the clock is the instant of the change."""
    assert edges(window(start, until, ("sun",)), "2026-03-28T12:00:00Z", "2026-03-29T20:00:00Z") == expected


@pytest.mark.parametrize(
    ("start", "until", "expected"),
    [
        # 25 October 2026: at 03:00 clocks are put to 02:00, at 01:00 UTC; 02:00 to 03:00 comes twice
        ("01:00", "04:00", ["24T23:00", "25T03:00"]),
        ("01:30", "02:30", ["24T23:30", "25T00:30"]),
        ("02:30", "03:30", ["25T00:30", "25T02:30"]),
        ("02:15", "02:45", ["25T00:15", "25T00:45"]),
        ("03:00", "04:00", ["25T02:00", "25T03:00"]),
    ],
)
def test_where_clocks_are_put_back(start: str, until: str, expected: list[str]) -> None:
    """What comes twice is its first; a window is one stretch of time."""
    assert edges(window(start, until, ("sun",)), "2026-10-24T12:00:00Z", "2026-10-25T20:00:00Z") == expected


def test_comparing_the_clock_on_the_wall_opens_a_window_twice() -> None:
    """Control: what this does not do."""
    zone = ZoneInfo(BERLIN)

    def on_the_wall(now: int) -> bool:
        local = datetime.fromtimestamp(now / SECOND, zone)
        return "02:15" <= local.strftime("%H:%M") < "02:45"

    night = [parse_time("2026-10-25T00:00:00Z") + minute * MINUTE for minute in range(180)]
    assert sum(map(on_the_wall, night)) == 60
    assert sum(inside(window("02:15", "02:45", ("sun",)), now) for now in night) == 30


def test_where_clocks_go_back_over_midnight() -> None:
    """St. John's, 1 November 2009: at 00:01 clocks were put to 23:01 of the day before."""
    sunday = window("00:00", "01:00", ("sun",), "America/St_Johns")
    assert edges(sunday, "2009-10-31T12:00:00Z", "2009-11-01T12:00:00Z") == ["01T02:30", "01T04:30"]
    saturday = window("23:30", "24:00", ("sat",), "America/St_Johns")
    assert edges(saturday, "2009-10-31T12:00:00Z", "2009-11-01T12:00:00Z") == ["01T02:00", "01T02:30"]


def test_a_day_that_never_was_has_no_window() -> None:
    """Apia left out 30 December 2011, a Friday."""
    friday = window("08:00", "18:00", ("fri",), "Pacific/Apia")
    assert edges(friday, "2011-12-28T00:00:00Z", "2012-01-03T00:00:00Z") == []
    thursday = window("22:00", "06:00", ("thu",), "Pacific/Apia")
    assert edges(thursday, "2011-12-28T00:00:00Z", "2012-01-03T00:00:00Z") == ["30T08:00", "30T10:00"]


TIMES = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")


@given(
    start=TIMES,
    until=TIMES,
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    zone=st.sampled_from([BERLIN, NEW_YORK, "Asia/Kolkata", "Australia/Lord_Howe", "UTC"]),
    hour=st.integers(0, 24 * 365 * 3),
    offset=st.integers(0, 60 * MINUTE),
)
def test_far_from_a_change_it_is_the_clock_on_the_wall(
    start: str, until: str, days: set[str], zone: str, hour: int, offset: int
) -> None:
    now = parse_time("2024-01-01T00:00:00Z") + hour * 60 * MINUTE + offset
    local = datetime.fromtimestamp(now / SECOND, ZoneInfo(zone))
    offsets = {(local + timedelta(hours=step)).utcoffset() for step in range(-50, 51)}
    if start == until or len(offsets) > 1:
        return
    clock = local.strftime("%H:%M")
    day, before = DAYS[local.weekday()], DAYS[local.weekday() - 1]
    if start < until:
        expected = day in days and start <= clock < until
    else:
        expected = (day in days and clock >= start) or (before in days and clock < until)
    assert inside(window(start, until, tuple(days), zone), now) == expected


def test_one_of_several_is_enough_and_of_none_there_is_none() -> None:
    noon = parse_time("2026-11-23T12:00:00Z")
    morning, midday = window("08:00", "09:00"), window("12:00", "14:00")
    assert inside(morning + midday, noon)
    assert not inside(morning, noon)
    assert not inside([], noon)


GOOD: dict[str, Any] = {"days": ["mon"], "from": "08:00", "until": "18:00", "zone": BERLIN}


def test_windows_as_a_grant_lists_them() -> None:
    windows = msgspec.json.decode(msgspec.json.encode([GOOD]), type=list[Window])
    check_windows(windows)
    assert msgspec.to_builtins(windows) == [{**GOOD, "days": ("mon",)}]


@pytest.mark.parametrize(
    "bad",
    [
        {"days": []},
        {"days": ["mon", "mon"]},
        {"days": ["Mon"]},
        {"days": ["monday"]},
        {"from": "8:00"},
        {"from": "24:00"},
        {"from": "08:60"},
        {"from": "08:00 "},
        {"from": "08:00\n"},
        {"from": "０8:00"},
        {"from": ""},
        {"until": "24:01"},
        {"until": "08:00"},
        {"until": "25:00"},
        {"zone": ""},
        {"zone": "Berlin"},
        {"zone": "Europe/Atlantis"},
        {"zone": "europe/berlin"},
        {"zone": "CET"},
        {"zone": "localtime"},
        {"zone": "posixrules"},
        {"zone": "Europe"},
        {"zone": "Europe/"},
        {"zone": "/Europe/Berlin"},
        {"zone": "Europe/../Europe/Berlin"},
        {"zone": "../../../etc/passwd"},
        {"zone": "Europe/Berlin\0"},
        {"zone": "Europe/Berlin\n"},
    ],
    ids=str,
)
def test_what_is_no_window_is_refused(bad: dict[str, Any]) -> None:
    windows = [msgspec.convert(one, Window) for one in (GOOD, {**GOOD, **bad})]
    with pytest.raises(BadInput) as refusal:
        check_windows(windows)
    assert (refusal.value.code, refusal.value.facts) == (
        "validity_invalid",
        {"member": "windows", "index": 1},
    )


@pytest.mark.parametrize("count", [0, MAX_WINDOWS + 1])
def test_there_are_some_and_not_too_many(count: int) -> None:
    with pytest.raises(BadInput, match="validity_invalid"):
        check_windows(window("08:00", "18:00") * count)
    check_windows(window("08:00", "18:00") * MAX_WINDOWS)


def test_a_zone_that_is_gone_opens_nothing() -> None:
    assert not inside([Window(DAYS, "00:00", "24:00", "Europe/Atlantis")], 0)
