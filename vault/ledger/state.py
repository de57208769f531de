"""What a group has locked and read, and what it will write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vault.audit.event import Event
from vault.clock import Micros
from vault.store.approving import ApprovalRow
from vault.store.crossing import ArrivalRow
from vault.store.custody import KeyRow, Slot
from vault.store.forgetting import ErasureRow, HoldRow
from vault.store.granting import HolderRow
from vault.store.operators import PasskeyRow, PasswordRow, RecoveryRow, SessionRow, TotpRow
from vault.store.rows import ApiKeyRow, EpochsInUse, GrantRow, PrincipalRow
from vault.store.session import Params
from vault.store.work import JobRow, ProcessRow


class Head(NamedTuple):
    """The cell's one head row, in the order of `RecordStatements.head`."""

    region: str
    next: int
    write_epoch: int
    read_epoch: int
    fence: int
    schema_version: int
    last_at: Micros

    @property
    def epochs(self) -> EpochsInUse:
        """The epochs in use."""
        return EpochsInUse(self.write_epoch, self.read_epoch)


class Overtaken(Exception):
    """Another process was first: the head moved, or a row that was to be inserted is there already."""


@dataclass(slots=True)
class Trial:
    """One attempt at a group's transaction.

    Attributes:
        outcomes: one a command, once it was decided.
        first: the least number that its first event can have.
        leaf: of that event: what is looked for, if no answer comes to the commit.
        sent: whether the commit is on its way.
    """

    outcomes: list[Any] = field(default_factory=list)
    first: int = 0
    leaf: bytes | None = None
    sent: bool = False


class BlockRow(NamedTuple):
    """A delegation's row, in the order of `GrantingStatements.grant_blocks`."""

    id: bytes
    grant: str
    uses: int
    revoked_at: Micros


Kill = tuple[str, str, str]
"""What a kill switch is set for: tenant, kind, and name."""


class Claim(NamedTuple):
    """One sealed copy of a token's value, and the key it lies under."""

    sealed: bytes
    key: KeyRow


@dataclass(slots=True)
class TokenRow:
    """A token with its living claims, lowest key id first."""

    tenant: str
    field: str
    claims: list[Claim]
    surrogate: str | None = None


def collect_tokens(rows: Iterable[Sequence[Any]]) -> dict[bytes, TokenRow]:
    """Tokens with their claims, from the rows of `CustodyStatements.claims`.

    A token without claims has one row; a claim without a key row is a claim whose key is gone.
    """
    tokens: dict[bytes, TokenRow] = {}
    for row in rows:
        id_ = bytes(row[0])
        token = tokens.get(id_)
        if token is None:
            token = tokens[id_] = TokenRow(row[1], row[2], [], row[3])
        claim = row[4]
        if claim is not None and row[5] is not None:
            token.claims.append(Claim(bytes(claim), KeyRow(*row[5:])))
    return tokens


@dataclass(slots=True)
class Needs:
    """The rows that the commands of a group touch; locked in the order of these members."""

    principals: set[str] = field(default_factory=set)
    names: set[tuple[str, str]] = field(default_factory=set)  # (tenant, full name)
    api_keys: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    operators: set[str] = field(default_factory=set)  # principals whose password and TOTP device are read
    passkeys: set[str] = field(default_factory=set)
    recovery_codes: set[bytes] = field(default_factory=set)  # digests
    challenges: set[bytes] = field(default_factory=set)  # digests
    dependents: set[str] = field(default_factory=set)  # principals whose keys and grants are counted
    counters: set[tuple[str, str]] = field(default_factory=set)  # (principal, kind), of the ledger's day
    grants: set[str] = field(default_factory=set)
    proofs: set[bytes] = field(default_factory=set)  # digests of proofs that must be new
    blocks: set[bytes] = field(default_factory=set)  # of delegations
    tries: set[bytes] = field(default_factory=set)  # keyed digests of tokens that are verified
    kills: set[Kill] = field(default_factory=set)  # what a kill switch may be set for
    approvals: set[bytes] = field(default_factory=set)  # keyed digests of what somebody must approve
    open_approvals: set[str] = field(default_factory=set)  # grants whose approvals that wait are counted
    holders: set[str] = field(default_factory=set)  # agents whose registered keys are read
    refs: set[bytes] = field(default_factory=set)
    suppressed: set[bytes] = field(default_factory=set)  # references that erasures may have left
    erasures: set[str] = field(default_factory=set)
    holds: set[str] = field(default_factory=set)  # tenants whose legal holds in force are read
    subjects: set[bytes] = field(default_factory=set)
    slots: set[Slot] = field(default_factory=set)
    data_keys: set[bytes] = field(default_factory=set)
    tokens: set[bytes] = field(default_factory=set)
    index: set[bytes] = field(default_factory=set)  # entries of the blind index
    settled: bool = False  # nobody else commits from the reads below on until this group has
    issued: set[tuple[str, str]] = field(default_factory=set)  # (tenant, field) whose surrogates are counted
    requests: set[tuple[int, bytes]] = field(default_factory=set)  # (epoch, reference)
    living_grants: set[str] = field(default_factory=set)  # tenants whose grants that may be used are read
    jobs: set[str] = field(default_factory=set)
    unended: set[str] = field(default_factory=set)  # kinds of jobs whose unended ones are read
    due_job: bool = False  # whether a job that is due, and that nobody has, is read
    processes: bool = False  # whether all processes that hold keys are read
    arrivals: set[tuple[str, bytes]] = field(default_factory=set)  # (transfer, row of the token that it had)


