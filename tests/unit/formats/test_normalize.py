from __future__ import annotations

import random
import timeit
import unicodedata

import pytest

from tests.unit.echo import shown
from vault.errors import ValueRefused
from vault.formats.catalog import parse_template
from vault.formats.normalize import Normalization, normalize

TEXT = parse_template("text(max=10000)")
NONE, NFC, LOWERCASE, CASEFOLD, WORDS, ALPHANUMERIC, DIGITS = Normalization


@pytest.mark.parametrize(
    ("spec", "how", "value", "form"),
    [
        ("ssn", NONE, "123-45-6789", "123456789"),
        ("card", NONE, "4111 1111-1111 1111", "4111111111111111"),
        ("e164", NONE, "+1 (415) 555".replace("(", "").replace(")", "") + "-2671", "+14155552671"),
        ("e164", DIGITS, "+1 415 555-2671", "14155552671"),
        ("iban", NONE, "de89 3704 0044 0532 0130 00", "DE89370400440532013000"),
        ("iban", LOWERCASE, "DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("email", NONE, "Anna@Example.ORG", "Anna@example.org"),
        ("email", LOWERCASE, "Anna@Example.ORG", "anna@example.org"),
        ("email", LOWERCASE, "MU\u0308LLER@bücher.example", "müller@xn--bcher-kva.example"),
        ("date", NONE, "1975-04-03", "1975-04-03"),
        ("digits", NONE, "001234", "001234"),
        ("alphanumeric", NONE, "aB12", "aB12"),
        ("alphanumeric", LOWERCASE, "aB12", "ab12"),
        ("text", NONE, " E\u0301va\t", " E\u0301va\t"),
        ("text", NFC, " E\u0301va\t", " Éva\t"),
        ("text", LOWERCASE, " E\u0301VA Straße ", " éva straße "),
        ("text", CASEFOLD, "STRASSE Straße", "strasse strasse"),
        ("text", CASEFOLD, "ΟΔΟΣ οδος", "οδοσ οδοσ"),
        ("text", CASEFOLD, "\u1fb4", "\u03ac\u03b9"),
        ("text", CASEFOLD, "\u03b1\u0345\u0301", "\u03ac\u03b9"),
        ("text", WORDS, "  Anna\u00a0\t Maria\n", "anna maria"),
        ("text", ALPHANUMERIC, "Flat 3-B, É.", "flat3bé"),
        ("text", ALPHANUMERIC, "e\u0301-e", "ée"),
        ("text", DIGITS, "No. ४2 / ３", "423"),
    ],
)
def test_forms(spec: str, how: Normalization, value: str, form: str) -> None:
    template = parse_template(spec)
    template.parse(value)
    assert normalize(template, how, value) == form


@pytest.mark.parametrize(
    ("how", "value"), [(DIGITS, "Anna"), (ALPHANUMERIC, "-- ?"), (WORDS, " \t "), (DIGITS, "½²")]
)
def test_where_nothing_is_left_there_is_no_form(how: Normalization, value: str) -> None:
    """Else all such values would share one token."""
    with pytest.raises(ValueRefused) as caught:
        normalize(parse_template("text"), how, value)
    assert (caught.value.code, caught.value.facts) == ("value_format", {})
    assert value not in shown(caught.value)


def test_words_of_the_schema() -> None:
    assert [how.value for how in Normalization] == [
        "none",
        "nfc",
        "lowercase",
        "casefold",
        "words",
        "alphanumeric",
        "digits",
    ]


MARKS = [chr(point) for point in range(0x110000) if unicodedata.combining(chr(point))]


def test_marks_come_in_order_however_many() -> None:
    """As Unicode says for all, and in time that grows as the value does: sixteen times, not 256 times."""
    draw = random.Random(7)
    for _ in range(50):
        text = "".join(draw.choice((draw.choice(MARKS), "a", "é", "가", "\u0f73")) for _ in range(600))
        assert normalize(TEXT, NFC, text) == unicodedata.normalize("NFC", text)
        folded = unicodedata.normalize("NFD", text).casefold()
        assert normalize(TEXT, CASEFOLD, text) == unicodedata.normalize("NFC", folded)


@pytest.mark.parametrize("how", [NFC, LOWERCASE, CASEFOLD, WORDS, ALPHANUMERIC])
@pytest.mark.parametrize("unit", ["\u0315\u0300", "\u0f73", "\u0315.\u0300."])
def test_a_text_of_marks_takes_no_longer_than_others(how: Normalization, unit: str) -> None:
    def lasts(size: int) -> float:
        text = "a" + unit * (size // len(unit) - 1)
        return min(timeit.repeat(lambda: normalize(TEXT, how, text), number=1, repeat=3))

    assert lasts(9_600) < 100 * lasts(600)
