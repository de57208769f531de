"""One transaction for a group of commands: lock, decide, write, advance the head. Pure of threads.

The head row is the last lock taken. Its update hands out the audit numbers under the condition that
epochs, fence and schema are still what the group decided on; the audit rows follow at once, because
they need the numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from vault.audit.event import draw_salts, seal_event
from vault.clock import Micros, day_of
from vault.errors import CoatcheckError, Internal, Stale, Unavailable
from vault.ledger.command import Command, Committed, committed
from vault.ledger.state import Head, Needs, State, Writes, collect_tokens
from vault.store.cell import Store
from vault.store.custody import KeyRow
from vault.store.rows import ApiKeyRow, decode_grant, decode_principal
from vault.store.session import Session
from vault.store.work import JobRow, ProcessRow

MAX_TRIES: Final = 8
MAX_ISSUED: Final = 2**62  # surrogates of a field that has no bound
_log = logging.getLogger("coatcheck.ledger")

Outcome = Committed | CoatcheckError | Stale

# Parents before children (foreign keys), custody before values before record.
_INSERT_ORDER: Final = (
    "due_period",
    "data_key",
    "field_key",
    "epoch",
    "subject",
    "subject_ref",
    "surrogate",
    "token",
    "index_entry",
    "claim",
    "tenant",
    "principal",
    "api_key",
    "grant",
    "grant_subject",
    "schema",
    "idempotency",
    "key_page",
    "job",
    "process",
    "turn",
)


# Rows that two processes may make at once, by the columns that make them the same row: each process goes
# through them in one order, so that neither waits for a row of the other's while it holds one.
_SORTED_BY: Final[dict[str, tuple[str, ...]]] = {
    "due_period": ("tenant", "class", "due"),
    "data_key": ("tenant", "subject", "class", "due"),
    "subject_ref": ("epoch", "ref"),
    "surrogate": ("tenant", "field", "surrogate"),
    "index_entry": ("epoch", "entry"),
    "idempotency": ("epoch", "ref"),
}


class Overtaken(Exception):
    """Another process was first: the head moved, or a row that was to be inserted is there already."""


class Missed(Exception):
    """A row that was to be changed is not what it was: what was prepared on it is stale."""


class AuditFailed(Exception):
    """The events could not be written, so nothing else is."""


class NotBegun(Exception):
    """The transaction could not begin: no command of the group would fare better alone."""


def run_group(session: Session, store: Store, commands: Sequence[Command]) -> list[Outcome]:
    """Runs commands in one transaction; singly if the transaction itself fails.

    Returns:
        One outcome a command, in order. Never raises: one command must not take the others with it.
    """
    for _ in range(MAX_TRIES):
        try:
            return _transaction(session, store, commands)
        except Overtaken:
            session.rollback()
        except Exception as problem:  # noqa: BLE001 - see above
            stands = session.rollback()
            if isinstance(problem, NotBegun) or not stands:
                # Not run again: a commit on a connection that is gone may have taken place.
                _log.error("ledger transaction failed", extra={"error": type(problem).__name__})
                return [Unavailable("database_unavailable") for _ in commands]
            if len(commands) > 1:
                return [run_group(session, store, (command,))[0] for command in commands]
            return [_failure(session, problem)]
    return [Unavailable("too_busy", retry_after=1) for _ in commands]


def _failure(session: Session, problem: Exception) -> Outcome:
    """What a single command's failed transaction means."""
    if isinstance(problem, Missed | session.integrity_error):
        return Stale()  # what it was prepared on is no longer so: a name or a row is there already
    cause = problem.__cause__ if isinstance(problem, AuditFailed) else problem
    _log.error("ledger command failed", extra={"error": type(cause).__name__})
    if session.unavailable(cause):
        return Unavailable("database_unavailable")
    if isinstance(problem, AuditFailed):
        return Unavailable("audit_unavailable")
    return Internal("internal")


