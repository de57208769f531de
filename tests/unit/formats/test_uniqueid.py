from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import ValueRefused
from vault.formats.uniqueid import Uuid
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

UUID = Uuid()
TOKENS = Vaultless(Secret(bytes(32)), "main", "f", UUID)
ONE = "0190f3e2-7c1b-7d3a-9f00-0123456789ab"


@given(st.uuids(allow_nil=True), st.booleans(), st.booleans())
def test_tokens_have_version_variant_layout_and_case(one: uuid.UUID, plain: bool, upper: bool) -> None:
    value = one.hex if plain else str(one)
    value = value.upper() if upper else value
    token = TOKENS.tokenize(value)
    assert (uuid.UUID(token).version, uuid.UUID(token).variant) == (one.version, one.variant)
    assert len(token) == len(value)
    assert token == (token.upper() if value != value.lower() else token.lower())
    assert TOKENS.detokenize(token) == value
    assert UUID.canonical(value) == str(one)


@pytest.mark.parametrize("variant", "0123456789abcdef")
@pytest.mark.parametrize("version", "04f")
def test_every_version_and_variant_is_taken(version: str, variant: str) -> None:
    for rest in ("0", "9", "f"):
        value = f"{rest * 8}-{rest * 4}-{version}{rest * 3}-{variant}{rest * 3}-{rest * 12}"
        token = TOKENS.tokenize(value)
        assert token[14] == version
        assert uuid.UUID(token).variant == uuid.UUID(value).variant
        assert TOKENS.detokenize(token) == value


def test_hyphens_do_not_count() -> None:
    token = TOKENS.tokenize(ONE)
    assert TOKENS.tokenize(ONE.replace("-", "")) == token.replace("-", "")
    assert TOKENS.detokenize(token.replace("-", "")) == ONE.replace("-", "")


def test_a_time_is_transformed_with_the_rest() -> None:
    later = ONE.replace("0190f3e2", "0190f3e3")
    assert TOKENS.tokenize(ONE)[:8] != ONE[:8]
    assert sum(map(str.__eq__, TOKENS.tokenize(ONE), TOKENS.tokenize(later))) < 20


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        (ONE[:-6], "value_length"),
        ("{" + ONE + "}", "value_length"),
        ("urn:uuid:" + ONE, "value_length"),
        (ONE[:-1] + "g", "value_alphabet"),
        (ONE[:-1] + "\n", "value_alphabet"),
        (ONE[:-1] + "４", "value_alphabet"),
        (ONE[:-1] + "-", "value_format"),
        (ONE[:-1] + "B", "value_format"),
        (ONE.replace("-", "", 1), "value_format"),
        ("01-90f3e27c1b7d3a9f000123456789abcd", "value_format"),
        ("0190f3e27c1b-7d3a-9f00-0123456789ab00", "value_length"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(UUID.parse, value) == code


def test_domains() -> None:
    assert UUID.spec == "uuid"
    assert 2**122 - 10**31 < UUID.domain().size < 2**122
    assert UUID.smallest().size == 2 * 10**30
    assert UUID.parse("0" * 32).size == 8 * 10**30
    with pytest.raises(ValueRefused):
        UUID.domain(36)
