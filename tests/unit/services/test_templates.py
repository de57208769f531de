"""Values of every template of the catalogue through the verbs: tokens, values, masks, and what is refused."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest

from tests.support.cells import CEILING, SCHEMA, BuiltCell, development_cell
from tests.unit.echo import shown
from vault.errors import CoatcheckError
from vault.formats.catalog import CATALOG, parse_template
from vault.formats.mask import Mask
from vault.policy.grant import ScopeEntry
from vault.services.detokenize import DetokenizeBody, detokenize

FIELDS = {name: f"try.{name}" for name in CATALOG}


def schema() -> str:
    parts = [SCHEMA]
    for name, entry in CATALOG.items():
        vaultless = parse_template(name).reversible_by_ff1
        masks = ", ".join(f"m{number} = '{pattern}'" for number, pattern in enumerate(entry.masks))
        parts.append(
            f"""
[fields."{FIELDS[name]}"]
template = "{name}"
protection = "{"vaultless" if vaultless else "vaulted"}"
retention = "{"key-lifetime" if vaultless else "customer"}"
masks = {{ {masks} }}
"""
        )
    return "\n".join(parts)


CUSTOM = """
[templates.employee]
pattern = 'EMP-([1-9]\\d{7})(?:/([a-z]))?'

[fields."try.employee"]
template = "employee"
protection = "vaultless"
retention = "key-lifetime"
masks = { last3 = "***{last:3}" }
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuiltCell]:
    with development_cell(tmp_path_factory.mktemp("cell")) as cell:
        cell.apply(schema() + CUSTOM)
        fields = [*FIELDS.values(), "try.employee"]
        permissions = [*(f"tokenize:{field}" for field in fields), "grant:create:support"]
        ceiling = msgspec.structs.replace(CEILING, fields=fields)
        _, service = cell.principal("service", "templates", permissions=permissions, ceiling=ceiling)
        yield replace(cell, service=service)


def opened(
    built: BuiltCell, name: str, tokens: list[str | None], mask: str | None = None
) -> list[str | None]:
    field = FIELDS.get(name, f"try.{name}")
    scope = [ScopeEntry([field], ["reveal", "mask"], ["plain"])]
    credential = built.grant(uses=50, scope=scope)
    body = DetokenizeBody(
        purpose="support",
        field=field,
        tokens=tokens,
        key_version=1 if name not in FIELDS or parse_template(name).reversible_by_ff1 else None,
        operation="mask" if mask else "reveal",
        mask=mask,
    )
    answer = built.run(detokenize, body, by=credential).values
    assert isinstance(answer, list)
    return [value for value in answer if value is None or isinstance(value, str)]


@pytest.mark.parametrize("name", CATALOG)
def test_values_come_back_and_masks_hide(built: BuiltCell, name: str) -> None:
    template, chosen = parse_template(name), random.Random(name)
    values = [value for value in (template.sample(chosen) for _ in range(60)) if is_large(name, value)][:20]
    assert len(values) == 20
    tokens = built.tokens(FIELDS[name], *values)
    assert not set(tokens) & set(values)
    assert opened(built, name, tokens) == values
    for number, pattern in enumerate(CATALOG[name].masks):
        masked = opened(built, name, tokens, f"m{number}")
        assert masked == [Mask.parse(pattern).apply(value) for value in values]


def is_large(name: str, value: str) -> bool:
    shape = parse_template(name).parse(value)
    return not shape.alphabet.radix or shape.size >= 1_000_000


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("e164", "", "value_empty"),
        ("e164", "+1415555", "value_length"),
        ("e164", "+1415555267１", "value_alphabet"),
        ("e164", "14155552671", "value_format"),
        ("e164", "+290 12345", "domain_too_small"),
        ("iban", "DE8937040044053201300", "value_length"),
        ("iban", "DE8937040044053201300\0", "value_alphabet"),
        ("iban", "US89370400440532013000", "value_format"),
        ("iban", "DE88370400440532013000", "value_checksum"),
        ("email", "a@b.c", "value_length"),
        ("email", "anna\u200b@example.org", "value_alphabet"),
        ("email", "anna@example", "value_format"),
        ("email", "anna@раypal.com", "value_script"),
        ("date", "1975-4-3", "value_length"),
        ("date", "1975-04-3\u202e", "value_alphabet"),
        ("date", "03-04-1975", "value_format"),
        ("date", "1975-02-29", "value_calendar"),
    ],
)
def test_a_refused_value_refuses_the_batch(built: BuiltCell, name: str, value: str, code: str) -> None:
    good = parse_template(name).sample(random.Random(1))
    with pytest.raises(CoatcheckError) as caught:
        built.tokens(FIELDS[name], good, value)
    assert caught.value.code == code
    assert not value or value not in shown(caught.value)


def test_a_template_of_the_schema(built: BuiltCell) -> None:
    """It is read again from the stored schema, as after a restart."""
    values = ["EMP-12345678", "EMP-90000000/x", "EMP-10000000"]
    tokens = built.tokens("try.employee", *values)
    for value, token in zip(values, tokens, strict=True):
        assert token != value
        assert token is not None
        assert re.fullmatch(r"EMP-[1-9]\d{7}(/[a-z])?", token, re.ASCII)
    built.cell.schemas.forget()
    built.cell.schemas._head = -1
    assert opened(built, "employee", tokens) == values
    assert opened(built, "employee", tokens, "last3") == ["***678", "***00x", "***000"]
    with pytest.raises(CoatcheckError, match="value_format"):
        built.tokens("try.employee", "EMP-02345678")
