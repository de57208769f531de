"""Columns of data frames through the service: Arrow arrays of strings in, Arrow arrays of strings out.

Polars, DuckDB and pandas all hand over and take Arrow arrays, so one function serves them; see
docs/how-to/use-with-data-frames.md. Nulls stay nulls. A column goes in batches, each of them one request:
what was answered is done, and asking again for a vaultless or deterministic field gives the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from vault.client.columns import BATCH, batches
from vault.client.http import Client
from vault.errors import BadInput, CoatcheckError, Conflict
from vault.extras import load

_NO_COLUMN: Final = "a column is an Arrow array of strings, or hands one over"


class Frames:
    """Tokenizes columns over HTTP with one credential. Use one for each thread.

    Args:
        client: of a region; with a service key to tokenize, with a grant's credential to detokenize.
        batch: most values of a request.

    Raises:
        Misconfigured: `extra_missing`, pyarrow is not installed (`coatcheck[arrow]`).
    """

    def __init__(self, client: Client, batch: int = BATCH) -> None:
        self._client = client
        self._batch = batch
        self._arrow = load("pyarrow", "arrow")

    def __repr__(self) -> str:
        return "<Frames>"

    def close(self) -> None:
        """Closes the client's connections."""
        self._client.close()

    def tokenize(self, values: Any, field: str, subjects: Any = None) -> Any:
        """The tokens of a column.

        Args:
            values: strings: an Arrow array, or anything that hands one over (`__arrow_c_array__`,
                `__arrow_c_stream__`), such as a series of Polars or pandas.
            subjects: whose each value is, a column of the same length.

        Returns:
            An Arrow array of strings, of the same length.

        Raises:
            TypeError: not a column of strings.
            BadInput: what the service refuses, a value by its `index` in the column; `items_mismatch`.
            Conflict: `version_conflict`: the field's key was rotated meanwhile; ask again.
            CoatcheckError: as `Client.request`.
        """
        return self.tokenize_with_version(values, field, subjects)[0]

    def tokenize_with_version(self, values: Any, field: str, subjects: Any = None) -> tuple[Any, int | None]:
        """The same, and the key version that vaultless tokens need to be opened; None for others."""
        given, people = self._column(values), None if subjects is None else self._column(subjects)
        versions: set[int] = set()

        def ask(start: int, some: list[str | None]) -> list[str | None]:
            body: dict[str, Any] = {"field": field, "values": some}
            if people is not None:
                body["subjects"] = people.slice(start, len(some)).to_pylist()
            answer = self._client.request("POST", "tokenize", body)
            if answer.get("key_version") is not None:
                versions.add(answer["key_version"])
            if len(versions) > 1:
                raise Conflict("version_conflict", index=start)
            tokens: list[str | None] = answer["tokens"]
            return tokens

        if people is not None and len(people) != len(given):
            raise BadInput("items_mismatch")
        tokens = self._each(given, ask)
        return tokens, next(iter(versions), None)

    def detokenize(
        self,
        tokens: Any,
        field: str,
        purpose: str,
        *,
        key_version: int | None = None,
        mask: str | None = None,
    ) -> Any:
        """The values of a column of tokens, or what a mask shows of them. Each batch is charged as it goes.

        Args:
            tokens: as `values` of `tokenize`.
            key_version: of vaultless tokens.
            mask: the name of one of the field's masks.

        Raises:
            CoatcheckError: as `tokenize`; `budget_exhausted` and the other refusals of a grant.
        """
        fixed: dict[str, Any] = {"purpose": purpose, "field": field}
        if key_version is not None:
            fixed["key_version"] = key_version
        if mask is not None:
            fixed |= {"operation": "mask", "mask": mask}

        def ask(_: int, some: list[str | None]) -> list[str | None]:
            answer: Mapping[str, Any] = self._client.request("POST", "detokenize", {**fixed, "tokens": some})
            values: list[str | None] = answer["values"]
            return values

        return self._each(self._column(tokens), ask)

    def _column(self, given: Any) -> Any:
        """A column as a chunked array of strings.

        Raises:
            TypeError: not of strings.
        """
        pa = self._arrow
        if isinstance(given, pa.Array):
            given = pa.chunked_array([given])
        elif hasattr(given, "__arrow_c_stream__"):
            given = pa.chunked_array(given)
        elif hasattr(given, "__arrow_c_array__"):
            given = pa.chunked_array([pa.array(given)])
        else:  # Arrow would make a column of its characters of a text
            raise TypeError(_NO_COLUMN)
        type_ = given.type.value_type if pa.types.is_dictionary(given.type) else given.type
        if pa.types.is_null(type_):
            return given.cast(pa.string())
        kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        if not any(kind(type_) for kind in kinds):
            raise TypeError(_NO_COLUMN)
        return given.cast(pa.large_string())

    def _each(self, column: Any, ask: Callable[[int, list[str | None]], list[str | None]]) -> Any:
        pa = self._arrow
        made = []
        for start, some in batches(column.to_pylist(), self._batch):
            if some.count(None) == len(some):
                made.append(pa.nulls(len(some), pa.string()))
                continue
            try:
                made.append(pa.array(ask(start, some), pa.string()))
            except CoatcheckError as refusal:
                errors: Any = refusal.facts.get("errors", ())
                for entry in errors:  # they count in the batch; the caller counts in the column
                    entry["index"] += start
                raise
        return pa.concat_arrays(made) if made else pa.array([], pa.string())
