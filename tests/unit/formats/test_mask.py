from __future__ import annotations

import datetime

import pytest

from tests.unit.echo import shown
from vault.errors import BadInput
from vault.formats.catalog import CATALOG, parse_template
from vault.formats.mask import Mask, View
from vault.formats.national.schemes import SCHEMES


@pytest.mark.parametrize(
    ("pattern", "value", "masked"),
    [
        ("***-**-{last:4}", "123-45-6789", "***-**-6789"),
        ("***-**-{last:4}", "123456789", "***-**-6789"),
        ("{first:6}******{last:4}", "4111 1111 1111 1234", "411111******1234"),
        ("{last:4} of {first:2}", "DE89 3704 0044 0532 0130 00", "3000 of DE"),
        ("{first:1}.", "Zoë", "Z."),
        ("{first:1}***@***", "anna@example.org", "a***@***"),
        ("all hidden", "123-45-6789", "all hidden"),
        ("•••• {last:2}", "王小明", "•••• 小明"),
        ("{last:8}", "123456789", "23456789"),
        ("{local:1}***@{domain}", "anna@example.org", "a***@example.org"),
        ("{local:2}***", "o'brien+tag@example.org", "ob***"),
        ("{domain} / {local:3}", "佐々木たろう@例え.example", "例え.example / 佐々木"),
        ("{country} *** {last:2}", "+442071838750", "+44 *** 50"),
        ("{country}", "+4-9 30 1234567", "+49"),
        ("{country}", "+1 415 555 2671", "+1"),
        ("{country}", "+35315550123", "+353"),
        ("{country}** **** {last:4}", "DE89 3704 0044 0532 0130 00", "DE** **** 3000"),
        ("{country}", "gb29nwbk60161331926819", "gb"),
        ("{year}-**-**", "1975-04-03", "1975-**-**"),
        ("{year}-**-**", "1975-04-03 10:00:00.5+01", "1975-**-**"),
        ("{initials}", "Anna Maria  O'Brien-Łukasz", "AMO"),
        ("{initials}.", "王小明", "王."),
        ("{initials}", "(anna) 'maria'\n-- \u00bfeva?", "ame"),
        ("{initials}", "ab " * 20, "a" * 8),
    ],
)
def test_masks(pattern: str, value: str, masked: str) -> None:
    assert Mask.parse(pattern).apply(value) == masked


@pytest.mark.parametrize(
    ("pattern", "value", "masked"),
    [
        ("***-**-{last:4}", "6789", "***-**-****"),
        ("***-**-{last:4}", "789", "***-**-****"),
        ("{last:4}", "", "****"),
        ("{last:4}", "-- --", "****"),
        ("{first:1}", "A", "*"),
        ("{first:4}-{last:4}", "12345678", "****-****"),
        ("{first:4}-{last:4}", "1234567", "****-****"),
        ("{first:4}-{last:4}", "123456789", "1234-6789"),
        ("{local:1}***@{domain}", "a@example.org", "****@example.org"),
        ("{local:2}@{domain}", "ab@example.org", "**@example.org"),
        ("{local:1}@{domain}", "ab@example.org", "a@example.org"),
        ("{first:1}@{domain}", "a@example.org", "*@***"),
        ("{domain}", "+@example.org", "***"),
        ("{year}-{last:4}", "1975-04-03", "****-****"),
        ("{year}-{last:2}", "1975-04-03", "1975-03"),
        ("{country}{last:8}", "+290 12345", "**********"),
        ("{initials}", "A", "*"),
        ("{initials}", "A B C", "*"),
        ("{initials}", "A B Cd", "ABC"),
        ("{initials}", "...", "*"),
        ("{initials} {last:4}", "A Cdef", "* ****"),
    ],
)
def test_a_value_is_never_shown_whole(pattern: str, value: str, masked: str) -> None:
    assert Mask.parse(pattern).apply(value) == masked


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "{}",
        "{last}",
        "{last:}",
        "{last:0}",
        "{last:9}",
        "{last:10}",
        "{last:04}",
        "{last:４}",
        "{last: 4}",
        "{Last:4}",
        "{middle:4}",
        "{last:4",
        "last:4}",
        "{{last:4}}",
        "{last:4}{last:4}",
        "{first:1}{first:1}",
        "{last:{first:1}}",
        "{local}",
        "{local:9}",
        "{domain:1}",
        "{year:2}",
        "{country:2}",
        "{initials:1}",
        "{Domain}",
        "{domain}{domain}",
        "{local:1}{local:2}",
        "{tld}",
        "{month:2}",
        "{age}",
        "{age:1}",
        "{age:7}",
        "{age:15}",
        "{age:010}",
        "{age:5}{age:10}",
        "{hash}",
        "{hash:3}",
        "{hash:17}",
        "{hash:64}",
        "{hash:8}{hash:9}",
        "{zip3:3}",
        "{zip}",
        "***\0{last:4}",
        "***\n{last:4}",
        "\u202e{last:4}",
        "*" * 65,
        "*" * 63 + "{last:4}",
        "{last:4}" * 10**5,
    ],
)
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(BadInput) as caught:
        Mask.parse(pattern)
    assert caught.value.code == "template_invalid"
    assert len(shown(caught.value)) < 500


