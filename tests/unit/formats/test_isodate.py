from __future__ import annotations

import calendar
import datetime

import pytest

from tests.unit.formats.refusals import refused
from vault.errors import BadInput, ValueRefused
from vault.formats.catalog import parse_template
from vault.formats.isodate import DAYS, Date
from vault.schema.fields import _roomy
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

DATE = Date()
RANGE = parse_template("date(first='1000-01-01', last='3999-12-31')")


@pytest.mark.parametrize("value", ["1975-04-03", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"])
def test_dates(value: str) -> None:
    shape = DATE.parse(value)
    assert DATE.render_value(shape, shape.text) == value
    assert DATE.canonical(value) == value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("1975-4-3", "value_length"),
        ("19750403", "value_length"),
        ("+1975-04-03", "value_length"),
        ("1975-04-03T00:00:00Z", "value_length"),
        ("1975-04-03\n", "value_length"),
        ("9" * 10**6, "value_length"),
        ("1975/04/03", "value_alphabet"),
        ("1975.04.03", "value_alphabet"),
        ("1975-W14-4", "value_alphabet"),
        ("1975-04-0\0", "value_alphabet"),
        ("1975-04-0３", "value_alphabet"),
        ("１９７５-０４-０３", "value_alphabet"),
        ("1975-04-0\u0663", "value_alphabet"),
        ("1975-04-0\u200b", "value_alphabet"),
        ("\u202e1975-04-3", "value_alphabet"),
        ("1975-04-0\ud800", "value_alphabet"),
        ("1975\u201004\u201003", "value_alphabet"),
        ("1975-04-0 ", "value_alphabet"),
        ("-197504-03", "value_format"),
        ("03-04-1975", "value_format"),
        ("1975-0403-", "value_format"),
        ("----------", "value_format"),
        ("0123456789", "value_format"),
        ("0000-01-01", "value_calendar"),
        ("1975-00-03", "value_calendar"),
        ("1975-13-03", "value_calendar"),
        ("1975-04-00", "value_calendar"),
        ("1975-04-31", "value_calendar"),
        ("1975-02-29", "value_calendar"),
        ("1900-02-29", "value_calendar"),
        ("1975-04-99", "value_calendar"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(DATE.parse, value) == code


def test_every_day_of_some_years_and_no_other() -> None:
    for year in (1, 1600, 1899, 1900, 1999, 2000, 2023, 2024, 2100, 9999):
        for month in range(14):
            days = calendar.monthrange(year, month)[1] if 1 <= month <= 12 else 0
            for day in range(33):
                value = f"{year:04d}-{month:02d}-{day:02d}"
                if 1 <= day <= days:
                    DATE.parse(value)
                else:
                    assert refused(DATE.parse, value) == "value_calendar"


def test_days_are_places_in_the_range() -> None:
    assert DAYS == 3_652_059
    assert DATE.parse("0001-01-01").rank == 0
    assert DATE.parse("9999-12-31").rank == DAYS - 1
    assert DATE.domain() == DATE.smallest() == DATE.domain(10) == DATE.domain(8)
    assert DATE.domain().size == DAYS
    with pytest.raises(ValueRefused):
        DATE.domain(9)
    shape = RANGE.parse("1000-01-01")
    assert (shape.rank, shape.ranks, RANGE.render_token(shape, shape.text)) == (0, 1_095_727, "1000-01-01")


def test_what_lies_outside_the_range_is_refused() -> None:
    RANGE.parse("3999-12-31")
    assert refused(RANGE.parse, "0999-12-31") == "value_format"
    assert refused(RANGE.parse, "4000-01-01") == "value_format"
    assert refused(RANGE.parse_token, "4000-01-01") == "value_format"
    assert refused(RANGE.parse, "1000-02-29") == "value_calendar"


def test_spellings() -> None:
    assert DATE.spec == parse_template("date(first='0001-01-01', last='9999-12-31')").spec == "date"
    assert parse_template("date(first='1900-01-01')").spec == "date(first='1900-01-01', last='9999-12-31')"
    for first, last, parameter in (
        ("1900-01-02", "1900-01-01", "first"),
        ("1900-02-29", "2000-01-01", "first"),
        ("1900-01-01", "2000-00-01", "last"),
        ("1900-01-01", "2000-1-1", "last"),
        ("1900-01-01", "today", "last"),
    ):
        with pytest.raises(BadInput) as caught:
            parse_template(f"date(first='{first}', last='{last}')")
        assert caught.value.facts == {"template": "date", "parameter": parameter}


def test_two_centuries_are_not_for_ff1() -> None:
    short = parse_template("date(first='1900-01-01', last='2099-12-31')")
    assert not _roomy(short)
    assert _roomy(DATE)
    assert _roomy(RANGE)
    with pytest.raises(ValueRefused, match="domain_too_small"):
        Vaultless(Secret(bytes(32)), "main", "f", short).tokenize("1975-04-03")


def test_tokens_of_many_days_are_days_of_the_range_and_differ() -> None:
    tokens = Vaultless(Secret(bytes(32)), "main", "f", RANGE)
    start = datetime.date(1000, 1, 1).toordinal()
    days = [datetime.date.fromordinal(start + count).isoformat() for count in range(0, 1_095_727, 97)]
    made, refusals = tokens.tokenize_many(days)
    assert not refusals
    assert len(set(made)) == len(days)
    assert all(one is not None and "1000-01-01" <= one <= "3999-12-31" for one in made)
    assert tokens.detokenize_many(made) == (days, {})
