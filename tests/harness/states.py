"""A cell's whole database, as it is and as a shape: what is left when ids, times and sealed bytes differ."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, LargeBinary

from vault.store.cell import Store

Rows = Mapping[str, list[tuple[Any, ...]]]

_ID: Final = re.compile(r"\b[a-z]{2,6}_[0-7][0-9A-HJKMNP-TV-Z]{25}\b")
_HEX: Final = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{32}|rx_[0-9a-f]{28})\b")
_HASH: Final = re.compile(r"\$argon2id\$.*")
_TIME: Final = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def dump(store: Store) -> Rows:
    """Every row of every table, sorted, in the order of the tables' columns."""
    with store.engine.connect() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(table.select())), key=repr)
            for table in store.tables.metadata.sorted_tables
        }


def changed(before: Rows, after: Rows) -> set[str]:
    """The tables that differ."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def shape(store: Store, rows: Rows) -> dict[str, list[Any]]:
    """What two runs of the same requests on the same cell have in common.

    Ids keep their prefix, bytes the fact that they are there, times nothing; texts that hold JSON are
    looked into.
    """
    shapes = {}
    for table in store.tables.metadata.sorted_tables:
        kinds = [_kind(column) for column in table.columns]
        shapes[table.name] = sorted(
            (
                [_part(kind, value) for kind, value in zip(kinds, row, strict=True)]
                for row in rows[table.name]
            ),
            key=repr,
        )
    return shapes


def _kind(column: Any) -> str:
    if isinstance(column.type, LargeBinary):
        return "bytes"
    if isinstance(column.type, BigInteger) and (
        column.name.endswith("_at")
        or column.name in ("at", "review_by", "fenced_until")
        or column.name.startswith("valid_")
        or column.name == "step"  # of a TOTP code: half minutes since 1970
    ):
        return "time"
    return "other"


def _part(kind: str, value: Any) -> Any:
    if kind == "time":
        return value if value in (None, 0) else "time"
    if isinstance(value, bytes | memoryview):
        try:
            return _plain(json.loads(bytes(value)))
        except ValueError:
            return "bytes"
    if isinstance(value, str) and value[:1] in ("{", "["):
        return _plain(json.loads(value))
    return _plain(value)


def _named(name: str, inner: Any) -> Any:
    if name in ("at", "from", "until", "expires") and inner:
        return "time"
    return "id" if name == "jti" and inner else _plain(inner)  # of a token: no prefix says that it is one


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _named(name, inner) for name, inner in sorted(value.items())}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, str):
        for pattern, put in ((_ID, "id"), (_HEX, "hex"), (_TIME, "time"), (_HASH, "hash")):
            value = pattern.sub(put, value)
    return value
