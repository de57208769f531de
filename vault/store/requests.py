"""Statements on what is kept of requests with an Idempotency-Key. The table is a part of custody."""

from __future__ import annotations

from sqlalchemy import Integer, bindparam, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

from vault.store.custody import keys
from vault.store.session import Statement, StatementFamily
from vault.store.tables import SQLITE, Tables


class RequestStatements:
    """All statements on the table `idempotency`, compiled for one dialect."""

    def __init__(self, t: Tables, dialect: Dialect) -> None:
        i = t.idempotency.c
        on_conflict = sqlite.insert if t.dialect == SQLITE else postgresql.insert
        kept = on_conflict(t.idempotency).values(
            {name: bindparam(name) for name in ("epoch", "ref", "fingerprint", "sealed", "expires_at")}
        )
        self.insert_idempotency = Statement(
            kept.on_conflict_do_update(
                index_elements=["epoch", "ref"],
                set_={name: kept.excluded[name] for name in ("fingerprint", "sealed", "expires_at")},
                where=i.expires_at == bindparam("replaces"),  # only the expired row that was seen
            ),
            dialect,
        )
        self.held = StatementFamily(
            lambda size: (
                select(i.ref, i.expires_at)
                .where(i.epoch == bindparam("epoch"), i.ref.in_(keys(size)))
                .order_by(i.ref)
            ),
            dialect,
            locks=True,
        )
        self.answer = Statement(
            select(i.fingerprint, i.sealed, i.expires_at).where(
                i.epoch == bindparam("epoch"), i.ref == bindparam("ref")
            ),
            dialect,
        )
        expired = (
            select(i.epoch, i.ref)
            .where(i.expires_at <= bindparam("at"))
            .order_by(i.expires_at)
            .limit(bindparam("most", type_=Integer))
        )
        self.expired = Statement(expired, dialect)
        # Rows that a group has locked are left for the next time.
        self.drop_expired_answers = Statement(
            delete(t.idempotency).where(
                tuple_(i.epoch, i.ref).in_(
                    expired.with_for_update(skip_locked=True) if t.dialect != SQLITE else expired
                )
            ),
            dialect,
        )
