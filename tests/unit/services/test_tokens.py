"""A token has one spelling, one field and one tenant; anything else is unknown, and charged."""

from __future__ import annotations

import string

import pytest

from tests.support.cells import NAME, NOTE, PAN, SSN, BuiltCell
from tests.unit.services.asking import left
from vault.identifiers import RowId, uuid7
from vault.services.batch import BatchRefused
from vault.tokens.vaulted import decode, encode

WIDE = {ord(char): chr(ord(char) + 0xFEE0) for char in string.ascii_lowercase + string.digits}


def spellings(token: str) -> dict[str, str]:
    """The same token as somebody may have mangled it."""
    head, body = token[:4], token[4:]
    return {
        "upper case": token.upper(),
        "upper-case prefix": head.upper() + body,
        "upper-case body": head + body.upper(),
        "one letter upper": head + body.replace(next(c for c in body if c.isalpha()), "A", 1),
        "padded": token + "======",
        "padded once": token + "=",
        "without prefix": body,
        "prefix twice": head + token,
        "another prefix": "key_" + body,
        "too short": token[:-1],
        "too long": token + "a",
        "trailing bits": token[:-1] + _next(token[-1]),
        "leading space": " " + token,
        "trailing newline": token + "\n",
        "trailing NUL": token + "\x00",
        "inner space": token[:10] + " " + token[10:],
        "full-width": token.translate(WIDE),
        "a confusable": head + "0" + body[1:],
        "another confusable": head + "1" + body[1:],
        "zero width": token[:10] + "\u200b" + token[10:],
        "lone surrogate": token + "\ud800",
        "combining": token + "\u0301",
        "empty": "",
        "prefix alone": head,
        "a megabyte": head + "a" * 1_000_000,
    }


def _next(last: str) -> str:
    """The last character with its two unused bits set otherwise."""
    alphabet = string.ascii_lowercase + "234567"
    return alphabet[alphabet.index(last) ^ 1]


@pytest.fixture
def token(built: BuiltCell) -> str:
    return built.token(NAME, "Ada")


@pytest.mark.parametrize("spelling", spellings("tok_" + "a" * 26))
def test_only_one_spelling_is_taken(built: BuiltCell, token: str, spelling: str) -> None:
    mangled = spellings(token)[spelling]
    assert mangled != token
    credential = built.grant(NAME)
    with pytest.raises(BatchRefused) as refusal:
        built.reveal(credential, NAME, mangled)
    assert refusal.value.facts["errors"] == [{"index": 0, "code": "token_unknown"}]
    assert left(built, credential) == 9
    assert built.reveal(credential, NAME, token) == ["Ada"]


def test_the_trailing_bits_are_the_only_difference(token: str) -> None:
    """Otherwise the test above would show nothing about them."""
    import base64

    def block(text: str) -> bytes:
        return base64.b32decode(text[4:].upper() + "======")

    assert block(spellings(token)["trailing bits"]) == block(token)


def test_an_invented_token_names_no_row(built: BuiltCell) -> None:
    credential = built.grant(NAME, uses=50)
    cipher = built.cell.keyring.row_ids("main", NAME)
    with pytest.raises(BatchRefused) as refusal:
        built.reveal(credential, NAME, *[encode(cipher, RowId(uuid7())) for _ in range(20)])
    assert refusal.value.facts["uses_left"] == 30


def test_a_token_of_one_field_is_unknown_in_another(built: BuiltCell, token: str) -> None:
    credential = built.grant(NAME, NOTE)
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(credential, NOTE, token)
    row = decode(built.cell.keyring.row_ids("main", NAME), token)
    forged = encode(built.cell.keyring.row_ids("main", NOTE), row)  # names the row under the other key
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(credential, NOTE, forged)
    assert left(built, credential) == 8


def test_tokens_of_the_two_kinds_are_not_each_other_s(built: BuiltCell, token: str) -> None:
    ssn = built.token(SSN, "123-45-6789")
    credential = built.grant(SSN, NAME, PAN)
    with pytest.raises(BatchRefused, match="token_unknown"):
        built.reveal(credential, NAME, ssn)
    for field in (SSN, PAN):
        with pytest.raises(BatchRefused):
            built.reveal(credential, field, token)
    with pytest.raises(BatchRefused):
        built.reveal(credential, PAN, ssn)
    assert left(built, credential) == 6


@pytest.mark.parametrize(
    "mangle",
    [
        lambda t: t.translate(WIDE),
        lambda t: t + " ",
        lambda t: "\u200b" + t,
        lambda t: t.replace("-", "\u2010"),
        lambda t: t + "\x00",
        lambda t: "",
        lambda t: t[:-1],
        lambda t: t + "1",
        lambda t: "x" * 1_000_000,
    ],
)
def test_a_vaultless_token_has_the_shape_of_its_template(built: BuiltCell, mangle: object) -> None:
    assert callable(mangle)
    token, credential = built.token(SSN, "123-45-6789"), built.grant(SSN)
    with pytest.raises(BatchRefused):
        built.reveal(credential, SSN, mangle(token))
    assert left(built, credential) == 9


def test_tokens_never_repeat_and_never_show_the_value(built: BuiltCell) -> None:
    made = built.tokens(NAME, *["Ada"] * 50)
    assert len(set(made)) == 50
    assert built.tokens(SSN, "123-45-6789") == built.tokens(SSN, "123-45-6789")
    assert "123-45-6789" not in built.tokens(SSN, "123-45-6789")
