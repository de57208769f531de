"""JSON lines: what is turned is turned, and all else keeps its text."""

from __future__ import annotations

import io
import json
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault.errors import BadInput
from vault.files.forms import BOM, Change
from vault.files.jsonlines import JsonLines, LinesPart

TEXTS = st.text(max_size=6)
VALUES = st.none() | TEXTS
OTHER = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(TEXTS, max_size=2)
    | st.dictionaries(TEXTS, TEXTS)
)
RECORD = st.fixed_dictionaries({"id": st.integers()}, optional={"v": VALUES, "w": OTHER})


def parts(data: bytes, block: int = 1000) -> list[LinesPart]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        return list(JsonLines(file, block).parts(0, 1))


@given(st.lists(RECORD, min_size=1, max_size=12), st.integers(8, 200), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=300)
def test_texts_are_turned_and_the_rest_stays(
    records: list[dict[str, object]], block: int, ended: bool, spaced: bool
) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    data = b"\n".join(json.dumps(one, separators=separators).encode() for one in records)
    data += b"\n" if ended else b""
    out = io.BytesIO()
    row = 1
    for part in parts(data, block):
        cells = part.cells("v")
        assert part.row == row
        texts = [None if value is None else value + "!" for value in cells.values]
        part.write(out, Change({"v": texts}, [], {}))
        row += part.count
    wanted = [{**one, "v": f"{one['v']}!"} if isinstance(one.get("v"), str) else one for one in records]
    made = out.getvalue()
    assert [json.loads(line) for line in made.splitlines()] == wanted
    assert made.endswith(b"\n") == ended
    assert [list(json.loads(line)) for line in made.splitlines()] == [list(one) for one in wanted]


def test_numbers_keep_their_text_and_untouched_lines_their_bytes() -> None:
    data = BOM + b'{"v":"a","n":1.10000000000000000001e5}\r\n{ "n" : 2 }\n\n{"v":null}\n'
    (part,) = parts(data)
    assert part.count == 4
    assert part.cells("v") == (["a", None, None, None], {})
    out = io.BytesIO()
    part.write(out, Change({"v": ["b", None, None, None]}, [], {"k": {0: 7}}))
    assert out.getvalue() == (b'{"v":"b","n":1.10000000000000000001e5,"k":7}\r\n{ "n" : 2 }\n\n{"v":null}\n')


def test_rows_are_dropped_and_what_is_no_text_is_refused() -> None:
    (part,) = parts(b'{"v":1}\n{"v":"x"}\n{"v":[]}\n')
    cells = part.cells("v")
    assert cells == ([None, "x", None], {0: "value_format", 2: "value_format"})
    out = io.BytesIO()
    part.write(out, Change({"v": [None, "y", None]}, [0, 2], {}))
    assert out.getvalue() == b'{"v":"y"}\n'


@pytest.mark.parametrize(
    "line",
    [
        b"{", b"[]", b'"text"', b'{"v":"a","v":"b"}', b'{"v":"\xff"}', b'{"v":"\\ud800"}', b"{}{}",
        b'{"a":{"b":1,"b":2}, "c":1}', b'{"v":' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_by_its_row(line: bytes) -> None:
    with pytest.raises(BadInput, match="file_malformed") as refused:
        [part.cells("v") for part in parts(b'{"v":"a"}\n' + line + b"\n")]
    assert refused.value.facts == {"row": 2}


def test_a_line_without_an_end_does_not_take_all_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vault.files.jsonlines.MAX_RECORD", 10_000)
    with pytest.raises(BadInput, match="file_malformed"):
        parts(b'{"v":"' + b"a" * 30_000)


def test_a_member_that_would_be_written_over_is_told() -> None:
    (part,) = parts(b'{"v":"a","k":1}\n')
    with pytest.raises(BadInput, match="usage"):
        part.write(io.BytesIO(), Change({"v": ["b"]}, [], {"k": {0: 1}}))


def test_key_versions_are_numbers_or_texts_as_they_are_written() -> None:
    (part,) = parts(b'{"k":1}\n{"k":"2"}\n{"k":null}\n{}\n{"k":1.5}\n{"k":[true]}\n')
    assert part.versions("k") == ["1", "2", None, None, "1.5", "[true]"]
