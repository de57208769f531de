"""Statements on erasures, legal holds and suppressions, compiled for one dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Integer, bindparam, delete, func, insert, null, select, update
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from vault.clock import Micros
from vault.store.custody import keys
from vault.store.session import Statement, StatementFamily
from vault.store.tables import Tables

REQUESTED = "requested"
REMOVED = "removed"


class ErasureRow(NamedTuple):
    """An erasure, in the order of `ForgettingStatements.erasures`."""

    id: str
    tenant: str
    kind: str
    state: str
    subject: bytes | None
    target: str
    grounds: str
    job: str
    created_by: str
    created_at: Micros
    keys: int
    counts: str
    number: int
    removed_at: Micros
    events: int
    fenced_until: Micros
    reopened_at: Micros
    reopened_by: str | None


class HoldRow(NamedTuple):
    """A legal hold, in the order of `ForgettingStatements.holds`."""

    id: str
    tenant: str
    kind: str
    subject: bytes | None
    name: str
    state: str
    reason: str
    created_by: str
    created_at: Micros
    confirmed_by: str | None
    confirmed_at: Micros
    release_asked_by: str | None
    release_asked_at: Micros
    release_reason: str | None
    released_by: str | None
    released_at: Micros


def erasure_row(row: Sequence[Any]) -> ErasureRow:
    """An erasure from a row of the database."""
    found = ErasureRow(*row)
    return found if found.subject is None else found._replace(subject=bytes(found.subject))


def hold_row(row: Sequence[Any]) -> HoldRow:
    """A legal hold from a row of the database."""
    found = HoldRow(*row)
    return found if found.subject is None else found._replace(subject=bytes(found.subject))


class ForgettingStatements:
    """All statements of forgetting."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._erasures()
        self._suppressions()
        self._people()
        self._holds()

    def _compiled(self, element: ClauseElement) -> Statement:
        return Statement(element, self._dialect)

    def _erasures(self) -> None:
        t = self._tables
        e = t.erasures.c
        row = (
            e.id, e.tenant, e.kind, e.state, e.subject, e.target, e.grounds, e.job, e.created_by,
            e.created_at, e["keys"], e.counts, e.number, e.removed_at,
            e.events, e.fenced_until, e.reopened_at,
            e.reopened_by,
        )  # fmt: skip
        self.insert_erasure = self._compiled(insert(t.erasures))
        self.erasures = StatementFamily(
            lambda size: select(*row).where(e.id.in_(keys(size))).order_by(e.id), self._dialect
        )
        self.erasures_page = self._compiled(
            select(*row)
            .where(e.tenant == bindparam("tenant"), e.id < bindparam("below"))
            .order_by(e.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.erasures_over = self._compiled(
            select(*row)
            .where(
                e.reopened_at == 0,
                e.fenced_until > 0,  # of a person
                e.fenced_until <= bindparam("at"),
                e.state == REMOVED,
            )
            .order_by(e.fenced_until)
            .limit(bindparam("most", type_=Integer))
        )
        self.end_erasure = self._compiled(
            update(t.erasures)
            .values(
                state=REMOVED,
                keys=bindparam("removed"),
                counts=bindparam("what"),
                removed_at=bindparam("at"),
                events=bindparam("had"),
            )
            .where(e.id == bindparam("of_erasure"), e.state == REQUESTED)
        )
        self.open_fence = self._compiled(
            update(t.erasures)
            .values(reopened_at=bindparam("at"), reopened_by=bindparam("by"))
            .where(e.id == bindparam("of_erasure"), e.state == REMOVED, e.reopened_at == 0)
        )

    def _suppressions(self) -> None:
        t = self._tables
        s = t.suppressions.c
        self.insert_suppression = self._compiled(insert(t.suppressions))
        self.suppressions = StatementFamily(
            lambda size: (
                select(s.ref, s.erasure)
                .where(s.epoch == bindparam("epoch"), s.ref.in_(keys(size)))
                .order_by(s.ref)
            ),
            self._dialect,
        )
        self.drop_suppressions_of = self._compiled(
            delete(t.suppressions).where(s.erasure == bindparam("of_erasure"))
        )

    def _people(self) -> None:
        """A person's row and keys, and what lies under them."""
        t = self._tables
        k, v, o, p = t.data_keys.c, t.claims.c, t.tokens.c, t.subjects.c
        self.keys_of_subject = self._compiled(
            select(k.id, k["class"], k.due)
            .where(k.tenant == bindparam("tenant"), k.subject == bindparam("of_subject"))
            .order_by(k.id)
        )
        self.claims_of_subject = self._compiled(
            select(o.field, func.count())
            .select_from(t.data_keys)
            .join(t.claims, v.key == k.id)
            .join(t.tokens, o.id == v.token)
            .where(k.tenant == bindparam("tenant"), k.subject == bindparam("of_subject"))
            .group_by(o.field)
            .order_by(o.field)
        )
        # Tokens that somebody else has a claim of too go on being tokens.
        other = t.claims.alias()
        of_other = t.data_keys.alias()
        self.shared_tokens_of_subject = self._compiled(
            select(func.count(func.distinct(v.token)))
            .select_from(t.data_keys)
            .join(t.claims, v.key == k.id)
            .join(other, other.c.token == v.token)
            .join(of_other, of_other.c.id == other.c.key)
            .where(
                k.tenant == bindparam("tenant"),
                k.subject == bindparam("of_subject"),
                of_other.c.subject != bindparam("of_subject"),
            )
        )
        self.suspend_keys_of = self._compiled(
            update(t.data_keys)
            .values(state="suspended")
            .where(
                k.tenant == bindparam("of_tenant"),
                k.subject == bindparam("of_subject"),
                k.state == "active",
            )
        )
        self.drop_claims_of = self._compiled(delete(t.claims).where(t.claims.c.key == bindparam("data_key")))
        self.mark_subject = self._compiled(
            update(t.subjects)
            .values(erasure=bindparam("by_erasure"))
            .where(p.id == bindparam("of_subject"), p.erasure.is_(None))
        )
        self.drop_references_to = self._compiled(
            delete(t.subject_refs).where(t.subject_refs.c.subject == bindparam("of_subject"))
        )

    def _holds(self) -> None:
        t = self._tables
        h = t.holds.c
        row = (
            h.id, h.tenant, h.kind, h.subject, h.name, h.state, h.reason, h.created_by, h.created_at,
            h.confirmed_by, h.confirmed_at, h.release_asked_by, h.release_asked_at, h.release_reason,
            h.released_by, h.released_at,
        )  # fmt: skip
        self.insert_hold = self._compiled(insert(t.holds))
        self.hold = self._compiled(select(*row).where(h.id == bindparam("hold_id")))
        j = t.jobs.c
        # A job that waits for a hold looks again at once; no other waits for one.
        self.wake_held = self._compiled(
            update(t.jobs)
            .values(due_at=bindparam("at", type_=BigInteger))
            .where(
                j.tenant == bindparam("of_tenant"),
                j.state == "waiting",
                j.waits_for == "hold",
                j.due_at > bindparam("at"),
            )
        )
        self.holds_page = self._compiled(
            select(*row)
            .where(h.tenant == bindparam("tenant"), h.id < bindparam("below"))
            .order_by(h.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.holds_in_force = self._compiled(
            select(*row).where(h.tenant == bindparam("tenant"), h.released_at == 0).order_by(h.id)
        )
        self.confirm_hold = self._compiled(
            update(t.holds)
            .values(confirmed_by=bindparam("by"), confirmed_at=bindparam("at", type_=BigInteger))
            .where(h.id == bindparam("hold_id"), h.confirmed_at == 0, h.released_at == 0)
        )
        self.ask_release = self._compiled(
            update(t.holds)
            .values(
                state="releasing",
                release_asked_by=bindparam("by"),
                release_asked_at=bindparam("at", type_=BigInteger),
                release_reason=bindparam("why"),
            )
            .where(h.id == bindparam("hold_id"), h.state == "active")
        )
        self.release_hold = self._compiled(
            update(t.holds)
            .values(
                state="released",
                released_by=bindparam("by"),
                released_at=bindparam("at", type_=BigInteger),
            )
            .where(h.id == bindparam("hold_id"), h.state == "releasing")
        )
        self.keep_hold = self._compiled(
            update(t.holds)
            .values(state="active", release_asked_by=null(), release_asked_at=0, release_reason=null())
            .where(h.id == bindparam("hold_id"), h.state == "releasing")
        )
