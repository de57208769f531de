"""Statements on what falls due: due periods, keys whose date moves, and events, compiled for one dialect."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Integer, bindparam, delete, func, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect

from vault.store.custody import keys
from vault.store.session import Statement, StatementFamily
from vault.store.tables import SQLITE, Tables

NO_DUE: Final = ""


class ExpiringStatements:
    """All statements of expiry."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._periods(tables, dialect)
        self._dates(tables, dialect)
        self._events(tables, dialect)

    def _periods(self, t: Tables, dialect: Dialect) -> None:
        p, k, g = t.due_periods.c, t.data_keys.c, t.key_pages.c
        most = bindparam("most", type_=Integer)
        self.periods_until = Statement(
            select(p.tenant, p["class"], p.due, p.state)
            .where(p.due != NO_DUE, p.due <= bindparam("until"), p.state == "active")
            .order_by(p.due, p.tenant, p["class"])
            .limit(most),
            dialect,
        )
        self.periods_of = Statement(
            select(p["class"], p.due, p.state)
            .where(p.tenant == bindparam("tenant"), p.due != NO_DUE, p.due <= bindparam("until"))
            .order_by(p.due, p["class"]),
            dialect,
        )
        for name, was, to in (("suspend", "active", "suspended"), ("end", "suspended", "destroyed")):
            statement = Statement(
                update(t.due_periods)
                .values(state=to)
                .where(
                    p.tenant == bindparam("of_tenant"),
                    p["class"] == bindparam("of_class"),
                    p.due == bindparam("of_due"),
                    p.state == was,
                ),
                dialect,
            )
            setattr(self, f"{name}_period", statement)
        # Keys of a period, found through what a turn packs by: none, or an epoch that is in use.
        in_period = (
            k.epoch.in_((literal_column("0"), bindparam("epoch"), bindparam("before"))),
            k.tenant == bindparam("of_tenant"),
            k["class"] == bindparam("of_class"),
            k.due == bindparam("of_due"),
        )
        self.count_of_period = Statement(
            select(func.count()).select_from(t.data_keys).where(*in_period), dialect
        )
        self.values_of_period = Statement(
            select(func.count())
            .select_from(t.data_keys)
            .join(t.claims, t.claims.c.key == k.id)
            .where(*in_period),
            dialect,
        )
        self.keys_of_period = Statement(
            select(k.id, k.subject).where(*in_period, k.id > bindparam("above")).order_by(k.id).limit(most),
            dialect,
        )
        first = select(k.id).where(*in_period).order_by(k.id).limit(most)  # the same for both
        self.drop_claims_of_period = Statement(delete(t.claims).where(t.claims.c.key.in_(first)), dialect)
        self.drop_keys_of_period = Statement(delete(t.data_keys).where(k.id.in_(first)), dialect)
        self.drop_pages_of_period = Statement(
            delete(t.key_pages).where(
                g.tenant == bindparam("of_tenant"),
                g["class"] == bindparam("of_class"),
                g.due == bindparam("of_due"),
            ),
            dialect,
        )

    suspend_period: Statement
    end_period: Statement

    def _dates(self, t: Tables, dialect: Dialect) -> None:
        """Keys whose date moves."""
        k = t.data_keys.c
        over = (k.due_at.is_not(None), k.due_at <= bindparam("until", type_=BigInteger))
        of = (k.tenant == bindparam("of_tenant"), k["class"] == bindparam("of_class"))
        self.dates_until = Statement(
            select(k.tenant, k["class"], func.count())
            .where(*over, k.state == "active")
            .group_by(k.tenant, k["class"])
            .order_by(k.tenant, k["class"]),
            dialect,
        )
        self.dates_of = Statement(
            select(k["class"], k.due_at, func.count(func.distinct(k.id)), func.count(t.claims.c.token))
            .select_from(t.data_keys)
            .outerjoin(t.claims, t.claims.c.key == k.id)
            .where(*over, k.tenant == bindparam("tenant"), k.state == "active")
            .group_by(k["class"], k.due_at)
            .order_by(k.due_at, k["class"]),
            dialect,
        )
        self.suspend_dates = Statement(
            update(t.data_keys).values(state="suspended").where(*over, *of, k.state == "active"), dialect
        )
        self.keys_suspended = Statement(
            select(k.id, k.subject)
            .where(*over, *of, k.state == "suspended", k.id > bindparam("above"))
            .order_by(k.id)
            .limit(bindparam("most", type_=Integer)),
            dialect,
        )
        self.count_suspended = Statement(
            select(func.count()).select_from(t.data_keys).where(*over, *of, k.state == "suspended"), dialect
        )
        # Also to an earlier day: an event has come.
        self.set_due = Statement(
            update(t.data_keys)
            .values(due_at=bindparam("to", type_=BigInteger))
            .where(
                k.tenant == bindparam("of_tenant"),
                k.subject == bindparam("of_subject"),
                k["class"] == bindparam("of_class"),
                k.due == NO_DUE,
                k.state == "active",
            ),
            dialect,
        )

    def _events(self, t: Tables, dialect: Dialect) -> None:
        e = t.subject_events.c
        on_conflict = sqlite.insert if t.dialect == SQLITE else postgresql.insert
        kept = on_conflict(t.subject_events)
        self.insert_subject_event = Statement(
            kept.on_conflict_do_update(
                index_elements=["subject", "event"],
                set_={"at": kept.excluded.at},
                where=e.at < kept.excluded.at,
            ),
            dialect,
        )
        self.events_of = StatementFamily(
            lambda size: (
                select(e.event, e.at)
                .where(e.subject == bindparam("of_subject"), e.event.in_(keys(size)))
                .order_by(e.event)
            ),
            dialect,
        )
        self.drop_events_of = Statement(
            delete(t.subject_events).where(
                e.subject.in_(select(t.subjects.c.id).where(t.subjects.c.key == bindparam("data_key")))
            ),
            dialect,
        )
