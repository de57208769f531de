from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.formats.refusals import STRANGERS, refused
from vault.errors import BadInput, ValueRefused
from vault.formats.alphabet import DIGITS
from vault.formats.card import Card
from vault.formats.checksum import luhn_digit_at, luhn_valid
from vault.formats.template import Shape

KEEP = Card()
BREAK = Card(luhn="break")
MARK = Card(luhn="mark")
VISA = "4111111111111111"


def number(count: int) -> str:
    """A number of so many digits with a right check digit."""
    digits = ("4929133812345678901" + "0")[: count - 1] + "0"
    return digits[:-1] + luhn_digit_at(digits, count - 1)


def test_one_digit_of_the_middle_is_neither_kept_nor_transformed() -> None:
    shape = KEEP.parse(VISA)
    assert shape == Shape(DIGITS, "41111111111", tuple((place, "1") for place in (12, 13, 14, 15)), 16)
    assert KEEP.render_value(shape, shape.text) == VISA


@pytest.mark.parametrize("text", ["00000000000", "99999999999", "12345678901"])
def test_a_token_passes_or_fails_the_check_as_the_template_says(text: str) -> None:
    shape = KEEP.parse(VISA)
    kept, broken = KEEP.render_token(shape, text), BREAK.render_token(shape, text)
    assert luhn_valid(kept)
    assert not luhn_valid(broken)
    assert kept[:11] == broken[:11] == text
    assert kept[12:] == broken[12:] == "1111"
    assert int(broken[11]) == (int(kept[11]) + 1) % 10
    assert KEEP.parse_token(kept) == BREAK.parse_token(broken)


def test_only_the_one_wrong_digit_is_a_token() -> None:
    token = BREAK.render_token(BREAK.parse(VISA), "12345678901")
    taken = []
    for digit in "0123456789":
        candidate = token[:11] + digit + token[12:]
        try:
            BREAK.parse_token(candidate)
        except ValueRefused as error:
            assert error.code == "value_checksum"  # noqa: PT017 - nine of ten are refused
        else:
            taken.append(candidate)
    assert taken == [token]
    assert refused(KEEP.parse_token, token) == "value_checksum"
    assert refused(BREAK.parse_token, VISA) == "value_checksum"


@pytest.mark.parametrize(
    "value", ["4111 1111 1111 1111", "4111-1111-1111-1111", "4-1 1-1111111111111", "3782 822463 10005"]
)
def test_separators_stay_in_place(value: str) -> None:
    for template in (KEEP, BREAK, Card(keep_first=1, keep_last=0), Card(keep_first=3, keep_last=2)):
        shape = template.parse(value)
        token = template.render_token(shape, "9" * len(shape.text))
        assert [place for place, char in enumerate(token) if char in " -"] == [
            place for place, char in enumerate(value) if char in " -"
        ]
        assert template.render_value(template.parse_token(token), shape.text) == value
        bare = template.parse(value.replace(" ", "").replace("-", ""))
        assert (bare.text, bare.kept_bytes()) == (shape.text, shape.kept_bytes())


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("4", "value_length"),
        (number(12)[:11], "value_length"),
        ("4" * 20, "value_length"),
        ("4" * 10**6, "value_length"),
        ("4-4-4-4-4-4-4", "value_length"),
        ("4111111111111112", "value_checksum"),
        ("4111111111111171", "value_checksum"),
        ("4111  1111 1111 1111", "value_format"),
        ("4111- 1111 1111 1111", "value_format"),
        (" 4111111111111111", "value_format"),
        ("4111111111111111-", "value_format"),
        ("----------------", "value_format"),
        ("4111.1111.1111.1111", "value_alphabet"),
        ("4111\u00a01111\u00a01111\u00a01111", "value_alphabet"),
        *((value + "1234567", "value_alphabet") for value in STRANGERS),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(KEEP.parse, value) == code
    assert refused(BREAK.parse, value) == code
    if code != "value_checksum":
        assert refused(KEEP.parse_token, value) == code


