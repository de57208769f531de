"""Due instants that move: never before what was promised, and at most one period after it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.clock import DAY, Micros, Period, parse_period, parse_time, start_of
from vault.retention.period import (
    NO_DUE,
    RetentionClass,
    Unit,
    due_at_on_event,
    due_at_on_seal,
    due_at_on_use,
    falls_due,
    retention_class,
)
from vault.schema.rules import RetentionRule

instants = st.integers(0, start_of(date(2300, 1, 1)) - 1)
keeps = st.builds(Period, months=st.integers(0, 240), seconds=st.integers(1, 4_000).map(lambda d: d * 86_400))
units = st.sampled_from(Unit)
WIDEST = {Unit.DAY: DAY, Unit.MONTH: 31 * DAY}


def at(text: str) -> Micros:
    return parse_time(text)


def event(keep: str, max_: str | None, unit: Unit = Unit.MONTH) -> RetentionClass:
    longest = None if max_ is None else parse_period(max_)
    return RetentionClass("c", parse_period(keep), unit, "event", longest)


def used(keep: str, max_: str | None = None, unit: Unit = Unit.MONTH) -> RetentionClass:
    longest = None if max_ is None else parse_period(max_)
    return RetentionClass("c", parse_period(keep), unit, "last_use", longest)


CREATED = at("2026-11-23T14:00:00Z")
CREATION = RetentionClass("c", parse_period("P1Y"))


def test_a_rule_of_the_schema_becomes_a_class() -> None:
    rule = RetentionRule("c", Period(24, 0), "event", "closed", Period(120, 0), "day")
    assert retention_class(rule) == event("P2Y", "P10Y", Unit.DAY)
    assert retention_class(RetentionRule("k", None)) == RetentionClass("k", None)


def test_a_person_of_a_moving_class_has_one_key_without_a_due_period() -> None:
    for kept in (event("P2Y", "P10Y"), event("P2Y", None), used("P2Y"), used("P2Y", "P10Y")):
        assert kept.mutable
        assert kept.due(CREATED, person=True) == kept.due(CREATED) == NO_DUE
    assert not CREATION.mutable
    assert CREATION.due(CREATED, person=True) == CREATION.due(CREATED, person=False) == "2027-11"


def test_without_a_person_the_max_counts_from_creation() -> None:
    assert event("P2Y", "P10Y").due(CREATED, person=False) == "2036-11"
    assert used("P2Y", "P30D", Unit.DAY).due(CREATED, person=False) == "2026-12-23"
    for kept in (event("P2Y", None), used("P2Y")):
        with pytest.raises(ValueError):
            kept.due(CREATED, person=False)


def test_an_event_shortens_the_wait_and_the_next_value_waits_anew() -> None:
    kept = event("P2Y", "P10Y")
    waits = due_at_on_seal(kept, CREATED, None)
    assert waits == at("2036-12-01T00:00:00Z")
    over = due_at_on_event(kept, at("2027-03-05T00:00:00Z"))
    assert over == at("2029-04-01T00:00:00Z")
    assert due_at_on_use(kept, at("2028-01-01T00:00:00Z"), over) == over
    assert due_at_on_seal(kept, at("2028-01-01T00:00:00Z"), over) == at("2038-02-01T00:00:00Z")


def test_without_a_max_nothing_but_the_event_ends_the_wait() -> None:
    kept = event("P30D", None, Unit.DAY)
    assert due_at_on_seal(kept, CREATED, None) is None
    over = due_at_on_event(kept, CREATED)
    assert over == at("2026-12-24T00:00:00Z")
    assert due_at_on_seal(kept, CREATED + DAY, over) is None


def test_events_told_in_another_order_mean_the_same() -> None:
    kept = event("P30D", "P1Y", Unit.DAY)
    first, second = CREATED, CREATED + 5 * DAY
    in_order = due_at_on_event(kept, second, first)
    assert due_at_on_event(kept, first, second) == in_order == due_at_on_event(kept, second)


def test_every_use_defers_the_end() -> None:
    kept = used("P90D", unit=Unit.DAY)
    due = due_at_on_seal(kept, CREATED, None)
    assert due == at("2027-02-22T00:00:00Z")
    later = due_at_on_use(kept, CREATED + 10 * DAY, due)
    assert later == due + 10 * DAY
    assert due_at_on_use(kept, CREATED, later) == later  # by another process, whose clock is behind


@pytest.mark.parametrize("move", [due_at_on_seal, due_at_on_use])
def test_classes_that_count_from_creation_do_not_move(move: Any) -> None:
    for kept in (CREATION, RetentionClass("key", None)):
        with pytest.raises(ValueError):
            move(kept, CREATED, None)


def test_only_an_event_class_takes_an_event() -> None:
    for kept in (CREATION, used("P1Y")):
        with pytest.raises(ValueError):
            due_at_on_event(kept, CREATED)


@given(st.lists(instants, min_size=1, max_size=6).map(sorted), keeps, units)
def test_kept_from_the_last_use(times: list[Micros], keep: Period, unit: Unit) -> None:
    kept = RetentionClass("c", keep, unit, "last_use")
    due = due_at_on_seal(kept, times[0], None)
    for time in times[1:]:
        due = due_at_on_use(kept, time, due)
    assert due is not None
    promised = max(keep.after(time) for time in times)  # adding a month is not strictly monotonic
    assert promised < due <= promised + WIDEST[unit]


moves = st.lists(st.tuples(instants, st.booleans()), min_size=1, max_size=8).map(sorted)


@given(moves, keeps, keeps, units)
def test_kept_from_the_event_or_to_the_bound(
    moves: list[tuple[Micros, bool]], keep: Period, longest: Period, unit: Unit
) -> None:
    """Values are made and events come, in any order; the key ends with the last promise under it."""
    kept = RetentionClass("c", keep, unit, "event", longest)
    due: Micros | None = None
    promises: list[Micros] = []
    for time, is_event in moves:
        if is_event:
            due = due_at_on_event(kept, time)
            promises = [keep.after(time)]
        else:
            due = due_at_on_seal(kept, time, due)
            promises.append(longest.after(time))
    assert due is not None
    assert max(promises) < due <= max(promises) + WIDEST[unit]


@given(instants, keeps, keeps, units)
def test_without_a_person_kept_to_the_bound(
    created: Micros, keep: Period, longest: Period, unit: Unit
) -> None:
    for start in ("event", "last_use"):
        kept = RetentionClass("c", keep, unit, start, longest)
        promised, over = longest.after(created), falls_due(kept.due(created, person=False))
        assert promised < over <= promised + WIDEST[unit]
