"""JSON lines: a JSON object a line. Members that are not turned keep their text, numbers to the last digit.

Lines of which nothing is turned come through byte for byte; others lose blanks between their members.
Source: RFC 8259; the line feed between records as in RFC 7464's and the NDJSON note's common part.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

from vault.errors import BadInput
from vault.files.forms import BLOCK, BOM, MAX_RECORD, Cells, Change, malformed

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_NULL = b"null"


class JsonLines:
    """A file of them; see `forms.Form`. Blank lines count as records, and stay."""

    def __init__(self, source: BinaryIO, block: int = BLOCK) -> None:
        self._source = source
        self._block = block
        self.size = os.fstat(source.fileno()).st_size

    def has(self, name: str) -> bool | None:
        """Each record has its own."""
        del name
        return None

    def begin(self, out: BinaryIO) -> None:
        """Nothing stands before them."""

    def end(self, out: BinaryIO) -> None:
        """Nor behind them."""

    def parts(self, start: int, row: int) -> Iterator[LinesPart]:
        """Some lines at a time."""
        self._source.seek(start)
        rest = b""
        while True:
            # As many bytes behind `start` each time, so that parts do not depend on where reading began.
            data = rest + self._source.read(max(self._block - len(rest), self._block // 2))
            ended = len(data) == len(rest)
            if not data:
                return
            end = len(data) if ended else data.rfind(b"\n") + 1
            if len(data) > MAX_RECORD + self._block:
                raise malformed(row)
            if end:
                part = LinesPart(data[:end], start, row)
                yield part
                start, row = part.end, row + part.count
            rest = data[end:]


@dataclass(slots=True, repr=False)
class LinesPart:
    """Some lines; see `forms.Part`."""

    data: bytes
    start: int
    row: int
    count: int = 0
    _lines: list[bytes] = ()  # type: ignore[assignment]
    _records: list[dict[str, msgspec.Raw]] = ()  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self._lines = self.data.split(b"\n")
        if not self._lines[-1]:
            self._lines.pop()
        self.count = len(self._lines)
        self._records = [self._record(index, line) for index, line in enumerate(self._lines)]

    @property
    def end(self) -> int:
        """Where they end in the file."""
        return self.start + len(self.data)

    def _record(self, index: int, line: bytes) -> dict[str, msgspec.Raw]:
        if self.start == 0 and index == 0:
            line = line.removeprefix(BOM)
        if not line.strip():
            return {}
        try:
            record = _decode(line)
            # Only a name that stands twice, or blanks, make what is encoded again shorter.
            if len(msgspec.json.encode(record)) < len(line):
                json.loads(line, object_pairs_hook=_check_names)
        except (ValueError, RecursionError):
            raise malformed(self.row + index) from None
        return record

    def cells(self, name: str) -> Cells:
        """The members of a name; records without it have null."""
        values: list[str | None] = []
        refused: dict[int, str] = {}
        for index, record in enumerate(self._records):
            raw = record.get(name)
            value = None
            if raw is not None and (inside := bytes(raw)) != _NULL:
                if inside[:1] == b'"':
                    value = self._string(index, inside)
                else:
                    refused[index] = "value_format"
            values.append(value)
        return Cells(values, refused)

    def versions(self, name: str) -> list[str | None]:
        """The members of a name: strings, or other values as they are written."""
        found: list[str | None] = []
        for index, record in enumerate(self._records):
            inside = bytes(record.get(name, _NULL))
            if inside[:1] == b'"':
                found.append(self._string(index, inside))
            else:
                found.append(None if inside == _NULL else inside.decode())
        return found

    def _string(self, index: int, raw: bytes) -> str:
        try:
            return _text(raw)
        except ValueError:
            raise malformed(self.row + index) from None

    def in_place(self, names: Sequence[str]) -> None:
        """Never: members have no places of their own."""

    def write(self, out: BinaryIO, change: Change) -> None:
        """The lines, with other texts."""
        dropped = set(change.drop)
        made: list[bytes] = []
        for index, line in enumerate(self._lines):
            if index in dropped:
                continue
            record: dict[str, Any] = {}
            for name, texts in change.columns.items():
                text = texts[index]
                if text is not None:
                    before = bytes(self._records[index].get(name, b'"'))
                    record[name] = text if before[:1] == b'"' else msgspec.Raw(text.encode())
            for name, versions in change.added.items():
                if name in self._records[index]:
                    raise BadInput("usage", option="--key-version-column", row=self.row + index)
                if index in versions:
                    record[name] = versions[index]
            end = b"\r" if line.endswith(b"\r") else b""
            made.append(msgspec.json.encode(self._records[index] | record) + end if record else line)
        whole = b"".join(line + b"\n" for line in made)
        # The last line of a file may lack its end.
        out.write(whole if self.data.endswith(b"\n") else whole[:-1])


def _check_names(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")
