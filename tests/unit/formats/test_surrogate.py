from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.echo import shown
from tests.unit.formats.refusals import STRANGERS
from vault.errors import BadInput, ValueRefused
from vault.formats.card import Card
from vault.formats.iban import STRUCTURES, Iban
from vault.formats.mail import Email
from vault.formats.phone import E164
from vault.formats.spelling import Entry
from vault.formats.ssn import Ssn
from vault.formats.surrogate import SURROGATES, Surrogate, parse_surrogate

# Spelling: (canonical spelling, space)
SPACES = {
    "digits(length=1)": ("digits(length=1)", 10),
    "digits(length=12)": ("digits(length=12)", 10**12),
    "digits(length=64)": ("digits(length=64)", 10**64),
    "alphanumeric(length=3)": ("alphanumeric(length=3, case='mixed')", 62**3),
    "alphanumeric(length=10,case='upper')": ("alphanumeric(length=10, case='upper')", 36**10),
    "alphanumeric(case='lower', length=8)": ("alphanumeric(length=8, case='lower')", 36**8),
    "ssn": ("ssn(range='issued')", 898 * 99 * 9999),
    "ssn(range='never')": ("ssn(range='never')", 52_000_000),
    "card": ("card(length=16, luhn='keep')", 10**15),
    "card(luhn='break')": ("card(length=16, luhn='break')", 10**15),
    "card(prefix=999999, length=19)": ("card(length=19, prefix=999999, luhn='keep')", 10**12),
    "card(prefix=4, length=12)": ("card(length=12, prefix=4, luhn='keep')", 10**10),
    "e164(country=1)": ("e164(country=1)", 8 * 10**2 * 8 * 10**6),
    "e164(country=1, length=10)": ("e164(country=1)", 8 * 10**2 * 8 * 10**6),
    "e164(country=1, dialable=false)": ("e164(country=1, dialable=false)", 2 * 10**2 * 8 * 10**6),
    "e164(country=49)": ("e164(country=49, length=11)", 9 * 10**10),
    "e164(country=690)": ("e164(country=690, length=5)", 9 * 10**4),
    "e164(country=33, length=13)": ("e164(country=33, length=13)", 9 * 10**12),
    "iban(country='de')": ("iban(country='de', check='keep')", 10**18),
    "iban(country='gb', check='break')": ("iban(country='gb', check='break')", 26**4 * 10**14),
    "iban(country='it')": ("iban(country='it', check='keep')", 26 * 10**10 * 36**12),
    "email": ("email(domain='example.invalid', length=12)", 36**12),
    "email(domain='mail.1und1.de', length=20)": ("email(domain='mail.1und1.de', length=20)", 36**20),
    "email(domain='xn--bcher-kva.example')": ("email(domain='xn--bcher-kva.example', length=12)", 36**12),
}
SMALL = [
    "digits(length=3)",
    "alphanumeric(length=2, case='upper')",
    "alphanumeric(length=2)",
    "card(length=12, prefix=999999)",
    "card(length=12, prefix=411111, luhn='break')",
    "e164(country=690)",
    "email(length=2)",
]


@pytest.mark.parametrize("spec", SPACES)
def test_spellings_and_spaces(spec: str) -> None:
    canonical, space = SPACES[spec]
    surrogate = parse_surrogate(spec)
    assert (surrogate.spec, surrogate.space) == (canonical, space)
    assert parse_surrogate(canonical) == surrogate
    assert parse_surrogate(canonical).spec == canonical


def test_every_kind_is_here() -> None:
    assert {spec.partition("(")[0] for spec in SPACES} == SURROGATES.keys()


@pytest.mark.parametrize("spec", SMALL)
def test_small_spaces_are_what_they_say(spec: str) -> None:
    surrogate = parse_surrogate(spec)
    every = [surrogate.nth(number) for number in range(surrogate.space)]
    assert len(set(every)) == surrogate.space
    assert all(surrogate.parse(text) == text for text in every)


def test_nothing_else_is_taken() -> None:
    surrogate = parse_surrogate("digits(length=2)")
    every = {surrogate.nth(number) for number in range(surrogate.space)}
    for width in range(4):
        for text in map("".join, itertools.product("0189a -", repeat=width)):
            if text not in every:
                assert_unknown(spec=surrogate.spec, text=text)
    card = parse_surrogate("card(length=12, prefix=999999)")
    taken = [digit for digit in "0123456789" if is_taken(card.spec, card.nth(77)[:-1] + digit)]
    assert taken == [card.nth(77)[-1]]
    iban = parse_surrogate("iban(country='no')")
    text = iban.nth(12_345_678_901)
    heads = [f"NO{check:02d}" for check in range(100)]
    assert [head for head in heads if is_taken(iban.spec, head + text[4:])] == [text[:4]]


