"""Taking a `ve1` message apart, and its one text form."""

from __future__ import annotations

import base64
import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.envelope.message import OVERHEAD_BYTES, from_text, parse, to_text
from vault.errors import IntegrityError

HEADER = b"\x01\x01" + b"K" * 16 + b"\x00\x00\x00\x07" + b"S" * 32 + b"C" * 32
MESSAGE = HEADER + b"text" + b"T" * 16


def refused_text(text: str) -> None:
    with pytest.raises(IntegrityError) as refusal:
        from_text(text)
    assert (refusal.value.code, refusal.value.facts) == ("ciphertext_invalid", {})
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__


def test_the_parts_lie_where_the_page_says() -> None:
    message = parse(MESSAGE)
    assert (message.suite, message.key_id, message.key_version) == (1, b"K" * 16, 7)
    assert (message.salt, message.commitment) == (b"S" * 32, b"C" * 32)
    assert message.ciphertext == b"text" + b"T" * 16
    assert message.header == HEADER
    assert OVERHEAD_BYTES == 102 == len(HEADER) + 16
    assert parse(HEADER + b"T" * 16).ciphertext == b"T" * 16


@pytest.mark.parametrize("size", range(102))
def test_what_is_too_short_is_refused(size: int) -> None:
    with pytest.raises(IntegrityError, match="ciphertext_invalid"):
        parse(MESSAGE[:size])


@pytest.mark.parametrize("version", [number for number in range(256) if number != 1])
def test_every_other_version_is_refused(version: int) -> None:
    with pytest.raises(IntegrityError, match="ciphertext_invalid"):
        parse(bytes((version,)) + MESSAGE[1:])


@given(st.binary(min_size=1, max_size=200))
def test_bytes_have_one_text(raw: bytes) -> None:
    text = to_text(raw)
    assert from_text(text) == raw
    assert text == "ve1." + base64.urlsafe_b64encode(raw).decode().rstrip("=")


@given(st.text(st.characters(), max_size=60), st.booleans())
def test_a_text_that_is_taken_is_the_one_of_its_bytes(text: str, prefixed: bool) -> None:
    text = "ve1." * prefixed + text
    try:
        raw = from_text(text)
    except IntegrityError:
        return
    assert to_text(raw) == text


@given(st.text(string.ascii_letters + string.digits + "-_=", max_size=20))
def test_of_the_texts_that_a_lenient_decoder_takes_one_is_taken(body: str) -> None:
    raw = b""
    with contextlib.suppress(ValueError):
        raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    if raw and to_text(raw) == "ve1." + body:
        assert from_text("ve1." + body) == raw
    else:
        refused_text("ve1." + body)


@pytest.mark.parametrize("last", string.ascii_letters + string.digits + "-_")
def test_spare_bits_are_zero(last: str) -> None:
    """Two characters carry one byte and four bits that say nothing; four endings have them zero."""
    if last in "AQgw":
        assert len(from_text("ve1.A" + last)) == 1
    else:
        refused_text("ve1.A" + last)


@pytest.mark.parametrize(
    "hostile", ["\0", "\n", "\r\n", " ", "\t", "\ud800", "４", "\u202e", "\u200b", "é", "+", "/"]
)
def test_a_foreign_character_is_refused_wherever_it_stands(hostile: str) -> None:
    text = to_text(MESSAGE)
    for at in range(len(text) + 1):
        refused_text(text[:at] + hostile + text[at:])


def test_a_long_text_is_refused_quickly_and_without_an_echo() -> None:
    for text in ("ve1." * 250_000, "ve1." + "A" * 999_997, "ve1." + "A" * 1_000_000 + "!"):
        refused_text(text)
