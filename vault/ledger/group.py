"""One transaction for a group of commands: lock, decide, write, advance the head. Pure of threads.

The head row is the last lock taken. Its update hands out the audit numbers under the condition that
epochs, fence and schema are still what the group decided on; the audit rows follow at once, because
they need the numbers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final

from vault.errors import CoatcheckError, Internal, Stale, Unavailable, pause_after
from vault.ledger.command import Command, Committed, committed
from vault.ledger.reading import first_reads, load
from vault.ledger.state import Head, Needs, Overtaken, State, Trial, Writes
from vault.ledger.writing import AuditFailed, Missed, is_plain, write, write_at_once
from vault.store.cell import Store
from vault.store.pipeline import ServerSession
from vault.store.session import Session

MAX_TRIES: Final = 8
LOST_TRIES: Final = 3  # connections that a group may lose before it is refused
PAUSE_S: Final = 0.05
FIND_OUT_S: Final = 10.0  # a server that restarts is back by then; clients wait for longer
SINGLY_S: Final = 5.0
_log = logging.getLogger("coatcheck.ledger")

Outcome = Committed | CoatcheckError | Stale


class NotBegun(Exception):
    """The transaction could not begin: no command of the group would fare better alone."""


def run_group(session: Session, store: Store, commands: Sequence[Command]) -> list[Outcome]:
    """Runs commands in one transaction; singly if the transaction itself fails.

    Returns:
        One outcome a command, in order. Never raises: one command must not take the others with it.
    """
    lost = 0
    for tries in range(MAX_TRIES):
        trial = Trial()
        try:
            _transaction(session, store, commands, trial, at_once=session.at_once and tries == 0)
        except Overtaken:
            session.rollback()
            continue
        except Exception as problem:  # noqa: BLE001 - see above
            stands = session.rollback()
            if isinstance(problem, NotBegun):
                return _told(problem.__cause__, commands)
            if not stands:
                took_place = _find_out(session, store, trial) if trial.sent else False
                if took_place is None:
                    return [Unavailable("outcome_unknown") for _ in commands]
                if took_place:
                    return trial.outcomes
                lost += 1
                if lost == LOST_TRIES:
                    return _told(problem, commands)
                time.sleep(PAUSE_S * lost)
                continue
            if session.in_the_way(problem) and tries + 1 < MAX_TRIES:
                time.sleep(pause_after(tries + 2))
                continue
            if len(commands) > 1:
                return _singly(session, store, commands)
            if session.at_once and tries == 0:
                continue  # sent at once, it says only that something failed; in steps it says what
            return [_failure(session, problem)]
        return trial.outcomes
    return [Unavailable("too_busy", retry_after=1) for _ in commands]


def _told(problem: BaseException | None, commands: Sequence[Command]) -> list[Outcome]:
    """What everybody is told whose transaction could not be run."""
    _log.error("ledger transaction failed", extra={"error": type(problem).__name__})
    return [Unavailable("database_unavailable") for _ in commands]


def _singly(session: Session, store: Store, commands: Sequence[Command]) -> list[Outcome]:
    """Each command in a transaction of its own, as long as nobody else has to wait too long for it."""
    end = time.monotonic() + SINGLY_S
    outcomes: list[Outcome] = []
    for command in commands:
        if time.monotonic() < end:
            outcomes += run_group(session, store, (command,))
        else:
            outcomes.append(Unavailable("database_unavailable"))
    return outcomes


def _find_out(session: Session, store: Store, trial: Trial) -> bool | None:
    """Whether a commit took place whose answer was lost; None if that cannot be known now.

    The lost transaction holds the head's lock until it has ended one way or the other, so whoever gets the
    lock after it sees what came of it: its events are there, or never will be.
    """
    if trial.leaf is None:
        return None
    end = time.monotonic() + FIND_OUT_S
    while time.monotonic() < end:
        try:
            session.begin()
            session.rows(store.record.lock_head, {})
            found = session.rows(store.record.event_with, {"first": trial.first, "leaf": trial.leaf})
        except Exception as problem:  # noqa: BLE001 - whatever it was, the question stands
            session.rollback()
            _log.warning("looking for a commit", extra={"error": type(problem).__name__})
            time.sleep(PAUSE_S)
            continue
        session.rollback()
        _log.warning("a lost commit was looked for", extra={"found": bool(found)})
        return bool(found)
    return None


def _failure(session: Session, problem: Exception) -> Outcome:
    """What a single command's failed transaction means."""
    if isinstance(problem, Missed | session.integrity_error):
        return Stale()  # what it was prepared on is no longer so: a name or a row is there already
    cause = problem.__cause__ if isinstance(problem, AuditFailed) else problem
    _log.error("ledger command failed", extra={"error": type(cause).__name__})
    if session.unavailable(cause):
        return Unavailable("database_unavailable")
    lacking = session.lacks_right(cause)
    if lacking is not None:
        _log.error("the database denies the service a right", extra={"of": lacking})
        return Unavailable("database_right_missing")
    if isinstance(problem, AuditFailed):
        return Unavailable("audit_unavailable")
    return Internal("internal")


def _transaction(
    session: Session, store: Store, commands: Sequence[Command], trial: Trial, *, at_once: bool
) -> None:
    needs = Needs()
    for command in commands:
        command.needs(needs)
    try:
        session.begin()
    except session.database_error as problem:
        raise NotBegun from problem
    reads = first_reads(store, needs)
    [[head_row], *found], now = session.look([(store.record.head, {}), *reads.asked])
    head = Head(*head_row)
    state = State(head, max(now, head.last_at))
    trial.first = head.next
    reads.take(state, found)
    load(session, store, needs, state)
    writes = Writes(state)
    for command in commands:
        try:
            if command.prepared_on not in (None, head.epochs):
                raise Stale
            value = command.decide(state, writes)
        except (CoatcheckError, Stale) as refusal:
            trial.outcomes.append(refusal)
        else:
            trial.outcomes.append(committed(value, state.now))
    if writes.empty:
        session.rollback()
    elif at_once and isinstance(session, ServerSession) and is_plain(writes):
        write_at_once(session, store, writes, trial)
    else:
        write(session, store, writes, trial)
        trial.sent = True
        session.commit()
