from __future__ import annotations

import itertools
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unit.echo import shown
from vault.context import TAG_FIELD, TAG_KEPT, TAG_TEMPLATE, TAG_TENANT, canonical
from vault.crypto.ff1 import FF1, MAX_TWEAK
from vault.errors import ValueRefused
from vault.formats.alphabet import DIGITS
from vault.formats.catalog import parse_template
from vault.formats.checksum import luhn_valid
from vault.formats.template import MAX_KEPT_BYTES, MAX_SPEC
from vault.secret import Secret
from vault.tokens.vaultless import MAX_FIELD, MAX_TENANT, Vaultless

KEY = bytes(range(32))
VISA = "4111 1111 1111 1111"


def field(template: str, key: bytes = KEY, tenant: str = "main", name: str = "customer.ssn") -> Vaultless:
    return Vaultless(Secret(key), tenant, name, parse_template(template))


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("ssn", "123-45-6789"),
        ("ssn", "123456789"),
        ("ssn(strict=true)", "123-45-6789"),
        ("card", VISA),
        ("card(keep_last=4, luhn='break')", VISA),
        ("card(keep_first=6, keep_last=2, luhn='break')", "4111-1111-1111-1111"),
        ("digits", "000000"),
        ("digits", "7" * 256),
        ("alphanumeric", "Ab12"),
        ("alphanumeric(case='upper')", "EMP000123"),
    ],
)
def test_there_and_back(template: str, value: str) -> None:
    tokens = field(template)
    token = tokens.tokenize(value)
    assert token != value
    assert len(token) == len(value)
    assert tokens.detokenize(token) == value
    assert tokens.tokenize(value) == token == field(template).tokenize(value)


def test_a_token_is_ff1_under_the_documented_tweak() -> None:
    tweak = canonical(
        (
            (TAG_TENANT, b"main"),
            (TAG_FIELD, b"customer.pan"),
            (TAG_TEMPLATE, b"card(keep_last=4, luhn='keep')\0\1"),
            (TAG_KEPT, b"\0" + b"\0\x0c1" + b"\0\x0d1" + b"\0\x0e1" + b"\0\x0f1"),
        ),
    )
    token = field("card", name="customer.pan").tokenize(VISA)
    plain = token.replace(" ", "")
    assert plain[:11] == FF1(KEY, 10).encrypt_str("41111111111", DIGITS.characters, tweak)
    assert plain[12:] == "1111"
    assert luhn_valid(plain)


def test_nothing_kept_is_an_empty_part() -> None:
    tweak = canonical(
        ((TAG_TENANT, b"main"), (TAG_FIELD, b"customer.ssn"), (TAG_TEMPLATE, b"ssn\0\1"), (TAG_KEPT, b"")),
    )
    expected = FF1(KEY, 10).encrypt_str("123456789", DIGITS.characters, tweak)
    assert field("ssn").tokenize("123456789") == expected


def test_key_tenant_field_and_template_all_matter() -> None:
    value = "123456789"
    tokens = [
        field("ssn"),
        field("ssn", key=KEY[::-1]),
        field("ssn", key=KEY[:16]),
        field("ssn", tenant="other"),
        field("ssn", name="customer.sss"),
        field("ssn", tenant="mainc", name="ustomer.ssn"),
        field("ssn(strict=true)"),
        field("digits"),
        field("digits(min=9)"),
    ]
    made = [each.tokenize(value) for each in tokens]
    assert len(set(made)) == len(made)
    for one, other in itertools.permutations(range(len(tokens)), 2):
        assert tokens[one].detokenize(made[other]) != value


def test_kept_digits_change_the_rest() -> None:
    tokens = field("card")
    one, other = tokens.tokenize("4111111111111111"), tokens.tokenize("4111111111111129")
    assert (one[12:], other[12:]) == ("1111", "1129")
    assert one[:11] != other[:11]


@pytest.mark.parametrize("template", ["card", "card(luhn='break')", "card(keep_first=6, keep_last=0)"])
def test_layout_may_change_on_the_way(template: str) -> None:
    tokens = field(template)
    token = tokens.tokenize(VISA)
    assert tokens.detokenize(token.replace(" ", "")) == VISA.replace(" ", "")
    assert tokens.detokenize(token.replace(" ", "-")) == VISA.replace(" ", "-")


