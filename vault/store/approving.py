"""Statements on approvals, on what is told of them, and on grants that were made past a ceiling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlalchemy import Integer, bindparam, delete, func, insert, select, update
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import ClauseElement

from vault.clock import Micros
from vault.store.custody import keys
from vault.store.session import Statement, StatementFamily
from vault.store.tables import Tables


class Vote(NamedTuple):
    """What somebody said to an approval, in the order of `ApprovingStatements.votes`.

    Attributes:
        mfa_by, mfa_at: the second factor that was proved in the session, and when.
    """

    approval: str
    principal: str
    name: str
    verdict: str
    reason: str | None
    mfa_by: str
    mfa_at: Micros
    at: Micros


@dataclass(slots=True)
class ApprovalRow:
    """An approval, in the order of `ApprovingStatements.approvals`; then its votes.

    Attributes:
        digest: keyed, of what was asked; version: of the grant then.
        verb: `detokenize`, `decrypt`, `verify`; empty where the grant itself is to be approved.
        state: `pending`, `approved`, `denied`, `used`.
    """

    id: str
    tenant: str
    grant: str
    digest: bytes
    version: int
    verb: str
    operation: str
    delivery: str
    fields: str
    items: int
    needed: int
    state: str
    created_at: Micros
    expires_at: Micros
    sealed: bytes = field(repr=False)
    votes: list[Vote] = field(default_factory=list)

    @property
    def have(self) -> int:
        """How many have approved."""
        return sum(vote.verdict == APPROVE for vote in self.votes)


APPROVE: Final = "approve"
DENY: Final = "deny"
PENDING: Final = "pending"
APPROVED: Final = "approved"
DENIED: Final = "denied"
USED: Final = "used"


class NoticeRow(NamedTuple):
    """Something to be told, in the order of `ApprovingStatements.due_notices`."""

    id: str
    tenant: str
    channel: str
    kind: str
    about: str
    agent: str
    purpose: str
    state: str
    tries: int
    created_at: Micros
    next_at: Micros
    error: str


class BreakGlassRow(NamedTuple):
    """A grant that was made past a ceiling, in the order of `ApprovingStatements.break_glass`."""

    grant: str
    tenant: str
    created_by: str
    created_at: Micros
    review_by: Micros
    reviewed_at: Micros
    reviewed_by: str | None
    verdict: str
    note: str | None


class ApprovingStatements:
    """All of them, compiled for one dialect."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._approvals()
        self._notices()
        self._break_glass()

    def _compiled(self, element: ClauseElement) -> Statement:
        return Statement(element, self._dialect)

    def _approvals(self) -> None:
        t = self._tables
        a, v = t.approvals.c, t.approval_votes.c
        row = tuple(a)
        self.insert_approval = self._compiled(insert(t.approvals))
        # Of one digest the newest is last: whoever reads them takes that one.
        self.approvals = StatementFamily(
            lambda size: select(*row).where(a.digest.in_(keys(size))).order_by(a.id), self._dialect
        )
        self.approval = self._compiled(select(*row).where(a.id == bindparam("approval_id")))
        self.approvals_page = self._compiled(
            select(*row)
            .where(a.tenant == bindparam("tenant"), a.id < bindparam("below"))
            .order_by(a.id.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.approve_approval = self._compiled(
            update(t.approvals)
            .values(state=APPROVED)
            .where(a.id == bindparam("approval_id"), a.state == PENDING)
        )
        # What was asked is of no use any more where it can be neither shown nor approved.
        self.end_approval = self._compiled(
            update(t.approvals)
            .values(state=bindparam("to"), sealed=b"")
            .where(a.id == bindparam("approval_id"), a.state == bindparam("seen"))
        )
        self.empty_approvals = self._compiled(
            update(t.approvals)
            .values(sealed=b"")
            .where(a.expires_at <= bindparam("at"), func.length(a.sealed) > 0)
        )
        self.full_approvals = self._compiled(
            select(a.id).where(a.expires_at <= bindparam("at"), func.length(a.sealed) > 0).limit(1)
        )
        self.open_approvals = self._compiled(
            select(func.count()).where(
                a.grant == bindparam("of_grant"), a.state == PENDING, a.expires_at > bindparam("at")
            )
        )
        self.insert_approval_vote = self._compiled(insert(t.approval_votes))
        self.votes = StatementFamily(
            lambda size: select(*tuple(v)).where(v.approval.in_(keys(size))).order_by(v.approval, v.at),
            self._dialect,
        )

    def _notices(self) -> None:
        t = self._tables
        n = t.notices.c
        self.insert_notice = self._compiled(insert(t.notices))
        self.due_notices = self._compiled(
            select(*tuple(n))
            .where(n.state == "pending", n.next_at <= bindparam("at"))
            .order_by(n.next_at)
            .limit(bindparam("most", type_=Integer))
        )
        self.take_notice = self._compiled(
            update(t.notices)
            .values(tries=n.tries + 1, next_at=bindparam("again"))
            .where(n.id == bindparam("notice"), n.state == "pending", n.next_at == bindparam("seen"))
        )
        self.settle_notice = self._compiled(
            update(t.notices)
            .values(state=bindparam("to"), next_at=bindparam("then"), error=bindparam("code"))
            .where(n.id == bindparam("notice"), n.state == "pending")
        )
        self.failed_notices = self._compiled(
            select(func.count()).where(n.state == "failed", n.next_at > bindparam("since"))
        )
        self.old_notices = self._compiled(
            select(n.id).where(n.state != "pending", n.next_at <= bindparam("before")).limit(1)
        )
        self.drop_notices = self._compiled(
            delete(t.notices).where(n.state != "pending", n.next_at <= bindparam("before"))
        )

    def _break_glass(self) -> None:
        t = self._tables
        b = t.break_glass.c
        row = tuple(b)
        self.insert_break_glass = self._compiled(insert(t.break_glass))
        self.break_glass = self._compiled(select(*row).where(b.grant == bindparam("grant_id")))
        self.break_glass_page = self._compiled(
            select(*row)
            .where(b.tenant == bindparam("tenant"), b.grant < bindparam("below"))
            .order_by(b.grant.desc())
            .limit(bindparam("most", type_=Integer))
        )
        self.review_break_glass = self._compiled(
            update(t.break_glass)
            .values(
                reviewed_at=bindparam("at"),
                reviewed_by=bindparam("by"),
                verdict=bindparam("found"),
                note=bindparam("told"),
            )
            .where(b.grant == bindparam("grant_id"), b.reviewed_at == 0)
        )
        self.overdue_break_glass = self._compiled(
            select(func.count()).where(b.reviewed_at == 0, b.review_by <= bindparam("at"))
        )
