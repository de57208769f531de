"""Statements of reports: what is kept, since when and until when; what was erased; whom the log names.

They read whole tables and change nothing. What groups may be many is bounded by whoever asks.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    LargeBinary,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from vault.retention.period import IDENTIFIER_CLASS
from vault.store.custody import keys
from vault.store.forgetting import REMOVED
from vault.store.session import Statement, StatementFamily
from vault.store.tables import SQLITE, Tables

# What texts of a program's own need no parameter; and one would not be the same in SELECT and GROUP BY.
_NONE: ColumnElement[Any] = literal_column("0")
_SUSPENDED: ColumnElement[Any] = literal_column("'suspended'")
_MICROS: ColumnElement[Any] = literal_column("1000000")


class ReportingStatements:
    """All statements of reports."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._kept()
        self._erased()
        self._told()

    def _compiled(self, element: ClauseElement) -> Statement:
        return Statement(element, self._dialect)

    def _month(self, at: ColumnElement[Any]) -> ColumnElement[Any]:
        """The month of an instant in UTC, `YYYY-MM`."""
        if self._tables.dialect == SQLITE:
            return func.strftime(literal_column("'%Y-%m'"), at / _MICROS, literal_column("'unixepoch'"))
        of = func.timezone(literal_column("'UTC'"), func.to_timestamp(at / _MICROS))
        return func.to_char(of, literal_column("'YYYY-MM'"))

    def _kept(self) -> None:
        """What there is: values, tokens, people, keys."""
        t = self._tables
        k, v, o, i, s = t.data_keys.c, t.claims.c, t.tokens.c, t.issued.c, t.subjects.c
        of_tenant = k.tenant == bindparam("tenant")
        # Values are counted in parts, so that no statement takes long: those of tokens up to the next part.
        part = (
            v.token > bindparam("after", type_=LargeBinary),
            v.token <= bindparam("to", type_=LargeBinary),
        )
        self.next_part = self._compiled(
            select(o.id)
            .where(o.id > bindparam("after"))
            .order_by(o.id)
            .offset(bindparam("step", type_=Integer))
            .limit(1)
        )
        # A value is as old as its token: (field, class, month, values).
        self.values_by_month = self._compiled(
            select(o.field, k["class"], self._month(o.created_at).label("made_in"), func.count())
            .select_from(t.data_keys)
            .join(t.claims, v.key == k.id)
            .join(t.tokens, o.id == v.token)
            .where(of_tenant, *part)
            .group_by(o.field, k["class"], literal_column("made_in"))
            .order_by(o.field, k["class"], literal_column("made_in"))
            .limit(bindparam("most", type_=Integer))
        )
        self.issued_by_field = self._compiled(
            select(i.field, func.sum(i.issued))
            .where(i.tenant == bindparam("tenant"))
            .group_by(i.field)
            .order_by(i.field)
        )
        # Those who are there, and those among them whose erasure is not through.
        self.people_counted = self._compiled(
            select(func.count(), func.count(s.erasure)).where(s.tenant == bindparam("tenant"))
        )
        at = func.coalesce(k.due_at, _NONE)
        p = t.due_periods.c
        # Each by itself, or their whole period.
        ending = or_(k.state == _SUSPENDED, p.state == _SUSPENDED)
        suspended = func.sum(case((ending, 1), else_=0))
        # (class, period, instant or 0, keys, suspended), behind a place in that order.
        self.kept_by_period = self._compiled(
            select(k["class"], k.due, at.label("ends_at"), func.count(), suspended)
            .select_from(t.data_keys)
            .outerjoin(t.due_periods, and_(p.tenant == k.tenant, p["class"] == k["class"], p.due == k.due))
            .where(
                of_tenant,
                k["class"] != IDENTIFIER_CLASS,
                or_(
                    k["class"] > bindparam("above"),
                    and_(k["class"] == bindparam("above"), k.due > bindparam("above_due")),
                    and_(
                        k["class"] == bindparam("above"),
                        k.due == bindparam("above_due"),
                        at > bindparam("above_at"),
                    ),
                ),
            )
            .group_by(k["class"], k.due, literal_column("ends_at"))
            .order_by(k["class"], k.due, literal_column("ends_at"))
            .limit(bindparam("most", type_=Integer))
        )
        self.values_by_period = self._compiled(
            select(k["class"], k.due, at.label("ends_at"), func.count())
            .select_from(t.data_keys)
            .join(t.claims, v.key == k.id)
            .where(of_tenant, *part)
            .group_by(k["class"], k.due, literal_column("ends_at"))
            .order_by(k["class"], k.due, literal_column("ends_at"))
            .limit(bindparam("most", type_=Integer))
        )

    def _erased(self) -> None:
        t = self._tables
        e = t.erasures.c
        of_tenant = e.tenant == bindparam("tenant")
        self.erasures_by_grounds = self._compiled(
            select(e.kind, e.target, e.grounds, e.state, func.count(), func.sum(e["keys"]))
            .where(of_tenant)
            .group_by(e.kind, e.target, e.grounds, e.state)
            .order_by(e.kind, e.target, e.grounds, e.state)
            .limit(bindparam("most", type_=Integer))
        )
        # How many were through while the log had a number of events: which turn closes them.
        self.erasures_between = self._compiled(
            select(func.count()).where(
                of_tenant, e.state == REMOVED, e.events >= bindparam("first"), e.events < bindparam("end")
            )
        )

    def _told(self) -> None:
        """Who may see what, and who saw whom."""
        t = self._tables
        g, a, i = t.grants.c, t.audit.c, t.audit_items.c
        self.recipients = self._compiled(
            select(g.purpose, g.agent, g.scope, func.count())
            .where(
                g.tenant == bindparam("tenant"),
                g.state != "revoked",
                g.uses < g.max_uses,
                g.valid_until > bindparam("after"),
            )
            .group_by(g.purpose, g.agent, g.scope)
            .order_by(g.purpose, g.agent, g.scope)
            .limit(bindparam("most", type_=Integer))
        )
        self.grants_told = StatementFamily(
            lambda size: select(g.id, g.purpose, g.on_behalf_of).where(g.id.in_(keys(size))).order_by(g.id),
            self._dialect,
        )
        # Events whose items name a person, or only count people; and those that take back what another said.
        self.events_naming = self._compiled(
            select(a.number, a.body, i["items"])
            .select_from(t.audit)
            .outerjoin(t.audit_items, i.number == a.number)
            .where(
                a.number >= bindparam("first"),
                a.number < bindparam("end"),
                or_(
                    self._holds(i["items"], "person"),
                    self._holds(i["items"], "many"),
                    self._holds(a.body, "taken_back"),
                ),
            )
            .order_by(a.number)
            .limit(bindparam("most", type_=Integer))
        )

    def _holds(self, column: ColumnElement[Any], needle: str) -> ColumnElement[bool]:
        """Whether a column of bytes holds those of a parameter."""
        sought = cast(bindparam(needle, type_=LargeBinary), LargeBinary)
        if self._tables.dialect == SQLITE:
            return func.instr(column, sought) > _NONE
        return func.pg_catalog.position(column, sought) > _NONE
