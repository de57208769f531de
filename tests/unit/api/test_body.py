"""Bodies: read within bounds and a deadline, decoded strictly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vault.api.body
from vault.api.body import BodyDecoder, read_body
from vault.errors import BadInput


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    count: int = 0


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    field: str
    items: list[Inner] = []
    values: list[str | None] = []
    free: dict[str, Any] = {}


DECODE = BodyDecoder(Outer, 100)


def refusal(body: bytes) -> tuple[str, dict[str, Any]]:
    with pytest.raises(BadInput) as caught:
        DECODE(body)
    return caught.value.code, dict(caught.value.facts)


def test_a_good_body() -> None:
    made = DECODE(b' {"field": "a", "items": [{"name": "b"}, {"name": "c", "count": 2}]} ')
    assert made == Outer("a", [Inner("b"), Inner("c", 2)])


@pytest.mark.parametrize(
    ("body", "code", "facts"),
    [
        (b"", "body_malformed", {}),
        (b"null", "body_malformed", {}),
        (b"[]", "body_malformed", {}),
        (b'{"field":1}', "body_malformed", {"pointer": "$.field"}),
        (
            b'{"field":"a","items":[{"name":"b"},{"name":1}]}',
            "body_malformed",
            {"pointer": "$.items[1].name"},
        ),
        (b'{"field":"a","secret-name":1}', "member_unknown", {}),
        (b'{"field":"a","items":[{"name":"b","x":1}]}', "member_unknown", {"pointer": "$.items[0]"}),
        (b"{}", "member_missing", {"member": "field"}),
        (b'{"field":"a","items":[{}]}', "member_missing", {"member": "name", "pointer": "$.items[0]"}),
        (b'{"field":"a","field":"a"}', "member_duplicate", {}),
        (b'{"field":"a","items":[{"name":"b","name":"b"}]}', "member_duplicate", {}),
        (b'{"field":"a","free":{"x":1,"x":1}}', "member_duplicate", {}),
        (b'{"field":"a","free":{"y":{"x":1,"x":1}}}', "member_duplicate", {}),
        (b'{"fiel\\u0064":"a"}', "member_unknown", {}),
        (b'{"field":"a","free":{"\\u0078":1}}', "member_unknown", {}),
        (b'{"field":"a"} {}', "body_malformed", {}),
        (b'{"field":"\xff"}', "body_malformed", {}),
        (b'{"field":"\xed\xa0\x80"}', "body_malformed", {}),
        (b'{"field":"\\ud800"}', "body_malformed", {}),
        (b'{"field":"a\x00"}', "body_malformed", {}),
        (b'{"field":"a","free":' + b'{"a":' * 33 + b"1" + b"}" * 33 + b"}", "body_malformed", {}),
        (b"[" * 100_000, "body_malformed", {}),
    ],
)
def test_a_bad_body(body: bytes, code: str, facts: dict[str, Any]) -> None:
    assert refusal(body) == (code, facts)


def test_names_in_values_are_no_names() -> None:
    text = '{\\"field\\":1,\\"field\\":2}'
    assert DECODE(f'{{"field":"{text}","values":["field:","\\"a\\":","{{","}}"]}}'.encode()).field == (
        '{"field":1,"field":2}'
    )


def test_the_same_name_in_two_objects_is_no_duplicate() -> None:
    assert len(DECODE(b'{"field":"a","items":[{"name":"b"},{"name":"b"}]}').items) == 2


def test_structure_is_bounded_before_it_is_built() -> None:
    """A hundred items of up to four members fit; commas inside of texts do not count."""
    rows = b",".join([b'{"name":"b","count":1}'] * 250)
    assert len(DECODE(b'{"field":"a","items":[' + rows + b"]}").items) == 250
    many = b",".join([b'"x"'] * 1_000)
    assert refusal(b'{"field":"a","values":[' + many + b"]}") == ("batch_too_large", {"most": 100})
    assert DECODE(b'{"field":"' + b"," * 100_000 + b'"}').field == "," * 100_000


def names_looked_at_slowly(body: bytes) -> bool:
    """Whether the slower look refuses: an escape that changes nothing keeps the quick one out."""
    try:
        vault.api.body._check_names(b'"\\n"' + body)
    except BadInput:
        return True
    return False


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_quick_look_at_names_refuses_what_the_slower_does(data: st.DataObject) -> None:
    texts = st.text(st.sampled_from('a,:{}[] "'), max_size=3).map(lambda text: text.replace('"', ""))
    values = st.recursive(
        texts.map(lambda text: f'"{text}"') | st.just("1"),
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]")
            | st.lists(st.tuples(texts, inner), max_size=4).map(
                lambda pairs: "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
            )
        ),
        max_leaves=8,
    )
    body = data.draw(values).encode()
    try:
        vault.api.body._check_names(body)
        refused = False
    except BadInput:
        refused = True
    assert refused is names_looked_at_slowly(body)


@pytest.mark.parametrize(
    "body",
    [b'{"k":"x",":a":1,":a":2}', b'{"a":",","b":":","a":1}', b'{"a":{"b":1,"b":2}}', b'{"a":1, "a" : 2}'],
)
def test_a_name_twice_is_found_among_what_looks_like_structure(body: bytes) -> None:
    with pytest.raises(BadInput, match="member_duplicate"):
        vault.api.body._check_names(body)


def test_a_body_that_is_here_is_bounded_too() -> None:
    assert asyncio.run(read_body(None, None, 10, b"0123456789")) == b"0123456789"  # type: ignore[arg-type]
    for declared, whole in ((None, b"0123456789a"), (b"11", b"0123456789")):
        with pytest.raises(BadInput, match="body_too_large"):
            asyncio.run(read_body(None, declared, 10, whole))  # type: ignore[arg-type]


Message = dict[str, Any]


def read(messages: Sequence[Message], declared: bytes | None = None, limit: int = 10) -> bytes:
    waiting = list(messages)

    async def receive() -> Any:
        if not waiting:
            await asyncio.sleep(3600)
        return waiting.pop(0)

    return asyncio.run(read_body(receive, declared, limit))


def part(body: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_parts() -> None:
    assert read([part(b"abc", True), part(b"", True), part(b"def", False)]) == b"abcdef"
    assert read([{"type": "http.request"}]) == b""
    assert read([part(b"0123456789", False)], b"10") == b"0123456789"


@pytest.mark.parametrize(
    ("messages", "declared"),
    [
        ([], b"11"),
        ([], b"9" * 5000),
        ([part(b"0123456789a", False)], None),
        ([part(b"01234", True), part(b"56789", True), part(b"a", True)], None),
        ([part(b"0123456789a", False)], "１".encode()),
    ],
)
def test_a_body_that_is_too_large(messages: list[Message], declared: bytes | None) -> None:
    with pytest.raises(BadInput) as caught:
        read(messages, declared)
    assert (caught.value.code, caught.value.facts) == ("body_too_large", {"most": 10})


@pytest.mark.parametrize(
    "messages", [[{"type": "http.disconnect"}], [part(b"abc", True), {"type": "http.disconnect"}]]
)
def test_a_client_that_goes_away(messages: list[Message]) -> None:
    with pytest.raises(BadInput) as caught:
        read(messages)
    assert (caught.value.code, caught.value.facts) == ("body_malformed", {"reason": "incomplete"})


COLUMN = BodyDecoder(Outer, 100, "values")
BODIES = [
    b'{"field":"a","values":["1","22"]}',
    b' { "field" : "a" , "values" : ["1", "22"] } ',
    b'{"values":["1","22"],"field":"a"}',
    b'{"values":["1","22"],"field":"a","items":[{"name":"b"}]}',
    b'{"field":"a","values":[]}',
    b'{"field":"a","values":["1"],"values":["2"]}',
    b'{"field":"a","field":"b","values":["2"]}',
    b'{"field":"a","values":["1"],"other":1}',
    b'{"field":"a","values":["1"]',
    b'{"field":"a","values":["1"]}}',
    b'{"field":"a","values":["1"]}]',
    b'{"field":"a","values":[["1"]]}',
    b'{"field":"a","values":["1",2]}',
    b'{"field":"a","values":["1",null]}',
    b'{"field":"a","values":["\\u0031"]}',
    b'{"field":"a","values":["\xc3\xa9"]}',
    b'{"field":"a","values":["\xff"]}',
    b'{"field":"a","values":["1"],"free":{"b":["2"]}}',
    b'{"free":{"values":["1"]},"field":"a"}',
    b'{"items":[],"field":"a","values":["1"]}',
    b'{"field":"\\"values\\":[","values":["1"]}',
    b'{"field":"values","values":["values","field"]}',
    b'{"values":["1"]}',
    b'[{"field":"a","values":["1"]}]',
]


def outcome(decode: Any, body: bytes) -> Any:
    try:
        made = decode(body)
    except BadInput as refused:
        return refused.code, refused.facts
    if isinstance(made, tuple):
        made, written = made
        if written is not None:
            assert made.values == []
            made = msgspec.structs.replace(made, values=written.strings())
    return made


@pytest.mark.parametrize("body", BODIES)
def test_a_column_in_place_is_the_one_that_is_decoded(body: bytes) -> None:
    assert outcome(COLUMN.in_place, body) == outcome(COLUMN, body)


@given(
    st.sampled_from(BODIES),
    st.lists(st.tuples(st.integers(0, 80), st.sampled_from(list(b'",[]{}:a1\\ '))), max_size=3),
)
@settings(max_examples=1500, deadline=None)
def test_a_damaged_body_is_the_same_either_way(body: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(body)
    for at, byte in changes:
        damaged[at % len(damaged)] = byte
    ours, theirs = outcome(COLUMN.in_place, bytes(damaged)), outcome(COLUMN, bytes(damaged))
    assert ours == theirs


def test_plain_columns_are_left_in_place() -> None:
    made, written = COLUMN.in_place(BODIES[0])
    assert written is not None
    assert (made, written.strings()) == (Outer("a"), ["1", "22"])
