"""What a group locks and reads: what its commands name at once, then what depends on the head and the time.

The order is one for all: principals and budgets, grants, subjects, keys, token rows, index rows, the head,
requests. The head's row is read before anything that is not locked, so that what is read is no older.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vault.clock import day_of
from vault.ledger.state import BlockRow, Head, Needs, Overtaken, State, collect_tokens
from vault.store.approving import ApprovalRow, Vote
from vault.store.cell import Store
from vault.store.crossing import ArrivalRow
from vault.store.custody import KeyRow
from vault.store.forgetting import erasure_row, hold_row
from vault.store.granting import HolderRow
from vault.store.operators import PasskeyRow, PasswordRow, RecoveryRow, SessionRow, TotpRow
from vault.store.rows import ApiKeyRow, decode_grant, decode_principal
from vault.store.session import Asked, Row, Session, StatementFamily
from vault.store.work import JobRow, ProcessRow

Take = Callable[[State, list[Row]], None]


@dataclass(slots=True)
class Reads:
    """Statements that need nothing of each other's answers, and who takes the answers."""

    asked: list[Asked] = field(default_factory=list)
    _takers: list[Take] = field(default_factory=list)

    def family(self, family: StatementFamily, keys: Sequence[Any], take: Take, **params: Any) -> None:
        """Asks a family for any number of keys."""
        for statement, listing in family.chunks(keys):
            self.asked.append((statement, {**listing, **params}))
            self._takers.append(take)

    def one(self, asked: Asked, take: Take) -> None:
        """Asks one statement."""
        self.asked.append(asked)
        self._takers.append(take)

    def take(self, state: State, found: Sequence[list[Row]]) -> None:
        """Puts the answers into the state."""
        for taker, rows in zip(self._takers, found, strict=True):
            taker(state, rows)


def first_reads(store: Store, needs: Needs) -> Reads:
    """What commands name by itself, in the order of the locks."""
    record, custody, reads = store.record, store.custody, Reads()
    if needs.principals:
        reads.family(record.principals, sorted(needs.principals), _principals)
    for tenant in sorted({tenant for tenant, _ in needs.names}):
        named = sorted(name for of, name in needs.names if of == tenant)
        reads.family(record.principals_by_name, named, _named(tenant), tenant=tenant)
    if needs.api_keys:
        reads.family(record.api_keys, sorted(needs.api_keys), _api_keys)
    _people(store, needs, reads)
    if needs.grants:
        reads.family(record.grants, sorted(needs.grants), _grants)
        reads.family(record.grant_subjects, sorted(needs.grants), _grant_subjects)
    if needs.proofs:
        reads.family(store.granting.grant_proofs, sorted(needs.proofs), _proofs)
    if needs.blocks:
        reads.family(store.granting.grant_blocks, sorted(needs.blocks), _blocks)
    if needs.holders:  # whoever asks for them asks for their agent, whose lock it has
        reads.family(store.granting.holder_keys, sorted(needs.holders), _holders)
    if needs.tries:
        reads.family(store.granting.grant_tries, sorted(needs.tries), _tries)
    if needs.approvals:
        reads.family(store.approving.approvals, sorted(needs.approvals), _approvals)
    if needs.subjects:
        reads.family(custody.subjects, sorted(needs.subjects), _subjects)
    for slot in sorted(needs.slots):
        params = {"tenant": slot.tenant, "subject": slot.subject, "class": slot.class_, "due": slot.due}
        reads.one((custody.data_key_slot, params), _slots)
    if needs.data_keys:
        reads.family(custody.data_keys, sorted(needs.data_keys), _data_keys)
    if needs.tokens:
        reads.family(custody.claims, sorted(needs.tokens), _tokens)
    return reads


