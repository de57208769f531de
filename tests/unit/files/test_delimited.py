"""CSV as bytes: the same records and fields as Python's reader finds, and untouched bytes untouched."""

from __future__ import annotations

import csv
import io
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault.errors import BadInput
from vault.files.delimited import blocks, quoted, read_header
from vault.files.forms import BOM

CELL = st.text(st.sampled_from('ab,"\n é;'), max_size=6)


def written(rows: list[list[str]], quoting: int, end: str) -> bytes:
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator=end).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue().encode()


def cells(data: bytes, columns: int, size: int) -> list[list[str | None]]:
    made: list[list[str | None]] = []
    for block in blocks(io.BytesIO(data), columns, size=size):
        made += [list(row) for row in zip(*(block.column(i).values() for i in range(columns)), strict=True)]
    return made


@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=12)
    ),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 60),
    st.booleans(),
)
@settings(deadline=None, max_examples=400)
def test_cells_are_those_that_were_written(
    rows: list[list[str]], quoting: int, end: str, size: int, cut: bool
) -> None:
    data = written(rows, quoting, end)
    if cut and len(rows[-1]) > 1:
        data = data.removesuffix(end.encode())  # the last record of a file needs no line end
    # An empty cell is quoted if all are, or if it is alone in its record; else it is nothing.
    keeps = quoting == csv.QUOTE_ALL or len(rows[0]) == 1
    wanted = [[cell if keeps else cell or None for cell in row] for row in rows]
    assert cells(data, len(rows[0]), size) == wanted


@given(
    st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=10),
    st.lists(CELL, min_size=10, max_size=10),
    st.integers(5, 60),
    st.sets(st.integers(0, 9)),
)
@settings(deadline=None, max_examples=300)
def test_what_is_replaced_is_replaced_and_nothing_else(
    rows: list[list[str]], others: list[str], size: int, drop: set[int]
) -> None:
    data = written(rows, csv.QUOTE_MINIMAL, "\n")
    out, row = b"", 0
    for block in blocks(io.BytesIO(data), 3, size=size):
        middle = block.column(1)
        made = [quoted(other) for other in others[row : row + block.count]]
        out += block.replaced([(middle, made)], [one - row for one in drop if row <= one < row + block.count])
        again = [middle.bytes_of(index) for index in range(block.count)]
        assert block.replaced([(middle, again)]) == block.data.tobytes()
        row += block.count
    left = [
        [first, other, last]
        for number, ((first, _, last), other) in enumerate(zip(rows, others, strict=False))
        if number not in drop
    ]
    assert list(csv.reader(io.StringIO(out.decode(), newline=""))) == left


def test_blocks_begin_where_others_ended() -> None:
    rows = [[str(number), f'a "{number}"\nb', "x"] for number in range(200)]
    data = written(rows, csv.QUOTE_MINIMAL, "\n")
    whole = list(blocks(io.BytesIO(data), 3, size=500))
    assert [one.end for one in whole][-1] == len(data)
    for one, following in pairwise(whole):
        assert (following.start, following.row) == (one.end, one.row + one.count)
        source = io.BytesIO(data)
        source.seek(one.end)
        again = next(blocks(source, 3, start=one.end, row=following.row, size=500))
        assert again.data.tobytes() == following.data.tobytes()


@pytest.mark.parametrize(
    ("data", "row"),
    [
        (b"a,b\na\n", 2),
        (b"a,b\na,b,c\n", 2),
        (b"a,b\n\na,b\n", 2),
        (b'a,"b\na,b\n', 1),
        (b'a,b\na,"', 2),
    ],
)
def test_ragged_records_are_told_by_their_row(data: bytes, row: int) -> None:
    for size in (3, 7, 4096):
        with pytest.raises(BadInput, match="file_malformed") as refused:
            list(blocks(io.BytesIO(data), 2, size=size))
        assert refused.value.facts["row"] in range(1, row + 1)


@pytest.mark.parametrize("start", [b"", BOM])
def test_headers(start: bytes) -> None:
    source = io.BytesIO(start + b'name,"the ""ssn""","two\nlines"\r\n1,2,3\n')
    header = read_header(source)
    assert header.names == ["name", 'the "ssn"', "two\nlines"]
    assert header.raw == start + b'name,"the ""ssn""","two\nlines"\r\n'
    assert source.read() == b"1,2,3\n"


@pytest.mark.parametrize("data", [b"", b"\n", b"a,a\n", b"\xff,b\n", b'"a,b\n', BOM])
def test_what_is_no_header(data: bytes) -> None:
    with pytest.raises(BadInput, match="file_malformed"):
        read_header(io.BytesIO(data))


def test_a_field_that_is_not_utf_8_is_told_by_its_index() -> None:
    (block,) = blocks(io.BytesIO(b"a,b\nc,\xff\n"), 2)
    assert block.column(0).values() == ["a", "c"]
    with pytest.raises(BadInput) as refused:
        block.column(1).values()
    assert refused.value.facts["index"] == 1


@given(
    st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=1, max_size=10),
    st.lists(CELL, min_size=10, max_size=10),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.sets(st.integers(0, 9)),
    st.booleans(),
)
@settings(deadline=None, max_examples=300)
def test_columns_are_added_behind_the_last(
    rows: list[list[str]], others: list[str], quoting: int, end: str, drop: set[int], cut: bool
) -> None:
    data = written([["a", "b"], *rows], quoting, end)
    if cut:
        data = data.removesuffix(end.encode())
    source = io.BytesIO(data)
    header = read_header(source)
    out, row = header.with_more(["x,y"], ","), 0
    for block in blocks(source, 2, start=len(header.raw), size=1000):
        made = [quoted(other) for other in others[row : row + block.count]]
        last = block.column(1)
        again = [last.bytes_of(index) for index in range(block.count)]
        gone = [one - row for one in drop if row <= one < row + block.count]
        out += block.replaced([(last, again)], gone, [made])
        row += block.count
    left = [
        [*cells_, other]
        for number, (cells_, other) in enumerate(zip(rows, others, strict=False))
        if number not in drop
    ]
    read = list(csv.reader(io.StringIO(out.decode(), newline="")))
    assert read == [["a", "b", "x,y"], *left]