def _transaction(session: Session, store: Store, commands: Sequence[Command]) -> list[Outcome]:
    try:
        session.begin()
    except session.database_error as problem:
        raise NotBegun from problem
    head = Head(*session.rows(store.record.head, {})[0])
    needs = Needs()
    for command in commands:
        command.needs(needs)
    state = load(session, store, needs, State(head, session.now(head.last_at)))
    writes = Writes(state)
    outcomes: list[Outcome] = []
    for command in commands:
        try:
            if command.prepared_on not in (None, head.epochs):
                raise Stale
            value = command.decide(state, writes)
        except (CoatcheckError, Stale) as refusal:
            outcomes.append(refusal)
        else:
            outcomes.append(committed(value, state.now))
    if writes.empty:
        session.rollback()
    else:
        _write(session, store, writes)
        session.commit()
    return outcomes


def load(session: Session, store: Store, needs: Needs, state: State) -> State:
    """Locks and reads what the commands need, in one global order."""
    record, custody = store.record, store.custody
    if needs.principals:
        for row in session.family(record.principals, sorted(needs.principals)):
            state.principals[row[0]] = decode_principal(row)
    for tenant in sorted({tenant for tenant, _ in needs.names}):
        named = sorted(name for of, name in needs.names if of == tenant)
        for row in session.family(record.principals_by_name, named, tenant=tenant):
            state.names[tenant, row[3]] = row[0]
            state.principals.setdefault(row[0], decode_principal(row))
    if needs.api_keys:
        for row in session.family(record.api_keys, sorted(needs.api_keys)):
            state.api_keys[row[0]] = ApiKeyRow(*row)
    for principal in sorted(needs.dependents):
        params = {"principal_id": principal, "at": state.now}
        keys, grants = session.rows(record.what_hangs_on, params)[0]
        state.dependents[principal] = (keys, grants)
    for principal, kind in sorted(needs.counters):
        params = {"principal": principal, "kind": kind, "day": day_of(state.now)}
        rows = session.rows(record.counter, params)
        state.counters[principal, kind] = rows[0][0] if rows else 0
    if needs.grants:
        _load_grants(session, store, needs, state)
    if needs.refs:
        for ref, subject in session.family(
            custody.subject_refs, sorted(needs.refs), epoch=state.head.read_epoch
        ):
            state.refs[bytes(ref)] = bytes(subject)
    if needs.subjects:
        for id_, tenant in session.family(custody.subjects, sorted(needs.subjects)):
            state.subjects[bytes(id_)] = tenant
    for slot in sorted(needs.slots):
        params = {"tenant": slot.tenant, "subject": slot.subject, "class": slot.class_, "due": slot.due}
        for row in session.rows(custody.data_key_slot, params):
            state.slots[slot] = KeyRow(*row)
    if needs.data_keys:
        for row in session.family(custody.data_keys, sorted(needs.data_keys)):
            state.data_keys[bytes(row[0])] = KeyRow(*row)
    if needs.tokens:
        state.tokens.update(collect_tokens(session.family(custody.claims, sorted(needs.tokens))))
    if needs.index:
        for entry, row in session.family(
            custody.index_entries, sorted(needs.index), epoch=state.head.read_epoch
        ):
            state.index[bytes(entry)] = bytes(row)
    if needs.settled:
        _settle(session, store, state)
    for tenant, field in sorted(needs.issued):
        rows = session.rows(custody.issued, {"tenant": tenant, "field": field})
        state.issued[tenant, field] = sum(row[1] for row in rows)
    for epoch in sorted({epoch for epoch, _ in needs.requests}):
        refs = sorted(ref for of, ref in needs.requests if of == epoch)
        for ref, expires_at in session.family(store.requests.held, refs, epoch=epoch):
            state.requests[epoch, bytes(ref)] = expires_at
    for tenant in sorted(needs.living_grants):
        found = session.rows(record.living_grants, {"tenant": tenant, "at": state.now})
        state.living_grants[tenant] = [(row[0], row[1]) for row in found]
    _load_work(session, store, needs, state)
    return state


