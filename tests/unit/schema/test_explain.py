"""Advice and numbers that people act on: which protection fits, how good a guess is, what stays visible."""

from __future__ import annotations

from fractions import Fraction

import pytest

from vault.formats.catalog import CATALOG, parse_template
from vault.formats.revealed import revealed
from vault.formats.surrogate import parse_surrogate
from vault.schema.document import parse_document
from vault.schema.explain import Chance, explain_field, explain_template
from vault.schema.rules import Protection

SPECS = [spec for name, entry in CATALOG.items() for spec in (name, *entry.examples)]


@pytest.mark.parametrize(
    ("spec", "protection", "surrogate", "small"),
    [
        ("ssn", "vaultless", None, None),
        ("card", "vaultless", None, None),
        ("card(keep_first=6)", "vaulted", "card", None),
        ("card(keep_first=5, keep_last=2)", "vaultless", None, "vaulted"),
        ("digits(min=6)", "vaulted", "digits", None),
        ("digits(min=8)", "vaultless", None, None),
        ("digits(min=3, max=4)", "vaulted", "digits", None),
        ("alphanumeric(case='upper', min=9, max=9)", "vaultless", None, None),
        ("e164", "vaultless", None, "vaulted"),
        ("iban", "vaultless", None, None),
        ("email", "vaulted", None, None),
        ("date", "vaulted", None, None),
        ("text", "vaulted", None, None),
        ("text(max=4000)", "encrypted", None, None),
    ],
)
def test_advice(spec: str, protection: str, surrogate: str | None, small: str | None) -> None:
    advice = explain_template(parse_template(spec)).advice
    assert (advice.protection, advice.surrogate, advice.small) == (protection, surrogate, small)


def test_advice_says_why() -> None:
    reasons = {
        "card(keep_first=6)": "100,000 values look alike (16 digits, 10 kept, 1 determined by the check "
        "digit), and format-preserving encryption needs 1,000,000",
        "digits(min=6)": "1,000,000 values look alike (6 characters, all transformed): with 1,000,000 "
        "in use, more than one made-up token in 100 is somebody's",
        "email": "no fixed alphabet; format-preserving encryption has no use for it; tokens that must "
        "look like one are surrogates, `email`",
    }
    for spec, reason in reasons.items():
        assert explain_template(parse_template(spec)).advice.reason == reason


@pytest.mark.parametrize("spec", SPECS)
def test_every_template_is_explained_under_what_is_advised(spec: str) -> None:
    template = parse_template(spec)
    found = explain_template(template)
    assert found.protection == found.advice.protection
    assert found.template == template.spec
    assert found.domain is not None
    assert found.smallest is not None
    assert (found.domain.size, found.smallest.size) == (template.domain().size, template.smallest().size)
    assert found.refused == (template.reversible_by_ff1 and template.smallest().size < 1_000_000)
    if found.protection == "vaultless":
        # What is advised keeps its promise: of a million tokens one made-up token in a hundred hits, at most.
        assert found.guess is not None
        assert Fraction(found.guess.million.numerator, found.guess.million.denominator) <= Fraction(1, 100)
        assert found.dictionary is not None
    assert explain_template(template) == found


@pytest.mark.parametrize(
    ("part", "whole", "chance"),
    [
        (1, 10**9, Chance(1, 10**9, "1 in 1,000,000,000")),
        (10**6, 10**9, Chance(1, 1000, "1 in 1,000")),
        (10**6, 888_931_098, Chance(500_000, 444_465_549, "about 1 in 888")),
        (10**6, 10**6, Chance(1, 1, "certain")),
        (10**6, 10, Chance(1, 1, "certain")),
        (1, 2**128, Chance(1, 2**128, "less than 1 in 10^38")),
        (2, 3, Chance(2, 3, "about 1 in 1")),
    ],
)
def test_chances(part: int, whole: int, chance: Chance) -> None:
    assert Chance.of(part, whole) == chance


def test_a_dictionary_takes_as_long_as_the_budget_makes_it() -> None:
    ssn = parse_template("ssn")
    without = explain_template(ssn).dictionary
    assert without is not None
    assert (without.values, without.per_day, without.seconds) == (10**9, None, 100)
    assert without.text == "100 seconds at 10,000,000 values a second, and no budget stands against it"
    for per_day, days, text in (
        (1_000_000, 1_000, "3 years at 1,000,000 values a day"),
        (999_999_999, 2, "2 days at 999,999,999 values a day"),
        (10**9, 1, "24 hours at 1,000,000,000 values a day"),
        (10**12, 1, "24 hours at 1,000,000,000,000 values a day"),
    ):
        found = explain_template(ssn, per_day=per_day).dictionary
        assert found is not None
        assert (found.seconds, found.text) == (days * 86_400, text)
    assert explain_template(ssn, Protection.VAULTED).dictionary is None  # no token tells which value it is