def _people(store: Store, needs: Needs, reads: Reads) -> None:
    """What operators prove themselves by; whoever asks for it asks for its principal, whose lock it has."""
    operators = store.operators
    if needs.sessions:
        reads.family(operators.sessions, sorted(needs.sessions), _sessions)
    if needs.operators:
        reads.family(operators.passwords, sorted(needs.operators), _passwords)
        reads.family(operators.totp, sorted(needs.operators), _totp)
    if needs.passkeys:
        reads.family(operators.passkeys, sorted(needs.passkeys), _passkeys)
    if needs.recovery_codes:
        reads.family(operators.recovery_codes, sorted(needs.recovery_codes), _recovery_codes)
    if needs.challenges:
        reads.family(operators.challenges, sorted(needs.challenges), _challenges)


def _sessions(state: State, rows: list[Row]) -> None:
    for row in rows:
        state.sessions[row[0]] = SessionRow(*row)


def _passwords(state: State, rows: list[Row]) -> None:
    for row in rows:
        state.passwords[row[0]] = PasswordRow(*row)


def _totp(state: State, rows: list[Row]) -> None:
    for row in rows:
        state.totp[row[0], row[1]] = TotpRow(*row)


def _passkeys(state: State, rows: list[Row]) -> None:
    for row in rows:
        state.passkeys[row[0]] = PasskeyRow(*row)


def _recovery_codes(state: State, rows: list[Row]) -> None:
    for row in rows:
        state.recovery_codes[bytes(row[0])] = RecoveryRow(*row)


def _challenges(state: State, rows: list[Row]) -> None:
    state.challenges.update(bytes(row[0]) for row in rows)


def _principals(state: State, rows: list[Row]) -> None:
    for row in rows:
        state.principals[row[0]] = decode_principal(row)


def _named(tenant: str) -> Take:
    def take(state: State, rows: list[Row]) -> None:
        for row in rows:
            state.names[tenant, row[3]] = row[0]
            state.principals.setdefault(row[0], decode_principal(row))

    return take


def _api_keys(state: State, rows: list[Row]) -> None:
    for row in rows:
        state.api_keys[row[0]] = ApiKeyRow(*row)


def _grants(state: State, rows: list[Row]) -> None:
    for row in rows:
        state.grants[row[0]] = decode_grant(row, None)


def _grant_subjects(state: State, rows: list[Row]) -> None:
    subjects: dict[str, set[bytes]] = {}
    for grant, subject in rows:
        subjects.setdefault(grant, set()).add(bytes(subject))
    for grant, people in subjects.items():
        found = state.grants[grant].grant
        if found.subjects is not None:
            state.grants[grant].grant = replace(found, subjects=found.subjects | people)


def _proofs(state: State, rows: list[Row]) -> None:
    state.proofs.update(bytes(row[0]) for row in rows)


def _blocks(state: State, rows: list[Row]) -> None:
    for id_, *rest in rows:
        state.blocks[bytes(id_)] = BlockRow(bytes(id_), *rest)


def _holders(state: State, rows: list[Row]) -> None:
    for row in rows:
        key = HolderRow(*row)
        state.holders.setdefault(key.principal, {})[key.jkt] = key


def _tries(state: State, rows: list[Row]) -> None:
    for ref, tries in rows:
        state.tries[bytes(ref)] = tries


def _approvals(state: State, rows: list[Row]) -> None:
    for row in rows:
        state.approvals[bytes(row[3])] = ApprovalRow(*row)


def _subjects(state: State, rows: list[Row]) -> None:
    for id_, tenant in rows:
        state.subjects[bytes(id_)] = tenant


def _slots(state: State, rows: list[Row]) -> None:
    for row in rows:
        key = KeyRow(*row)
        state.slots[key.slot] = key


def _data_keys(state: State, rows: list[Row]) -> None:
    for row in rows:
        state.data_keys[bytes(row[0])] = KeyRow(*row)


def _tokens(state: State, rows: list[Row]) -> None:
    state.tokens.update(collect_tokens(rows))


