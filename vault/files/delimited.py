"""Delimited text (CSV) as bytes: records at a time, and where the fields of some columns lie.

Nothing is decoded and nothing is written anew but what a column's texts turn into: quotes, spaces, line ends
and all other columns come through byte for byte. Source: RFC 4180; a quote inside quotes is doubled.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

import numpy as np

from vault.crypto.texts import ASCII_END, Bytes, Places, Texts
from vault.errors import BadInput
from vault.files.forms import BLOCK, BOM, MAX_RECORD, Cells, Change, malformed

_MARK: Final = b'"'
_QUOTE: Final = ord(_MARK)
_LINE: Final = ord("\n")
_RETURN: Final = ord("\r")
_PART: Final = 256 * 1024  # bytes that are compared at once: what comes of that stays in the cache


class Delimited:
    """A file of it with a header; see `forms.Form`.

    Args:
        delimiter: one character.
        added: columns of key versions behind the last.

    Raises:
        BadInput: `file_malformed`, as `read_header`.
    """

    def __init__(
        self, source: BinaryIO, delimiter: str = ",", added: Sequence[str] = (), block: int = BLOCK
    ) -> None:
        self._source = source
        self._block = block
        self._added = added
        self.delimiter = delimiter
        self.size = os.fstat(source.fileno()).st_size
        self.header = read_header(source, delimiter)

    def has(self, name: str) -> bool | None:
        """Whether the header names it."""
        return name in self.header.names

    def begin(self, out: BinaryIO) -> None:
        """The header."""
        out.write(self.header.with_more(self._added, self.delimiter))

    def end(self, out: BinaryIO) -> None:
        """Nothing stands behind the records."""

    def parts(self, start: int, row: int) -> Iterator[DelimitedPart]:
        """Some records at a time."""
        at = start or len(self.header.raw)
        self._source.seek(at)
        names = self.header.names
        for block in blocks(self._source, len(names), self.delimiter, at, row, self._block):
            yield DelimitedPart(names, block)


@dataclass(frozen=True, slots=True, repr=False)
class DelimitedPart:
    """Some records; see `forms.Part`."""

    names: list[str]
    block: Block

    @property
    def start(self) -> int:
        """Where they begin in the file."""
        return self.block.start

    @property
    def end(self) -> int:
        """Where they end."""
        return self.block.end

    @property
    def row(self) -> int:
        """The number of the first."""
        return self.block.row

    @property
    def count(self) -> int:
        """How many there are."""
        return self.block.count

    def cells(self, name: str) -> Cells:
        """A column: null where a field is empty and not quoted."""
        try:
            return Cells(self._column(name).values(), {})
        except BadInput as refusal:
            index = refusal.facts.pop("index", 0)
            raise malformed(self.row + (index if isinstance(index, int) else 0)) from None

    def versions(self, name: str) -> list[str | None]:
        """A column of key versions."""
        return self.cells(name).values

    def in_place(self, names: Sequence[str]) -> FieldsInPlace | None:
        """Columns whose fields are plain ASCII."""
        out = self.block.data.copy()
        columns: dict[str, tuple[Texts, Bytes]] = {}
        high = np.flatnonzero(self.block.data >= ASCII_END) if self.block.data.max() >= ASCII_END else None
        for name in names:
            texts = self._column(name).texts()
            if texts is None or (high is not None and _inside(texts, high)):
                return None
            columns[name] = texts, out
        return FieldsInPlace(self.block, columns, out)

    def write(self, out: BinaryIO, change: Change) -> None:
        """The records, with other fields."""
        mark = self.block.delimiter
        columns = [
            (self._column(name), [quoted(text, mark) for text in texts])
            for name, texts in change.columns.items()
        ]
        rows = range(self.count)
        added = [
            [b"%d" % known[row] if row in known else b"" for row in rows] for known in change.added.values()
        ]
        out.write(self.block.replaced(columns, change.drop, added))

    def _column(self, name: str) -> Column:
        return self.block.column(self.names.index(name))


@dataclass(frozen=True, slots=True, repr=False)
class FieldsInPlace:
    """Columns of records in place; see `forms.Places`."""

    block: Block
    columns: Mapping[str, tuple[Texts, Bytes]]
    made: Bytes

    def write(self, out: BinaryIO) -> None:
        """The records, with the fields of the buffer."""
        out.write((self.made if self.block.ended else self.made[:-1]).data)


def _inside(texts: Texts, places: Places) -> bool:
    """Whether one of some places is in a text."""
    which = np.searchsorted(texts.starts, places, "right") - 1
    return bool(((which >= 0) & (places < texts.starts[which] + texts.lengths[which])).any())


class Header(NamedTuple):
    """The first record: the names of the columns, and its bytes with its end (and a BOM, if there is one)."""

    names: list[str]
    raw: bytes

    def with_more(self, names: Sequence[str], delimiter: str) -> bytes:
        """Its bytes with more columns behind the last."""
        body = self.raw.rstrip(b"\r\n")
        added = b"".join(delimiter.encode() + quoted(name, delimiter) for name in names)
        return body + added + self.raw[len(body) :]


def read_header(source: BinaryIO, delimiter: str = ",") -> Header:
    """The first record of a file, which is read to its end.

    Raises:
        BadInput: `file_malformed`: empty, not UTF-8, a name twice or none, or a record without an end.
    """
    raw = b""
    while True:
        line = source.readline(MAX_RECORD)
        raw += line
        if not line or raw.count(b'"') % 2 == 0:
            break
        if len(raw) > MAX_RECORD:
            raise BadInput("file_malformed", row=0)
    body = raw.removeprefix(BOM).rstrip(b"\r\n")
    if not body or body.count(b'"') % 2:
        raise BadInput("file_malformed", row=0)
    block = Block(np.frombuffer(body + b"\n", np.uint8), 0, 0, delimiter)
    try:
        names = [text.decode() for text in block.record(0)]
    except UnicodeDecodeError:
        raise BadInput("file_malformed", row=0) from None
    if len(set(names)) != len(names):
        raise BadInput("file_malformed", row=0)
    return Header(names, raw)


def blocks(
    source: BinaryIO, columns: int, delimiter: str = ",", start: int = 0, row: int = 1, size: int = BLOCK
) -> Iterator[Block]:
    """Whole records, some at a time; the same blocks whenever a file is read from a place where one ended.

    Args:
        source: stands at `start`.
        columns: of every record.
        start: bytes before it in the file.
        row: the number of the record there; the header is 0.

    Raises:
        BadInput: `file_malformed` with `row`: another number of fields, a record that is too long, or whose
            quotes are not closed.
    """
    rest = b""
    while True:
        # As many bytes behind `start` each time, so that blocks do not depend on where reading began.
        read = source.read(size - len(rest) if len(rest) < size else size)
        data = rest + read if rest else read
        if not data:
            return
        quotes = _MARK in data  # much quicker than counting them
        end = (_end_of_records(data) if quotes else data.rfind(b"\n") + 1) if read else len(data)
        if not read and (data.count(b'"') % 2 or len(data) > MAX_RECORD):
            raise BadInput("file_malformed", row=row)
        if not end:
            if len(data) > MAX_RECORD:
                raise BadInput("file_malformed", row=row)
            rest = data
            continue
        rest = data[end:]
        ended = data[end - 1] == _LINE
        given = np.frombuffer(data if ended else data + b"\n", np.uint8)[: end + (not ended)]
        block = Block(given, start, row, delimiter, ended, quotes)
        block.check(columns)
        yield block
        start, row = start + end, row + block.count


def _end_of_records(data: bytes) -> int:
    """Behind the last line end that is in no quotes; 0 if there is none."""
    end = data.rfind(b"\n") + 1
    quotes = data.count(b'"', 0, end)
    while end and quotes % 2:
        before = data.rfind(b"\n", 0, end - 1) + 1
        quotes -= data.count(b'"', before, end)
        end = before
    return end


@dataclass(slots=True, repr=False)
class Block:
    """Some records, each with its end.

    Attributes:
        data: their bytes.
        start: where they begin in the file.
        row: the number of the first.
        ended: whether the last line end stands in the file; the last record of a file may lack it.
        quotes: whether there may be any.
        count: how many there are, once they are checked.
    """

    data: Bytes
    start: int
    row: int
    delimiter: str = ","
    ended: bool = True
    quotes: bool = True
    count: int = 0
    _cuts: Places = field(default_factory=lambda: np.zeros((0, 1), np.int64))  # see `check`

    @property
    def end(self) -> int:
        """Where they end in the file."""
        return self.start + len(self.data) - (not self.ended)

    def _marks(self) -> Places:
        """Where a field ends: the delimiters and line ends that are in no quotes."""
        delimiter = ord(self.delimiter)
        if not self.quotes:
            parts = range(0, len(self.data), _PART)
            found = [_either(self.data[at : at + _PART], delimiter, _LINE) + at for at in parts]
            return np.concatenate(found) if found else np.zeros(0, np.int64)
        outside = np.cumsum(self.data == _QUOTE, dtype=np.int32) % 2 == 0
        return np.flatnonzero(outside & ((self.data == delimiter) | (self.data == _LINE)))

    def check(self, columns: int) -> None:
        """Counts the records, and notes the delimiter or line end behind each field: (records, fields).

        Raises:
            BadInput: `file_malformed` with `row`: a record has another number of fields.
        """
        cuts = self._marks()
        lines = self.data[cuts] == _LINE
        self.count = int(np.count_nonzero(lines))
        if len(cuts) == self.count * columns:
            self._cuts = cuts.reshape(-1, columns)
            if lines[columns - 1 :: columns].all():
                return
        fields = np.diff(np.flatnonzero(lines), prepend=-1)
        raise BadInput("file_malformed", row=self.row + int(np.flatnonzero(fields != columns)[0]))

    def record(self, index: int) -> list[bytes]:
        """The fields of a record, unquoted."""
        if not len(self._cuts):
            self._cuts = self._marks().reshape(1, -1)
        columns = range(self._cuts.shape[1])
        return [plain(self.column(column).bytes_of(index)) for column in columns]

    def column(self, index: int) -> Column:
        """Where the fields of a column lie, quotes included.

        Args:
            index: from 0.
        """
        ends = self._cuts[:, index].copy()
        starts = np.empty_like(ends)
        if index:
            starts[:] = self._cuts[:, index - 1] + 1
        else:
            starts[0], starts[1:] = 0, self._cuts[:-1, -1] + 1
        if index == self._cuts.shape[1] - 1:  # a carriage return belongs to the line end
            ends -= (ends > starts) & (self.data[ends - 1] == _RETURN)
        return Column(self.data, starts, ends, self.quotes)

    def replaced(
        self,
        columns: Sequence[tuple[Column, Sequence[bytes]]],
        drop: Sequence[int] = (),
        more: Sequence[Sequence[bytes]] = (),
    ) -> bytes:
        """The records with other fields in some columns.

        Args:
            columns: each with its fields as they are to be written, one a record.
            drop: records that are left out.
            more: columns behind the last, each with its fields, one a record.
        """
        mark = self.delimiter.encode()
        last_ends = self.column(self._cuts.shape[1] - 1).ends.tolist()
        added = [b"".join(mark + text for text in texts) for texts in zip(*more, strict=True)]
        text = self.data.tobytes()
        order = sorted(columns, key=lambda pair: int(pair[0].starts[0]) if len(pair[0].starts) else 0)
        ends = self._cuts[:, -1] + 1
        begins = np.concatenate(([0], ends[:-1]))
        left = set(drop)
        parts: list[bytes] = []
        places = [(column.starts.tolist(), column.ends.tolist(), made) for column, made in order]
        for record, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
            if record in left:
                continue
            at = begin
            for starts, stops, made in places:
                parts += (text[at : starts[record]], made[record])
                at = stops[record]
            if added:
                parts += (text[at : last_ends[record]], added[record])
                at = last_ends[record]
            parts.append(text[at:end])
        whole = b"".join(parts)
        return whole if self.ended or not whole else whole[:-1]


def _either(data: Bytes, one: int, other: int) -> Places:
    """Where one of two bytes stands."""
    return np.flatnonzero((data == one) | (data == other))


class Column(NamedTuple):
    """The fields of one column of a block: where each begins and ends in its bytes."""

    data: Bytes
    starts: Places
    ends: Places
    quotes: bool = True

    def bytes_of(self, index: int) -> bytes:
        """A field as it stands, quotes included."""
        return self.data[self.starts[index] : self.ends[index]].tobytes()

    def texts(self) -> Texts | None:
        """The fields as texts in place; None if one of them has quotes."""
        if (
            self.quotes
            and len(self.starts)
            and (self.data[self.starts[self.ends > self.starts]] == _QUOTE).any()
        ):
            return None
        return Texts(self.data, self.starts, self.ends - self.starts)

    def values(self) -> list[str | None]:
        """The fields, unquoted; None for one that is empty and not quoted.

        Raises:
            BadInput: `file_malformed`, with `index`: a field is not UTF-8.
        """
        text = self.data.tobytes()
        made: list[str | None] = []
        for index, (start, end) in enumerate(zip(self.starts.tolist(), self.ends.tolist(), strict=True)):
            try:
                made.append(plain(text[start:end]).decode() if end > start else None)
            except UnicodeDecodeError:
                raise BadInput("file_malformed", index=index) from None
        return made


def plain(field: bytes) -> bytes:
    """A field without the quotes around it."""
    if field[:1] == b'"' and field[-1:] == b'"' and len(field) > 1:
        return field[1:-1].replace(b'""', b'"')
    return field


def quoted(text: str | None, delimiter: str = ",") -> bytes:
    """A field as it is written: quoted where it has to be; nothing for None."""
    if text is None:
        return b""
    if not text or any(mark in text for mark in ('"', "\n", "\r", delimiter)) or text != text.strip(" "):
        return b'"' + text.replace('"', '""').encode() + b'"'
    return text.encode()
