from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import BadInput, ValueRefused
from vault.formats.catalog import parse_template
from vault.formats.integer import MOST, Integer
from vault.formats.template import MAX_SPEC
from vault.schema.fields import _roomy
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

NUMBER = Integer()
SIGNED = Integer(-500_000, 500_000)
PADDED = Integer(0, 99_999_999, 8)
HIGH = Integer(1_000_000, 2_999_999)
LOW = Integer(-2_999_999, -1_000)


@pytest.mark.parametrize(
    ("template", "value", "rank"),
    [
        (NUMBER, "0", 0),
        (NUMBER, "7", 7),
        (NUMBER, "999999999", 999_999_999),
        (SIGNED, "-500000", 0),
        (SIGNED, "-1", 499_999),
        (SIGNED, "0", 500_000),
        (PADDED, "00000000", 0),
        (PADDED, "00000042", 42),
        (HIGH, "1000000", 0),
        (LOW, "-1000", 2_998_999),
        (Integer(-MOST, MOST), f"-{MOST}", 0),
        (Integer(-MOST, MOST), f"{MOST}", 2 * MOST),
    ],
)
def test_numbers_are_places_in_the_range(template: Integer, value: str, rank: int) -> None:
    shape = template.parse(value)
    assert (shape.rank, shape.kept, shape.length) == (rank, (), len(value))
    assert template.render_value(shape, shape.text) == value


@pytest.mark.parametrize(
    ("template", "value", "code"),
    [
        (NUMBER, "", "value_empty"),
        (NUMBER, "1000000000", "value_length"),
        (NUMBER, "9" * 10**6, "value_length"),
        (NUMBER, "007", "value_format"),
        (NUMBER, "00", "value_format"),
        (NUMBER, "+7", "value_format"),
        (NUMBER, "-7", "value_format"),
        (NUMBER, "-0", "value_format"),
        (NUMBER, "-", "value_format"),
        (NUMBER, "1-2", "value_format"),
        (NUMBER, "1e3", "value_alphabet"),
        (NUMBER, "1,000", "value_alphabet"),
        (NUMBER, "1_000", "value_alphabet"),
        (NUMBER, " 7", "value_alphabet"),
        (NUMBER, "7\n", "value_alphabet"),
        (NUMBER, "７", "value_alphabet"),
        (NUMBER, "\u22127", "value_alphabet"),
        (NUMBER, "7.0", "value_alphabet"),
        (SIGNED, "-0", "value_format"),
        (SIGNED, "-007", "value_format"),
        (SIGNED, "--7", "value_format"),
        (SIGNED, "500001", "value_format"),
        (SIGNED, "-500001", "value_format"),
        (SIGNED, "-5000000", "value_length"),
        (PADDED, "42", "value_length"),
        (PADDED, "000000042", "value_length"),
        (PADDED, "-0000042", "value_format"),
        (PADDED, "+0000042", "value_format"),
        (HIGH, "999999", "value_length"),
        (HIGH, "3000000", "value_format"),
        (LOW, "1000", "value_length"),
        (LOW, "-0999", "value_format"),
    ],
)
def test_refusals(template: Integer, value: str, code: str) -> None:
    assert refused(template.parse, value) == code


def test_a_number_under_the_width_is_refused_by_its_range() -> None:
    assert refused(Integer(0, 100, 8).parse, "00000101") == "value_format"


@pytest.mark.parametrize(
    ("spec", "parameter"),
    [
        ("integer(min=2, max=1)", "min"),
        ("integer(min=-1, width=9)", "width"),
        ("integer(max=1000, width=3)", "width"),
        (f"integer(max={MOST + 1})", None),
        ("integer(min='0')", "min"),
    ],
)
def test_parameters(spec: str, parameter: str | None) -> None:
    with pytest.raises(BadInput) as caught:
        parse_template(spec)
    assert caught.value.facts.get("parameter") == parameter


def test_the_longest_spelling_fits() -> None:
    assert Integer().spec == "integer(min=0, max=999999999)"
    for template in (Integer(-MOST, MOST), Integer(10**17 - 1, MOST, 18)):
        assert len(template.spec) <= MAX_SPEC
        assert parse_template(template.spec) == template
    assert Integer(10**17, MOST, 18) == Integer(10**17, MOST)


def test_small_ranges_are_not_for_ff1() -> None:
    assert _roomy(Integer(1, 1_000_000))
    assert not _roomy(Integer(1, 999_999))
    with pytest.raises(ValueRefused, match="domain_too_small"):
        Vaultless(Secret(bytes(32)), "main", "f", Integer(1, 999_999)).tokenize("7")
    with pytest.raises(ValueRefused):
        NUMBER.domain(10)


@given(st.integers(-MOST, MOST), st.integers(-MOST, MOST), st.data())
def test_every_number_of_any_range_turns_back(one: int, other: int, data: st.DataObject) -> None:
    template = Integer(min(one, other), max(one, other))
    number = str(data.draw(st.integers(template.least, template.most)))
    shape = template.parse(number)
    assert template.render_value(shape, shape.text) == number
    for outside in (template.least - 1, template.most + 1):
        assert refused(template.parse, str(outside)) in ("value_length", "value_format")


def test_a_whole_domain_of_tokens() -> None:
    """Every hundredth number of a range: tokens are numbers of it, and no two share one."""
    template = Integer(-500_001, 500_001)
    tokens = Vaultless(Secret(bytes(32)), "main", "f", template)
    values = [str(number) for number in range(-500_001, 500_002, 100)]
    made, refusals = tokens.tokenize_many(values)
    assert not refusals
    assert len(set(made)) == len(values)
    assert all(one is not None and -500_001 <= int(one) <= 500_001 for one in made)
    assert tokens.detokenize_many(made) == (values, {})