def load(session: Session, store: Store, needs: Needs, state: State) -> None:
    """Locks and reads the rest of what the commands need: what depends on the head and on the time."""
    record, custody = store.record, store.custody
    for principal in sorted(needs.dependents):
        params = {"principal_id": principal, "at": state.now}
        keys, grants = session.rows(record.what_hangs_on, params)[0]
        state.dependents[principal] = (keys, grants)
    for principal, kind in sorted(needs.counters):
        params = {"principal": principal, "kind": kind, "day": day_of(state.now)}
        rows = session.rows(record.counter, params)
        state.counters[principal, kind] = rows[0][0] if rows else 0
    if needs.refs:
        for ref, subject in session.family(
            custody.subject_refs, sorted(needs.refs), epoch=state.head.read_epoch
        ):
            state.refs[bytes(ref)] = bytes(subject)
    _forgetting(session, store, needs, state)
    if needs.index:
        for entry, row in session.family(
            custody.index_entries, sorted(needs.index), epoch=state.head.read_epoch
        ):
            state.index[bytes(entry)] = bytes(row)
    if needs.settled:
        _settle(session, store, state)
    for tenant, field_ in sorted(needs.issued):
        rows = session.rows(custody.issued, {"tenant": tenant, "field": field_})
        state.issued[tenant, field_] = sum(row[1] for row in rows)
    for epoch in sorted({epoch for epoch, _ in needs.requests}):
        refs = sorted(ref for of, ref in needs.requests if of == epoch)
        for ref, expires_at in session.family(store.requests.held, refs, epoch=epoch):
            state.requests[epoch, bytes(ref)] = expires_at
    for tenant in sorted(needs.living_grants):
        found = session.rows(record.living_grants, {"tenant": tenant, "at": state.now})
        state.living_grants[tenant] = [(row[0], row[1]) for row in found]
    _granting(session, store, needs, state)
    for transfer in sorted({transfer for transfer, _ in needs.arrivals}):
        sources = sorted(source for of, source in needs.arrivals if of == transfer)
        for row in session.family(store.crossing.arrivals, sources, of_transfer=transfer):
            state.arrivals[transfer, bytes(row[1])] = ArrivalRow(*row)
    _work(session, store, needs, state)


def _forgetting(session: Session, store: Store, needs: Needs, state: State) -> None:
    forgetting = store.forgetting
    if needs.suppressed:
        epoch = state.head.read_epoch
        for ref, erasure in session.family(forgetting.suppressions, sorted(needs.suppressed), epoch=epoch):
            state.suppressed[bytes(ref)] = erasure
    if needs.erasures:
        for row in session.family(forgetting.erasures, sorted(needs.erasures)):
            state.erasures[row[0]] = erasure_row(row)
    for tenant in sorted(needs.holds):
        rows = session.rows(forgetting.holds_in_force, {"tenant": tenant})
        state.holds[tenant] = [hold_row(row) for row in rows]


def _granting(session: Session, store: Store, needs: Needs, state: State) -> None:
    counted = [id_ for id_, row in sorted(state.grants.items()) if row.grant.terms.max_distinct is not None]
    for grant, subject in session.family(store.granting.people_of_grants, counted) if counted else ():
        state.people.setdefault(grant, set()).add(bytes(subject))
    for grant in sorted(needs.open_approvals):
        [[count]] = session.rows(store.approving.open_approvals, {"of_grant": grant, "at": state.now})
        state.open_approvals[grant] = count
    by_id = {row.id: row for row in state.approvals.values()}
    for row in session.family(store.approving.votes, sorted(by_id)) if by_id else ():
        by_id[row[0]].votes.append(Vote(*row))
    # A kill switch moves the head's fence when it is set and when it is lifted.
    if needs.kills and store.unkilled_at != state.head.fence:
        if session.rows(store.granting.any_kill, {}):
            names = sorted({name for _, _, name in needs.kills})
            found = session.family(store.granting.binding_kills, names)
            state.kills = {(tenant, kind, name) for tenant, kind, name in found}
        else:
            store.unkilled_at = state.head.fence


def _work(session: Session, store: Store, needs: Needs, state: State) -> None:
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