@dataclass(slots=True)
class State:
    """The rows, as locked and as changed by earlier commands of the group."""

    head: Head
    now: Micros
    principals: dict[str, PrincipalRow] = field(default_factory=dict)
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    api_keys: dict[str, ApiKeyRow] = field(default_factory=dict)
    sessions: dict[str, SessionRow] = field(default_factory=dict)
    passwords: dict[str, PasswordRow] = field(default_factory=dict)  # by principal
    totp: dict[tuple[str, int], TotpRow] = field(default_factory=dict)  # by principal, and whether pending
    passkeys: dict[str, PasskeyRow] = field(default_factory=dict)
    recovery_codes: dict[bytes, RecoveryRow] = field(default_factory=dict)
    challenges: set[bytes] = field(default_factory=set)  # those of them that were answered
    dependents: dict[str, tuple[int, int]] = field(default_factory=dict)  # living keys, living grants
    counters: dict[tuple[str, str], int] = field(default_factory=dict)
    grants: dict[str, GrantRow] = field(default_factory=dict)
    people: dict[str, set[bytes]] = field(default_factory=dict)  # whose values a grant showed, if it counts
    proofs: set[bytes] = field(default_factory=set)  # those that were seen
    blocks: dict[bytes, BlockRow] = field(default_factory=dict)
    tries: dict[bytes, int] = field(default_factory=dict)
    kills: set[Kill] = field(default_factory=set)  # those that bind
    approvals: dict[bytes, ApprovalRow] = field(default_factory=dict)  # by digest, the newest
    open_approvals: dict[str, int] = field(default_factory=dict)  # by grant
    holders: dict[str, dict[str, HolderRow]] = field(default_factory=dict)  # by agent, then thumbprint
    refs: dict[bytes, bytes] = field(default_factory=dict)
    suppressed: dict[bytes, str] = field(default_factory=dict)  # the erasure that left each
    erasures: dict[str, ErasureRow] = field(default_factory=dict)
    holds: dict[str, list[HoldRow]] = field(default_factory=dict)  # by tenant, the oldest first
    subjects: dict[bytes, str] = field(default_factory=dict)  # those that are not being erased
    slots: dict[Slot, KeyRow] = field(default_factory=dict)
    data_keys: dict[bytes, KeyRow] = field(default_factory=dict)
    tokens: dict[bytes, TokenRow] = field(default_factory=dict)
    index: dict[bytes, bytes] = field(default_factory=dict)  # entry -> token row
    issued: dict[tuple[str, str], int] = field(default_factory=dict)  # over all key versions
    requests: dict[tuple[int, bytes], Micros] = field(default_factory=dict)  # until when its answer is kept
    living_grants: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # purpose and scope
    jobs: dict[str, JobRow] = field(default_factory=dict)
    unended: dict[str, list[JobRow]] = field(default_factory=dict)  # by kind
    due_job: JobRow | None = None
    processes: list[ProcessRow] = field(default_factory=list)
    arrivals: dict[tuple[str, bytes], ArrivalRow] = field(default_factory=dict)