def test_surrogates_are_judged_by_their_space_and_rows() -> None:
    surrogate = parse_surrogate("e164(country=1)")
    found = explain_template(parse_template("e164"), surrogate=surrogate, max_rows=5_000_000)
    assert found.protection == "vaulted"
    assert found.guess is not None
    assert found.guess.space == 6_400_000_000
    assert found.guess.rows == Chance(1, 1280, "1 in 1,280")
    assert found.shown == ()
    opaque = explain_template(parse_template("date"))
    assert opaque.guess is not None
    assert (opaque.guess.space, opaque.guess.rows) == (2**128, None)


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("ssn", ["which separators there are, and where"]),
        (
            "card(keep_first=6, keep_last=4)",
            [
                "the first 6 letters and digits, which are kept",
                "the last 4 letters and digits, which are kept",
                "how many letters and digits there are: 12 to 19 in samples",
                "which separators there are, and where",
            ],
        ),
        ("digits(min=9, max=9)", []),
        ("date", []),
    ],
)
def test_what_tokens_show(spec: str, shown: list[str]) -> None:
    assert list(revealed(parse_template(spec))) == shown


def test_the_country_of_a_number_shows() -> None:
    assert "the country" in revealed(parse_template("e164"))


@pytest.mark.parametrize("protection", [Protection.VAULTLESS, Protection.ENCRYPTED])
def test_what_does_not_go_together(protection: Protection) -> None:
    with pytest.raises(ValueError, match=r"surrogates|FF1"):
        explain_template(parse_template("date"), protection, parse_surrogate("ssn"))
    with pytest.raises(ValueError, match="surrogates"):
        explain_template(parse_template("ssn"), protection, parse_surrogate("ssn"))


def test_fields_are_explained_as_they_are() -> None:
    schema = parse_document(
        {
            "retention": {"k": {"keep": "key"}, "y": {"keep": "P1Y"}},
            "fields": {
                "a": {
                    "template": "digits(min=6, max=6)",
                    "protection": "vaultless",
                    "retention": "k",
                    "tokenize_budget": {"per_day": 10_000},
                },
                "b": {
                    "template": "ssn",
                    "protection": "vaulted",
                    "retention": "y",
                    "deterministic": "field",
                    "surrogate": "ssn",
                    "max_rows": 1_000,
                },
                "c": {"protection": "encrypted", "retention": "y"},
            },
        }
    )
    six, shaped, anything = (explain_field(schema.fields[name]) for name in "abc")
    assert (six.protection, six.advice.protection) == ("vaultless", "vaulted")
    assert six.dictionary is not None
    assert six.dictionary.text == "100 days at 10,000 values a day"
    assert six.guess is not None
    assert six.guess.million.text == "certain"
    assert shaped.dictionary is not None  # equal values have equal tokens, so whoever tokenizes finds them
    assert shaped.dictionary.text == "3 hours at 100,000 values a second, and no budget stands against it"
    assert "how often" in shaped.equality
    assert (anything.template, anything.domain, anything.guess, anything.dictionary) == (None,) * 4
    assert anything.advice.protection == "encrypted"
    assert any("how long" in phrase for phrase in anything.shown)


@pytest.mark.parametrize("protection", Protection)
@pytest.mark.parametrize("spec", SPECS)
def test_every_template_is_explained_under_every_protection_that_it_takes(
    spec: str, protection: Protection
) -> None:
    template = parse_template(spec)
    if protection is Protection.VAULTLESS and not template.reversible_by_ff1:
        with pytest.raises(ValueError, match="FF1"):
            explain_template(template, protection)
        return
    found = explain_template(template, protection, per_day=1_000)
    assert (found.protection, found.small) == (
        protection,
        "refuse" if protection is Protection.VAULTLESS else None,
    )
    assert (found.dictionary is not None) == (protection is Protection.VAULTLESS)
    assert (found.guess is None) == (protection is Protection.ENCRYPTED)
    assert found.equality
    if found.guess is not None and protection is Protection.VAULTLESS:
        assert found.guess.space == template.domain().size
