"""Tokens that tell nothing of an address but its length: one spelling, nobody's, and none made up opens."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import ValueRefused
from vault.formats.alphabet import ALNUM_LOWER
from vault.formats.catalog import parse_template
from vault.formats.hidden_mail import LONGEST_HIDDEN, HiddenMail
from vault.formats.mail import Email
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

MASK = HiddenMail()
TOKENS = Vaultless(Secret(bytes(range(32))), "main", "customer.email", MASK)
LONGEST = f"{'a' * 64}@{'b' * 60}.{'c' * 61}.de"


def test_it_is_a_spelling_of_email() -> None:
    assert parse_template("email(domain='mask')") == MASK
    assert MASK.spec == "email(domain='mask')"


def test_the_written_form() -> None:
    """The ends of all texts of six characters: 36^7 < 83^6 <= 36^8."""
    shape = MASK.parse("ab@c.d" + "e")
    assert (shape.text, shape.kept, shape.style) == ("ab@c.de", (), "")
    six = MASK.parse("a@b.cd")
    assert MASK.render_token(six, "000000") == "00000000@masked.invalid"
    assert MASK.render_token(six, "000001") == "00000001@masked.invalid"
    assert MASK.render_token(six, "00000a") == "00000010@masked.invalid"  # the 37th character
    assert MASK.render_token(six, "@@@@@@") == "466zuum0@masked.invalid"
    assert int("466zuum0", 36) == 83**6 - 1


def test_long_addresses_fill_labels() -> None:
    assert len(LONGEST) == 190
    token = TOKENS.tokenize(LONGEST)
    local, _, domain = token.partition("@")
    assert (len(local), [len(label) for label in domain.split(".")]) == (63, [63, 63, 46, 6, 7])
    assert TOKENS.detokenize(token) == LONGEST
    one_more = LONGEST.replace(".de", ".net")
    assert len(one_more) == LONGEST_HIDDEN
    assert len(TOKENS.tokenize(one_more)) <= 254
    assert refused(MASK.parse, LONGEST.replace(".de", ".info")) == "value_length"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("a@b.c", "value_length"),
        ("anna.example.org", "value_format"),
        ("anna@example", "value_format"),
        ("an na@example.org", "value_alphabet"),
        ("anna@example.org\0", "value_alphabet"),
        ("anna@b\u00fccher.example", "value_alphabet"),
        ("\uff41nna@example.org", "value_alphabet"),
        ("anna@example.org\ud800", "value_alphabet"),
    ],
)
def test_refused_values(value: str, code: str) -> None:
    assert refused(MASK.parse, value) == code


def test_a_token_has_one_spelling() -> None:
    token = TOKENS.tokenize(LONGEST)
    short = TOKENS.tokenize("anna@example.org")
    assert TOKENS.detokenize(short) == "anna@example.org"
    digits = short.partition("@")[0]
    for other in (
        short.upper(),
        short.replace("masked", "Masked"),
        short + ".",
        f"{digits[:-1]}@{digits[-1]}.masked.invalid",
        f"{digits[:-1]}.{digits[-1]}@masked.invalid",
        f"{digits}@masked.invalid.invalid",
        f"{digits}@example.org",
        f"{'z' * len(digits)}@masked.invalid",  # a number that no text of the length has
        f"-{digits[1:]}@masked.invalid",
        token.replace("@", ".", 1).replace(".", "@", 2),
    ):
        assert refused(MASK.parse_token, other) in ("value_format", "value_length"), other
    for other in (f"0{short}", short[1:]):  # tokens of other lengths, of no address
        with pytest.raises(ValueRefused, match="value_format"):
            TOKENS.detokenize(other)


def test_made_up_tokens_open_to_nothing() -> None:
    chosen = random.Random(5)
    opened = 0
    for _ in range(500):
        digits = "".join(chosen.choices(ALNUM_LOWER.characters, k=23))
        try:
            TOKENS.detokenize(f"0{digits}@masked.invalid")
        except ValueRefused as refusal:
            assert refusal.code == "value_format"  # noqa: PT017
        else:
            opened += 1
    assert opened == 0


def test_nothing_of_the_address_is_in_the_token() -> None:
    """Equal domains have nothing in common; only the length is told."""
    one, other = (TOKENS.tokenize(f"{name}@example.org") for name in ("anna", "otto"))
    assert len(one) == len(other)
    same = sum(mine == theirs for mine, theirs in zip(one.split("@")[0], other.split("@")[0], strict=True))
    assert same < 8  # of 20, by chance
    assert TOKENS.tokenize("anna@example.org") == one
    assert TOKENS.tokenize("anna@Example.org") != one  # case is part of it, and comes back


LOCAL = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,40}(\.[A-Za-z0-9]{1,10})?", fullmatch=True)
HOST = st.from_regex(r"([A-Za-z0-9]([a-z0-9-]{0,20}[a-z0-9])?\.){1,4}(org|Co|museum)", fullmatch=True)


@given(LOCAL, HOST)
def test_tokens_are_addresses_and_turn_back(local: str, host: str) -> None:
    value = f"{local}@{host}"
    try:
        token = TOKENS.tokenize(value)
    except ValueRefused as refusal:
        assert refusal.code in ("value_format", "value_length")  # noqa: PT017
        return
    Email().parse(token)
    assert token.endswith(("@masked.invalid", ".masked.invalid"))
    assert TOKENS.detokenize(token) == value
