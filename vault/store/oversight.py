"""Statements on attribute rules, and on reviews of who has which access."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from sqlalchemy import Integer, bindparam, func, insert, select, text, update
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from vault.clock import Micros
from vault.store.session import Statement
from vault.store.tables import SQLITE, Tables

# Events with a text in their bodies: bytes are looked for in bytes.
_EVENTS_WITH: Final = """
SELECT number, body FROM {audit}
WHERE number >= :first AND number < :end AND {holds} ORDER BY number LIMIT :most
"""


class ReviewRow(NamedTuple):
    """A review, in the order of `OversightStatements.review`."""

    id: str
    tenant: str
    scope: str
    due_at: Micros
    reviewer: str
    deputy: str | None
    items: int
    created_by: str
    created_at: Micros
    closed_at: Micros


class ReviewItemRow(NamedTuple):
    """An item of a review, in the order of `OversightStatements.review_items`."""

    review: str
    number: int
    kind: str
    target: str
    principal: str
    what: str
    snapshot: str
    reviewer: str
    state: str
    decided_by: str | None
    decided_at: Micros
    reason: str | None


class OversightStatements:
    """All statements of oversight, compiled for one dialect."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._policies()
        self._reviews()
        self._subjects_of_reviews()
        self._events()

    def _compiled(self, element: ClauseElement) -> Statement:
        return Statement(element, self._dialect)

    def _policies(self) -> None:
        p = self._tables.policies.c
        self.insert_policy = self._compiled(insert(self._tables.policies))
        newest = select(p.tenant, func.max(p.version).label("version")).group_by(p.tenant).subquery()
        self.latest_policies = self._compiled(
            select(p.tenant, p.version, p.body).join(
                newest, (newest.c.tenant == p.tenant) & (newest.c.version == p.version)
            )
        )
        row = (p.version, p.digest, p.applied_by, p.applied_at)
        self.policies_page = self._compiled(
            select(*row)
            .where(p.tenant == bindparam("tenant"), p.version < bindparam("below"))
            .order_by(p.version.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.policy_version = self._compiled(
            select(*row, p.body).where(p.tenant == bindparam("tenant"), p.version == bindparam("version"))
        )

    def _reviews(self) -> None:
        t = self._tables
        r, i = t.reviews.c, t.review_items.c
        row = (
            r.id, r.tenant, r.scope, r.due_at, r.reviewer, r.deputy, r["items"], r.created_by, r.created_at,
            r.closed_at,
        )  # fmt: skip
        item = (
            i.review, i.number, i.kind, i.target, i.principal, i.what, i.snapshot, i.reviewer, i.state,
            i.decided_by, i.decided_at, i.reason,
        )  # fmt: skip
        self.insert_review = self._compiled(insert(t.reviews))
        self.insert_review_item = self._compiled(insert(t.review_items))
        self.review = self._compiled(select(*row).where(r.id == bindparam("review_id")))
        self.reviews_page = self._compiled(
            select(*row)
            .where(r.tenant == bindparam("tenant"), r.id < bindparam("below"))
            .order_by(r.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.reviews_open = self._compiled(
            select(*row)
            .where(r.closed_at == 0, r.due_at <= bindparam("before"))
            .order_by(r.due_at, r.id)
            .limit(bindparam("most", type_=Integer))
        )
        self.close_review = self._compiled(
            update(t.reviews)
            .values(closed_at=bindparam("at"))
            .where(r.id == bindparam("review_id"), r.closed_at == 0)
        )
        self.review_items = self._compiled(
            select(*item)
            .where(i.review == bindparam("of_review"), i.number > bindparam("above"))
            .order_by(i.number)
            .limit(bindparam("most", type_=Integer))
        )
        self.review_item = self._compiled(
            select(*item).where(i.review == bindparam("of_review"), i.number == bindparam("place"))
        )
        self.review_items_open = self._compiled(
            select(*item)
            .where(i.review == bindparam("of_review"), i.state == "open")
            .order_by(i.number)
            .limit(bindparam("most", type_=Integer))
        )
        self.review_states = self._compiled(
            select(i.state, func.count())
            .where(i.review == bindparam("of_review"))
            .group_by(i.state)
            .order_by(i.state)
        )
        self.decide_review_item = self._compiled(
            update(t.review_items)
            .values(
                state=bindparam("to"),
                decided_by=bindparam("by"),
                decided_at=bindparam("at"),
                reason=bindparam("why"),
            )
            .where(i.review == bindparam("of_review"), i.number == bindparam("place"), i.state == "open")
        )

    def _subjects_of_reviews(self) -> None:
        """What a review looks at, and what taking access away changes."""
        t = self._tables
        p, k, g = t.principals.c, t.api_keys.c, t.grants.c
        self.principals_reviewed = self._compiled(
            select(p.id, p.kind, p.name, p.roles, p.permissions, p.ceiling, p.created_by)
            .where(p.tenant == bindparam("tenant"), p.removed_at == 0)
            .order_by(p.id)
        )
        self.keys_reviewed = self._compiled(
            select(k.id, k.principal, k.networks, k.expires_at, k.created_at, k.used_at)
            .join(t.principals, p.id == k.principal)
            .where(p.tenant == bindparam("tenant"), p.removed_at == 0, k.revoked_at == 0)
            .order_by(k.id)
        )
        self.grants_reviewed = self._compiled(
            select(g.id, g.agent, g.agent_id, g.created_by, g.purpose, g.scope, g.max_uses, g.valid_until)
            .where(
                g.tenant == bindparam("tenant"),
                g.state != "revoked",
                g.uses < g.max_uses,
                g.valid_until > bindparam("after"),
            )
            .order_by(g.id)
        )
        self.set_access = self._compiled(
            update(t.principals)
            .values(
                roles=bindparam("to_roles"),
                permissions=bindparam("to_permissions"),
                ceiling=bindparam("to_ceiling"),
                version=p.version + 1,
            )
            .where(p.id == bindparam("of_principal"), p.version == bindparam("seen"), p.removed_at == 0)
        )

    def _events(self) -> None:
        sqlite = self._tables.dialect == SQLITE
        holds = "instr(body, :needle) > 0" if sqlite else "position(CAST(:needle AS bytea) IN body) > 0"
        audit = self._tables.audit.fullname
        self.events_with: Any = text(_EVENTS_WITH.format(audit=audit, holds=holds))