@pytest.mark.parametrize(
    ("pattern", "hidden"),
    [
        ("{local:3}", "***"),
        ("{domain}", "***"),
        ("{country}", "**"),
        ("{year}", "****"),
        ("{network}", "***"),
        ("{initials}", "*"),
    ],
)
@pytest.mark.parametrize("value", ["", " ", "@", "+", "--", "\0", "\ud800"])
def test_a_part_that_is_not_there_is_hidden(pattern: str, hidden: str, value: str) -> None:
    assert Mask.parse(pattern).apply(value) == hidden


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("{country}", "DE89370400440532013001"),
        ("{country}", "DEAR ANNA"),
        ("{country}", "+999 1234567"),
        ("{country}", "14155552671"),
        ("{country}", "\uff0b14155552671"),
        ("{year}", "1975-02-30"),
        ("{year}", "19750403"),
        ("{year}", "1975-04-03 10"),
        ("{year}", "1975-04-03T24:00:00Z"),
        ("{year}", "１９７５-04-03"),
        ("{local:1}", "anna.example.org"),
        ("{domain}", "anna.example.org"),
    ],
)
def test_what_only_looks_like_a_part_is_hidden(pattern: str, value: str) -> None:
    assert set(Mask.parse(pattern).apply(value)) == {"*"}


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("ssn", []),
        ("card", []),
        ("digits", []),
        ("alphanumeric", []),
        ("code", []),
        ("integer", []),
        ("decimal", []),
        ("e164", ["{country}"]),
        ("iban", ["{country}"]),
        ("bic", []),
        ("imei", []),
        ("imsi", []),
        ("vin", []),
        ("name", ["{initials}"]),
        ("phone", []),
        ("postal", []),
        ("email", ["{local:1}", "{domain}"]),
        ("date", ["{year}"]),
        ("timestamp", ["{year}"]),
        ("ipv4", ["{network}"]),
        ("ipv6", ["{network}"]),
        ("mac", []),
        ("uuid", []),
        ("hex", []),
        ("base64url", []),
        ("text", ["{initials}"]),
        *((scheme.name, []) for scheme in SCHEMES),
    ],
)
def test_templates_say_which_parts_they_have(spec: str, parts: list[str]) -> None:
    template = parse_template(spec)
    for pattern in ("fixed", "{first:1}", "{last:1}", "{first:2}-{last:2}"):
        Mask.parse(pattern).check(template)
    for pattern in ("{country}", "{local:1}", "{domain}", "{year}", "{network}", "{initials}"):
        mask = Mask.parse(f"{pattern} {{last:1}}")
        if pattern in parts:
            mask.check(template)
            continue
        with pytest.raises(BadInput) as caught:
            mask.check(template)
        assert (caught.value.code, caught.value.facts) == ("template_invalid", {})


def test_every_template_is_here() -> None:
    assert {
        "ssn",
        "card",
        "digits",
        "alphanumeric",
        "code",
        "integer",
        "decimal",
        "e164",
        "iban",
        "bic",
        "imei",
        "imsi",
        "vin",
        "phone",
        "postal",
        "email",
        "name",
        "date",
        "timestamp",
        "ipv4",
        "ipv6",
        "mac",
        "uuid",
        "hex",
        "base64url",
        "text",
        *(scheme.name for scheme in SCHEMES),
    } == CATALOG.keys()


