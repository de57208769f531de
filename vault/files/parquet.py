"""Parquet, row group by row group, so that a file can be gone on with that was not finished.

Each part is written as a whole Parquet file behind the one before, at its own place: all offsets are the
file's. At the end comes one more footer that knows of all row groups; readers look at the last one only. A
file that was cut behind a part so has all that is needed to go on with it: the footers stand in it.
Source: Apache Parquet format 2.x, "File format" (offsets from the file's first byte, the footer last).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO, Final

from vault.crypto.arrow import InPlace, in_place, is_strings
from vault.crypto.texts import ASCII_END
from vault.errors import BadInput
from vault.extras import load
from vault.files.forms import Cells, Change, malformed

_MAGIC: Final = b"PAR1"
ROWS: Final = 131_072  # of a part, and so of a row group that is written, at most


class Parquet:
    """A file of it; see `forms.Form`. One row group of it is in memory at a time.

    Args:
        source: open for as long as this is used.
        added: columns of key versions behind the last.
        rows: of a part.

    Raises:
        BadInput: `file_malformed`.
        Misconfigured: `extra_missing`, pyarrow is not installed (`coatcheck[arrow]`).
    """

    def __init__(self, source: BinaryIO, added: Sequence[str] = (), rows: int = ROWS) -> None:
        load("pyarrow", "arrow")
        self._pq: Any = load("pyarrow.parquet", "arrow")
        self._rows = rows
        try:
            self._file = self._pq.ParquetFile(source)
        except _errors():
            raise malformed() from None
        self.schema: Any = self._file.schema_arrow
        self.size: int = self._file.metadata.num_rows
        self._added = added

    def has(self, name: str) -> bool | None:
        """Whether there is a column; nested ones are not looked into."""
        return name in self.schema.names

    def begin(self, out: BinaryIO) -> None:
        """What every file begins with; parts have the rest."""
        out.write(_MAGIC)

    def parts(self, start: int, row: int) -> Iterator[RowsPart]:
        """Row groups, the large ones in slices."""
        del row
        before = 0
        for group in range(self._file.num_row_groups):
            count = self._file.metadata.row_group(group).num_rows
            if before + count > start:
                try:
                    table = self._file.read_row_group(group)
                except _errors():
                    raise malformed(before + 1) from None
                for at in range(max(start - before, 0), count, self._rows):
                    yield RowsPart(self, table.slice(at, self._rows), before + at)
            before += count

    def end(self, out: BinaryIO) -> None:
        """The footer of all row groups."""
        out.flush()
        if out.tell() == len(_MAGIC):
            self.append(out, self.with_added(self.schema.empty_table(), {}))
            return
        footers = self._footers(out.name, out.tell())
        whole = footers[0]
        for footer in footers[1:]:
            whole.append_row_groups(footer)
        made = io.BytesIO()
        whole.write_metadata_file(made)
        out.write(made.getvalue())

    def append(self, out: BinaryIO, table: Any) -> None:
        """Writes rows behind all that a file has."""
        pa = load("pyarrow", "arrow")
        out.flush()
        codecs = self._codecs()
        compression = {name: codecs.get(name, "NONE") for name in table.schema.names}
        # Arrow begins a file at its place 0 only. So it begins on a device that takes everything, and goes on
        # where the file ends: offsets are the file's from then on.
        with (
            pa.OSFile(os.devnull, "wb") as sink,
            self._pq.ParquetWriter(sink, table.schema, compression=compression) as writer,
        ):
            os.dup2(out.fileno(), sink.fileno())
            writer.write_table(table, row_group_size=max(len(table), 1))
        out.seek(0, io.SEEK_END)

    def with_added(self, table: Any, versions: Mapping[str, Mapping[int, int]]) -> Any:
        """Rows with the columns that are added behind the last."""
        pa = load("pyarrow", "arrow")
        for name in self._added:
            known = versions.get(name, {})
            numbers = pa.array([known.get(index) for index in range(len(table))], pa.int32())
            table = table.append_column(pa.field(name, pa.int32()), numbers)
        return table

    def _codecs(self) -> dict[str, str]:
        """How the columns of the input are compressed; nested ones are looked at by their first leaf."""
        if not self._file.num_row_groups:
            return {}
        group = self._file.metadata.row_group(0)
        codecs: dict[str, str] = {}
        for index in range(group.num_columns):
            column = group.column(index)
            codec = "NONE" if column.compression == "UNCOMPRESSED" else column.compression
            codecs.setdefault(column.path_in_schema.split(".")[0], codec)
        return codecs

    def _footers(self, path: str, end: int) -> list[Any]:
        """Those of all parts, in order, found from the last one on: before a row group is another's end."""
        pa = load("pyarrow", "arrow")
        found: list[Any] = []
        with pa.memory_map(path) as written:
            whole = written.read_buffer()
            while end > len(_MAGIC):
                footer = self._pq.read_metadata(pa.BufferReader(whole.slice(0, end)))
                found.append(footer)
                end = _first(footer)
        return found[::-1]


