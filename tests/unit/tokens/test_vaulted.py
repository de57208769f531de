"""Opaque vaulted tokens: a row's id under the field's key, in exactly one spelling."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.echo import shown
from vault.crypto.block import BlockCipher
from vault.errors import ValueRefused
from vault.identifiers import NIL, RowId, uuid7
from vault.secret import Secret
from vault.tokens.vaulted import decode, encode, encode_many

KEY = bytes(range(32))
CIPHER = BlockCipher(Secret(KEY))
ALPHABET = string.ascii_lowercase + "234567"
rows = st.binary(min_size=16, max_size=16).map(RowId)


def refused(token: str) -> None:
    with pytest.raises(ValueRefused) as refusal:
        decode(CIPHER, token)
    assert (refusal.value.code, refusal.value.facts) == ("token_unknown", {})
    assert refusal.value.__context__ is None or refusal.value.__suppress_context__
    assert len(token) < 8 or token not in shown(refusal.value)


@given(rows)
def test_a_token_leads_back_to_its_row(row: RowId) -> None:
    token = encode(CIPHER, row)
    assert decode(CIPHER, token) == row
    assert len(token) == 30
    assert set(token.removeprefix("tok_")) <= set(ALPHABET)


def test_the_characters_are_the_published_ones() -> None:
    """FIPS 197, C.3, in base32 without padding (RFC 4648, 6), lower case."""
    row = RowId(bytes.fromhex("00112233445566778899aabbccddeeff"))
    image = bytes.fromhex("8ea2b7ca516745bfeafc49904b496089")
    token = "tok_" + base64.b32encode(image).decode().lower().rstrip("=")
    assert encode(CIPHER, row) == token == "tok_r2rlpssrm5c372x4jgiewslare"


@given(rows, rows)
def test_two_rows_have_two_tokens(one: RowId, other: RowId) -> None:
    assert (encode(CIPHER, one) == encode(CIPHER, other)) == (one == other)


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 500])
def test_many_rows_have_the_tokens_that_each_has_alone(count: int) -> None:
    made = [RowId(bytes(16)), RowId(b"\xff" * 16), *(RowId(uuid7()) for _ in range(count))][:count]
    assert encode_many(CIPHER, made) == [encode(CIPHER, row) for row in made]


def test_rows_made_one_after_the_other_have_tokens_that_do_not_look_it() -> None:
    tokens = [encode(CIPHER, RowId(uuid7())) for _ in range(300)]
    assert tokens != sorted(tokens)
    assert len({token[4:8] for token in tokens}) > 290  # the ids share their first six bytes


def test_another_key_leads_elsewhere() -> None:
    row = RowId(uuid7())
    elsewhere = decode(BlockCipher(Secret(KEY[::-1])), encode(CIPHER, row))
    assert elsewhere != row


@given(st.text(st.characters(), max_size=34), st.booleans())
def test_whatever_is_taken_is_the_spelling_of_its_row(text: str, prefixed: bool) -> None:
    token = "tok_" * prefixed + text
    try:
        row = decode(CIPHER, token)
    except ValueRefused:
        return
    assert encode(CIPHER, row) == token


@given(st.text(ALPHABET, min_size=26, max_size=26))
def test_an_invented_token_of_the_right_form_names_some_row_or_is_refused(body: str) -> None:
    """It then finds nothing: 2^128 ids, and only rows that were inserted are there."""
    if ALPHABET.index(body[-1]) % 4:  # 26 characters carry 130 bits; two of them say nothing
        refused("tok_" + body)
    else:
        assert encode(CIPHER, decode(CIPHER, "tok_" + body)) == "tok_" + body


@pytest.mark.parametrize("last", ALPHABET)
def test_of_four_endings_with_the_same_bits_one_is_taken(last: str) -> None:
    body = "a" * 25 + last
    if last in "aeimquy4":
        assert decode(CIPHER, "tok_" + body)
    else:
        refused("tok_" + body)


TOKEN = encode(CIPHER, RowId(NIL))


@pytest.mark.parametrize(
    "token",
    [
        "",
        "tok_",
        "tok",
        TOKEN[4:],
        TOKEN[:-1],
        TOKEN + "a",
        TOKEN + "=",
        TOKEN + "======",
        TOKEN.upper(),
        "tok_" + TOKEN[4:].upper(),
        "TOK_" + TOKEN[4:],
        "tok_" + TOKEN,
        "tok-" + TOKEN[4:],
        " " + TOKEN,
        TOKEN + " ",
        TOKEN + "\n",
        TOKEN + "\0",
        TOKEN[:20] + "\0" + TOKEN[21:],
        TOKEN[:20] + "\n" + TOKEN[20:],
        TOKEN[:20] + "0" + TOKEN[21:],
        TOKEN[:20] + "1" + TOKEN[21:],
        TOKEN[:20] + "8" + TOKEN[21:],
        TOKEN[:20] + "é" + TOKEN[21:],
        TOKEN[:20] + "４" + TOKEN[21:],
        TOKEN[:20] + "\ud800" + TOKEN[21:],
        TOKEN[:20] + "\u200b" + TOKEN[20:],
        TOKEN[:20] + "ſ" + TOKEN[21:],  # upper() makes an S of it
        TOKEN[:20] + "ı" + TOKEN[21:],  # and an I of this
        "tok_" + "a" * 1_000_000,
        "ve1." + TOKEN[4:],
    ],
    ids=lambda token: repr(token[:40]),
)
def test_what_is_no_token_is_refused_without_an_echo(token: str) -> None:
    refused(token)
