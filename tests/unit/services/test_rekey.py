"""rekey: the tokens of the newest version, in every form, and what cannot be taken; no value on the way."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.support.cells import NAME, PAN, SSN, TEXT, BuiltCell
from tests.unit.services.test_field_keys import VALUE, keys, rotate
from vault.crypto.texts import Texts
from vault.errors import BadInput, ValueRefused
from vault.formats.catalog import parse_template
from vault.services.batch import BatchRefused
from vault.services.field_keys import ReasonBody, compromise_key
from vault.services.rekey import RekeyBody, RekeyWritten, rekey, rekey_in_place
from vault.services.rewrite import TextColumn
from vault.services.tokenize import TokenizeBody, tokenize
from vault.tokens.lines import Lines
from vault.tokens.written import Written

SPECS = {SSN: "ssn", PAN: "card(keep_last=4)"}


def samples(field: str, count: int) -> list[str | None]:
    chosen = random.Random(count)
    return [parse_template(SPECS[field]).sample(chosen) for _ in range(count)]


def shown(answer: Any) -> Any:
    return json.loads(msgspec.json.encode(answer))


@pytest.mark.parametrize("field", [SSN, PAN])
@pytest.mark.parametrize("count", [1, 5, 60, 700])
def test_tokens_become_those_that_the_values_have_now(built: BuiltCell, field: str, count: int) -> None:
    values = samples(field, count)
    old = built.tokens(field, *values)
    rotate(built, field)
    before = built.next_number
    answer = shown(built.run(rekey, RekeyBody(field, old, 1)))
    assert answer["key_version"] == 2
    assert answer["tokens"] == built.tokens(field, *values)
    (event,) = built.events(before, "rekey")
    assert event["fields"] == [{"field": field, "tokens": count, "from_version": 1, "key_version": 2}]
    written = Written.of(json.dumps(old).encode()[1:-1], 20_000)
    assert written is not None
    in_place = shown(built.run(rekey, RekeyBody(field, [], 1), written))
    assert in_place["tokens"] == answer["tokens"]
    assert in_place.keys() == answer.keys()


def test_columns_in_place(built: BuiltCell) -> None:
    values = ["123-45-6789", "078-05-1120"] * 40
    lines = Lines.of(built.tokens(SSN, *values))
    rotate(built)
    out = lines.like()
    made = built.run(rekey_in_place, [TextColumn(SSN, lines.texts, out)], 1)
    assert made is not None
    assert made.key_versions == {SSN: 2}
    assert lines.strings(out) == built.tokens(SSN, *values)
    # one that is none sends all of them the other way, and nothing is on the record
    bad = Lines.of(["123-45-6789"] * 79 + ["123-45-678x"])
    before = built.next_number
    assert built.run(rekey_in_place, [TextColumn(SSN, bad.texts, bad.like())], 1) is None
    assert built.next_number == before


def test_nulls_stay_and_bad_ones_are_told(built: BuiltCell) -> None:
    old = built.token(SSN, VALUE)
    rotate(built)
    with pytest.raises(BatchRefused) as refused:
        built.run(rekey, RekeyBody(SSN, [old, None, "12-secret", "１23-45-6789"], 1))
    assert [one["index"] for one in refused.value.facts["errors"]] == [2, 3]  # type: ignore[union-attr,index]
    assert "secret" not in str(refused.value.facts)
    answer = shown(built.run(rekey, RekeyBody(SSN, [old, None, "12-secret"], 1, on_error="report")))
    assert answer["tokens"][:2] == [built.token(SSN, VALUE), None]
    assert answer["tokens"][2]["error"]["code"].startswith("value_")
    assert answer["failed"] == 1


def test_from_the_newest_version_they_stay(built: BuiltCell) -> None:
    token = built.token(SSN, VALUE)
    assert shown(built.run(rekey, RekeyBody(SSN, [token], 1)))["tokens"] == [token]


def test_over_two_rotations(built: BuiltCell) -> None:
    first = built.token(SSN, VALUE)
    rotate(built)
    second = built.token(SSN, VALUE)
    built.run(compromise_key, keys(built)[2].id, ReasonBody(), by=built.admin)
    third = built.token(SSN, VALUE)
    assert len({first, second, third}) == 3
    for version, token in ((1, first), (2, second), (3, third)):
        assert shown(built.run(rekey, RekeyBody(SSN, [token], version)))["tokens"] == [third]


@pytest.mark.parametrize("version", [0, -1, 2, 2**31, 2**62])
def test_a_version_that_is_none(built: BuiltCell, version: int) -> None:
    with pytest.raises(ValueRefused, match="key_version_unknown"):
        built.run(rekey, RekeyBody(SSN, ["123-45-6789"], version))


@pytest.mark.parametrize(
    ("field", "code"), [(NAME, "operation_unsupported"), (TEXT, "operation_unsupported")]
)
def test_only_vaultless_fields_have_versions(built: BuiltCell, field: str, code: str) -> None:
    _, powerful = built.principal("service", "other", permissions=[f"rekey:{field}"])
    with pytest.raises(BadInput, match=code):
        built.run(rekey, RekeyBody(field, ["tok_a"], 1), by=powerful)


def test_a_field_that_is_none(built: BuiltCell) -> None:
    _, powerful = built.principal("service", "other", permissions=["rekey:no.such"])
    with pytest.raises(BadInput, match="field_unknown"):
        built.run(rekey, RekeyBody("no.such", ["1"], 1), by=powerful)


@pytest.mark.parametrize("small", ["vaulted", "pass"])
def test_tokens_without_a_version_stay(built: BuiltCell, small: str) -> None:
    """Values too few for FF1: an opaque token, or the value itself."""
    toml = built.schema + (
        '\n[fields."customer.pin"]\ntemplate = "digits(min=4, max=9)"\nprotection = "vaultless"\n'
        f'retention = "key-lifetime"\nsmall = "{small}"\n'
    )
    if small == "vaulted":
        toml += 'small_retention = "customer"\n'
    built.apply(toml)
    _, powerful = built.principal(
        "service", "other", permissions=["rekey:customer.pin", "tokenize:customer.pin"]
    )
    made: Any = built.run(
        tokenize, TokenizeBody(field="customer.pin", values=["1234", "12345678"]), by=powerful
    )
    short, long = made.tokens
    rotate(built, "customer.pin")
    before = built.next_number
    answer = shown(built.run(rekey, RekeyBody("customer.pin", [short, long], 1), by=powerful))
    again: Any = built.run(tokenize, TokenizeBody(field="customer.pin", values=["12345678"]), by=powerful)
    assert answer["tokens"] == [short, again.tokens[0]]
    (event,) = built.events(before, "rekey")
    assert (event["fields"][0]["tokens"], event["fields"][0]["kept"]) == (1, 1)


def test_the_same_request_again_is_answered_again(built: BuiltCell) -> None:
    old = built.token(SSN, VALUE)
    rotate(built)
    first = shown(built.run(rekey, RekeyBody(SSN, [old], 1), once="k"))
    before = built.next_number
    again = shown(built.run(rekey, RekeyBody(SSN, [old], 1), once="k"))
    assert again == first | {"replayed": True}
    assert built.next_number == before


def test_a_written_column_again_is_answered_again(built: BuiltCell) -> None:
    tokens = built.tokens(SSN, *["123-45-6789", "078-05-1120"] * 40)
    rotate(built)
    written = Written.of(json.dumps(tokens).encode()[1:-1], 100)
    assert written is not None
    first = built.run(rekey, RekeyBody(SSN, [], 1), written, once="k")
    assert isinstance(first, RekeyWritten)
    before = built.next_number
    for body, column in ((RekeyBody(SSN, [], 1), written), (RekeyBody(SSN, [*tokens], 1), None)):
        again = shown(built.run(rekey, body, column, once="k"))
        assert again == shown(first) | {"replayed": True}
    assert built.next_number == before


def test_bounds(built: BuiltCell) -> None:
    with pytest.raises(BadInput, match="member_missing"):
        built.run(rekey, RekeyBody(SSN, [], 1))
    with pytest.raises(BadInput, match="batch_too_large"):
        built.run(rekey, RekeyBody(SSN, ["1"] * 10_001, 1))
    with pytest.raises(BadInput, match="operation_unsupported"):
        built.run(rekey, RekeyBody(SSN, ["1"], 1, on_error="ignore"))


def test_empty_columns_make_no_event(built: BuiltCell) -> None:
    texts = Texts(np.zeros(4, np.uint8), np.array([0, 2]), np.array([0, 0]))
    before = built.next_number
    made = built.run(rekey_in_place, [TextColumn(SSN, texts, texts.data.copy())], 1)
    assert made is not None
    assert (made.key_versions, built.next_number) == ({}, before)
