from __future__ import annotations

import itertools

import pytest

from tests.unit.echo import shown
from vault.errors import BadInput
from vault.formats.card import Card
from vault.formats.catalog import CATALOG, parse_template
from vault.formats.freetext import Text
from vault.formats.iban import Iban
from vault.formats.isodate import Date
from vault.formats.mail import Email
from vault.formats.mask import Mask
from vault.formats.phone import E164
from vault.formats.run import Alphanumeric, Digits
from vault.formats.spelling import Entry
from vault.formats.ssn import Ssn
from vault.formats.template import MAX_SPEC, Template


@pytest.mark.parametrize(
    ("spec", "template"),
    [
        ("ssn", Ssn()),
        ("ssn(strict=true)", Ssn(strict=True)),
        ("card", Card()),
        ("card(keep_last=4, luhn='break')", Card(luhn="break")),
        ("card(luhn='break',keep_last=4)", Card(luhn="break")),
        ("card( luhn = 'break' , keep_first = 6 )", Card(6, 4, "break")),
        ("card(keep_last=0)", Card(0, 0)),
        ("digits", Digits()),
        ("digits(min=9, max=9)", Digits(9, 9)),
        ("alphanumeric(case='lower', max=20)", Alphanumeric("lower", 4, 20)),
        ("text(max=200)", Text()),
        ("e164", E164()),
        ("iban", Iban()),
        ("email", Email()),
        ("date", Date()),
    ],
)
def test_spellings(spec: str, template: Template) -> None:
    parsed = parse_template(spec)
    assert parsed == template
    assert parse_template(parsed.spec) == parsed


@pytest.mark.parametrize(
    "spec",
    [
        "",
        " ",
        "nothing",
        "SSN",
        "ssn ",
        " ssn",
        "ssn()",
        "ssn(",
        "ssn)",
        "ssn(strict)",
        "ssn(strict=)",
        "ssn(strict=1)",
        "ssn(strict='true')",
        "ssn(strict=True)",
        "ssn(strict=true",
        "ssn(strict=true))",
        "ssn(strict=true)x",
        "ssn(strict=true)\n",
        "ssn(strict=true,)",
        "ssn(,strict=true)",
        "ssn(strict=true, strict=true)",
        "ssn(strict=true, strict=false)",
        "ssn(max=3)",
        "card(keep_last=20)",
        "card(keep_last=-1)",
        "card(keep_last=+4)",
        "card(keep_last=04)",
        "card(keep_last=４)",
        "card(keep_last=4.0)",
        "card(keep_last=0x4)",
        "card(keep_last='4')",
        "card(keep_last=true)",
        "card(keep_last=9999999)",
        "card(keep_last=4 luhn='keep')",
        "card(keep_last=4; luhn='keep')",
        "card(luhn=keep)",
        'card(luhn="keep")',
        "card(luhn='Keep')",
        "card(luhn='')",
        "card(luhn='lose')",
        "card(keep_first=9, keep_last=4)",
        "digits(min=0)",
        "digits(max=257)",
        "digits(min=7, max=6)",
        "digits(min=6\t)",
        "alphanumeric(case='title')",
        "text(max=0)",
        "text(max=10001)",
        "text(max=200)(max=200)",
        "text(max=(200))",
        "e164()",
        "e164(country=1)",
        "iban(country='de')",
        "email(max=10)",
        "date(min=1900)",
        "card(keep_last='a.b')",
        "ssn\0",
        "text\ud800",
        "ssn" + " " * 10**6,
        "ssn(" + "strict=true," * 10**5 + ")",
        "a" * 10**6,
    ],
)
def test_misspellings(spec: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_template(spec)
    assert caught.value.code == "template_invalid"
    known = {*CATALOG} | {parameter.name for entry in CATALOG.values() for parameter in entry.parameters}
    assert set(caught.value.facts.values()) <= known
    assert len(shown(caught.value)) < 1000


@pytest.mark.parametrize("filler", [" ", "a", "=", "'", ",", "a=1,", " = "])
def test_a_long_misspelling_is_refused_without_a_search(filler: str) -> None:
    with pytest.raises(BadInput):
        parse_template("ssn(" + (filler * 250)[:250] + ")")


def settings(entry: Entry[Template]) -> list[str]:
    """Spellings of a template with its parameters at their extremes."""
    choices = []
    for parameter in entry.parameters:
        values: tuple[object, ...] = parameter.choices or (parameter.lowest, parameter.highest)
        if isinstance(parameter.default, bool):
            values = ("true", "false")
        choices.append([f"{parameter.name}={f'{v!r}' if parameter.choices else v}" for v in values])
    return [f"{entry.name}({', '.join(chosen)})" for chosen in itertools.product(*choices)]


@pytest.mark.parametrize("entry", CATALOG.values(), ids=lambda entry: entry.name)
def test_canonical_spellings(entry: Entry[Template]) -> None:
    taken = 0
    for spec in (entry.name, *entry.examples, *settings(entry)):
        try:
            template = parse_template(spec)
        except BadInput:
            continue  # min above max, all digits kept
        taken += 1
        assert parse_template(template.spec) == template
        assert parse_template(template.spec).spec == template.spec
        assert len(template.spec) <= MAX_SPEC
        assert template.spec.startswith(entry.name)
        assert template.version == 1
    assert taken > bool(entry.parameters)


@pytest.mark.parametrize("entry", CATALOG.values(), ids=lambda entry: entry.name)
def test_every_entry_describes_itself(entry: Entry[Template]) -> None:
    assert CATALOG[entry.name] is entry
    assert entry.description.endswith(".")
    assert "\n" not in entry.description
    for parameter in entry.parameters:
        assert parameter.description
        assert parameter.takes(parameter.default)
    template = parse_template(entry.name)
    assert entry.masks
    for pattern in entry.masks:
        Mask.parse(pattern).check(template)
