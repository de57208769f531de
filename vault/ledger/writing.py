"""What a group writes: step by step, or, where nobody has to look at an answer, all of it with the commit."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from vault.audit.event import Sealed, draw_salts, seal_event
from vault.clock import Micros, day_of
from vault.ledger.state import Overtaken, Trial, Writes
from vault.store.cell import Store
from vault.store.pipeline import COPIED_ROWS, ServerSession
from vault.store.session import Params, Session, Statement

MAX_ISSUED: Final = 2**62  # surrogates of a field that has no bound

# Parents before children (foreign keys), custody before values before record.
_INSERT_ORDER: Final = (
    "due_period",
    "data_key",
    "field_key",
    "epoch",
    "subject",
    "subject_ref",
    "suppression",
    "surrogate",
    "token",
    "index_entry",
    "claim",
    "tenant",
    "principal",
    "holder_key",
    "api_key",
    "client_key",
    "password",
    "totp",
    "recovery_code",
    "passkey",
    "session",
    "challenge",
    "grant",
    "grant_subject",
    "grant_block",
    "grant_person",
    "grant_proof",
    "grant_try",
    "kill",
    "approval",
    "approval_vote",
    "break_glass",
    "notice",
    "schema",
    "policy",
    "review",
    "review_item",
    "hold",
    "erasure",
    "idempotency",
    "key_page",
    "job",
    "process",
    "turn",
    "directory_removal",
    "transfer",
    "arrival",
)


# Rows that two processes may make at once, by the columns that make them the same row: each process goes
# through them in one order, so that neither waits for a row of the other's while it holds one.
_SORTED_BY: Final[dict[str, tuple[str, ...]]] = {
    "due_period": ("tenant", "class", "due"),
    "data_key": ("tenant", "subject", "class", "due"),
    "subject_ref": ("epoch", "ref"),
    "suppression": ("epoch", "ref"),
    "surrogate": ("tenant", "field", "surrogate"),
    "index_entry": ("epoch", "entry"),
    "idempotency": ("epoch", "ref"),
    "directory_removal": ("ref",),
    "arrival": ("transfer", "source"),
}
# Inserts of which another process may have made the row: how many were made has to be looked at.
_CHECKED: Final = frozenset({"data_key", "idempotency", "arrival"})
# Inserts that may find the row there, and leave it: there is nothing to be looked at.
_IDLE: Final = frozenset({"due_period", "directory_removal"})


class Missed(Exception):
    """A row that was to be changed is not what it was: what was prepared on it is stale."""


class AuditFailed(Exception):
    """The events could not be written, so nothing else is."""


def is_plain(writes: Writes) -> bool:
    """Whether no statement of it has to be looked at before the commit."""
    looked_at = writes.block_uses or writes.issued or writes.updates or writes.changes or writes.pairs
    return not (looked_at or _CHECKED & writes.inserts.keys())


def write_at_once(session: ServerSession, store: Store, writes: Writes, trial: Trial) -> None:
    """Everything with the commit, in one round trip; what the events say of the time is decided before.

    Raises:
        Overtaken: nothing was done.
    """
    state, record = writes.state, store.record
    few: list[tuple[Statement, Sequence[Params]]] = []
    for table in _INSERT_ORDER:
        inserted = _in_order(writes, table)
        if not inserted:
            continue
        statement = store.insert(table)
        if len(inserted) >= COPIED_ROWS and statement.target is not None:
            session.copy(statement, inserted)
        else:
            few.append((statement, inserted))
    sealed = _sealed(writes, state.now)
    kept = [(place, one.salt, one.items) for place, one in enumerate(sealed) if one.items is not None]
    arrays = {
        "leaves": [one.leaf for one in sealed],
        "bodies": [one.body for one in sealed],
        "places": [place for place, _, _ in kept],
        "salts": [salt for _, salt, _ in kept],
        "items": [items for _, _, items in kept],
    }
    charges = sorted(writes.charges.items())
    day = day_of(state.now)
    try:
        with session.together():
            for statement, rows in few:
                session.send_many(statement, rows)
            if charges:
                charged = {
                    "grants": [grant for grant, _ in charges],
                    "by": [uses for _, uses in charges],
                    "tats": [state.grants[grant].tat for grant, _ in charges],
                }
                session.send(record.charge_grants, charged)
            for (principal, kind), uses in sorted(writes.counters.items()):
                counted = {"principal": principal, "kind": kind, "day": day, "by": uses}
                session.send(record.add_to_counter, counted)
            for key, to in sorted(writes.due.items()):
                session.send(store.custody.move_due, {"data_key": key, "to": to})
            session.send(record.finish, {**_advance(writes), **arrays})
            trial.leaf = sealed[0].leaf if sealed else None
            trial.sent = True
            session.commit()
    except session.database_error as problem:
        if session.overtaken(problem):
            raise Overtaken from None
        raise


def _in_order(writes: Writes, table: str) -> list[Params]:
    """The rows that go into a table, in the order in which every process goes through them."""
    rows = writes.inserts.get(table, [])
    if table in _SORTED_BY:
        rows.sort(key=itemgetter(*_SORTED_BY[table]))
    return rows


def _advance(writes: Writes) -> dict[str, int]:
    """What the head is moved by, and the head that was decided on."""
    head = writes.state.head
    return {
        "events": len(writes.events),
        "write_by": writes.write_by,
        "read_by": writes.read_by,
        "fence_by": writes.fence_by,
        "schema_by": writes.schema_by,
        "at": writes.state.now,
        "seen_write_epoch": head.write_epoch,
        "seen_read_epoch": head.read_epoch,
        "seen_fence": head.fence,
        "seen_schema": head.schema_version,
    }


def write(session: Session, store: Store, writes: Writes, trial: Trial) -> None:
    """Everything but the commit, one statement after the other.

    Raises:
        Overtaken: the head, or a row that was to be made, is another process's by now.
        Missed: a row that was to be changed is not what it was.
        AuditFailed: the events cannot be written.
    """
    state, record = writes.state, store.record
    for table in _INSERT_ORDER:
        rows = _in_order(writes, table)
        if rows and session.run_many(store.insert(table), rows) < len(rows) and table not in _IDLE:
            raise Overtaken
    for grant, uses in sorted(writes.charges.items()):
        tat = state.grants[grant].tat
        session.run(record.charge_grant, {"grant_id": grant, "by": uses, "to_tat": tat})
    for block, uses in sorted(writes.block_uses.items()):
        session.run(store.granting.use_grant_block, {"block_id": block, "by": uses})
    day = day_of(state.now)
    for (principal, kind), by in sorted(writes.counters.items()):
        session.run(record.add_to_counter, {"principal": principal, "kind": kind, "day": day, "by": by})
    for (tenant, field_, version), count in sorted(writes.issued.items()):
        counted = {"tenant": tenant, "field": field_, "key_version": version, "issued": count}
        most = writes.most.get((tenant, field_), MAX_ISSUED)
        if session.run(store.custody.add_issued, {**counted, "last_at": state.now, "most": most}) == 0:
            raise Overtaken  # another process took the last of them
    for key, to in sorted(writes.due.items()):
        session.run(store.custody.move_due, {"data_key": key, "to": to})
    for name, params in writes.updates:
        session.run(store.update(name), params)
    for name, changed, each in writes.changes:
        if session.run_many(store.update(name), changed) != len(changed) and each:
            raise Missed
    for name, params, pairs in writes.pairs:
        session.run_pairs(store.family(name), pairs, params)
    advanced = session.rows(record.advance_head, _advance(writes))
    if not advanced:
        raise Overtaken
    end, at = advanced[0]
    _write_events(session, store, writes, end - len(writes.events), at, trial)


def _write_events(
    session: Session, store: Store, writes: Writes, first: int, at: Micros, trial: Trial
) -> None:
    sealed = _sealed(writes, at)
    audit = [(number, one.leaf, one.body) for number, one in enumerate(sealed, first)]
    kept = [
        (number, one.salt, one.items) for number, one in enumerate(sealed, first) if one.items is not None
    ]
    trial.leaf = sealed[0].leaf if sealed else None
    try:
        if audit:
            session.run_many(store.record.insert_audit, audit)
        if kept:
            session.run_many(store.custody.insert_audit_items, kept)
    except session.database_error as problem:
        raise AuditFailed from problem


def _sealed(writes: Writes, at: Micros) -> list[Sealed]:
    """The events as they are kept."""
    salts = draw_salts(sum(1 for event in writes.events if event.items))
    region = writes.state.head.region
    return [seal_event(event, at, region, salts) for event in writes.events]
