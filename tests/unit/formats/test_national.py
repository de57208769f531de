"""National numbers, held against python-stdnum both ways: what one takes, the other takes."""

from __future__ import annotations

import importlib
import random
from typing import Any

import pytest
from stdnum.exceptions import ValidationError

from tests.unit.formats.refusals import refused
from vault.errors import ValueRefused
from vault.formats.catalog import CATALOG, parse_template
from vault.formats.national.scheme import National, Scheme
from vault.formats.national.schemes import SCHEMES
from vault.formats.template import bits_for

MODULES = {
    "au_tfn": "au.tfn",
    "br_cnpj": "br.cnpj",
    "br_cpf": "br.cpf",
    "ca_sin": "ca.sin",
    "ch_ahv": "ch.ssn",
    "es_dni": "es.nif",
    "fr_nir": "fr.nir",
    "gb_nhs": "gb.nhs",
    "hr_oib": "hr.oib",
    "ie_pps": "ie.pps",
    "il_id": "il.idnr",
    "in_aadhaar": "in_.aadhaar",
    "it_codice_fiscale": "it.codicefiscale",
    "jp_my_number": "jp.in_",
    "nl_bsn": "nl.bsn",
    "pl_pesel": "pl.pesel",
    "pt_nif": "pt.nif",
    "se_personnummer": "se.personnummer",
    "th_pin": "th.pin",
    "tr_tckimlik": "tr.tckimlik",
    "za_id": "za.idnr",
}
PUBLISHED = {  # as authorities and standards print them
    "au_tfn": "123 456 782",
    "br_cnpj": "12.ABC.345/01DE-35",
    "br_cpf": "111.444.777-35",
    "ca_sin": "123 456 782",
    "ch_ahv": "756.9217.0769.85",
    "es_dni": "12345678Z",
    "fr_nir": "2 55 08 14 168 025 38",
    "gb_nhs": "943 476 5919",
    "hr_oib": "33392005961",
    "ie_pps": "6433435F",
    "il_id": "03933742-3",
    "in_aadhaar": "2341 2341 2346",
    "it_codice_fiscale": "RCCMNL83S18D969H",
    "jp_my_number": "1234 5678 9018",
    "nl_bsn": "111222333",
    "pl_pesel": "44051401359",
    "pt_nif": "501 964 843",
    "se_personnummer": "880320-0016",
    "th_pin": "1-2345-45678-78-1",
    "tr_tckimlik": "17291716060",
    "za_id": "7503305044089",
}
CHANGES = 3000


@pytest.fixture(params=SCHEMES, ids=lambda scheme: scheme.name)
def scheme(request: pytest.FixtureRequest) -> Scheme:
    made: Scheme = request.param
    return made


def stdnum(scheme: Scheme) -> Any:
    return importlib.import_module(f"stdnum.{MODULES[scheme.name]}")


def takes(scheme: Scheme, value: str) -> bool:
    try:
        stdnum(scheme).validate(value)
    except ValidationError:
        return False
    return True


def ours(template: National, value: str) -> bool:
    try:
        template.parse(value)
    except ValueRefused:
        return False
    return True


def stricter(scheme: Scheme, value: str) -> bool:
    """What python-stdnum refuses, and the rule that we know does not."""
    bare = scheme.layout.bare(value)
    return scheme.name == "in_aadhaar" and bare == bare[::-1]


def looser(scheme: Scheme, value: str) -> bool:
    """What python-stdnum takes, and we do not."""
    bare = scheme.layout.bare(value)
    if scheme.name == "es_dni":
        return bare[0].isalpha() and bare[0] not in "XYZ"  # firms (CIF), and K, L, M
    if scheme.name == "fr_nir":
        month = bare[3:5]
        return bare[0] not in "12" or not month.isdigit() or bare[5:7] == "00" or not ours_month(int(month))
    if scheme.name == "it_codice_fiscale":
        digits = bare[6:8] + bare[9:11] + bare[12:15]
        return not digits.isdigit() or bare[9] > "7"  # omocodia; days after 80
    if scheme.name == "se_personnummer":
        return len(bare) == 12 and bare[:2] not in ("18", "19", "20")
    if scheme.name == "ie_pps":
        return len(bare) == 9
    if scheme.name == "ch_ahv":
        return not bare.startswith("756")
    return False


def ours_month(month: int) -> bool:
    return 1 <= month <= 12 or 20 <= month <= 42 or month >= 50


def test_published_numbers_are_taken(scheme: Scheme) -> None:
    value = PUBLISHED[scheme.name]
    template = National(scheme)
    shape = template.parse(value)
    assert template.render_value(shape, shape.text) == value
    assert template.canonical(value) == scheme.layout.bare(value)


