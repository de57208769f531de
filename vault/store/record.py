"""Statements on the record part: head, principals, grants, audit, schema."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, and_, bindparam, case, func, insert, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from vault.store.custody import keys
from vault.store.session import Statement, StatementFamily
from vault.store.tables import SQLITE, Tables

# The head, the events and their items as one statement, for a group that nobody overtook: then the number of
# the first event is the head's as the group left it, and the time that the events carry is the head's too. If
# the head is not as it was read, or later than the events, this divides by zero and everything is undone.
_FINISH: Final = """
WITH h AS (
  UPDATE record.head SET next = next + :events, fence = fence + :fence_by,
    schema_version = schema_version + :schema_by, last_at = :at
  WHERE id = 1 AND write_epoch = :seen_write_epoch AND read_epoch = :seen_read_epoch
    AND fence = :seen_fence AND schema_version = :seen_schema AND last_at <= :at
  RETURNING next - :events AS first
), a AS (
  INSERT INTO record.audit (number, leaf, body)
  SELECT h.first + u.place - 1, u.leaf, u.body
  FROM h, unnest(CAST(:leaves AS bytea[]), CAST(:bodies AS bytea[])) WITH ORDINALITY AS u (leaf, body, place)
), i AS (
  INSERT INTO custody.audit_items (number, salt, items)
  SELECT h.first + u.place, u.salt, u.items
  FROM h, unnest(CAST(:places AS bigint[]), CAST(:salts AS bytea[]), CAST(:items AS bytea[]))
    AS u (place, salt, items)
)
SELECT 1 / CAST(count(*) AS integer) FROM h
"""
_CHARGE: Final = """
UPDATE record.grants AS g SET uses = g.uses + u.by, tat = u.tat
FROM unnest(CAST(:grants AS varchar[]), CAST(:by AS bigint[]), CAST(:tats AS bigint[])) AS u (id, by, tat)
WHERE g.id = u.id
"""


class RecordStatements:
    """All statements on the record, compiled for one dialect."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._head()
        self._identities()
        self._grants()
        self._audit_and_schema()

    def _compiled(self, element: ClauseElement) -> Statement:
        return Statement(element, self._dialect)

    def _head(self) -> None:
        h = self._tables.head.c
        self.insert_head = self._compiled(insert(self._tables.head))
        self.head = self._compiled(
            select(h.region, h.next, h.write_epoch, h.read_epoch, h.fence, h.schema_version, h.last_at)
        )
        # For a group that decides on what nobody may change meanwhile: every writer ends at this row.
        self.lock_head = Statement(self.head.element, self._dialect, locks=True)
        # The last statement of every transaction: audit numbers are handed out here, and only if the
        # epochs, the fence and the schema are still what the group decided on. The time of its events is
        # what this returns: never earlier than another process's group that got here first.
        self.advance_head = self._compiled(
            update(self._tables.head)
            .values(
                next=h.next + bindparam("events"),
                write_epoch=h.write_epoch + bindparam("write_by"),
                read_epoch=h.read_epoch + bindparam("read_by"),
                fence=h.fence + bindparam("fence_by"),
                schema_version=h.schema_version + bindparam("schema_by"),
                last_at=case((h.last_at > bindparam("at"), h.last_at), else_=bindparam("at")),
            )
            .where(
                h.id == 1,
                h.write_epoch == bindparam("seen_write_epoch"),
                h.read_epoch == bindparam("seen_read_epoch"),
                h.fence == bindparam("seen_fence"),
                h.schema_version == bindparam("seen_schema"),
            )
            .returning(h.next, h.last_at)
        )

        # Looks for one of its events, after a commit whose answer was lost. Whoever holds the head's lock
        # knows that every commit before has taken place or never will.
        a = self._tables.audit.c
        self.event_with = self._compiled(
            select(a.number).where(a.number >= bindparam("first"), a.leaf == bindparam("leaf"))
        )
        if self._tables.dialect != SQLITE:
            self.finish = self._compiled(text(_FINISH))
            self.charge_grants = self._compiled(text(_CHARGE))

    def _identities(self) -> None:
        t = self._tables
        p, k = t.principals.c, t.api_keys.c
        self.insert_tenant = self._compiled(insert(t.tenants))
        n = t.tenants.c
        tenant = (n.id, n.name, n.state, n.created_at)
        self.tenant_named = self._compiled(select(*tenant).where(n.name == bindparam("named")))
        self.tenants_page = self._compiled(
            select(*tenant)
            .where(n.id < bindparam("below"))
            .order_by(n.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.insert_principal = self._compiled(insert(t.principals))
        self.insert_api_key = self._compiled(insert(t.api_keys))
        principal = (
            p.id, p.tenant, p.kind, p.name, p.roles, p.permissions, p.ceiling, p.version, p.removed_at
        )  # fmt: skip
        self.principals = StatementFamily(
            lambda size: select(*principal).where(p.id.in_(keys(size))).order_by(p.id),
            self._dialect,
            locks=True,
        )
        self.principals_by_name = StatementFamily(
            lambda size: (
                select(*principal)
                .where(p.tenant == bindparam("tenant"), p.removed_at == 0, p.name.in_(keys(size)))
                .order_by(p.id)
            ),
            self._dialect,
            locks=True,
        )
        self.api_keys = StatementFamily(
            lambda size: (
                select(
                    k.id,
                    k.principal,
                    k.digest,
                    k.networks,
                    k.expires_at,
                    k.revoked_at,
                    k.warned_at,
                    k.replaced_by,
                )
                .where(k.id.in_(keys(size)))
                .order_by(k.id)
            ),
            self._dialect,
            locks=True,
        )
        self.principals_page = self._compiled(
            select(*principal)
            .where(p.tenant == bindparam("tenant"), p.removed_at == 0, p.id < bindparam("below"))
            .order_by(p.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.keys_of = self._compiled(
            select(
                k.id,
                k.principal,
                k.networks,
                k.expires_at,
                k.revoked_at,
                k.created_at,
                k.used_at,
                k.replaced_by,
            )
            .join(t.principals, p.id == k.principal)
            .where(
                k.principal == bindparam("principal_id"),
                p.tenant == bindparam("tenant"),
                k.id < bindparam("below"),
            )
            .order_by(k.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.key_owner = self._compiled(
            select(k.principal, p.tenant, k.networks, k.expires_at, k.revoked_at, k.replaced_by)
            .join(t.principals, p.id == k.principal)
            .where(k.id == bindparam("key_id"))
        )
        self.what_hangs_on = self._compiled(self._what_hangs_on())
        self.remove_principal = self._compiled(
            update(t.principals)
            .values(removed_at=bindparam("at"), version=p.version + 1)
            .where(p.id == bindparam("principal"), p.removed_at == 0)
        )
        self._ends()
        self.revoke_api_key = self._compiled(
            update(t.api_keys)
            .values(revoked_at=bindparam("at"))
            .where(k.id == bindparam("api_key"), k.revoked_at == 0)
        )
        # After a restore of a record that may not be the newest.
        self.revoke_every_api_key = self._compiled(
            update(t.api_keys).values(revoked_at=bindparam("at")).where(k.revoked_at == 0)
        )
        self.revoke_api_keys_of = self._compiled(
            update(t.api_keys)
            .values(revoked_at=bindparam("at"))
            .where(k.principal == bindparam("principal_id"), k.revoked_at == 0)
            .returning(k.id)
        )
        on_conflict: Any = sqlite.insert if t.dialect == SQLITE else postgresql.insert
        counter = on_conflict(t.counters).values(
            principal=bindparam("principal"),
            kind=bindparam("kind"),
            day=bindparam("day"),
            used=bindparam("by"),
        )
        self.add_to_counter = self._compiled(
            counter.on_conflict_do_update(
                index_elements=["principal", "kind", "day"],
                set_={"used": t.counters.c.used + counter.excluded.used},
            )
        )
        c = t.counters.c
        self.counter = self._compiled(
            select(c.used).where(
                c.principal == bindparam("principal"), c.kind == bindparam("kind"), c.day == bindparam("day")
            )
        )

    def _ends(self) -> None:
        """When service keys end, what takes their place, and when they were last used."""
        t = self._tables
        p, k = t.principals.c, t.api_keys.c
        self.replace_api_key = self._compiled(
            update(t.api_keys)
            .values(expires_at=bindparam("until"), replaced_by=bindparam("successor"))
            .where(k.id == bindparam("api_key"), k.revoked_at == 0, k.replaced_by.is_(None))
        )
        self.warn_of_api_key = self._compiled(
            update(t.api_keys)
            .values(warned_at=bindparam("at"))
            .where(k.id == bindparam("api_key"), k.warned_at == 0)
        )
        self.note_api_key_use = self._compiled(
            update(t.api_keys)
            .values(used_at=bindparam("hour"))
            .where(k.id == bindparam("api_key"), k.used_at < bindparam("hour"))
        )
        living = and_(k.revoked_at == 0, p.removed_at == 0)
        self.api_keys_ending = self._compiled(
            select(k.id, p.tenant, k.principal, p.name, k.expires_at, k.warned_at, k.replaced_by)
            .join(t.principals, p.id == k.principal)
            .where(living, k.expires_at > bindparam("after"), k.expires_at <= bindparam("before"))
            .order_by(k.expires_at, k.id)
        )
        shown = (k.id, k.principal, k.expires_at, k.revoked_at, k.created_at, p.tenant)
        owned = select(*shown).join(t.principals, p.id == k.principal)
        self.service_key_shown = self._compiled(owned.where(k.id == bindparam("key_id")))
        self.keys_page = self._compiled(
            owned.where(p.tenant == bindparam("tenant"), k.id < bindparam("below"))
            .order_by(k.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.api_keys_older = self._compiled(
            select(func.count())
            .select_from(t.api_keys)
            .join(t.principals, p.id == k.principal)
            .where(
                living,
                k.replaced_by.is_(None),
                k.created_at <= bindparam("made_by"),
                or_(k.expires_at == 0, k.expires_at > bindparam("after")),
            )
        )

    def _what_hangs_on(self) -> ClauseElement:
        """How many living keys and grants go with a principal."""
        k, g = self._tables.api_keys.c, self._tables.grants.c
        living_keys = select(func.count()).where(k.principal == bindparam("principal_id"), k.revoked_at == 0)
        living_grants = select(func.count()).where(
            g.state != "revoked",
            g.valid_until > bindparam("at"),
            (g.created_by == bindparam("principal_id")) | (g.agent_id == bindparam("principal_id")),
        )
        return select(living_keys.scalar_subquery(), living_grants.scalar_subquery())

    def grant_columns(self) -> tuple[ColumnElement[Any], ...]:
        """The columns of a grant's row, in the order that `ledger.state` reads."""
        g = self._tables.grants.c
        return (
            g.id, g.tenant, g.agent, g.created_by, g.purpose, g.scope, g.any_subject, g.max_uses, g.batch,
            g.valid_from, g.valid_until, g.state, g.version, g.digest, g.uses, g.jkt, g.terms, g.tat,
            g.on_behalf_of,
        )  # fmt: skip

    def _grants(self) -> None:
        t = self._tables
        g, s = t.grants.c, t.grant_subjects.c
        self.insert_grant = self._compiled(insert(t.grants))
        self.insert_grant_subject = self._compiled(insert(t.grant_subjects))
        self.grants = StatementFamily(
            lambda size: select(*self.grant_columns()).where(g.id.in_(keys(size))).order_by(g.id),
            self._dialect,
            locks=True,
        )
        self.grant_subjects = StatementFamily(
            lambda size: select(s.grant, s.subject).where(s.grant.in_(keys(size))), self._dialect
        )
        self.grants_page = self._compiled(
            select(*self.grant_columns())
            .where(g.tenant == bindparam("tenant"), g.id < bindparam("below"))
            .order_by(g.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.grant_holder = self._compiled(
            select(
                *(g.digest, g.tenant, g.jkt, g.agent, g.purpose, g.terms),
                g.on_behalf_of.is_not(None).label("for_user"),
            ).where(g.id == bindparam("grant_id"))
        )
        self.living_grants = self._compiled(
            select(g.purpose, g.scope).where(
                g.tenant == bindparam("tenant"),
                g.state != "revoked",
                g.valid_until > bindparam("at"),
                g.uses < g.max_uses,
            )
        )
        self.charge_grant = self._compiled(
            update(t.grants)
            .values(uses=g.uses + bindparam("by"), tat=bindparam("to_tat"))
            .where(g.id == bindparam("grant_id"))
        )
        revoked = {"state": "revoked", "version": g.version + 1}
        self.revoke_every_grant = self._compiled(update(t.grants).values(revoked).where(g.state != "revoked"))
        self.insert_load = self._compiled(insert(t.loads))
        self.note_load = self._compiled(update(t.loads).values(progress=bindparam("new_progress")))
        self.revoke_grants_of = self._compiled(
            update(t.grants)
            .values(revoked)
            .where(
                g.state != "revoked",
                g.valid_until > bindparam("at"),
                (g.created_by == bindparam("principal_id")) | (g.agent_id == bindparam("principal_id")),
            )
            .returning(g.id)
        )

    def _audit_and_schema(self) -> None:
        t = self._tables
        a, s = t.audit.c, t.schemas.c
        self.insert_audit = self._compiled(insert(t.audit))
        self.insert_schema = self._compiled(insert(t.schemas))
        self.audit_range = self._compiled(
            select(a.number, a.leaf, a.body, t.audit_items.c.salt, t.audit_items.c["items"])
            .outerjoin(t.audit_items, t.audit_items.c.number == a.number)
            .where(and_(a.number >= bindparam("first"), a.number < bindparam("end")))
            .order_by(a.number)
        )
        self.event_from = self._compiled(
            select(a.number, a.body).where(a.number >= bindparam("first")).order_by(a.number).limit(1)
        )
        self.audit_page = self._compiled(
            select(a.number, a.leaf, a.body, t.audit_items.c.salt, t.audit_items.c["items"])
            .outerjoin(t.audit_items, t.audit_items.c.number == a.number)
            .where(and_(a.number >= bindparam("first"), a.number < bindparam("end")))
            .order_by(a.number.desc())
            .limit(bindparam("most", type_=Integer))
        )
        newest = select(s.tenant, func.max(s.version).label("version")).group_by(s.tenant).subquery()
        self.latest_schemas = self._compiled(
            select(s.tenant, s.version, s.body).join(
                newest, and_(newest.c.tenant == s.tenant, newest.c.version == s.version)
            )
        )
        row = (s.version, s.digest, s.applied_by, s.applied_at)
        self.schemas_page = self._compiled(
            select(*row)
            .where(s.tenant == bindparam("tenant"), s.version < bindparam("below"))
            .order_by(s.version.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.schema_version = self._compiled(
            select(*row, s.body).where(s.tenant == bindparam("tenant"), s.version == bindparam("version"))
        )
