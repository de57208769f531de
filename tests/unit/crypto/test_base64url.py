"""Base64url: one spelling for each bytes, and nothing else is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.echo import shown
from vault.crypto.base64url import decode, digest, encode


@given(st.binary(max_size=100))
def test_bytes_come_back(data: bytes) -> None:
    assert decode(encode(data)) == data
    assert "=" not in encode(data)


@pytest.mark.parametrize(
    ("data", "text"),
    # RFC 4648, section 10, without the padding; RFC 7515, appendix C
    [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (bytes((3, 236, 255, 224, 193)), "A-z_4ME")],
)
def test_the_published_values(data: bytes, text: str) -> None:
    assert encode(data) == text
    assert decode(text) == data


@pytest.mark.parametrize(
    "text",
    [
        "Zg==", "Zg=", "=", "Z", "Zm9vZ", "Zh", "Zm9", "Zm8 ", " Zm8", "Zm8\n", "Zm\n8", "A+z_", "A-z/",
        "A.z_", "Zm９v", "Zm\u200b9v", "Zmé8", "Zm\ud8009v", "\0\0\0\0", "Zm9v\0",
    ],
)  # fmt: skip
def test_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\Anot base64url\Z") as refusal:
        decode(text)
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None
    if text.strip("=\0"):
        assert text not in shown(refusal.value)


@given(st.text(max_size=8))
def test_a_text_that_is_taken_is_the_one(text: str) -> None:
    try:
        data = decode(text)
    except ValueError:
        return
    assert encode(data) == text


def test_a_digest_is_sha_256() -> None:
    assert digest(b"abc") == "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