@dataclass(slots=True)
class Writes:
    """What a group writes, as sets. The methods that change a counter change the state too."""

    state: State
    inserts: dict[str, list[Params]] = field(default_factory=lambda: defaultdict(list))
    charges: dict[str, int] = field(default_factory=dict)
    block_uses: dict[bytes, int] = field(default_factory=dict)
    counters: dict[tuple[str, str], int] = field(default_factory=dict)
    issued: dict[tuple[str, str, int], int] = field(default_factory=dict)
    most: dict[tuple[str, str], int] = field(default_factory=dict)  # (tenant, field) of a bounded space
    due: dict[bytes, Micros] = field(default_factory=dict)  # data key -> its later date
    updates: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    changes: list[tuple[str, Sequence[Mapping[str, Any]], bool]] = field(default_factory=list)
    pairs: list[tuple[str, Mapping[str, Any], Sequence[tuple[Any, Any]]]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    write_by: int = 0  # epochs
    read_by: int = 0
    fence_by: int = 0
    schema_by: int = 0

    def insert(self, table: str, **row: Any) -> None:
        """Inserts a row by the statement `insert_<table>`."""
        self.inserts[table].append(row)

    def insert_rows(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """The same for whole rows, in the order of the table's columns: for tables that many rows go into.

        A table's rows come this way or the other, not both.
        """
        if rows:
            self.inserts[table] += rows

    def charge(self, grant: str, uses: int, tat: Micros | None = None) -> None:
        """Adds uses to a grant, for this command and the ones after it.

        Args:
            tat: the rate's new state; None where it does not change.
        """
        row = self.state.grants[grant]
        row.uses += uses
        row.tat = row.tat if tat is None else tat
        self.charges[grant] = self.charges.get(grant, 0) + uses

    def see_proof(self, ref: bytes) -> None:
        """Notes a proof, which is never taken again."""
        self.state.proofs.add(ref)
        self.insert("grant_proof", ref=ref)

    def charge_block(self, block: bytes, grant: str, uses: int) -> None:
        """Adds uses to a delegation; its row is made when it is first charged."""
        row = self.state.blocks.get(block)
        if row is None:
            row = self.state.blocks[block] = BlockRow(block, grant, 0, 0)
            self.insert("grant_block", id=block, grant=grant, uses=0, revoked_at=0)
        self.state.blocks[block] = row._replace(uses=row.uses + uses)
        self.block_uses[block] = self.block_uses.get(block, 0) + uses

    def try_token(self, ref: bytes, grant: str) -> None:
        """Counts a try at a token under a grant."""
        tries = self.state.tries[ref] = self.state.tries.get(ref, 0) + 1
        self.insert("grant_try", ref=ref, grant=grant, tries=tries)

    def see_person(self, grant: str, subject: bytes) -> None:
        """Notes that a grant shows a value of somebody, where that is counted."""
        known = self.state.people.setdefault(grant, set())
        if subject not in known:
            known.add(subject)
            self.insert("grant_person", grant=grant, subject=subject)

    def count(self, counter: tuple[str, str], by: int) -> None:
        """Adds to a counter of the ledger's day."""
        self.state.counters[counter] = self.state.counters.get(counter, 0) + by
        self.counters[counter] = self.counters.get(counter, 0) + by

    def issue(self, tenant: str, field: str, key_version: int, count: int, most: int | None = None) -> None:
        """Counts surrogates of a field; key version 0 for those that name none.

        Args:
            most: for how many in all this was decided, whatever other processes issue meanwhile; None for
                any number.
        """
        of = (tenant, field)
        if most is not None:
            self.most[of] = most
        self.state.issued[of] = self.state.issued.get(of, 0) + count
        self.issued[*of, key_version] = self.issued.get((*of, key_version), 0) + count

    def move_due(self, key: bytes, to: Micros) -> None:
        """Moves a data key's date, never to an earlier one."""
        self.due[key] = max(to, self.due.get(key, to))

    def update(self, statement: str, **params: Any) -> None:
        """Runs one of the update statements of record or custody."""
        self.updates.append((statement, params))

    def change(self, statement: str, rows: Sequence[Mapping[str, Any]], *, each: bool = True) -> None:
        """Runs a statement for each of the rows.

        Args:
            each: whether each must change one row. That makes compare-and-swap of it: if one does not, all
                is undone, and the command comes back stale.
        """
        if rows:
            self.changes.append((statement, rows, each))

    def carry(self, statements: str, pairs: Sequence[tuple[Any, Any]], **params: Any) -> None:
        """Runs a family of statements over pairs, `k0` and `n0` and so on; whatever rows they change."""
        self.pairs.append((statements, params, pairs))

    def event(self, event: Event) -> None:
        """Adds an event, in this transaction."""
        self.events.append(event)

    @property
    def empty(self) -> bool:
        """Whether nothing is to be written."""
        return not (
            self.events
            or self.inserts
            or self.charges
            or self.counters
            or self.issued
            or self.due
            or self.updates
            or self.changes
            or self.pairs
            or self.write_by
            or self.read_by
        )
