from __future__ import annotations

import random

import pytest
import stdnum.bic

from tests.unit.formats.refusals import refused
from vault.errors import ValueRefused
from vault.formats.bic import Bic
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

BIC = Bic()
TOKENS = Vaultless(Secret(bytes(range(32))), "main", "bank.bic", BIC)


@pytest.mark.parametrize(
    "value", ["DEUTDEFF", "DEUTDEFF500", "deutdeffxxx", "DEUT DE FF", "NEDSZAJJXXX", "AGRI FR PP 882"]
)
def test_tokens_are_bics_of_the_country(value: str) -> None:
    token = TOKENS.tokenize(value)
    plain = BIC.canonical(value)
    assert TOKENS.detokenize(token) == value
    assert token != value
    assert token.islower() == value.islower()
    compact = token.replace(" ", "").upper()
    assert stdnum.bic.validate(compact) == compact
    assert compact[4:6] == plain[4:6]
    assert len(compact) == len(value.replace(" ", ""))


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("DEUTDEF", "value_length"),
        ("DEUTDEFF5", "value_length"),
        ("DEUTDEFF50", "value_length"),
        ("DEUTDEFF5000", "value_length"),
        ("D" * 10**6, "value_length"),
        ("DE1TDEFF", "value_format"),
        ("DEUT1EFF", "value_format"),
        ("DEUTD1FF", "value_format"),
        ("DEUTdeFF", "value_format"),
        ("DEUT  DEFF", "value_format"),
        (" DEUTDEFF", "value_format"),
        ("DEUTDEFF ", "value_format"),
        ("DEUT-DE-FF", "value_alphabet"),
        ("DEUTDEFß", "value_alphabet"),
        ("DEUTDEF\n", "value_alphabet"),
        ("\uff24EUTDEFF", "value_alphabet"),
        ("DEUTDEF\ud800", "value_alphabet"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(BIC.parse, value) == code
    assert refused(BIC.parse_token, value) == code


def test_a_head_office_is_the_bank() -> None:
    assert BIC.canonical("deut de ff xxx") == BIC.canonical("DEUTDEFF") == "DEUTDEFF"
    assert BIC.canonical("DEUTDEFF500") == "DEUTDEFF500"


def test_domains() -> None:
    assert BIC.domain().size == BIC.smallest().size == 26**4 * 36**2
    assert BIC.domain(11).size == 26**4 * 36**5
    for length in (0, 9, 10, 12):
        with pytest.raises(ValueRefused):
            BIC.domain(length)
    chosen = random.Random(1)
    assert {len(BIC.canonical(BIC.sample(chosen))) for _ in range(100)} == {8, 11}
