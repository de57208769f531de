"""Statements on what leads out of a cell: whom the directory lists, and transfers into other cells."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import (
    Integer,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

from vault.clock import Micros
from vault.store.custody import keys
from vault.store.session import Statement, StatementFamily
from vault.store.tables import SQLITE, Tables


class SubjectRow(NamedTuple):
    """A person: the sealed identifier, and the key that it lies under."""

    id: bytes
    tenant: str
    key: bytes
    sealed: bytes


class TransferRow(NamedTuple):
    """A transfer, as the cell that it leaves has it."""

    id: str
    tenant: str
    subject: bytes
    to: str
    fields: str
    legal_basis: str
    mode: str
    job: str
    created_by: str
    created_at: Micros


class SentRow(NamedTuple):
    """A claim that may be sent, with its token's field and surrogate."""

    token: bytes
    field: str
    surrogate: str | None
    key: bytes
    sealed: bytes


class ArrivalRow(NamedTuple):
    """A token that arrived: the row that it had, and the row that it has here.

    Attributes:
        token: the nil UUID, if this cell does not take the value.
        code: why it does not; else empty.
    """

    transfer: str
    source: bytes
    field: str
    token: bytes
    code: str


class CrossingStatements:
    """All statements of this module, compiled for one dialect."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._listing(tables, dialect)
        self._transfers(tables, dialect)

    def _listing(self, t: Tables, dialect: Dialect) -> None:
        s, r = t.subjects.c, t.directory_removals.c
        on_conflict = sqlite.insert if t.dialect == SQLITE else postgresql.insert
        self.unlisted = Statement(
            select(s.id, s.tenant, s.key, s.sealed)
            .where(s.listed < bindparam("generation", type_=Integer), s.erasure.is_(None))
            .order_by(s.listed, s.id)
            .limit(bindparam("most", type_=Integer)),
            dialect,
        )
        self.most_listed = Statement(select(func.max(s.listed)), dialect)
        most = bindparam("most", type_=Integer)
        unlisted = (
            select(s.id)
            .where(s.listed < bindparam("generation", type_=Integer), s.erasure.is_(None))
            .limit(most)
        )
        removals = select(r.ref).limit(most)
        self.untold = Statement(
            select(
                select(func.count()).select_from(unlisted.subquery()).scalar_subquery(),
                select(func.count()).select_from(removals.subquery()).scalar_subquery(),
            ),
            dialect,
        )
        self.note_listed = Statement(
            update(t.subjects)
            .values(listed=bindparam("now_listed"))
            .where(s.id == bindparam("of_subject"), s.listed < bindparam("now_listed")),
            dialect,
        )
        self.insert_directory_removal = Statement(
            on_conflict(t.directory_removals).on_conflict_do_nothing(), dialect
        )
        self.directory_removals = Statement(
            select(r.ref).order_by(r.ref).limit(bindparam("most", type_=Integer)), dialect
        )
        self.drop_directory_removal = Statement(
            delete(t.directory_removals).where(r.ref == bindparam("of_ref")), dialect
        )

    def _transfers(self, t: Tables, dialect: Dialect) -> None:
        x, a, c = t.transfers.c, t.arrivals.c, t.claims.c
        tokens = t.tokens.c
        on_conflict = sqlite.insert if t.dialect == SQLITE else postgresql.insert
        self.insert_transfer = Statement(insert(t.transfers), dialect)
        self.transfer = Statement(
            select(
                x.id, x.tenant, x.subject, x.to, x.fields, x.legal_basis, x.mode, x.job, x.created_by,
                x.created_at,
            ).where(x.id == bindparam("transfer_id")),
            dialect,
        )  # fmt: skip
        self.subject_row = Statement(
            select(t.subjects.c.id, t.subjects.c.tenant, t.subjects.c.key, t.subjects.c.sealed).where(
                t.subjects.c.id == bindparam("subject_id")
            ),
            dialect,
        )
        window = (
            select(tokens.id)
            .where(tokens.id > bindparam("above"))
            .order_by(tokens.id)
            .limit(bindparam("most", type_=Integer))
            .subquery()
        )
        self.tokens_through = Statement(select(window.c.id).order_by(window.c.id.desc()).limit(1), dialect)
        self.sent = StatementFamily(
            lambda size: (
                select(tokens.id, tokens.field, tokens.surrogate, c.key, c.sealed)
                .join(t.claims, c.token == tokens.id)
                .where(
                    tokens.id > bindparam("above"),
                    tokens.id <= bindparam("through"),
                    tokens.tenant == bindparam("tenant"),
                    c.key.in_(keys(size)),
                )
                .order_by(tokens.id, c.key)
            ),
            dialect,
        )
        self.drop_claim = Statement(
            delete(t.claims).where(c.token == bindparam("of_token"), c.key == bindparam("of_key")), dialect
        )
        self.insert_arrival = Statement(
            on_conflict(t.arrivals).on_conflict_do_nothing(index_elements=["transfer", "source"]), dialect
        )
        arrival = (a.transfer, a.source, a.field, a.token, a.code)
        self.arrivals = StatementFamily(
            lambda size: (
                select(*arrival)
                .where(a.transfer == bindparam("of_transfer"), a.source.in_(keys(size)))
                .order_by(a.source)
            ),
            dialect,
        )
        self.arrivals_page = Statement(
            select(*arrival)
            .where(a.transfer == bindparam("of_transfer"), a.source > bindparam("above"))
            .order_by(a.source)
            .limit(bindparam("most", type_=Integer)),
            dialect,
        )
        self.drop_arrivals = Statement(
            delete(t.arrivals).where(
                a.transfer == bindparam("of_transfer"), a.source <= bindparam("through")
            ),
            dialect,
        )
