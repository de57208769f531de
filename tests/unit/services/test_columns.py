"""Columns of vaultless values, as written, as a list, or as items: the same tokens, refusals and events."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest

from tests.support.cells import NAME, PAN, SSN, BuiltCell
from vault.errors import BadInput, CoatcheckError, Conflict, Denied
from vault.formats.catalog import parse_template
from vault.services.tokenize import TokenizeBody, TokenizeItem, WrittenAnswer, tokenize
from vault.tokens.written import Written

KEY = "a-key"
MOST = 20_000


def samples(spec: str, count: int) -> list[str]:
    chosen = random.Random(count)
    return [parse_template(spec).sample(chosen) for _ in range(count)]


def in_place(values: list[str], comma: str = ", ") -> Written:
    written = Written.of(json.dumps(values, separators=(comma, ":")).encode()[1:-1], MOST)
    assert written is not None
    return written


def shown(answer: Any) -> Any:
    """An answer as it is on the wire."""
    return json.loads(msgspec.json.encode(answer))


def columnar(field: str, **more: Any) -> TokenizeBody:
    return TokenizeBody(field=field, values=[], **more)


def ways(built: BuiltCell, field: str, values: list[str], on_error: str = "fail") -> list[Any]:
    """What each of the three forms gives: (tokens and errors, failed, values counted) or the refusal."""
    made = []
    for body, written in (
        (columnar(field, on_error=on_error), in_place(values)),
        (TokenizeBody(field=field, values=list(values), on_error=on_error), None),
        (TokenizeBody(items=[TokenizeItem(field, value) for value in values], on_error=on_error), None),
    ):
        before = built.next_number
        try:
            answer = shown(built.run(tokenize, body, written))
        except CoatcheckError as refusal:
            made.append((refusal.code, refusal.facts.get("errors"), built.next_number - before))
            continue
        tokens = answer.get("tokens")
        if tokens is None:
            assert {one.get("key_version") for one in answer["items"]} <= {None, 1}
            tokens = [one["token"] if "token" in one else {"error": one["error"]} for one in answer["items"]]
        else:
            assert answer["key_version"] == 1
        (event,) = built.events(before, "tokenize")
        made.append((tokens, answer.get("failed"), event["fields"]))
    return made


@pytest.mark.parametrize(("field", "spec"), [(SSN, "ssn"), (PAN, "card")])
@pytest.mark.parametrize("count", [1, 19, 60, 500])
def test_all_forms_give_the_same(built: BuiltCell, field: str, spec: str, count: int) -> None:
    first, second, third = ways(built, field, samples(spec, count))
    assert first == second == third
    assert len(first[0]) == count


@pytest.mark.parametrize("on_error", ["fail", "report"])
def test_all_forms_refuse_the_same(built: BuiltCell, on_error: str) -> None:
    values = samples("ssn", 300)
    for place in (0, 7, 120, 299):
        values[place] = ("12", "123-45-67x9", "", "123 45 6789")[place % 4]
    first, second, third = ways(built, SSN, values, on_error)
    assert first == second == third
    if on_error == "report":
        assert [place for place, token in enumerate(first[0]) if isinstance(token, dict)] == [0, 7, 120, 299]
        assert first[1] == 4
    else:
        assert first[0] == "value_length"


def test_a_written_column_answers_as_it_came(built: BuiltCell) -> None:
    answer = built.run(tokenize, columnar(SSN), in_place(["123-45-6789"] * 50))
    assert isinstance(answer, WrittenAnswer)
    assert bytes(answer.tokens).count(b'", "') == 49
    assert repr(answer) == "<WrittenAnswer>"


def test_other_fields_take_a_written_column_too(built: BuiltCell) -> None:
    answer = built.run(tokenize, columnar(NAME), in_place(["Ada", "Eve"]))
    tokens = shown(answer)["tokens"]
    assert [token[:4] for token in tokens] == ["tok_", "tok_"]


def test_a_repeated_request_is_answered_again(built: BuiltCell) -> None:
    values = [f"123-45-6{number}" for number in range(700, 750)]
    first = built.run(tokenize, columnar(SSN), in_place(values), once=KEY)
    assert isinstance(first, WrittenAnswer)
    before = built.next_number
    for body, written in (
        (TokenizeBody(field=SSN, values=list(values)), None),
        (columnar(SSN), in_place(values)),
        (columnar(SSN), in_place(values, ",")),
    ):
        again = built.run(tokenize, body, written, once=KEY)
        assert shown(again) == {**shown(first), "replayed": True}
    assert built.next_number == before
    with pytest.raises(Conflict, match="idempotency_conflict"):
        built.run(tokenize, columnar(SSN), in_place(values[1:]), once=KEY)


def test_a_written_column_is_bounded(built: BuiltCell) -> None:
    many = ["123-45-6789"] * (built.cell.limits.items + 1)
    with pytest.raises(BadInput, match="batch_too_large"):
        built.run(tokenize, columnar(SSN), in_place(many))
    with pytest.raises(BadInput, match="items_mismatch"):
        built.run(tokenize, columnar(SSN, subjects=["a"]), in_place(["123-45-6789"] * 2))
    with pytest.raises(Denied, match="permission_denied"):
        built.run(tokenize, columnar("no.such"), in_place(["123-45-6789"]))
