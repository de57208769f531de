from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import BadInput, ValueRefused
from vault.formats.catalog import parse_template
from vault.formats.template import MAX_SPEC
from vault.formats.timestamp import Timestamp
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

SECOND = Timestamp()
NANO = Timestamp("nanosecond")
YEARS = Timestamp("second", 2000, 2009)


@pytest.mark.parametrize(
    "value",
    [
        "2024-02-29T23:59:59Z",
        "2024-02-29 23:59:59",
        "2024-02-29T23:59Z",
        "2024-02-29 23:59",
        "2024-02-29T23:59:59.1+01:00",
        "2024-02-29 23:59:59.123456+00",
        "2024-02-29T23:59:59.000-0330",
        "2024-02-29T23:59:59.123456789-00:00",
        "0001-01-01T00:00:00",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999999Z",
    ],
)
def test_times_and_their_tokens_keep_layout_and_zone(value: str) -> None:
    shape = NANO.parse(value)
    assert NANO.render_value(shape, shape.text) == value
    tokens = Vaultless(Secret(bytes(32)), "main", "f", NANO)
    token = tokens.tokenize(value)
    assert token[10:11] == value[10]
    assert token[19:20] == value[19:20]
    assert [place for place, one in enumerate(token) if one in ":.T Z"] == [
        place for place, one in enumerate(value) if one in ":.T Z"
    ]
    assert NANO.parse(token).style == shape.style
    assert token.endswith(shape.style)
    assert tokens.detokenize(token) == value
    datetime.datetime.fromisoformat(token)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("2024-02-29", "value_length"),
        ("2024-02-29T23Z", "value_length"),
        ("20240229T235959Z", "value_format"),
        ("2024-02-29T23:59:59.1234567890+01:00", "value_length"),
        ("2024-02-29t23:59:59Z", "value_alphabet"),
        ("2024-02-29T23:59:59z", "value_alphabet"),
        ("2024-02-29T23:59:59,5Z", "value_alphabet"),
        ("2024-02-29T23:59:59 UTC", "value_alphabet"),
        ("2024-02-29T23:59:5９Z", "value_alphabet"),
        ("2024-02-29T23:59:59Z\n", "value_alphabet"),
        ("2024-02-29T23:59:59 Z", "value_format"),
        ("2024-02-29T23:59:59.Z", "value_format"),
        ("2024-02-29T23:59.5Z", "value_format"),
        ("2024-02-29T23:59:59.5Z", "value_format"),
        ("2024-02-29  23:59:59", "value_format"),
        ("2024-02-29T23:59:59+1:00", "value_format"),
        ("2024-02-29T23:59:59+24:00", "value_format"),
        ("2024-02-29T23:59:59+00:60", "value_format"),
        ("2024-02-29T23:59:59+00:00Z", "value_format"),
        ("+2024-02-29T23:59:59", "value_format"),
        ("2024-02-29T24:00:00Z", "value_calendar"),
        ("2024-02-29T23:60:00Z", "value_calendar"),
        ("2016-12-31T23:59:60Z", "value_calendar"),
        ("2023-02-29T23:59:59Z", "value_calendar"),
        ("0000-01-01T00:00:00Z", "value_calendar"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(SECOND.parse, value) == code


@pytest.mark.parametrize(
    ("granularity", "most"),
    [("minute", None), ("second", 0), ("millisecond", 3), ("microsecond", 6), ("nanosecond", 9)],
)
def test_a_granularity_is_the_finest_that_is_taken(granularity: str, most: int | None) -> None:
    template = parse_template(f"timestamp(granularity='{granularity}')")
    for decimals in range(-1, 10):
        value = "2024-02-29T23:59" + (":59" if decimals >= 0 else "")
        value += "." + "7" * decimals if decimals > 0 else ""
        if decimals < 0 or (most is not None and decimals <= most):
            shape = template.parse(value)
            assert template.render_value(shape, shape.text) == value
        else:
            assert refused(template.parse, value) == "value_format"


def test_times_are_places_in_the_range() -> None:
    assert YEARS.parse("2000-01-01T00:00:00Z").rank == 0
    assert YEARS.parse("2000-01-02 00:01:01").rank == 86_461
    assert YEARS.parse("2009-12-31T23:59:59").rank == 3653 * 86_400 - 1
    assert YEARS.domain().size == 3653 * 86_400
    assert YEARS.smallest().size == 3653 * 1440
    for value in ("1999-12-31T23:59:59Z", "2010-01-01T00:00:00Z"):
        assert refused(YEARS.parse, value) == "value_format"
    with pytest.raises(ValueRefused):
        YEARS.domain(10)


def test_a_year_has_too_few_minutes() -> None:
    tokens = Vaultless(Secret(bytes(32)), "main", "f", Timestamp("second", 2024, 2024))
    tokens.tokenize("2024-02-29T23:59:59Z")
    with pytest.raises(ValueRefused, match="domain_too_small"):
        tokens.tokenize("2024-02-29T23:59Z")


def test_zones_separate_tokens_and_separators_do_not() -> None:
    tokens = Vaultless(Secret(bytes(32)), "main", "f", SECOND)
    made = {tokens.tokenize(f"2024-02-29T23:59:59{zone}")[:19] for zone in ("", "Z", "+00:00", "+00")}
    assert len(made) == 4
    token = tokens.tokenize("2024-02-29T23:59:59Z")
    assert tokens.detokenize(token.replace("T", " ")) == "2024-02-29 23:59:59Z"


@pytest.mark.parametrize(
    ("template", "value", "plain"),
    [
        (SECOND, "2024-02-29 23:59", "2024-02-29T23:59:00"),
        (SECOND, "2024-02-29 23:59:59+00", "2024-02-29T23:59:59Z"),
        (SECOND, "2024-02-29T23:59:59-00:00", "2024-02-29T23:59:59Z"),
        (SECOND, "2024-03-01T00:59:59+0100", "2024-02-29T23:59:59Z"),
        (SECOND, "2024-02-29T20:29:59-03:30", "2024-02-29T23:59:59Z"),
        (NANO, "2024-02-29T23:59:59.1200Z", "2024-02-29T23:59:59.12Z"),
        (NANO, "2024-02-29T23:59:59.000", "2024-02-29T23:59:59"),
        (Timestamp("minute"), "2024-02-29 23:59+00:00", "2024-02-29T23:59Z"),
        (SECOND, "0001-01-01T00:30:00+01:00", "0001-01-01T23:29:00+23:59"),
        (SECOND, "0001-01-01T01:30:00+02:00", "0001-01-01T23:29:00+23:59"),
        (SECOND, "9999-12-31T23:30:00-01:00", "9999-12-31T00:31:00-23:59"),
    ],
)
def test_one_spelling_of_a_time(template: Timestamp, value: str, plain: str) -> None:
    assert template.canonical(value) == plain
    template.parse(plain)
    assert template.canonical(plain) == plain


OFFSETS = st.integers(-1439, 1439).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)))