@pytest.mark.parametrize("spec", SPACES)
def test_a_draw_is_one_uniform_number(spec: str) -> None:
    surrogate = parse_surrogate(spec)
    asked = []
    chosen = random.Random(spec)

    def randbelow(limit: int) -> int:
        asked.append(limit)
        return chosen.randrange(limit)

    drawn = [surrogate.draw(randbelow) for _ in range(20)]
    assert asked == [surrogate.space] * 20
    again = random.Random(spec)
    assert drawn == [surrogate.nth(again.randrange(surrogate.space)) for _ in range(20)]
    for number in (-1, surrogate.space):
        with pytest.raises(ValueError, match="no such number"):
            surrogate.nth(number)


@pytest.mark.parametrize("spec", SPACES)
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_numbers_and_surrogates_go_together(spec: str, data: st.DataObject) -> None:
    surrogate = parse_surrogate(spec)
    one, other = (data.draw(st.integers(0, surrogate.space - 1)) for _ in range(2))
    assert surrogate.parse(surrogate.nth(one)) == surrogate.nth(one)
    assert (surrogate.nth(one) == surrogate.nth(other)) == (one == other)
    assert surrogate.nth(0) != surrogate.nth(surrogate.space - 1)


@pytest.mark.parametrize(
    ("spec", "number", "canonical", "presented"),
    [
        ("ssn", 0, "001-01-0001", ["001010001"]),
        ("ssn", 898 * 99 * 9999 - 1, "899-99-9999", ["899999999"]),
        ("ssn(range='never')", 0, "000-00-0000", ["000000000"]),
        ("ssn(range='never')", 51_999_999, "999-49-9999", ["999499999"]),
        (
            "card(prefix=999999)",
            123_456_789,
            "9999991234567893",
            ["9999 9912 3456 7893", "9999-9912-3456-7893", "999999 1234567893"],
        ),
        ("e164(country=1)", 0, "+12002000000", ["+1 200 200-0000", "+1.200.200.0000"]),
        ("e164(country=1, dialable=false)", 0, "+10002000000", ["+1 000 200 0000"]),
        ("e164(country=49)", 9 * 10**10 - 1, "+4999999999999", ["+49 999 99999999"]),
        ("iban(country='de')", 0, "DE36000000000000000000", ["de36 0000 0000 0000 0000 00"]),
        ("email(length=3)", 36**3 - 1, "zzz@example.invalid", ["ZZZ@example.INVALID", "Zzz@Example.Invalid"]),
    ],
)
def test_layout_is_no_part_of_it(spec: str, number: int, canonical: str, presented: list[str]) -> None:
    surrogate = parse_surrogate(spec)
    assert surrogate.nth(number) == canonical
    assert [surrogate.parse(text) for text in (canonical, *presented)] == [canonical] * (len(presented) + 1)


def is_taken(spec: str, text: str) -> bool:
    try:
        parse_surrogate(spec).parse(text)
    except ValueRefused as refused:
        assert (refused.code, refused.facts) == ("token_unknown", {})  # noqa: PT017
        return False
    return True


def assert_unknown(spec: str, text: str) -> None:
    with pytest.raises(ValueRefused) as caught:
        parse_surrogate(spec).parse(text)
    assert (caught.value.code, caught.value.facts) == ("token_unknown", {})
    if len(text) > 3:
        assert text not in shown(caught.value)