@pytest.mark.parametrize("count", range(12, 20))
@pytest.mark.parametrize("first", [0, 1, 6, 8])
@pytest.mark.parametrize("last", [0, 1, 4])
def test_domains_of_every_length(count: int, first: int, last: int) -> None:
    template = Card(first, last)
    size = 10 ** max(0, count - first - last - 1)
    assert template.domain(count).size == size
    shape = template.parse(number(count))
    assert shape.size == size
    assert template.render_value(shape, shape.text) == number(count)


def test_typical_and_smallest() -> None:
    assert KEEP.domain().size == 10**11
    assert KEEP.domain(16) == KEEP.domain()
    assert KEEP.smallest().size == 10**7
    for length in (0, 11, 20):
        with pytest.raises(ValueRefused):
            KEEP.domain(length)


def test_six_and_four_is_too_much_for_sixteen_digits() -> None:
    assert Card(6, 4).domain(16).size == 10**5
    assert Card(6, 4).domain(17).size == 10**6


def test_where_all_is_kept_there_is_no_token() -> None:
    template = Card(8, 4)
    shape = template.parse(number(12))
    assert (shape.text, len(shape.kept)) == ("", 12)
    assert template.render_value(shape, "") == number(12)
    assert refused(template.parse_token, number(12)) == "domain_too_small"
    with pytest.raises(ValueRefused) as caught:
        template.render_token(shape, "")
    assert caught.value.code == "domain_too_small"


@pytest.mark.parametrize(("first", "last"), [(13, 0), (0, 13), (9, 4), (6, 7), (19, 19)])
def test_templates_that_no_length_saves(first: int, last: int) -> None:
    with pytest.raises(BadInput) as caught:
        Card(first, last)
    assert caught.value.code == "template_invalid"


def test_twelve_kept_leave_the_longest_numbers() -> None:
    assert Card(8, 4).domain(19).size == 10**6


def test_spelling() -> None:
    assert KEEP.spec == "card(keep_last=4, luhn='keep')"
    assert Card(6, 0, "break").spec == "card(keep_first=6, keep_last=0, luhn='break')"
    assert MARK.spec == "card(keep_last=4, luhn='mark')"


def test_a_marked_token_is_no_number() -> None:
    for value in (VISA, "4111 1111-1111 1111", number(12), number(19)):
        shape = MARK.parse(value)
        token = MARK.render_token(shape, shape.text)
        plain = token.replace(" ", "").replace("-", "")
        assert [place for place, one in enumerate(plain) if one.isalpha()] == [len(plain) - 5]
        assert refused(MARK.parse, token) == refused(KEEP.parse_token, token) == "value_alphabet"
        assert MARK.parse_token(token) == shape
        assert MARK.render_value(shape, shape.text) == value


def test_only_the_one_letter_marks_a_token() -> None:
    """It says which digit the check wants, so it finds typing errors as the digit does."""
    token = MARK.render_token(MARK.parse(VISA), "12345678901")
    codes = dict.fromkeys("ABCDEFGHIJ", "")
    for letter in codes:
        changed = token[:11] + letter + token[12:]
        if changed != token:
            codes[letter] = refused(MARK.parse_token, changed)
    assert sorted(codes.values()) == ["", *["value_checksum"] * 9]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda token: VISA, "value_format"),
        (lambda token: token.lower(), "value_alphabet"),
        (lambda token: token[:11] + "K" + token[12:], "value_alphabet"),
        (lambda token: "A" + token[1:], "value_alphabet"),
        (lambda token: token[:11] + "1" + token[11:][:1] + token[13:], "value_format"),
        (lambda token: token[:-1] + "A", "value_alphabet"),
        (lambda token: token + "-", "value_format"),
        (lambda token: token[:4] + "  " + token[4:], "value_format"),
        (lambda token: token[:11], "value_length"),
        (lambda token: token + "1111", "value_length"),
        (lambda token: "", "value_empty"),
    ],
)
def test_what_is_no_marked_token(change: Callable[[str], str], code: str) -> None:
    token = MARK.render_token(MARK.parse(VISA), "12345678901")
    assert refused(MARK.parse_token, change(token)) == code


def test_marking_does_not_make_small_domains_larger() -> None:
    assert Card(6, 4, "mark").domain(16).size == 10**5
    assert refused(Card(8, 4, "mark").parse_token, number(12)) == "domain_too_small"
