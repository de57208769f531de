"""docs/explanation/fpe-limits.md: every number in it is computed here, and there is no other."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

from vault.crypto.ff1 import MIN_DOMAIN
from vault.errors import ValueRefused
from vault.formats.alphabet import LOWER
from vault.formats.card import Card
from vault.formats.catalog import parse_template
from vault.formats.checksum import luhn_digit_at
from vault.formats.isodate import DAYS
from vault.formats.surrogate import parse_surrogate
from vault.formats.template import Shape
from vault.schema.fields import ROOM, SMALLEST_SPACE

PAGE = (Path(__file__).parents[3] / "docs" / "explanation" / "fpe-limits.md").read_text(encoding="utf-8")
FLAT = " ".join(PAGE.split())

ISSUED = parse_surrogate("ssn").space
NUMBERS = parse_surrogate("e164(country=1)").space
CENTURIES = (datetime.date(2100, 1, 1) - datetime.date(1900, 1, 1)).days
LIFETIME = (datetime.date(2026, 1, 1) - datetime.date(1906, 1, 1)).days
NAMES = LOWER.radix**3
MICROSECONDS = 5
SIX_FOUR, NONE_FOUR, NOTHING = Card(6, 4), Card(0, 4), Card(0, 0)
KEPT_DOMAIN = parse_template("email(domain='keep')")
BEHIND_ONE = parse_template("e164").parse("+14155552671").size


def power(number: int) -> str:
    """A number as the page writes it: powers of ten as such from 10^3 on, others with commas."""
    zeros = len(str(number)) - 1
    return f"10^{zeros}" if number == 10**zeros and zeros >= 3 else f"{number:,}"


def card(length: int) -> str:
    digits = "4" + "0" * (length - 1)
    return digits[:-1] + luhn_digit_at(digits, length - 1)


# A value of the table: taken apart, or how many there are.
DOMAINS: dict[str, int | Shape] = {
    "social security number": parse_template("ssn").parse("123-45-6789"),
    "16-digit card, last 4 kept": Card(0, 4).parse(card(16)),
    "16-digit card, 6 and 4 kept": Card(6, 4).parse(card(16)),
    "16-digit card, 8 and 4 kept": Card(8, 4).parse(card(16)),
    "15-digit card (American Express), last 4 kept": Card(0, 4).parse(card(15)),
    "15-digit card (American Express), 6 and 4 kept": Card(6, 4).parse(card(15)),
    "12-digit card, last 4 kept": Card(0, 4).parse(card(12)),
    "telephone number, `+1` kept": parse_template("e164").parse("+14155552671"),
    "telephone number, `+49` kept, 13 digits in all": parse_template("e164").parse("+4915123456789"),
    "telephone number, `+290` kept, 8 digits in all": parse_template("e164").parse("+29012345"),
    "4 letters and digits, both cases": parse_template("alphanumeric").parse("aB12"),
    "code `AB-1234-xy`, each character of its kind": parse_template("code").parse("AB-1234-xy").size,
    "4 small letters or digits before a kept domain": KEPT_DOMAIN.parse("anna@example.org"),
    "3 small letters or digits before a kept domain": KEPT_DOMAIN.parse("ann@example.org"),
    "name of 4 letters, `script='ascii'`": parse_template("name(script='ascii')").parse("Anna").size,
    "name of 2 letters, `script='latin'`": parse_template("name(script='latin')").parse("Li").size,
    "name of 2 Chinese characters": parse_template("name").parse("王明"),
    "three letters of one case": NAMES,
    "date of two centuries": CENTURIES,
}


SPECS = (
    "ssn",
    "ssn(range='never')",
    "card",
    "e164(country=1)",
    "e164(country=1, dialable=false)",
    "iban(country='de')",
    "digits(length=9)",
)
CHANCES = (6, 7, 9, 11)


def row(first: str, width: int) -> list[str]:
    """The cells of the row of so many cells that begins with a cell."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines()]
    (found,) = [cells for cells in rows if cells[0] == first and len(cells) == width]
    return found


@pytest.mark.parametrize("value", DOMAINS)
def test_domains(value: str) -> None:
    known = DOMAINS[value]
    size = known if isinstance(known, int) else known.size
    _, transformed, domain, offered = row(value, 4)
    assert domain == power(size)
    assert offered == ("yes" if size >= MIN_DOMAIN else "no")
    if not isinstance(known, int):
        assert transformed.startswith(f"{len(known.text)} ")
        assert ("and 1 that the checksum determines" in transformed) == value.endswith("kept") * (
            "card" in value
        )


def test_codes_of_three_and_four_digits() -> None:
    assert row("PIN or security code", 4)[1:] == ["3 or 4 digits", f"{power(10**3)}, {power(10**4)}", "no"]


@pytest.mark.parametrize("zeros", CHANCES)
def test_chances(zeros: int) -> None:
    chances = [guesses / 10**zeros for guesses in (1, 1000, 1_000_000)]
    written = [
        "certain" if chance == 1 else f"{100 * chance:.12f}".rstrip("0").rstrip(".") + "%"
        for chance in chances
    ]
    assert row(f"10^{zeros}", 4)[1:] == written