def _load_work(session: Session, store: Store, needs: Needs, state: State) -> None:
    work = store.work
    if needs.jobs:
        for row in session.family(work.jobs, sorted(needs.jobs)):
            state.jobs[row[0]] = JobRow(*row)
    for kind in sorted(needs.unended):
        state.unended[kind] = [JobRow(*row) for row in session.rows(work.jobs_unended, {"kind": kind})]
    if needs.due_job:
        for row in session.rows(work.job_due, {"at": state.now}):
            state.due_job = JobRow(*row)
    if needs.processes:
        state.processes = [ProcessRow(bytes(row[0]), *row[1:]) for row in session.rows(work.processes, {})]


def _settle(session: Session, store: Store, state: State) -> None:
    """Takes the head's lock before the last reads: what they find is what stands at the commit.

    Raises:
        Overtaken: the group was read under another head.
    """
    head = Head(*session.rows(store.record.lock_head, {})[0])
    was = state.head
    if head._replace(next=was.next, last_at=was.last_at) != was:
        raise Overtaken


def _load_grants(session: Session, store: Store, needs: Needs, state: State) -> None:
    rows = session.family(store.record.grants, sorted(needs.grants))
    limited = [row[0] for row in rows if not row[6]]
    subjects: dict[str, set[bytes]] = {}
    if limited:
        for grant, subject in session.family(store.record.grant_subjects, limited):
            subjects.setdefault(grant, set()).add(bytes(subject))
    for row in rows:
        state.grants[row[0]] = decode_grant(row, frozenset(subjects.get(row[0], ())))


def _write(session: Session, store: Store, writes: Writes) -> None:
    state, record = writes.state, store.record
    for table in _INSERT_ORDER:
        rows = writes.inserts.get(table)
        if rows and table in _SORTED_BY:
            rows.sort(key=itemgetter(*_SORTED_BY[table]))
        if rows and session.run_many(store.insert(table), rows) < len(rows) and table != "due_period":
            raise Overtaken
    for grant, uses in sorted(writes.charges.items()):
        session.run(record.charge_grant, {"grant_id": grant, "by": uses})
    day = day_of(state.now)
    for (principal, kind), by in sorted(writes.counters.items()):
        session.run(record.add_to_counter, {"principal": principal, "kind": kind, "day": day, "by": by})
    for (tenant, field, version), count in sorted(writes.issued.items()):
        counted = {"tenant": tenant, "field": field, "key_version": version, "issued": count}
        most = writes.most.get((tenant, field), MAX_ISSUED)
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
    head = state.head
    advanced = session.rows(
        record.advance_head,
        {
            "events": len(writes.events),
            "write_by": writes.write_by,
            "read_by": writes.read_by,
            "fence_by": writes.fence_by,
            "schema_by": writes.schema_by,
            "at": state.now,
            "seen_write_epoch": head.write_epoch,
            "seen_read_epoch": head.read_epoch,
            "seen_fence": head.fence,
            "seen_schema": head.schema_version,
        },
    )
    if not advanced:
        raise Overtaken
    end, at = advanced[0]
    _write_events(session, store, writes, end - len(writes.events), at)


def _write_events(session: Session, store: Store, writes: Writes, first: int, at: Micros) -> None:
    audit: list[tuple[Any, ...]] = []
    kept: list[tuple[Any, ...]] = []
    salts = draw_salts(sum(1 for event in writes.events if event.items))
    for number, event in enumerate(writes.events, first):
        sealed = seal_event(event, at, writes.state.head.region, salts)
        audit.append((number, sealed.leaf, sealed.body))
        if sealed.items is not None:
            kept.append((number, sealed.salt, sealed.items))
    try:
        if audit:
            session.run_many(store.record.insert_audit, audit)
        if kept:
            session.run_many(store.custody.insert_audit_items, kept)
    except session.database_error as problem:
        raise AuditFailed from problem
