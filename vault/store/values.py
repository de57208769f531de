"""Statements on the values part: the claims' ciphertexts."""

from __future__ import annotations

from sqlalchemy import insert
from sqlalchemy.engine import Dialect

from vault.store.session import Statement
from vault.store.tables import Tables


class ValuesStatements:
    """All statements on values, compiled for one dialect."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self.insert_claim = Statement(insert(tables.claims), dialect)