def test_the_parts_are_counted() -> None:
    mask = Mask.parse("{first:6}...{last:4}")
    assert (mask.first, mask.last, mask.pattern) == (6, 4, "{first:6}...{last:4}")
    assert Mask.parse("x").first == Mask.parse("x").last == 0


TODAY = datetime.date(2026, 11, 24)


@pytest.mark.parametrize(
    ("born", "band", "age"),
    [
        ("1990-01-01", 10, "30-39"),
        ("1990-01-01", 5, "35-39"),
        ("1990-01-01", 20, "20-39"),
        ("1986-11-24", 10, "40-49"),  # the fortieth birthday
        ("1986-11-25", 10, "30-39"),  # the day before it
        ("2026-11-24", 10, "0-9"),
        ("2026-11-25", 10, "*****"),
        ("1936-11-25", 10, "80-89"),
        ("1936-11-25", 20, "80-89"),
        ("1936-11-24", 10, "90+"),
        ("1900-02-28", 5, "90+"),
        ("0001-01-01", 5, "90+"),
        ("1990-02-30", 10, "*****"),
        ("19900101", 10, "*****"),
        ("Ada", 10, "*****"),
        ("", 10, "*****"),
    ],
)
def test_ages(born: str, band: int, age: str) -> None:
    mask = Mask.parse(f"{{age:{band}}}")
    assert mask.apply(born, View(TODAY)) == age
    assert mask.apply(born) == "*****"  # without a day there is no age


def test_a_birthday_on_a_leap_day_is_the_day_after_the_28th() -> None:
    mask = Mask.parse("{age:10}")
    for day, age in ((datetime.date(2026, 2, 28), "20-29"), (datetime.date(2026, 3, 1), "30-39")):
        assert mask.apply("1996-02-29", View(day)) == age


@pytest.mark.parametrize(
    ("pattern", "value", "masked"),
    [
        ("{month}", "1975-04-03", "04"),
        ("{year}-{month}-**", "1975-04-03", "1975-04-**"),
        ("{year}-{month}-{last:2}", "1975-04-03", "****-**-**"),
        ("{month}", "1975-13-03", "**"),
        ("{age:10}, {month}", "1990-04-03", "30-39, 04"),
        ("{zip3}**", "90210", "902**"),
        ("{zip3}**", "90210-1234", "902**"),
        ("{zip3}", "902101234", "902"),
        ("{zip3}", "03601", "000"),
        ("{zip3}", "89301-0001", "000"),
        ("{zip3}", "89401", "894"),
        ("{zip3}{last:2}", "90210", "*****"),
        ("{zip3}", "9021", "***"),
        ("{zip3}", "902102", "***"),
        ("{zip3}", "９0210", "***"),
        ("{zip3}", "SW1A 1AA", "***"),
        ("{first:2}** ***", "SW1A 1AA", "SW** ***"),
    ],
)
def test_parts_of_dates_and_postal_codes(pattern: str, value: str, masked: str) -> None:
    assert Mask.parse(pattern).apply(value, View(TODAY)) == masked


def test_a_hash_is_whatever_the_field_makes_of_the_value() -> None:
    asked: list[str] = []

    def digest(value: str) -> str:
        asked.append(value)
        return "0123456789abcdef"

    view = View(digest=digest)
    assert Mask.parse("{hash:8} {last:4}").apply("123-45-6789", view) == "01234567 6789"
    assert Mask.parse("{hash:16}").apply("A", view) == "0123456789abcdef"
    assert asked == ["123-45-6789", "A"]
    assert Mask.parse("{last:4}").apply("123-45-6789", view) == "6789"
    assert len(asked) == 2  # it is made for masks that show it
    assert Mask.parse("{hash:8}").apply("123-45-6789") == "********"
    assert Mask.parse("{hash:8}").hashes
    assert not Mask.parse("hash:8").hashes


def test_what_templates_say_of_the_new_parts() -> None:
    for pattern in ("{age:10}", "{month}", "{year}-{month}-**", "{hash:8}"):
        Mask.parse(pattern).check(parse_template("date"))
    Mask.parse("{hash:8}").check(parse_template("ssn"))
    for pattern, spec in (("{age:10}", "ssn"), ("{month}", "text"), ("{zip3}", "ssn")):
        with pytest.raises(BadInput):
            Mask.parse(pattern).check(parse_template(spec))
