"""Columns in place: what is taken for an array of plain texts is one, and its elements are these."""

from __future__ import annotations

import json
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault.tokens.written import Written

MOST = 10_000
PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=12)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": ")])


def inside(values: object, separators: tuple[str, str] = (",", ":")) -> bytes:
    return json.dumps(values, separators=separators).encode()[1:-1]


@given(st.lists(PLAIN, min_size=1, max_size=30), SEPARATORS)
def test_plain_texts_are_taken(values: list[str], separators: tuple[str, str]) -> None:
    written = Written.of(inside(values, separators), MOST)
    assert written is not None
    assert len(written) == len(values)
    assert written.strings() == values
    at = [bytes(written.data[start : start + n]) for start, n in zip(*written.texts[1:], strict=True)]
    assert at == [value.encode() for value in values]
    assert json.loads(bytes(written.array())) == values
    assert bytes(written.packed()) == msgspec.json.encode(values)
    assert written.is_sound()


@given(st.integers(0, 12), st.integers(1, 40), SEPARATORS)
def test_texts_of_one_length_are_on_a_grid(width: int, count: int, separators: tuple[str, str]) -> None:
    written = Written.of(inside(["x" * width] * count, separators), MOST)
    assert written is not None
    assert written.texts.view(written.data, slice(None), width) is not None
    assert (written.texts.lengths == width).all()


@pytest.mark.parametrize(
    "inside_",
    [
        *(b"", b'"', b'""x', b'"a" "b"', b'"a",,"b"', b'"a",', b',"a"', b'"a","b', b'"a"b"c"'),
        *(b'"aa" ,"b"', b'"a",  "bb"', b'"a","b", "c"', b'"a", "b","c"', b'null,"a"', b'"a",null', b"1,2"),
        *(b'"a\\n"', b'"a\tb"', b'"a\x00"', b'"\x7f\x80"', '"é"'.encode(), b'["a"]', b'"a"],"subjects":["b"'),
        *(b'"a"x"b"', b'"a"\n"b"', b'"aa"x"bb"', b'"aa""bb"', b'"a",":"b"', b'"ab","c"d,"', b' "a"', b'"a" '),
        *(b'"a""b","c"', b'"a":"b"', b'"a":"b","c":"d"', b'{"a"}'),
    ],
)
def test_all_else_is_left_to_the_decoder(inside_: bytes) -> None:
    assert Written.of(inside_, MOST) is None


@given(
    st.lists(PLAIN, min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from(list(b'",\\ :[]{}a0\x1f\x80'))), max_size=4),
    st.lists(st.integers(0, 60), max_size=2),
)
@settings(max_examples=1500, deadline=None)
def test_what_is_taken_is_an_array_of_these(
    values: list[str], changes: list[tuple[int, int]], cuts: list[int]
) -> None:
    text = bytearray(inside(values))
    for at, byte in changes:
        text[at % len(text)] = byte
    for at in cuts:
        del text[at % max(1, len(text))]
    written = Written.of(bytes(text), MOST)
    if written is not None:
        decoded = json.loads(b"[" + bytes(text) + b"]")
        assert all(isinstance(value, str) for value in decoded)
        assert written.strings() == decoded
        starts, lengths = written.texts.starts.tolist(), written.texts.lengths.tolist()
        assert [bytes(text[s : s + n]).decode() for s, n in zip(starts, lengths, strict=True)] == decoded


@pytest.mark.parametrize("byte", [*b'"\\\x00\x1f\x80\xff'])
def test_what_would_need_an_escape_is_not_sound(byte: int) -> None:
    values = [f"{number:04d}" for number in range(50)]
    written = Written.of(inside(values), MOST)
    assert written is not None
    other = written.like()
    other.data[random.Random(byte).choice(other.texts.starts.tolist())] = byte
    assert not other.is_sound()
    assert written.is_sound()


def test_it_shows_nothing() -> None:
    written = Written.of(b'"123-45-6789"', MOST)
    assert "6789" not in repr(written)


def test_more_than_may_be_are_left_to_the_decoder() -> None:
    for values in (["1", "2", "3"], ["1", "22", "333"]):
        assert Written.of(inside(values), 3) is not None
        assert Written.of(inside(values), 2) is None
