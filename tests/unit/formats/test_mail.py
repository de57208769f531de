from __future__ import annotations

import os
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import ValueRefused
from vault.formats.mail import LONGEST, Email

EMAIL = Email()
FULL = os.environ.get("COATCHECK_FULL") == "1"


@pytest.mark.parametrize(
    ("value", "canonical"),
    [
        ("anna@example.org", "anna@example.org"),
        ("Anna@Example.ORG", "Anna@example.org"),
        ("a@b.cd", "a@b.cd"),
        ("o'brien+news@example.org", "o'brien+news@example.org"),
        ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~@example.org"),
        ("1.2.3@4.example", "1.2.3@4.example"),
        ("anna@sub.a-b--c.example", "anna@sub.a-b--c.example"),
        ("müller@example.org", "müller@example.org"),
        ("mu\u0308ller@example.org", "müller@example.org"),
        ("info@Bücher.example", "info@xn--bcher-kva.example"),
        ("info@bu\u0308cher.example", "info@xn--bcher-kva.example"),
        ("info@XN--BCHER-KVA.example", "info@xn--bcher-kva.example"),
        ("info@faß.de", "info@xn--fa-hia.de"),
        ("info@FAẞ.de", "info@xn--fa-hia.de"),
        ("info@fass.de", "info@fass.de"),
        ("info@ΒΌΛΟΣ.com", "info@xn--nxasmq6b.com"),
        ("info@βόλος.com", "info@xn--nxasmm1c.com"),
        ("info@xn--nxasmm1c.com", "info@xn--nxasmm1c.com"),
        ("info@ᏦᏏᎷ.example", "info@xn--t9d1c8c.example"),
        ("иван@пример.рф", "иван@xn--e1afmkfd.xn--p1ai"),
        ("佐々木たろう@example.jp", "佐々木たろう@example.jp"),
        ("王小明abc@example.cn", "王小明abc@example.cn"),
        ("홍길동@example.kr", "홍길동@example.kr"),
        ("δοκιμή.anna@example.org", "δοκιμή.anna@example.org"),
        ("علي۱۲@example.org", "علي۱۲@example.org"),
        ("चन्द्र@example.org", "चन्द्र@example.org"),
        ("o\u02bcneill@example.org", "o\u02bcneill@example.org"),
        ("a" * 64 + "@example.org", "a" * 64 + "@example.org"),
        ("a@" + "b" * 63 + ".org", "a@" + "b" * 63 + ".org"),
        (
            "a" * 60 + "@" + ("b" * 60 + ".") * 3 + "example.de",
            "a" * 60 + "@" + ("b" * 60 + ".") * 3 + "example.de",
        ),
    ],
)
def test_addresses(value: str, canonical: str) -> None:
    shape = EMAIL.parse(value)
    assert EMAIL.render_value(shape, shape.text) == value
    assert EMAIL.canonical(value) == canonical
    assert EMAIL.canonical(canonical) == canonical
    EMAIL.parse(canonical)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("a@b.c", "value_length"),
        ("a" * 65 + "@example.org", "value_length"),
        ("ü" * 33 + "@example.org", "value_length"),
        ("a@" + "b" * 64 + ".org", "value_length"),
        ("a@" + "ü" * 60 + "example.org", "value_length"),
        ("a" * 60 + "@" + ("b" * 60 + ".") * 3 + "examples.org", "value_length"),
        ("a" * 10**6, "value_length"),
        ("anna", "value_length"),
        ("anna.example.org", "value_format"),
        ("anna@@example.org", "value_format"),
        ("anna@example@org.de", "value_format"),
        ("@example.org", "value_format"),
        ("anna@.org", "value_format"),
        ("anna@example", "value_format"),
        ("anna@localhost", "value_format"),
        ("anna@example.org.", "value_format"),
        ("anna@example..org", "value_format"),
        ("anna@-example.org", "value_format"),
        ("anna@example-.org", "value_format"),
        ("anna@-bücher.org", "value_format"),
        ("anna@bücher-.org", "value_format"),
        ("anna@exa_mple.org", "value_format"),
        ("anna@büch!er.org", "value_format"),
        ("anna@192.0.2.1", "value_format"),
        ("anna@example.o", "value_format"),
        (".anna@example.org", "value_format"),
        ("anna.@example.org", "value_format"),
        ("an..na@example.org", "value_format"),
        ("\u0301anna@example.org", "value_format"),
        ("anna@\u0301example.org", "value_format"),
        ("anna@xn--a.org", "value_format"),
        ("anna@xn--.org", "value_format"),
        ("anna@xn--example-.org", "value_format"),
        ("anna@xn--999999999.org", "value_format"),
        ("anna@xn--bcher-kva8445foa.org", "value_format"),
        ("anna@xn--Bcher-kvb.org", "value_format"),
        ("anna@xn--" + "bÜcher".encode("punycode").decode() + ".org", "value_format"),
        ("anna@xn--" + "bu\u0308cher".encode("punycode").decode() + ".org", "value_format"),
        ('"anna b"@example.org', "value_alphabet"),
        ("anna b@example.org", "value_alphabet"),
        ("anna@example.org ", "value_alphabet"),
        ("anna@[192.0.2.1]", "value_alphabet"),
        ("Anna <anna@example.org>", "value_alphabet"),
        ("anna(work)@example.org", "value_alphabet"),
        ("anna,b@example.org", "value_alphabet"),
        ("mailto:anna@example.org", "value_alphabet"),
        ("anna\\@example.org", "value_alphabet"),
        ("anna@example.org\n", "value_alphabet"),
        ("anna@example.org\r\nBcc: b@example.org", "value_alphabet"),
        ("an\0na@example.org", "value_alphabet"),
        ("an\x7fna@example.org", "value_alphabet"),
        ("an\x85na@example.org", "value_alphabet"),
        ("an\ud800na@example.org", "value_alphabet"),
        ("an\u200bna@example.org", "value_alphabet"),
        ("an\u200dna@example.org", "value_alphabet"),
        ("an\u00adna@example.org", "value_alphabet"),
        ("an\u202ena@example.org", "value_alphabet"),
        ("an\u2066na@example.org", "value_alphabet"),
        ("\ufeffanna@example.org", "value_alphabet"),
        ("an\u00a0na@example.org", "value_alphabet"),
        ("anna\ufe0f@example.org", "value_alphabet"),
        ("an\u3164na@example.org", "value_alphabet"),
        ("an\u034fna@example.org", "value_alphabet"),
        ("anna４@example.org", "value_alphabet"),
        ("ａnna@example.org", "value_alphabet"),
        ("anna＠example.org", "value_alphabet"),
        ("anna@example。org", "value_alphabet"),
        ("ﬁn@example.org", "value_alphabet"),
        ("anna²@example.org", "value_alphabet"),
        ("anna\U0001f469@example.org", "value_alphabet"),
        ("anna\U0003fffd@example.org", "value_alphabet"),
        ("раypal@example.org", "value_script"),
        ("anna@раypal.com", "value_script"),
        ("anna@xn--ypal-43d9g.com", "value_script"),
        ("αbc@example.org", "value_script"),
        ("abc९@example.org", "value_script"),
        ("たろうа@example.org", "value_script"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(EMAIL.parse, value) == code


def test_positions_are_given() -> None:
    with pytest.raises(ValueRefused) as caught:
        EMAIL.parse("anna b@example.org")
    assert caught.value.facts == {"position": 4}


def test_characters_beyond_ascii_are_seen_and_stand_for_themselves() -> None:
    taken = 0
    for code in (*range(0x80, 0x3400), *range(0x3400, sys.maxunicode + 1, 1 if FULL else 13)):
        character = chr(code)
        try:
            EMAIL.parse(f"{character}{character}@example.org")
        except ValueRefused:
            continue
        taken += 1
        assert unicodedata.category(character)[0] in "LN"
        composed = unicodedata.normalize("NFC", character)
        assert unicodedata.normalize("NFKC", character) == composed
        assert not unicodedata.combining(character)
    assert taken > (90_000 if FULL else 12_000)


def test_ff1_has_no_use_for_it() -> None:
    assert not EMAIL.reversible_by_ff1
    assert EMAIL.domain().size == EMAIL.smallest().size == 0
    for length in (0, 5, LONGEST + 1):
        with pytest.raises(ValueRefused):
            EMAIL.domain(length)
    assert EMAIL.spec == "email"


# Letters of several scripts, in both cases, with marks and what stays out of addresses.
PARTS = st.text(
    alphabet=st.sampled_from("abAB09-_+.éÉßẞςΣσяЯあア王한ع۱\u0301\u0308\u0130\u0131İıǅŉﬁ\u200d\u00ad４"),
    min_size=1,
    max_size=8,
)


@given(local=PARTS, labels=st.lists(PARTS, min_size=2, max_size=3), data=st.data())
@settings(deadline=None, max_examples=1000)
def test_the_canonical_address_is_one_and_its_own(local: str, labels: list[str], data: st.DataObject) -> None:
    value = f"{local}@{'.'.join(labels)}"
    composed = data.draw(st.booleans())
    try:
        EMAIL.parse(value)
    except ValueRefused:
        return
    canonical = EMAIL.canonical(value)
    EMAIL.parse(canonical)
    assert EMAIL.canonical(canonical) == canonical
    assert canonical.rpartition("@")[2].isascii()
    assert EMAIL.canonical(unicodedata.normalize("NFC" if composed else "NFD", value)) == canonical
