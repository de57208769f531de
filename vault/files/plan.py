"""What jobs over files are asked for, what they ask for, and what they tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Protocol, runtime_checkable

from vault.crypto.texts import Bytes, Texts
from vault.errors import BadInput
from vault.files.delimited import quoted

REJECTS_HEAD: Final = b"row,column,code\n"
TOKENIZE: Final = "tokenize"
DETOKENIZE: Final = "detokenize"
REKEY: Final = "rekey"
CSV: Final = "csv"
JSON_LINES: Final = "jsonl"
PARQUET: Final = "parquet"
FORMS: Final = (CSV, JSON_LINES, PARQUET)


class Turned(NamedTuple):
    """What a column's values turned into; None for nulls and for those that are refused, with their codes.

    Attributes:
        versions: the key version of each vaultless token.
    """

    values: list[str | None]
    refused: dict[int, str]
    versions: dict[int, int] = {}  # noqa: RUF012 - nobody changes it


class Transform(Protocol):
    """Where tokens come from."""

    def turn(
        self,
        field: str,
        values: Sequence[str | None],
        subjects: Sequence[str | None] | None,
        key: str,
        versions: Sequence[str | None] | None = None,
    ) -> Turned:
        """The tokens of some values of a field, or the other way round.

        Args:
            key: tokens that are asked for again under the same one are the same, and not made again.
            versions: the key version of each token, in digits, where a column of the file holds it.

        Raises:
            CoatcheckError: what is wrong with all of it.
        """


@runtime_checkable
class Rewrites(Protocol):
    """A `Transform` that can write tokens to where values are."""

    def rewrite(self, columns: Sequence[tuple[str, Texts, Bytes]]) -> dict[str, int] | None:
        """The key version of each field; None if the values have to be taken out, and nothing was done.

        Args:
            columns: each the field, its values, and the buffer for their tokens.

        Raises:
            CoatcheckError: what is wrong with all of it.
        """


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        columns: (name of a column, field) of each that is turned.
        subject: the column that says whose a row's values are.
        versions: (name of a column, name of the column of its key versions), which tokenizing adds behind
            the last, detokenizing reads, and rekeying reads and writes anew.
        rejects: where rows that are refused are told of, and left out of the output; None: the first of them
            ends the job.
        form: one of `FORMS`.
        delimiter: of CSV.
    """

    source: Path
    target: Path
    columns: tuple[tuple[str, str], ...]
    subject: str | None = None
    rejects: Path | None = None
    delimiter: str = ","
    verb: str = TOKENIZE
    versions: tuple[tuple[str, str], ...] = ()
    form: str = CSV

    @property
    def added(self) -> dict[str, str]:
        """The columns of key versions that are added behind the last, by the column that they are of."""
        return dict(self.versions) if self.verb == TOKENIZE else {}


class Refusal(NamedTuple):
    """A value that cannot be turned; rows count from 1."""

    row: int
    column: str
    code: str

    def line(self) -> bytes:
        """As the file of rejects has it."""
        return b"%d,%b,%b\n" % (self.row, quoted(self.column), self.code.encode())


@dataclass(slots=True)
class Result:
    """What was done.

    Attributes:
        resumed: whether an earlier run had begun it.
        codes: how many values were refused, by column and code.
    """

    rows: int
    rejected: int
    resumed: bool
    codes: Counter[str] = field(default_factory=Counter)


class Refused(BadInput):
    """Values that cannot be turned: `errors` has row, column and code of the first, never a value."""
