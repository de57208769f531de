from __future__ import annotations

import random

import pytest
import stdnum.iban
from stdnum.exceptions import ValidationError

from tests.unit.formats.refusals import refused
from vault.errors import ValueRefused
from vault.formats.iban import LONGEST, SHORTEST, STRUCTURES, Iban, check_digits
from vault.secret import Secret
from vault.tokens.vaultless import Vaultless

IBAN = Iban()
TOKENS = Vaultless(Secret(bytes(range(32))), "main", "customer.iban", IBAN)
GERMAN = "DE89370400440532013000"

# Examples of the SWIFT IBAN Registry.
EXAMPLES = [
    "AD1200012030200359100100",
    "BR1800360305000010009795493C1",
    "FR1420041010050500013M02606",
    "GB29NWBK60161331926819",
    "LC55HEMM000100010012001200023015",
    "MT84MALT011000012345MTLCAST001S",
    "NO9386011117947",
    "SC18SSCB11010000000000001497USD",
    "RU0304452522540817810538091310419",
]


@pytest.mark.parametrize("value", [GERMAN, *EXAMPLES])
def test_registered_examples(value: str) -> None:
    groups = " ".join(value[start : start + 4] for start in range(0, len(value), 4))
    for written in (value, groups, value.lower(), groups.lower(), f"{value[:2]} {value[2:]}"):
        shape = IBAN.parse(written)
        assert IBAN.render_value(shape, shape.text) == written
        assert IBAN.canonical(written) == value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "value_empty"),
        ("DE", "value_length"),
        (GERMAN[:-1], "value_length"),
        (GERMAN + "0", "value_length"),
        (GERMAN + "0" * 46, "value_length"),
        ("D" * 10**6, "value_length"),
        ("NO938601111794", "value_length"),
        ("DE88370400440532013000", "value_checksum"),
        ("DE89370400440532013001", "value_checksum"),
        ("DE89370400440532010300", "value_checksum"),
        ("US89370400440532013000", "value_format"),
        ("QQ89370400440532013000", "value_format"),
        ("8989370400440532013000", "value_format"),
        ("DEA9370400440532013000", "value_format"),
        ("DE8937040044053201300A", "value_format"),
        ("GB29NW1K60161331926819", "value_format"),
        ("De89370400440532013000", "value_format"),
        ("gb29NWBK60161331926819", "value_format"),
        (" " + GERMAN, "value_format"),
        (GERMAN + " ", "value_format"),
        ("DE89  3704 0044 0532 0130 00", "value_format"),
        ("DE89-3704-0044-0532-0130-00", "value_alphabet"),
        ("IBAN: " + GERMAN, "value_alphabet"),
        (GERMAN + "\n", "value_alphabet"),
        (GERMAN[:-1] + "\0", "value_alphabet"),
        (GERMAN[:-1] + "０", "value_alphabet"),
        (GERMAN[:-1] + "\u0660", "value_alphabet"),
        ("\u202e" + GERMAN, "value_alphabet"),
        (GERMAN[:9] + "\u200b" + GERMAN[9:], "value_alphabet"),
        (GERMAN[:-1] + "\ud800", "value_alphabet"),
        ("DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "value_alphabet"),
        ("\u0130" + GERMAN[1:], "value_alphabet"),
        ("\uff24\uff25" + GERMAN[2:], "value_alphabet"),
        ("ﬁ" + GERMAN[2:], "value_alphabet"),
    ],
)
def test_refusals(value: str, code: str) -> None:
    assert refused(IBAN.parse, value) == code


def test_check_digits_have_one_spelling() -> None:
    """00, 01 and 99 leave the same remainder as 97, 98 and 02, and are refused."""
    seen = []
    for account in (f"{number:011d}" for number in range(97)):
        taken = [check for check in range(100) if is_taken(f"NO{check:02d}{account}")]
        assert taken == [int(check_digits("NO", account))]
        seen += taken
    assert sorted(seen) == list(range(2, 99))


def is_taken(value: str) -> bool:
    try:
        IBAN.parse(value)
    except ValueRefused as error:
        assert error.code == "value_checksum"  # noqa: PT017
        return False
    return True


def test_the_registry_is_swifts() -> None:
    """python-stdnum carries the registry; ours says the same of each country."""
    known = {prefix: dict(info) for _, prefix, _, info, _ in stdnum.iban._ibandb.prefixes}
    assert known.keys() == STRUCTURES.keys()
    for country, structure in STRUCTURES.items():
        theirs = stdnum.iban._struct_to_re(known[country]["bban"])
        widths = [int(count) for count, _ in stdnum.iban._struct_re.findall(known[country]["bban"])]
        assert sum(widths) == len(structure)
        for character in "0A":
            # one character at a time, the others as the structure wants them
            right = [place.characters[0] for place in structure]
            for at, place in enumerate(structure):
                changed = "".join([*right[:at], character, *right[at + 1 :]])
                assert (theirs.match(changed) is not None) == (character in place)


@pytest.mark.parametrize("country", STRUCTURES)
def test_another_implementation_agrees(country: str) -> None:
    chosen = random.Random(country)
    for _ in range(50):
        account = "".join(chosen.choice(place.characters) for place in STRUCTURES[country])
        value = country + check_digits(country, account) + account
        assert stdnum.iban.validate(value, check_country=False) == value
        IBAN.parse(value)
        at = chosen.randrange(4, len(value))
        changed = value[:at] + chosen.choice("0123456789ABCXYZ") + value[at + 1 :]
        try:
            stdnum.iban.validate(changed, check_country=False)
        except ValidationError:
            assert refused(IBAN.parse, changed) in ("value_checksum", "value_format")
        else:
            IBAN.parse(changed)  # a letter counts as two digits, so some changes go unnoticed
    with pytest.raises(ValueRefused):
        IBAN.parse(value[:-1])


def test_lengths() -> None:
    assert (SHORTEST, LONGEST) == (15, 33)
    assert IBAN.smallest().size == IBAN.domain(15).size == 10**11  # Norway
    assert IBAN.domain().size == IBAN.domain(22).size
    for length in (0, 14, 34):
        with pytest.raises(ValueRefused):
            IBAN.domain(length)
    assert IBAN.spec == "iban"


@pytest.mark.parametrize("country", STRUCTURES)
def test_tokens_are_ibans_of_the_country(country: str) -> None:
    chosen = random.Random(country)
    account = "".join(chosen.choice(place.characters) for place in STRUCTURES[country])
    value = country + check_digits(country, account) + account
    for written in (value, value.lower(), f"{value[:1]} {value[1:5]} {value[5:]}"):
        token = TOKENS.tokenize(written)
        assert token != written
        assert token.islower() == written.islower()
        assert [place for place, one in enumerate(token) if one == " "] == [
            place for place, one in enumerate(written) if one == " "
        ]
        plain = IBAN.canonical(token)
        assert plain[:2] == country
        assert stdnum.iban.validate(plain, check_country=False) == plain
        assert TOKENS.detokenize(token) == written
        assert IBAN.domain(len(value)).size <= IBAN.parse(value).size


def test_spaces_and_case_of_a_token() -> None:
    """Spaces may be lost on the way; the case is part of what was transformed."""
    token = TOKENS.tokenize("DE89 3704 0044 0532 0130 00")
    assert TOKENS.detokenize(token.replace(" ", "")) == GERMAN
    assert TOKENS.detokenize(token.lower()) != GERMAN.lower()