@given(st.datetimes(*map(datetime.datetime.fromisoformat, ("2000-01-03", "2009-12-29"))), OFFSETS, OFFSETS)
def test_equal_times_have_one_spelling(
    time: datetime.datetime, one: datetime.timezone, other: datetime.timezone
) -> None:
    template = Timestamp("microsecond", 2000, 2009)
    aware = time.replace(tzinfo=datetime.UTC)
    plain = {template.canonical(aware.astimezone(zone).isoformat()) for zone in (one, other, datetime.UTC)}
    assert len(plain) == 1
    assert datetime.datetime.fromisoformat(plain.pop()) == aware
    later = (aware + datetime.timedelta(microseconds=1)).astimezone(one)
    assert template.canonical(later.isoformat()) != template.canonical(aware.isoformat())


@given(st.datetimes(), st.sampled_from((" ", "T")), st.sampled_from(("", "Z", "+01:00")))
def test_every_time_turns_back(time: datetime.datetime, separator: str, zone: str) -> None:
    value = time.isoformat(separator) + zone
    shape = NANO.parse(value)
    assert NANO.render_value(shape, shape.text) == value


def test_parameters() -> None:
    longest = Timestamp("millisecond", 1900, 2099)
    for template in (longest, Timestamp("microsecond", 1900, 2099)):
        assert len(template.spec) <= MAX_SPEC
        assert parse_template(template.spec) == template
    assert SECOND.spec == "timestamp(granularity='second', first=1, last=9999)"
    for spec in ("timestamp(first=2001, last=2000)", "timestamp(last=10000)", "timestamp(granularity='day')"):
        with pytest.raises(BadInput):
            parse_template(spec)