@pytest.mark.parametrize("spec", SPECS)
def test_surrogates(spec: str) -> None:
    space = parse_surrogate(spec).space
    _, written, rows, one_in = row(f"`{spec}`", 4)
    count = int(rows.replace(",", ""))
    assert written == power(space)
    assert one_in == f"{space // count:,}"
    assert space >= SMALLEST_SPACE
    assert space >= ROOM * count


SAID = [
    f"`radix^n >= {MIN_DOMAIN:,}`",
    f"a whole domain of {MIN_DOMAIN:,} values",
    f"Of 10^9 nine-digit numbers the SSA can issue {ISSUED:,}",
    f"A token may be any of the 10^9, so about 1 token in {round(10**9 / (10**9 - ISSUED))} looks like",
    f"Of {power(BEHIND_ONE)} numbers behind `+1`, {NUMBERS:,} have an area code and an "
    "exchange that begin with 2 to 9",
    f"the first 6 and the last 4 digits of a 16-digit number has {power(SIX_FOUR.domain(16).size)} candid",
    f"Of 16 digits {16 - 6 - 4} are left in the middle: {power(10 ** (16 - 6 - 4))} combinations, exactly",
    f"That leaves {power(SIX_FOUR.domain(16).size)}, which is too few",
    "So six and four, 16 digits and a promise",
    f"has 15 digits, which leaves {power(SIX_FOUR.domain(15).size)}",
    f"Numbers of 17 digits and more are long enough: {power(SIX_FOUR.domain(17).size)} for 17 digits",
    "the determined digit is 1 more than right",
    f"Two centuries (1900 to 2099) have {CENTURIES:,} days, the 120 years that living people were born in "
    f"{LIFETIME:,}",
    f"takes all days of the years from 1 to 9999, {DAYS:,}.",
    f"the token of a birthday still guesses among {LIFETIME:,}",
    "such as 9999-12-31, are transformed",
    f"Of MAC addresses without any letter {parse_template('mac').smallest().size:,} look alike",
    "1 invented card number in 10 passes",
    f"the last 4 digits of a 16-digit card number has {power(NONE_FOUR.domain(16).size)} candidates left "
    f"instead of {power(NOTHING.domain(16).size)}",
    "`123-45-6789` and `123456789` have the same digits",
    "A social security number has 10^9 values",
    f"At {MICROSECONDS} microseconds each, one core makes the table of all of them in "
    f"{round(MICROSECONDS * 10**9 / 10**6 / 60)} minutes",
    f"With the last 4 digits known, {power(10 ** (9 - 4))} tries are enough",
    f"a budget of 1,000,000 makes {10**9 // 10**6:,} days of 10^9",
    f"A space under {SMALLEST_SPACE:,}, or under {ROOM} times the field's `max_rows`",
    f"at most 1 invented token in {ROOM} hits",
    "with the chance 1 / N, and g guesses with g / N",
    "it is 1 / (N - m)",
    "| domain | one guess | 1,000 guesses | 1,000,000 guesses |",
    "| surrogate | space | rows | 1 invented in |",
    "| opaque, without a `surrogate` | 2^128 |",
    "`e164(country=1, dialable=false)` are nobody's",
    f"`nl_bsn` and `au_tfn` have {parse_template('nl_bsn').domain().size:,} of them, `ca_sin` "
    f"{parse_template('ca_sin').domain().size:,}, `ie_pps` {parse_template('ie_pps').domain().size:,}.",
    "Numbers of six digits of a day do not say the century; 29 February of the year 00 is taken.",
    "coordination numbers (Sweden's with 60 added to the day)",
    "whose check would have to be 10, which no authority hands out",
]
# Names with digits in them, and what other tests show.
NAMES_OF_THINGS = re.compile(r"FF1|FF3-1|FF3|SP 800-38G(?: Rev\. 1)?|`(?:e164|ipv4|ipv6|base64url)`")


@pytest.mark.parametrize("sentence", SAID, ids=range(len(SAID)))
def test_sentences(sentence: str) -> None:
    assert sentence in FLAT


def test_there_is_no_other_number() -> None:
    assert strangers(PAGE) == []
    assert strangers(PAGE.replace("83 minutes", "84 minutes")) != []
    assert strangers(PAGE + "\nIt takes 7 days.\n") == ["It takes 7 days."]
    assert strangers(PAGE + "\n| a new row | 10^4 |\n") != []


def strangers(page: str) -> list[str]:
    """What of the page holds a digit after all that is computed above is taken out."""
    tables = {
        *DOMAINS,
        "PIN or security code",
        *(f"10^{zeros}" for zeros in CHANCES),
        *(f"`{spec}`" for spec in SPECS),
    }
    lines = [line for line in page.splitlines() if line[2:].partition(" |")[0] not in tables]
    rest = " ".join(" ".join(lines).split())
    for sentence in sorted(SAID, key=len, reverse=True):
        rest = rest.replace(sentence, "")
    rest = NAMES_OF_THINGS.sub("", rest)
    return [part.strip(" .") + "." for part in re.split(r"(?<=[.:|]) ", rest) if re.search("[0-9]", part)]


@pytest.mark.parametrize("luhn", ["keep", "break"])
def test_one_made_up_card_number_in_ten_passes(luhn: str) -> None:
    template = parse_template(f"card(luhn='{luhn}')")
    refusals = 0
    for digit in "0123456789":
        try:
            template.parse_token(f"41111111111{digit}1111")
        except ValueRefused:
            refusals += 1
    assert refusals == 9
