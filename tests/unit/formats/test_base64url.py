from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import BadInput, ValueRefused
from vault.formats.base64url import Base64Url
from vault.formats.catalog import parse_template
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

BYTES = Base64Url()


@given(st.binary(min_size=3, max_size=192), st.booleans())
def test_tokens_decode_to_as_many_bytes(data: bytes, padded: bool) -> None:
    value = base64.urlsafe_b64encode(data).decode()
    value = value if padded else value.rstrip("=")
    tokens = Vaultless(Secret(bytes(32)), "main", "f", BYTES)
    token = tokens.tokenize(value)
    assert len(token) == len(value)
    assert token.count("=") == value.count("=")
    decoded = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert len(decoded) == len(data)
    assert base64.urlsafe_b64encode(decoded).decode().rstrip("=") == token.rstrip("=")
    assert tokens.detokenize(token) == value
    assert tokens.detokenize(token.rstrip("=")) == value.rstrip("=")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("QUJ", "value_length"),
        ("A" * 259, "value_length"),
        ("A" * 257, "value_length"),
        ("QU+/", "value_alphabet"),
        ("QUJD\n", "value_alphabet"),
        ("QUJ D", "value_alphabet"),
        ("QUJDR", "value_format"),
        ("QUJDRR", "value_format"),
        ("QUJDREV", "value_format"),
        ("QUJDRA=", "value_format"),
        ("QUJD=", "value_format"),
        ("QUJD====", "value_format"),
        ("====", "value_format"),
        ("QQ==QUJD", "value_format"),
        ("QQ==", "value_length"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(BYTES.parse, value) == code


@given(st.text(alphabet="AQgwZ019-_=", max_size=12))
def test_only_what_encoders_write_is_taken(text: str) -> None:
    template = Base64Url(1, 256)
    try:
        data = base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except ValueError:
        data = b""
    whole = base64.urlsafe_b64encode(data).decode()
    if text and text in (whole, whole.rstrip("=")):
        template.parse(text)
        return
    with pytest.raises(ValueRefused):
        template.parse(text)


def test_parameters() -> None:
    assert BYTES.spec == "base64url(min=4, max=256)"
    assert BYTES.domain().size == 256**3
    assert Base64Url(1, 8).smallest().size == 256
    for spec in ("base64url(min=5, max=5)", "base64url(min=8, max=7)", "base64url(max=257)"):
        with pytest.raises(BadInput):
            parse_template(spec)
    for length in (3, 5, 257):
        with pytest.raises(ValueRefused):
            BYTES.domain(length)
