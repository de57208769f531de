from __future__ import annotations

import pytest
import stdnum.imei

from tests.unit.formats.refusals import STRANGERS, refused
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS
from vault.formats.imei import Imei
from vault.formats.template import Shape

IMEI = Imei()
BY_TYPE = Imei("tac")
CHECKED = "490154203237518"
SOFTWARE = "4901542032375103"


def test_the_check_digit_is_neither_kept_nor_transformed() -> None:
    assert IMEI.parse(CHECKED) == Shape(DIGITS, "49015420323751", (), 15)
    assert BY_TYPE.parse(CHECKED) == Shape(DIGITS, "323751", tuple(enumerate("49015420")), 15)
    assert IMEI.parse(CHECKED[:14]) == Shape(DIGITS, "49015420323751", (), 14)
    assert IMEI.parse(SOFTWARE) == Shape(DIGITS, SOFTWARE, (), 16)


@pytest.mark.parametrize(
    "value", [CHECKED, CHECKED[:14], SOFTWARE, "49-015420-323751-8", "490154 203237 518"]
)
@pytest.mark.parametrize("digit", "0579")
def test_tokens_are_imeis(value: str, digit: str) -> None:
    for template in (IMEI, BY_TYPE):
        shape = template.parse(value)
        assert template.render_value(shape, shape.text) == value
        token = template.render_token(shape, digit * len(shape.text))
        stdnum.imei.validate(token)
        assert template.parse_token(token).text == digit * len(shape.text)
        assert (template.canonical(token)[:8] == "49015420") == (template is BY_TYPE)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("4901542032375", "value_length"),
        ("49015420323751039", "value_length"),
        ("49-0-1-5-4-2-0-3-2-3", "value_length"),
        ("490154203237517", "value_checksum"),
        ("940154203237518", "value_checksum"),
        ("49--015420-323751-8", "value_format"),
        ("490154203237518-", "value_format"),
        ("49015420323751A", "value_alphabet"),
        *((value + "123456", "value_alphabet") for value in STRANGERS if "." not in value),
    ],
)
def test_refusals(value: str, code: str) -> None:
    for template in (IMEI, BY_TYPE):
        assert refused(template.parse, value) == code
        assert refused(template.parse_token, value) == code


def test_domains() -> None:
    assert [IMEI.domain(length).size for length in (14, 15, 16)] == [10**14, 10**14, 10**16]
    assert [BY_TYPE.domain(length).size for length in (14, 15, 16)] == [10**6, 10**6, 10**8]
    assert BY_TYPE.smallest().size == 10**6
    for length in (13, 17):
        with pytest.raises(ValueRefused):
            IMEI.domain(length)
    assert (IMEI.spec, BY_TYPE.spec) == ("imei(keep='none')", "imei(keep='tac')")