def test_hyphens_of_a_number_may_go_and_come() -> None:
    tokens = field("ssn")
    token = tokens.tokenize("123-45-6789")
    assert token.replace("-", "") == tokens.tokenize("123456789")
    assert tokens.detokenize(token.replace("-", "")) == "123456789"


def test_there_is_no_integrity() -> None:
    token = field("card").tokenize(VISA)
    value = field("card", key=KEY[::-1]).detokenize(token)
    assert value != VISA
    assert luhn_valid(value.replace(" ", ""))
    assert len(field("ssn").detokenize("000000000")) == 9


@pytest.mark.parametrize(
    ("template", "small", "large"),
    [
        ("digits(min=1)", "1", "123456"),
        ("digits(min=1)", "12345", "1234567"),
        ("alphanumeric(case='lower', min=1)", "abc", "abcd"),
        ("card(keep_first=6, keep_last=4)", "4111111111111111", "4111111111111111110"),
        ("card(keep_first=8, keep_last=4)", "6011000990139424", "4111111111111111110"),
        ("card(keep_first=8, keep_last=4)", "411111111117", "4111111111111111110"),
    ],
)
def test_small_domains_are_refused_value_by_value(template: str, small: str, large: str) -> None:
    tokens, shape = field(template), parse_template(template).parse(small)
    with pytest.raises(ValueRefused) as caught:
        tokens.tokenize(small)
    assert caught.value.code == "domain_too_small"
    with pytest.raises(ValueRefused) as caught:
        tokens.detokenize(parse_template(template).render_token(shape, shape.text))
    assert caught.value.code == "domain_too_small"
    assert tokens.detokenize(tokens.tokenize(large)) == large


def test_a_card_token_with_the_wrong_check_is_refused() -> None:
    token = field("card(luhn='break')").tokenize(VISA)
    with pytest.raises(ValueRefused) as caught:
        field("card").detokenize(token)
    assert caught.value.code == "value_checksum"


@pytest.mark.parametrize(
    "value", ["", "123-45-678x", "１２３４５６７８９", "1" * 10**6, "123456789\0", "\ud800" * 9]
)
def test_refusals_echo_nothing(value: str) -> None:
    tokens = field("ssn")
    for call in (tokens.tokenize, tokens.detokenize):
        with pytest.raises(ValueRefused) as caught:
            call(value)
        assert not value or value not in shown(caught.value)


def test_the_widest_tweak_fits() -> None:
    widest = canonical(
        (
            (TAG_TENANT, bytes(MAX_TENANT)),
            (TAG_FIELD, bytes(MAX_FIELD)),
            (TAG_TEMPLATE, bytes(MAX_SPEC + 2)),
            (TAG_KEPT, bytes(MAX_KEPT_BYTES)),
        ),
    )
    assert len(widest) == 247 <= MAX_TWEAK
    tokens = field("card(keep_first=8, keep_last=4)", tenant="t" * MAX_TENANT, name="f" * MAX_FIELD)
    value = "4111111111111111110"
    assert tokens.detokenize(tokens.tokenize(value)) == value


@pytest.mark.parametrize(
    ("tenant", "name"),
    [("", "f"), ("t", ""), ("t" * 64, "f"), ("é" * 32, "f"), ("t", "f" * 65), ("t", "é" * 33)],
)
def test_names_out_of_bounds(tenant: str, name: str) -> None:
    with pytest.raises(ValueError, match="a tenant has 1 to 63 bytes"):
        field("ssn", tenant=tenant, name=name)


def test_text_is_not_for_ff1() -> None:
    with pytest.raises(ValueError, match="FF1"):
        field("text")


def test_a_key_of_another_size() -> None:
    with pytest.raises(ValueError, match="AES key"):
        field("ssn", key=b"short")


def test_nothing_shows_the_key() -> None:
    tokens = field("ssn")
    assert KEY.hex() not in repr(tokens)
    assert not any(isinstance(getattr(tokens, name), Secret) for name in Vaultless.__slots__)


def test_threads_may_share_it() -> None:
    tokens = field("card")
    template = parse_template("card")

    def run(seed: int) -> int:
        chosen = random.Random(seed)
        values = [template.sample(chosen) for _ in range(500)]
        return sum(tokens.detokenize(tokens.tokenize(value)) != value for value in values)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) == 0
