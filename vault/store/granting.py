"""Statements on what is counted, seen and forbidden under grants: proofs, blocks, people, tries, kills."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Integer, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from vault.clock import Micros
from vault.store.custody import keys
from vault.store.session import Statement, StatementFamily
from vault.store.tables import SQLITE, Tables


class HolderRow(NamedTuple):
    """A registered key of an agent, in the order of `GrantingStatements.holder_keys`."""

    principal: str
    jkt: str
    x: str
    label: str | None
    created_at: Micros
    expires_at: Micros  # 0: never
    revoked_at: Micros  # 0: not

    def valid(self, now: Micros) -> bool:
        """Whether grants may be bound to it."""
        return not self.revoked_at and (not self.expires_at or self.expires_at > now)


class GrantingStatements:
    """All statements on grants beside their own row, compiled for one dialect."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._states()
        self._proofs()
        self._counted()
        self._kills()
        self._holders()

    def _compiled(self, element: ClauseElement) -> Statement:
        return Statement(element, self._dialect)

    def _states(self) -> None:
        g = self._tables.grants.c
        self.set_grant_state = self._compiled(
            update(self._tables.grants)
            .values(state=bindparam("to"), version=g.version + 1)
            .where(g.id == bindparam("grant_id"), g.version == bindparam("seen"))
        )
        narrowed = ("scope", "max_uses", "batch", "valid_until", "any_subject", "terms")
        self.narrow_grant = self._compiled(
            update(self._tables.grants)
            .values(version=g.version + 1, **{name: bindparam(f"to_{name}") for name in narrowed})
            .where(g.id == bindparam("grant_id"), g.version == bindparam("seen"))
        )

    def _proofs(self) -> None:
        p = self._tables.grant_proofs
        self.insert_grant_proof = self._compiled(insert(p))
        self.grant_proofs = StatementFamily(
            lambda size: select(p.c.ref).where(p.c.ref.in_(keys(size))), self._dialect
        )
        old = select(p.c.ref).where(p.c.ref < bindparam("before")).limit(bindparam("most", type_=Integer))
        self.old_proofs = self._compiled(old)
        self.drop_old_proofs = self._compiled(delete(p).where(p.c.ref.in_(old)))

    def _counted(self) -> None:
        t = self._tables
        b, s, n, r = t.grant_blocks.c, t.grant_subjects.c, t.grant_people.c, t.grant_tries.c
        upsert = sqlite.insert if t.dialect == SQLITE else postgresql.insert
        self.insert_grant_block = self._compiled(insert(t.grant_blocks))
        self.grant_blocks = StatementFamily(
            lambda size: select(b.id, b.grant, b.uses, b.revoked_at).where(b.id.in_(keys(size))),
            self._dialect,
        )
        self.use_grant_block = self._compiled(
            update(t.grant_blocks).values(uses=b.uses + bindparam("by")).where(b.id == bindparam("block_id"))
        )
        self.revoke_grant_block = self._compiled(
            update(t.grant_blocks)
            .values(revoked_at=bindparam("at"))
            .where(b.id == bindparam("block_id"), b.revoked_at == 0)
        )
        self.insert_grant_person = self._compiled(insert(t.grant_people))
        self.people_of_grants = StatementFamily(
            lambda size: select(n.grant, n.subject).where(n.grant.in_(keys(size))), self._dialect
        )
        self.drop_grant_subject = self._compiled(
            delete(t.grant_subjects).where(s.grant == bindparam("grant_id"), s.subject == bindparam("person"))
        )
        tried = upsert(t.grant_tries).values(
            ref=bindparam("ref"), grant=bindparam("grant"), tries=bindparam("tries")
        )
        self.insert_grant_try = self._compiled(
            tried.on_conflict_do_update(index_elements=["ref"], set_={"tries": tried.excluded.tries})
        )
        self.grant_tries = StatementFamily(
            lambda size: select(r.ref, r.tries).where(r.ref.in_(keys(size))), self._dialect
        )

    def _holders(self) -> None:
        t = self._tables
        h, g, p = t.holder_keys.c, t.grants.c, t.principals.c
        row = (h.principal, h.jkt, h.x, h.label, h.created_at, h.expires_at, h.revoked_at)
        this = (h.principal == bindparam("of_principal"), h.jkt == bindparam("of_jkt"))
        self.insert_holder_key = self._compiled(insert(t.holder_keys))
        self.holder_keys = StatementFamily(
            lambda size: select(*row).where(h.principal.in_(keys(size))), self._dialect
        )
        self.holder_keys_page = self._compiled(
            select(*row)
            .join(t.principals, p.id == h.principal)
            .where(h.principal == bindparam("of_principal"), p.tenant == bindparam("of_tenant"))
            .order_by(h.created_at.desc(), h.jkt)
        )
        self.end_holder_key = self._compiled(
            update(t.holder_keys).values(expires_at=bindparam("at")).where(*this, h.revoked_at == 0)
        )
        ended: dict[str, Any] = {"revoked_at": bindparam("at")}
        self.revoke_holder_key = self._compiled(
            update(t.holder_keys).values(ended).where(*this, h.revoked_at == 0)
        )
        self.revoke_grants_of_holder = self._compiled(
            update(t.grants)
            .values(state="revoked", version=g.version + 1)
            .where(g.agent_id == bindparam("of_agent"), g.jkt == bindparam("of_jkt"), g.state != "revoked")
        )
        # After a restore of a record that may not be the newest.
        self.revoke_every_holder_key = self._compiled(
            update(t.holder_keys).values(ended).where(h.revoked_at == 0)
        )

    def _kills(self) -> None:
        t = self._tables
        k = t.kills.c
        shown = (
            k.id, k.tenant, k.kind, k.name, k.reason, k.created_by, k.created_at, k.lifted_at, k.lifted_by
        )  # fmt: skip
        self.insert_kill = self._compiled(insert(t.kills))
        self.binding_kills = StatementFamily(
            lambda size: select(k.tenant, k.kind, k.name).where(k.lifted_at == 0, k.name.in_(keys(size))),
            self._dialect,
        )
        self.any_kill = self._compiled(select(k.id).where(k.lifted_at == 0).limit(1))
        self.kills_page = self._compiled(
            select(*shown)
            .where(k.tenant == bindparam("tenant"), k.id < bindparam("below"))
            .order_by(k.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.kill = self._compiled(select(*shown).where(k.id == bindparam("kill_id")))
        self.lift_kill = self._compiled(
            update(t.kills)
            .values(lifted_at=bindparam("at"), lifted_by=bindparam("by"))
            .where(k.id == bindparam("kill_id"), k.lifted_at == 0)
        )
