"""For all tests: a statement is compiled once a process, whichever of its thousands of cells runs it.

SQLAlchemy keeps what it has compiled by engine, and half the time of a small test would go into compiling the
same statements for one more. The tables are the same ones anyway: see `vault.store.cell`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.util import LRUCache

from vault.store import cell
from vault.store.session import open_engine

KEPT = 1_000  # statements; there are some two hundred


class Compiled(LRUCache[Any, Any]):
    """Statements compiled for one kind of database; the first part of a key is one engine's dialect."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key[1:], default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key[1:], value)


@cache
def compiled(kind: str) -> Compiled:
    """What has been compiled for a kind of database."""
    return Compiled(KEPT)


def opened(url: Any) -> Engine:
    """An engine that shares what has been compiled."""
    engine = open_engine(url)
    engine.update_execution_options(compiled_cache=compiled(engine.dialect.name))
    return engine


cell.open_engine = opened  # type: ignore[attr-defined]
