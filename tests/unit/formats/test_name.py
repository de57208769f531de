"""Names: letters stay of their script and case, tokens are NFC, and the tables never move."""

from __future__ import annotations

import hashlib
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.formats.refusals import refused
from vault.errors import BadInput, ValueRefused
from vault.formats.alphabet import BITS
from vault.formats.catalog import parse_template
from vault.formats.name import SCRIPTS, Name
from vault.formats.scripts import DIGIT_CODES, KINDS, LAYOUT, MARK, SCRIPT_OF, alphabet, before, kind
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

NAME = Name()
CODES = [*SCRIPT_OF, *sorted(DIGIT_CODES)]


def codec(template: Name) -> Vaultless:
    return Vaultless(Secret(bytes(range(32))), "main", "customer.name", template)


# The tables


def test_the_tables_are_frozen() -> None:
    """A change here moves tokens: it needs another version of the template."""
    alphabets = "\n".join(f"{code} {alphabet(code).characters}" for code in sorted(CODES))
    others = "".join(sorted(f"{character}{what}" for character, what in KINDS.items()))
    assert hashlib.sha256(alphabets.encode()).hexdigest()[:16] == "0febb9fb190901ee"
    assert hashlib.sha256(others.encode()).hexdigest()[:16] == "7142bc44a423d132"


def test_a_character_is_one_thing() -> None:
    for code in CODES:
        for character in alphabet(code).characters:
            assert kind(character) == code
    marks = [character for character, what in KINDS.items() if what == MARK]
    for mark in marks:
        assert unicodedata.category(mark)[0] == "M"
    for character, what in KINDS.items():
        assert what != LAYOUT or unicodedata.category(character)[0] != "M"


@pytest.mark.parametrize("code", SCRIPT_OF)
def test_letters_are_letters_in_nfc(code: str) -> None:
    for letter in alphabet(code).characters:
        assert unicodedata.category(letter)[0] == "L" or letter == "\u3007"
        assert unicodedata.is_normalized("NFC", letter)
        assert letter.isalnum()


@pytest.mark.parametrize(("capital", "small"), [("A", "a"), ("B", "b"), ("C", "c"), ("D", "d"), ("E", "e")])
def test_capitals_and_small_letters_are_apart(capital: str, small: str) -> None:
    assert all(letter.isupper() for letter in alphabet(capital).characters)
    assert all(letter.islower() for letter in alphabet(small).characters)


@pytest.mark.parametrize(
    ("code", "radix"), [("A", 178), ("a", 178), ("B", 33), ("C", 49), ("L", 27_583), ("P", 11_172)]
)
def test_alphabets_have_a_size(code: str, radix: int) -> None:
    assert alphabet(code).radix == radix


# Values


@pytest.mark.parametrize(
    ("value", "style"),
    [
        ("Zoë Müller", "AaaAaaaaa"),
        ("Straße 7", "Aaaaaa"),
        ("Γιώργος", "Bbbbbbb"),
        ("Анна-Мария", "CcccCcccc"),
        ("אברהם", "FFFFF"),
        ("محمد", "GGGG"),
        ("अनिता", "HH\u093fH\u093e"),
        ("สมชาย", "KKKKK"),
        ("王小明", "LLL"),
        ("佐々木ルミ子", "LLLNNL"),
        ("김민준", "PPP"),
        ("O\u2019Brien, J.", "AAaaaaA"),
    ],
)
def test_what_is_transformed(value: str, style: str) -> None:
    shape = NAME.parse(value)
    assert shape.style == style
    assert NAME.render_value(shape, shape.text) == value


def test_one_alphabet_is_transformed_as_text() -> None:
    assert NAME.parse("王小明").alphabet == alphabet("L")
    assert NAME.parse("Li").alphabet == BITS
    assert NAME.parse("Li").size == 178**2


def test_short_names_are_too_few() -> None:
    for value in ("Li", "Anna", "김", "王"):
        with pytest.raises(ValueRefused, match="domain_too_small"):
            codec(Name("ascii") if value.isascii() else NAME).tokenize(value)
    assert NAME.smallest().size == 27
    assert Name("ascii").domain(4).size == 26**4
    assert Name("han").domain(2).size == 27_583**2


