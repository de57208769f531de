"""Notices: written with what they tell of, in one commit, and sent by the worker until they are taken.

One is taken for a try by moving its time, so that of several workers one sends it. It may arrive twice, under
one id; it is given up after a day, which is on the record.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from vault.audit.event import Event
from vault.clock import DAY, SECOND, Micros
from vault.errors import CoatcheckError, Stale
from vault.identifiers import new_id
from vault.ledger.command import Command, Needs, State, Verb, Writes
from vault.services.cell import Cell
from vault.services.messenger import Message, NotTold
from vault.store.approving import NoticeRow
from vault.store.cell import Store

APPROVAL: Final = "approval.required"
PENDING_GRANT: Final = "grant.pending"
BROKEN_GLASS: Final = "break-glass.created"
GIVEN_UP: Final[Micros] = DAY
FIRST_PAUSE: Final[Micros] = 30 * SECOND  # longer than a try may take
LONGEST_PAUSE: Final[Micros] = 3_600 * SECOND
AT_ONCE: Final = 20
KEPT: Final[Micros] = 30 * DAY
WEEK: Final[Micros] = 7 * DAY
_log = logging.getLogger("coatcheck.worker")


def tell(
    channels: Sequence[str],
    writes: Writes,
    now: Micros,
    kind: str,
    tenant: str,
    about: str,
    agent: str,
    purpose: str,
) -> None:
    """Notes that somebody is to be told, by every channel."""
    for channel in channels:
        writes.insert(
            "notice",
            id=new_id("ntc"),
            tenant=tenant,
            channel=channel,
            kind=kind,
            about=about,
            agent=agent,
            purpose=purpose,
            state="pending",
            tries=0,
            created_at=now,
            next_at=now,
            error="",
        )


def pause(tries: int) -> Micros:
    """How long until the next try, after so many."""
    return min(FIRST_PAUSE << min(tries, 20), LONGEST_PAUSE)


class TakeNotice(Command):
    """Takes a notice for a try. Has no event: what it tells of has one."""

    def __init__(self, notice: NoticeRow) -> None:
        self._notice = notice

    def needs(self, needs: Needs) -> None:
        """Touches no row that others decide on."""

    def decide(self, state: State, writes: Writes) -> None:
        """Moves its time. If another worker was first, this comes back stale."""
        notice = self._notice
        if state.now < notice.next_at:
            raise Stale
        again = state.now + pause(notice.tries)
        writes.change("take_notice", [{"notice": notice.id, "seen": notice.next_at, "again": again}])


class SettleNotice(Command):
    """Says what became of a notice. That one is given up is an event."""

    def __init__(self, notice: NoticeRow, to: str, code: str) -> None:
        self._notice = notice
        self._to = to
        self._code = code

    def needs(self, needs: Needs) -> None:
        """Touches no row that others decide on."""

    def decide(self, state: State, writes: Writes) -> None:
        """Notes it."""
        notice = self._notice
        then = state.now + pause(notice.tries) if self._to == "pending" else state.now
        writes.update("settle_notice", notice=notice.id, to=self._to, then=then, code=self._code)
        if self._to == "failed":
            facts = {
                "code": "notice_given_up", "about": notice.about, "channel": notice.channel,
                "tries": notice.tries + 1, "cause": self._code,
            }  # fmt: skip
            writes.event(Event("alert", notice.tenant, "schedule", facts))


class DropNotices(Command):
    """Forgets what was told long ago. Has no event."""

    def needs(self, needs: Needs) -> None:
        """Touches no row that others decide on."""

    def decide(self, state: State, writes: Writes) -> None:
        """Removes them."""
        writes.update("drop_notices", before=state.now - KEPT)


def send_notices(cell: Cell, most: int = AT_ONCE) -> int:
    """Sends what is due, as far as it is taken; how many were sent. In the worker's thread.

    Args:
        most: how many are tried.
    """
    # Not a verb: between taking a notice and settling it, it is sent, which must not be done twice for a
    # transaction that was.
    sent = 0
    if cell.messenger is None:
        return 0
    now = cell.clock.now()
    for row in cell.store.read(cell.store.approving.due_notices, {"at": now, "most": most}):
        notice = NoticeRow(*row)
        try:
            cell.committer.execute(TakeNotice(notice))
        except Stale:
            continue  # another worker's
        to, code = "sent", ""
        try:
            cell.messenger.send(notice.channel, _message(cell, notice))
            sent += 1
        except Exception as problem:  # noqa: BLE001 - whatever it is, the next notice and the jobs go on
            code = _code(problem)
            to = "failed" if now - notice.created_at >= GIVEN_UP else "pending"
            _log.warning("notice not taken", extra={"notice": notice.id, "code": code})
        cell.committer.execute(SettleNotice(notice, to, code))
    return sent


def _code(problem: Exception) -> str:
    """What went wrong, in a word of ours."""
    if isinstance(problem, NotTold):
        return str(problem)
    return problem.code if isinstance(problem, CoatcheckError) else "internal"


def _message(cell: Cell, notice: NoticeRow) -> Message:
    base = cell.regions.get(cell.region, "").rstrip("/")
    uri = f"{base}/approve#{cell.region}/{notice.about}"
    return Message(
        notice.id, notice.kind, cell.region, notice.about, notice.agent, notice.purpose, uri
    )  # fmt: skip


def drop_notices(cell: Cell) -> Verb[None]:
    """Forgets notices that ended long ago, if there are any."""
    if cell.store.read(cell.store.approving.old_notices, {"before": cell.clock.now() - KEPT}):
        yield DropNotices()


def given_up(cell: Cell) -> int:
    """How many notices were given up in the last week."""
    return given_up_in(cell.store, cell.clock.now())


def given_up_in(store: Store, now: Micros) -> int:
    """The same of a database that is only read."""
    return int(store.read(store.approving.failed_notices, {"since": now - WEEK})[0][0])