@pytest.mark.parametrize("spec", SPACES)
def test_what_is_none_is_unknown(spec: str) -> None:
    right = parse_surrogate(spec).nth(0)
    spoilt = ["", " ", right + " ", " " + right, right + "\n", right + "\0", right + right, right[:-1]]
    spoilt += [right + character for character in "\u200b\u202e\ud800é９"]
    spoilt += [right[:-1] + character for character in "\u200b\u202e\ud800é９²٣\0"]
    spoilt += [right.translate({48 + value: 0xFF10 + value for value in range(10)}) + "９"]
    spoilt += ["x" * 257, "1" * 10**6, "tok_aaaaaaaaaaaaaaaaaaaaaaaaaa", *STRANGERS]
    for text in spoilt:
        assert_unknown(spec, text)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("ssn", "000-12-3456"),
        ("ssn", "666-12-3456"),
        ("ssn", "900-12-3456"),
        ("ssn", "123-00-3456"),
        ("ssn", "123-12-0000"),
        ("ssn", "123-123456"),
        ("ssn(range='never')", "123-12-3456"),
        ("ssn(range='never')", "900-50-3456"),
        ("card", "4111 1111 1111 1112"),
        ("card", "4111  1111 1111 1111"),
        ("card", "378282246310005"),
        ("card(luhn='break')", "4111111111111111"),
        ("card(prefix=5)", "4111111111111111"),
        ("e164(country=1)", "+1 123 456 7890"),
        ("e164(country=1)", "+1 234 156 7890"),
        ("e164(country=1)", "12345678901"),
        ("e164(country=1)", "+1 (234) 567-8901"),
        ("e164(country=1, dialable=false)", "+1 234 567 8901"),
        ("e164(country=49)", "+49 0999 9999999"),
        ("e164(country=49)", "+44 99999999999"),
        ("iban(country='de')", "DE37 0000 0000 0000 0000 00"),
        ("iban(country='de')", "FR36 0000 0000 0000 0000 00"),
        ("iban(country='de')", "DE36-0000-0000-0000-0000-00"),
        ("iban(country='de')", "DE36 0000 0000 0000 0000 000"),
        ("iban(country='de', check='break')", "DE36 0000 0000 0000 0000 00"),
        ("email(length=3)", "zzz@example.org"),
        ("email(length=3)", "zz.@example.invalid"),
        ("email(length=3)", "zzz@example\u2024invalid"),
        ("email(length=3)", "\u212aab@example.invalid"),  # the Kelvin sign is a k in lower case
        ("alphanumeric(length=4, case='upper')", "abcd"),
        ("alphanumeric(length=4, case='upper')", "AB-CD"),
        ("digits(length=9)", "123-45-6789"),
    ],
)
def test_near_misses_are_unknown(spec: str, text: str) -> None:
    assert_unknown(spec, text)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "nothing",
        "text",
        "date",
        "digits",
        "digits(length=0)",
        "digits(length=65)",
        "digits(length='12')",
        "digits(length=12, length=12)",
        "alphanumeric",
        "alphanumeric(length=10, case='title')",
        "ssn(strict=true)",
        "ssn(range=true)",
        "card(length=11)",
        "card(length=20)",
        "card(luhn='lose')",
        "card(prefix=1000000)",
        "e164",
        "e164(country=0)",
        "e164(country=2)",
        "e164(country=999)",
        "e164(country='1')",
        "e164(country=1, length=9)",
        "e164(country=49, length=5)",
        "e164(country=49, length=14)",
        "e164(country=49, dialable=false)",
        "iban",
        "iban(country='DE')",
        "iban(country='us')",
        "iban(country=49)",
        "email(domain='localhost')",
        "email(domain='example..org')",
        "email(domain='-example.org')",
        "email(domain='example.org-')",
        "email(domain='Example.org')",
        "email(domain='exa_mple.org')",
        "email(domain='xn--a.org')",
        "email(domain='example.1')",
        "email(domain='" + "a" * 64 + ".org')",
        "email(length=0)",
        "email(length=65)",
        "e164(country=1)\0",
        "e164(country=\uff11)",
        "a" * 10**6,
    ],
)
def test_misspellings(spec: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_surrogate(spec)
    assert caught.value.code == "template_invalid"
    known = {*SURROGATES} | {item.name for entry in SURROGATES.values() for item in entry.parameters}
    assert set(caught.value.facts.values()) <= known
    assert len(shown(caught.value)) < 1000


@pytest.mark.parametrize("country", STRUCTURES)
def test_every_country_has_ibans(country: str) -> None:
    right = parse_surrogate(f"iban(country='{country.lower()}')")
    wrong = parse_surrogate(f"iban(country='{country.lower()}', check='break')")
    chosen = random.Random(country)
    for _ in range(20):
        number = chosen.randrange(right.space)
        Iban().parse(right.nth(number))
        with pytest.raises(ValueRefused, match="value_checksum"):
            Iban().parse(wrong.nth(number))
        assert right.nth(number)[4:] == wrong.nth(number)[4:]


def test_templates_take_surrogates_of_their_kind() -> None:
    chosen = random.Random(3)
    for _ in range(300):
        Ssn(strict=True).parse(parse_surrogate("ssn").draw(chosen.randrange))
        Card().parse(parse_surrogate("card").draw(chosen.randrange))
        E164().parse(parse_surrogate("e164(country=1)").draw(chosen.randrange))
        Email().parse(parse_surrogate("email").draw(chosen.randrange))
        with pytest.raises(ValueRefused, match="value_format"):
            Ssn(strict=True).parse(parse_surrogate("ssn(range='never')").draw(chosen.randrange))
        with pytest.raises(ValueRefused, match="value_checksum"):
            Card().parse(parse_surrogate("card(luhn='break')").draw(chosen.randrange))


@pytest.mark.parametrize("entry", SURROGATES.values(), ids=lambda entry: entry.name)
def test_every_entry_describes_itself(entry: Entry[Surrogate]) -> None:
    assert SURROGATES[entry.name] is entry
    assert entry.description.endswith(".")
    for parameter in entry.parameters:
        assert parameter.description
        assert parameter.required or parameter.takes(parameter.default)
