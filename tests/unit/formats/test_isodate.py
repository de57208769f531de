from __future__ import annotations

import calendar

import pytest

from tests.unit.formats.refusals import refused
from vault.errors import BadInput, ValueRefused
from vault.formats.isodate import DAYS, Date

DATE = Date()


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


def test_ff1_has_no_use_for_it() -> None:
    assert DAYS == 3_652_059
    assert not DATE.reversible_by_ff1
    assert DATE.domain().size == DATE.smallest().size == DATE.domain(10).size == 0
    with pytest.raises(ValueRefused):
        DATE.domain(8)
    for call in (
        lambda: DATE.parse_token("1975-04-03"),
        lambda: DATE.render_token(DATE.parse("1975-04-03"), ""),
    ):
        with pytest.raises(BadInput) as caught:
            call()
        assert caught.value.code == "operation_unsupported"
    assert DATE.spec == "date"