def test_tokens_are_numbers_of_the_scheme(scheme: Scheme) -> None:
    template, rng = National(scheme), random.Random(scheme.name)
    for _ in range(500):
        value = template.sample(rng)
        assert takes(scheme, value) or stricter(scheme, value), value
        shape = template.parse(value)
        rank = rng.randrange(shape.ranks)
        token = template.render_token(shape, f"{rank:0{bits_for(shape.ranks)}b}")
        assert takes(scheme, token) or stricter(scheme, token), token
        assert len(token) == len(value)
        again = template.parse_token(token)
        assert int(again.text, 2) == rank
        assert template.render_value(again, shape.text) == value


def test_a_changed_number_is_taken_by_both_or_by_none(scheme: Scheme) -> None:
    template, rng = National(scheme), random.Random(scheme.name)
    signs = "".join(
        sorted({*scheme.checks, *(one for form in scheme.forms for place in form.places for one in place)})
    )
    taken = 0
    for _ in range(CHANGES):
        value = list(scheme.layout.bare(template.sample(rng)))
        for _ in range(rng.choice((1, 1, 2))):
            value[rng.randrange(len(value))] = rng.choice(signs)
        text = "".join(value)
        theirs = takes(scheme, text)
        taken += theirs
        if theirs != ours(template, text):
            assert stricter(scheme, text) if not theirs else looser(scheme, text), text
    assert taken


def test_broken_tokens_are_no_numbers_of_the_scheme(scheme: Scheme) -> None:
    template, keeps, rng = National(scheme, "break"), National(scheme), random.Random(scheme.name)
    for _ in range(200):
        value = template.sample(rng)
        shape = template.parse(value)
        token = template.render_token(shape, f"{rng.randrange(shape.ranks):0{bits_for(shape.ranks)}b}")
        assert not takes(scheme, token), token
        assert not ours(keeps, token)
        assert template.render_value(template.parse_token(token), shape.text) == value
        assert refused(template.parse, token) == "value_checksum"
        assert refused(template.parse_token, value) == "value_checksum"


def test_separators_and_case_stay(scheme: Scheme) -> None:
    template = National(scheme)
    for form, usual in zip(scheme.numberings, scheme.usual, strict=True):
        body = form.text(form.ranks // 3)
        characters = iter(body + scheme.check(body))
        value = "".join(next(characters) if one == "#" else one for one in usual)
        assert next(characters, None) is None
        shape = template.parse(value)
        token = template.render_token(shape, f"{form.ranks // 2:0{bits_for(form.ranks)}b}")
        places = [at for at, one in enumerate(value) if not one.isalnum()]
        assert [token[at] for at in places] == [value[at] for at in places]
        if scheme.layout.letters == "both":
            small = template.parse(value.lower())
            assert template.render_token(small, shape.text) == value.lower()


def test_refusals(scheme: Scheme) -> None:
    template = National(scheme)
    value = scheme.layout.bare(PUBLISHED[scheme.name])
    assert refused(template.parse, "") == "value_empty"
    assert refused(template.parse, value[:4]) == "value_length"
    assert refused(template.parse, value + value) == "value_length"
    assert refused(template.parse, value[:-1] + "\u0663") == "value_alphabet"
    assert refused(template.parse, scheme.wrong(value)) == "value_checksum"
    assert refused(template.parse, f"{value[:2]}--{value[2:]}"[: len(value)]) in (
        "value_format",
        "value_alphabet",
    )


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("pl_pesel", "44053201359", "value_calendar"),
        ("pl_pesel", "44931401359", "value_calendar"),
        ("se_personnummer", "880230-0016", "value_calendar"),
        ("se_personnummer", "19000229-0010", "value_calendar"),
        ("za_id", "7513305044089", "value_calendar"),
        ("it_codice_fiscale", "RCCMNL83S31D969H", "value_calendar"),
        ("fr_nir", "255131416802538", "value_calendar"),
        ("gb_nhs", "0000000100", "value_checksum"),  # whose check digit would have to be 10
        ("nl_bsn", "000000000", "value_checksum"),
        ("ca_sin", "812345678", "value_format"),
        ("fr_nir", "2550800168025 38".replace(" ", ""), "value_format"),
    ],
)
def test_days_and_numbers_that_there_are_not(name: str, value: str, code: str) -> None:
    assert refused(parse_template(name).parse, value) == code


def test_domains_are_those_of_the_bodies(scheme: Scheme) -> None:
    template = National(scheme)
    sizes = [numbering.ranks for numbering in scheme.numberings]
    assert template.smallest().size == min(sizes) >= 1_000_000
    lengths = {len(form.places) + scheme.width for form in scheme.forms}
    for length in lengths:
        assert template.domain(length).size in sizes
    with pytest.raises(ValueRefused, match="value_length"):
        template.domain(99)
    assert template.domain().size == sizes[0]


def test_every_row_is_in_the_catalogue_and_held_against_somebody() -> None:
    names = {scheme.name for scheme in SCHEMES}
    assert names <= CATALOG.keys()
    assert names == MODULES.keys() == PUBLISHED.keys()
    assert parse_template("br_cpf").spec == "br_cpf(check='keep')"
    assert parse_template("br_cpf(check='break')").spec == "br_cpf(check='break')"