def test_long_texts_of_two_alphabets_have_more_ranks_than_ff1_takes() -> None:
    small = Name("latin", longest=256)
    assert len(codec(small).tokenize("x" * 256)) == 256
    assert refused(small.parse, "X" + "x" * 68) == "value_length"
    assert codec(small).tokenize("X" + "x" * 67)


@pytest.mark.parametrize(
    ("template", "value", "code"),
    [
        (NAME, "", "value_empty"),
        (NAME, "x" * 65, "value_length"),
        (NAME, "Mu\u0308ller", "value_format"),
        (NAME, "\u212bngstrom", "value_format"),
        (NAME, "Anna\ud800", "value_alphabet"),
        (NAME, "Anna\0", "value_alphabet"),
        (NAME, "Anna\u200b", "value_alphabet"),
        (NAME, "ᚠᚢᚦ", "value_alphabet"),
        (NAME, "\U00020000\U00020001", "value_alphabet"),
        (NAME, "\U0001f469", "value_alphabet"),
        (NAME, "Аnna", "value_script"),
        (NAME, "王Anna", "value_script"),
        (NAME, "김ルミ", "value_script"),
        (Name("latin"), "Анна", "value_script"),
        (Name("korean"), "ルミ", "value_script"),
        (Name("ascii"), "Zoë", "value_alphabet"),
        (Name("ascii"), "x\u0301yz", "value_alphabet"),
    ],
)
def test_refusals(template: Name, value: str, code: str) -> None:
    assert refused(template.parse, value) == code


def test_mixtures() -> None:
    mixed = Name(mixed="pass", digits=True)
    value = "Анна Müller 王 42 ٤٢"
    shape = mixed.parse(value)
    assert shape.style == "CcccAaaaaaL0011"
    token = codec(mixed).tokenize(value)
    assert [kind(one) for one in token] == [kind(one) for one in value]
    assert codec(mixed).detokenize(token) == value


def test_digits_stay_unless_they_shall_not() -> None:
    token = codec(NAME).tokenize("Hauptstrasse 42")
    assert token.endswith(" 42")
    assert NAME.parse("Hauptstrasse 42").kept_bytes() != NAME.parse("Hauptstrasse 43").kept_bytes()


@pytest.mark.parametrize(
    "spec", ["name(script='klingon')", "name(script='latin', mixed='pass')", "name(max=0)"]
)
def test_what_is_no_template(spec: str) -> None:
    with pytest.raises(BadInput, match="template_invalid"):
        parse_template(spec)


# Marks

MARKS = "".join(character for character, what in KINDS.items() if what == MARK)
LETTERS = "".join(alphabet(code).characters[:200] for code in SCRIPT_OF)
CLUSTERS = st.builds(
    lambda letter, marks: unicodedata.normalize("NFC", letter + marks),
    st.sampled_from(LETTERS),
    st.text(st.sampled_from(MARKS), max_size=3),
)
TEXTS = st.lists(st.one_of(CLUSTERS, st.sampled_from(" -\u2019'7٣")), min_size=4, max_size=14).map("".join)


@given(TEXTS, st.booleans())
@settings(max_examples=1000, deadline=None)
def test_tokens_are_nfc_and_turn_back(value: str, digits: bool) -> None:
    template = Name(mixed="pass", digits=digits, longest=256)
    tokens = codec(template)
    try:
        token = tokens.tokenize(value)
    except ValueRefused as refusal:
        assert refusal.code in ("domain_too_small", "value_alphabet", "value_format", "value_length")  # noqa: PT017
        return
    assert unicodedata.is_normalized("NFC", token)
    assert [kind(one) for one in token] == [kind(one) for one in value]
    assert tokens.detokenize(token) == value


def test_a_letter_before_a_mark_is_one_that_nfc_leaves_alone() -> None:
    assert "e" not in before("a", "\u0301")
    assert "q" in before("a", "\u0301")
    assert before("a", "\u0334") is alphabet("a")
    assert "न" not in before("H", "\u093c")
    assert NAME.parse("ज\u093cफ\u093cर").style == "H\u093cH\u093cH"


def test_every_script_has_a_spelling() -> None:
    for script in SCRIPTS:
        assert len(Name(script, digits=True, longest=256).spec) <= 64
        assert parse_template(Name(script).spec) == Name(script)
