"""Addresses that turn back: what stays, what is transformed, and that tokens are addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import ValueRefused
from vault.formats.alphabet import ALNUM_LOWER, ALPHANUMERIC
from vault.formats.catalog import parse_template
from vault.formats.mail import Email
from vault.formats.mailbox import Mailbox
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

KEEP, TOKEN = Mailbox("keep"), Mailbox("token")


def codec(template: Mailbox) -> Vaultless:
    return Vaultless(Secret(bytes(range(32))), "main", "customer.email", template)


def test_the_plain_spelling_is_the_stored_one() -> None:
    assert parse_template("email") == parse_template("email(domain='stored')") == Email()
    assert parse_template("email(domain='keep')") == KEEP
    assert (KEEP.spec, TOKEN.spec) == ("email(domain='keep')", "email(domain='token')")


def test_what_is_transformed() -> None:
    shape = KEEP.parse("anna.b+tag7@Example.org")
    assert (shape.alphabet, shape.text, shape.style) == (ALNUM_LOWER, "annabtag7", "")
    assert KEEP.render_token(shape, "012345678") == "0123.4+5678@Example.org"
    shape = TOKEN.parse("anna@sub.my-mail.co.uk")
    assert shape.text == "annasubmymailco"
    assert TOKEN.render_token(shape, "000011122333344") == "0000@111.22-3333.44.uk"


def test_capitals_keep_the_kinds() -> None:
    shape = KEEP.parse("Anna42@example.org")
    assert shape.style == "Aaaa00"
    assert shape.ranks == 26**4 * 100


def test_the_case_of_a_kept_domain_changes_nothing() -> None:
    tokens = codec(KEEP)
    token = tokens.tokenize("anna.b@example.org")
    local, _, domain = token.partition("@")
    assert domain == "example.org"
    assert tokens.tokenize("anna.b@Example.ORG") == f"{local}@Example.ORG"
    assert tokens.detokenize(f"{local}@EXAMPLE.org") == "anna.b@EXAMPLE.org"
    assert tokens.tokenize("anna.b@example.com") != f"{local}@example.com"


@pytest.mark.parametrize(
    ("template", "value", "code"),
    [
        (KEEP, "", "value_empty"),
        (KEEP, "a@b.c", "value_length"),
        (KEEP, "anna", "value_length"),
        (KEEP, "anna.example.org", "value_format"),
        (KEEP, "anna..b@example.org", "value_format"),
        (KEEP, "müller@example.org", "value_alphabet"),
        (KEEP, "anna\u200b@example.org", "value_alphabet"),
        (KEEP, "anna@example.org\ud800", "value_alphabet"),
        (KEEP, "anna@раypal.com", "value_script"),
        (TOKEN, "anna@bücher.example", "value_alphabet"),
        (TOKEN, "anna@xn--bcher-kva.example", "value_format"),
        (TOKEN, "anna@XN--BCHER-KVA.example", "value_format"),
        (TOKEN, "anna@ab--cd.example", "value_format"),
    ],
)
def test_refusals(template: Mailbox, value: str, code: str) -> None:
    assert refused(template.parse, value) == code


@pytest.mark.parametrize("value", ["li@example.org", "Anna@example.org", "-+-@example.org"])
def test_short_local_parts_are_too_few(value: str) -> None:
    with pytest.raises(ValueRefused, match="domain_too_small"):
        codec(KEEP).tokenize(value)


def test_domains() -> None:
    assert codec(KEEP).tokenize("anna@example.org") != "anna@example.org"
    assert KEEP.domain(4).size == 36**4 == KEEP.parse("anna@example.org").size
    assert TOKEN.parse("li@example.org").size == 36**9
    with pytest.raises(ValueRefused, match="value_length"):
        KEEP.domain(65)


ATOMS = st.from_regex(r"[A-Za-z0-9_+'-]{1,20}(\.[A-Za-z0-9+]{1,8})?", fullmatch=True)
HOSTS = st.from_regex(r"([A-Za-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\.){1,3}(org|Co|xn--p1ai|рф)", fullmatch=True)


@given(ATOMS, HOSTS, st.sampled_from((KEEP, TOKEN)))
def test_tokens_are_addresses_and_turn_back(local: str, host: str, template: Mailbox) -> None:
    value = f"{local}@{host}"
    tokens = codec(template)
    try:
        token = tokens.tokenize(value)
    except ValueRefused as refusal:
        assert refusal.code in ("domain_too_small", "value_format", "value_alphabet", "value_length")  # noqa: PT017
        return
    Email().parse(token)
    assert [one in ALPHANUMERIC for one in token] == [one in ALPHANUMERIC for one in value]
    assert [one.isupper() for one in token] == [one.isupper() for one in value]
    kept = token.index("@") if template is KEEP else token.rindex(".")
    assert token[kept:] == value[kept:]
    assert tokens.detokenize(token) == value
