"""The target's part of a transfer: values are sealed under its own keys, once, however often they come.

The promise of the source goes on: a value is kept no longer than it would have been there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import Micros
from vault.errors import CoatcheckError, Stale, ValueRefused
from vault.identifiers import NIL
from vault.ledger.command import Command, Committed, Needs, State, Writes
from vault.retention.period import NO_DUE, RetentionClass, falls_due, retention_class
from vault.schema.rules import Protection
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.datakeys import obtain
from vault.services.gate import without_credential
from vault.services.issue import Count, Issue, Vaulted
from vault.services.retention import due_after_seal
from vault.services.subjects import enter
from vault.services.tokenize import check_vaulted
from vault.services.vaulting import Wanted, normal_form, vault
from vault.store.custody import KeyRow, Slot
from vault.store.rows import EpochsInUse

VERB: Final = "transfer.receive"


@dataclass(frozen=True, slots=True, repr=False)
class Coming:
    """A value on its way.

    Attributes:
        source: the row of the token that it had.
        ends: when it was to be gone at the source; None: that is not known.
    """

    source: bytes
    field: str
    value: str
    ends: Micros | None


@dataclass(frozen=True, slots=True)
class Arrived:
    """What became of a value: the row of its token here, or why it has none."""

    token: bytes
    code: str


class Arrive(Issue):
    """Enters what has come, unless any of it is here already.

    Args:
        came: for each of the rows, what it was at the source.
        refused: what this cell does not take, and why.
    """

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        schema: TenantSchema,
        epochs: EpochsInUse,
        counts: Iterable[Count],
        rows: list[Vaulted],
        came: list[Coming],
        refused: list[tuple[Coming, str]],
        transfer: str,
        facts: dict[str, Any],
    ) -> None:
        super().__init__(caller, origin, VERB, schema, epochs, counts, rows)
        self._came = came
        self._refused = refused
        self._transfer = transfer
        self._facts = facts
        self._ends: dict[bytes, Micros] = {}
        for row, one in zip(rows, came, strict=True):
            if one.ends is not None:
                self._ends[row.key.id] = max(one.ends, self._ends.get(row.key.id, 0))

    def needs(self, needs: Needs) -> None:
        """What issuing needs, and what has arrived."""
        super().needs(needs)
        needs.arrivals.update((self._transfer, one.source) for one in self._came)
        needs.arrivals.update((self._transfer, one.source) for one, _ in self._refused)

    def decide(self, state: State, writes: Writes) -> CoatcheckError | None:
        """Issues, and notes where each came from."""
        each = [(one, row.row, "") for one, row in zip(self._came, self._rows, strict=True)]
        each += [(one, NIL, code) for one, code in self._refused]
        if any((self._transfer, one.source) in state.arrivals for one, _, _ in each):
            raise Stale
        refusal = super().decide(state, writes)
        if refusal is None:
            for one, token, code in each:
                writes.insert(
                    "arrival",
                    transfer=self._transfer,
                    source=one.source,
                    field=one.field,
                    token=token,
                    code=code,
                )
        return refusal

    def due(self, state: State, writes: Writes) -> None:
        """The end that a value had goes on, where its class has one that moves; never to an earlier one."""
        unknown = [key for key in self._keys.values() if key.id not in self._ends]
        due_after_seal(self._schema, unknown, state, writes)
        for key, ends in self._ends.items():
            row = state.data_keys[key]
            if not row.due and (row.due_at is None or ends > row.due_at):
                state.data_keys[key] = row._replace(due_at=ends)
                writes.move_due(key, ends)

    def event(self, refusal: CoatcheckError | None) -> Event:
        """As of what is tokenized, with the transfer."""
        made = super().event(refusal)
        return replace(made, facts={**made.facts, **self._facts})


def receive(
    cell: Cell,
    tenant: str,
    source: str,
    transfer: str,
    legal_basis: str,
    person: str,
    coming: list[Coming],
    by: tuple[Caller, Origin, str] | None = None,
) -> Generator[Command, Committed, dict[bytes, Arrived]]:
    """Enters values that come from another cell; what became of each, by the row that it had.

    Args:
        transfer: what arrivals are kept under.
        by: who sent them from another process, and its id of the transfer; None: this process has both cells.

    Raises:
        Stale: some of it is here already, or keys and index moved on; the caller looks again.
    """
    caller, origin, told = by or (
        without_credential(f"transfer:{source}", tenant),
        Origin(f"transfer:{source}", transfer),
        transfer,
    )
    schema = cell.schemas.of(tenant)
    epochs = cell.keyring.in_use
    arrived = arrivals(cell, transfer, [one.source for one in coming])
    coming = [one for one in coming if one.source not in arrived]
    if not coming:
        return arrived
    wanted: list[Wanted] = []
    taken: list[Coming] = []
    refused: list[tuple[Coming, str]] = []
    counts: dict[str, Count] = {}
    for one in coming:
        rule = schema.schema.fields.get(one.field)
        if rule is None or rule.protection is not Protection.VAULTED:
            refused.append((one, "field_unknown" if rule is None else "operation_unsupported"))
            continue
        # A budget bounds who may try values; these are the vault's own.
        count = counts.setdefault(rule.name, Count(replace(rule, budget_per_day=None)))
        try:
            check_vaulted(rule, one.value, person)
            wanted.append(Wanted(rule, one.value, person, normal_form(rule, one.value)))
        except ValueRefused as refusal:
            refused.append((one, refusal.code))
            count.failed[refusal.code] = count.failed.get(refusal.code, 0) + 1
        else:
            taken.append(one)
            count.values += 1
    keys = yield from _keys(cell, caller, origin, schema, taken, wanted)
    rows = vault(cell, tenant, epochs, wanted, keys)
    failed = dict(sorted(Counter(code for _, code in refused).items()))
    facts: dict[str, Any] = {"transfer": told, "from": source, "legal_basis": legal_basis}
    facts |= {"refused": failed} if failed else {}
    command = Arrive(caller, origin, schema, epochs, counts.values(), rows, taken, refused, transfer, facts)
    done = yield command
    if done.value is not None:
        raise done.value
    arrived |= {one.source: Arrived(row.row, "") for one, row in zip(taken, rows, strict=True)}
    return arrived | {one.source: Arrived(NIL, code) for one, code in refused}


def _keys(
    cell: Cell,
    caller: Caller,
    origin: Origin,
    schema: TenantSchema,
    coming: list[Coming],
    wanted: list[Wanted],
) -> Generator[Command, Committed, list[KeyRow]]:
    """The data key of each value: by its person, class, and the earlier of the two ends."""
    if not wanted:
        return []
    people = yield from enter(
        cell, caller, origin, [one.subject for one in wanted if one.subject is not None]
    )
    now = cell.clock.now()
    slots = []
    for one, value in zip(coming, wanted, strict=True):
        rule = schema.schema.retention[value.rule.row_class]
        due = _due(retention_class(rule), now, one.ends)
        slots.append(Slot(caller.principal.tenant, people[value.subject or ""], rule.name, due))
    keys = yield from obtain(cell, caller, origin, slots)
    return [keys[slot] for slot in slots]


def _due(kept: RetentionClass, now: Micros, ends: Micros | None) -> str:
    """The due period of a value: as its class has it here, or earlier, if it was to be gone there by then."""
    here = kept.due(now)
    if here == NO_DUE or ends is None:
        return here
    return min((here, kept.period_of(ends - 1)), key=falls_due)


def arrivals(cell: Cell, transfer: str, sources: list[bytes]) -> dict[bytes, Arrived]:
    """What of a transfer is here already, by the row that it had."""
    rows = cell.store.read_keys(cell.store.crossing.arrivals, sources, of_transfer=transfer)
    return {bytes(row[1]): Arrived(bytes(row[3]), row[4]) for row in rows}