@dataclass(slots=True, repr=False)
class RowsPart:
    """Some rows; see `forms.Part`."""

    form: Parquet
    table: Any
    start: int

    @property
    def end(self) -> int:
        """Where they end."""
        return self.start + self.count

    @property
    def row(self) -> int:
        """The number of the first, from 1."""
        return self.start + 1

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.table)

    def cells(self, name: str) -> Cells:
        """A column of strings.

        Raises:
            BadInput: `usage`: it has something else.
        """
        pa = load("pyarrow", "arrow")
        column = self.table.column(name)
        if not _is_text(pa, column.type):
            raise BadInput("usage", option="--column", reason="the file has no strings in that column")
        try:
            return Cells(column.to_pylist(), {})
        except UnicodeDecodeError:
            raise malformed(self.row) from None

    def versions(self, name: str) -> list[str | None]:
        """A column of whole numbers, or of strings.

        Raises:
            BadInput: as `cells`.
        """
        pa = load("pyarrow", "arrow")
        column = self.table.column(name)
        if not pa.types.is_integer(column.type):
            return self.cells(name).values
        return [None if number is None else str(number) for number in column.to_pylist()]

    def in_place(self, names: Sequence[str]) -> RowsInPlace | None:
        """Columns of plain strings; null only where they are."""
        made: dict[str, InPlace] = {}
        for name in names:
            column = self.table.column(name)
            if column.num_chunks != 1 or not is_strings(column.type):
                return None
            one = made[name] = in_place(column.chunk(0))
            if not one.texts.lengths.all() or (len(one.texts.data) and one.texts.data.max() >= ASCII_END):
                return None
        return RowsInPlace(self, made)

    def write(self, out: BinaryIO, change: Change) -> None:
        """The rows, with other texts."""
        pa = load("pyarrow", "arrow")
        table = self.table
        for name, texts in change.columns.items():
            place = table.schema.get_field_index(name)
            field = table.schema.field(place)
            type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            cells: Sequence[Any] = texts
            if pa.types.is_integer(type_):  # of key versions
                cells = [None if text is None else int(text) for text in texts]
            table = table.set_column(place, field.with_type(type_), pa.array(cells, type_))
        table = self.form.with_added(table, change.added)
        if change.drop:
            table = _without(pa, table, change.drop)
        if len(table):  # a row group without rows says of none where it is
            self.form.append(out, table)


class RowsInPlace:
    """Columns of rows in place; see `forms.Places`."""

    def __init__(self, part: RowsPart, made: Mapping[str, InPlace]) -> None:
        self._part = part
        self._made = made
        self.columns = {name: (one.texts, one.out) for name, one in made.items()}

    def write(self, out: BinaryIO) -> None:
        """The rows, with the texts of the buffers."""
        table = self._part.table
        for name, one in self._made.items():
            place = table.schema.get_field_index(name)
            table = table.set_column(place, table.schema.field(place), one.finished())
        self._part.form.append(out, table)


def _without(pa: Any, table: Any, drop: Sequence[int]) -> Any:
    """A table without some of its rows."""
    dropped = set(drop)
    try:
        return table.filter(pa.array([index not in dropped for index in range(len(table))]))
    except pa.ArrowNotImplementedError:  # of a few types: string_view is one
        edges = [-1, *drop, len(table)]
        pieces = [table.slice(start + 1, end - start - 1) for start, end in pairwise(edges)]
        return pa.concat_tables([table.slice(0, 0), *pieces])


def _first(footer: Any) -> int:
    """Where the first page of a file's first row group begins; where it would, if it has none."""
    starts = []
    group = footer.row_group(0)
    for index in range(group.num_columns):
        column = group.column(index)
        starts.append(column.data_page_offset)
        if column.dictionary_page_offset:
            starts.append(column.dictionary_page_offset)
    return int(min(starts))


def _is_text(pa: Any, type_: Any) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return type_ in (pa.string(), pa.large_string(), pa.string_view())


def _errors() -> tuple[type[Exception], ...]:
    """What pyarrow raises for a file that it cannot read."""
    pa = load("pyarrow", "arrow")
    return (pa.ArrowException, OSError, ValueError, UnicodeDecodeError)
