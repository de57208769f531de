"""What a job sees of a file, whatever its form: parts, one after the other, and what is written of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, Final, NamedTuple, Protocol

from vault.crypto.texts import Bytes, Texts
from vault.errors import BadInput

BLOCK: Final = 4 * 1024 * 1024  # bytes read at once; more where one record is longer
MAX_RECORD: Final = 16 * 1024 * 1024  # bytes: a quote that is never closed would else take the whole file
BOM: Final = b"\xef\xbb\xbf"


class Cells(NamedTuple):
    """A column of a part: None for nulls and for what is no text, which `refused` has with its code."""

    values: list[str | None]
    refused: dict[int, str]


class Change(NamedTuple):
    """What becomes of a part.

    Attributes:
        columns: the new texts of columns, one a row; None is null.
        drop: rows that are left out, in order, the first being 0.
        added: key versions by row, of columns behind the last.
    """

    columns: Mapping[str, Sequence[str | None]]
    drop: Sequence[int]
    added: Mapping[str, Mapping[int, int]]


class Places(Protocol):
    """Columns of a part in place: their texts, and buffers where others are written instead of them."""

    @property
    def columns(self) -> Mapping[str, tuple[Texts, Bytes]]:
        """The columns that were asked for, by name."""

    def write(self, out: BinaryIO) -> None:
        """Writes the part as the buffers have it."""


class Part(Protocol):
    """Some rows of a file."""

    @property
    def start(self) -> int:
        """Where they begin, in what `Form.size` counts."""

    @property
    def end(self) -> int:
        """Where they end."""

    @property
    def row(self) -> int:
        """The number of the first."""

    @property
    def count(self) -> int:
        """How many there are."""

    def cells(self, name: str) -> Cells:
        """A column.

        Raises:
            BadInput: `file_malformed`, with the row.
        """

    def versions(self, name: str) -> list[str | None]:
        """A column of key versions: numbers or texts, as they are written, whatever they are.

        Raises:
            BadInput: `file_malformed`, with the row.
        """

    def in_place(self, names: Sequence[str]) -> Places | None:
        """Columns in place, texts without a character being null; None where they have to be taken out.

        What is not ASCII has to be, and what is quoted.
        """

    def write(self, out: BinaryIO, change: Change) -> None:
        """Writes them, changed, to the end of a file; all else as it was."""


class Form(Protocol):
    """A file of records. It raises `BadInput`: `file_malformed`, with the row where that is known.

    Attributes:
        size: of the whole, in bytes or rows.
    """

    size: int

    def has(self, name: str) -> bool | None:
        """Whether there is a column; None where each record has its own."""

    def begin(self, out: BinaryIO) -> None:
        """Writes what stands before all records."""

    def parts(self, start: int, row: int) -> Iterator[Part]:
        """All from a place on where one ended; the same ones wherever reading began.

        Args:
            start: 0 is the first record.
            row: the number of the record there.
        """

    def end(self, out: BinaryIO) -> None:
        """Writes what stands behind all records."""


def malformed(row: int | None = None) -> BadInput:
    """The error for a file that cannot be read."""
    return BadInput("file_malformed") if row is None else BadInput("file_malformed", row=row)
