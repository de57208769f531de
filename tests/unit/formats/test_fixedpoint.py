from __future__ import annotations

import decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import BadInput, ValueRefused
from vault.formats.catalog import parse_template
from vault.formats.fixedpoint import MAX_SCALE, MOST, Decimal
from vault.formats.template import MAX_SPEC
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

MONEY = Decimal()
SIGNED = Decimal(-1_000, 1_000, 3)


@pytest.mark.parametrize(
    ("template", "value", "rank"),
    [
        (MONEY, "0.00", 0),
        (MONEY, "0.05", 5),
        (MONEY, "12.34", 1_234),
        (MONEY, "10000000.00", 1_000_000_000),
        (SIGNED, "-1000.000", 0),
        (SIGNED, "-0.001", 999_999),
        (SIGNED, "0.000", 1_000_000),
        (SIGNED, "1000.000", 2_000_000),
        (Decimal(5, 9, 6), "5.000000", 0),
        (Decimal(-9, -5, 6), "-5.000000", 4_000_000),
    ],
)
def test_numbers_are_places_in_the_range(template: Decimal, value: str, rank: int) -> None:
    shape = template.parse(value)
    assert (shape.rank, shape.length) == (rank, len(value))
    assert template.render_value(shape, shape.text) == value


@pytest.mark.parametrize(
    ("template", "value", "code"),
    [
        (MONEY, "", "value_empty"),
        (MONEY, "12", "value_length"),
        (MONEY, "1.2", "value_length"),
        (MONEY, "100000000.00", "value_length"),
        (MONEY, "10000000.01", "value_format"),
        (MONEY, "12.345", "value_format"),
        (MONEY, "12.3", "value_format"),
        (MONEY, "1234", "value_format"),
        (MONEY, "12345.", "value_format"),
        (MONEY, "012.34", "value_format"),
        (MONEY, ".1234", "value_format"),
        (MONEY, "1.234.56", "value_format"),
        (MONEY, "+12.34", "value_format"),
        (MONEY, "-12.34", "value_format"),
        (MONEY, "-0.00", "value_format"),
        (MONEY, "12,34", "value_alphabet"),
        (MONEY, "1,234.56", "value_alphabet"),
        (MONEY, "$12.34", "value_alphabet"),
        (MONEY, "1.2e3", "value_alphabet"),
        (MONEY, "12.3４", "value_alphabet"),
        (MONEY, "12.34\n", "value_alphabet"),
        (SIGNED, "-0.000", "value_format"),
        (SIGNED, "1000.001", "value_format"),
        (SIGNED, "-1000.001", "value_format"),
    ],
)
def test_refusals(template: Decimal, value: str, code: str) -> None:
    assert refused(template.parse, value) == code


def test_parameters() -> None:
    for spec in (
        "decimal(min=1, max=0)",
        "decimal(scale=0)",
        "decimal(scale=19)",
        f"decimal(max={MOST + 1})",
        "decimal(max=1.5)",
    ):
        with pytest.raises(BadInput):
            parse_template(spec)
    longest = Decimal(-MOST, MOST, MAX_SCALE)
    assert len(longest.spec) <= MAX_SPEC
    assert parse_template(longest.spec) == longest
    assert MONEY.spec == "decimal(min=0, max=10000000, scale=2)"


def test_small_ranges_are_not_for_ff1() -> None:
    tokens = Vaultless(Secret(bytes(32)), "main", "f", Decimal(0, 9_999, 2))
    with pytest.raises(ValueRefused, match="domain_too_small"):
        tokens.tokenize("12.34")
    Vaultless(Secret(bytes(32)), "main", "f", Decimal(0, 10_000, 2)).tokenize("12.34")


@given(
    st.integers(-MOST, MOST),
    st.integers(-MOST, MOST),
    st.integers(1, MAX_SCALE),
    st.data(),
)
def test_every_number_of_any_range_turns_back(one: int, other: int, scale: int, data: st.DataObject) -> None:
    template = Decimal(min(one, other), max(one, other), scale)
    with decimal.localcontext(decimal.Context(prec=60)):
        units = data.draw(st.integers(template.least * 10**scale, template.most * 10**scale))
        value = f"{decimal.Decimal(units).scaleb(-scale):f}"
        shape = template.parse(value)
        assert template.render_value(shape, shape.text) == value
        step = decimal.Decimal(1).scaleb(-scale)
        for outside in (template.least - step, template.most + step):
            assert refused(template.parse, f"{outside:f}") in ("value_length", "value_format")
