"""Issuing surrogates: the one command that writes tokens and claims, counts, and charges budgets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vault.audit.event import Event, listed
from vault.authn.identities import Caller
from vault.errors import BadInput, CoatcheckError, Denied, Stale
from vault.identifiers import format_id, new_id
from vault.keystate.states import KeyState, may_open
from vault.ledger.command import ROWS_A_WEIGHT, Needs, State, Writes
from vault.ledger.state import Claim, TokenRow
from vault.schema.document import FieldRule, Small
from vault.services.cell import Origin, TenantSchema
from vault.services.gate import CallerCommand, trace
from vault.services.hidden import Hidden
from vault.services.retention import due_after_seal
from vault.store.custody import KeyRow
from vault.store.rows import EpochsInUse

_SMALL = {Small.VAULTED: "vaulted", Small.PASS: "passed"}  # how the log calls values of small domains
ALERT_AT = 2  # a half of what there may be
NO_VERSION = 0  # what is issued under no key version: tokens of rows, and values that are passed


class IndexRow(NamedTuple):
    """What a token is found by in an epoch, under a version of the field's index key."""

    epoch: int
    version: int
    entry: bytes


class Vaulted(Hidden, frozen=True, gc=False):
    """A vaulted value, ready to be written.

    Attributes:
        row: the token's row.
        key: the data key of its claim.
        claim: its sealed copy; None where the token has one under this key already.
        new: whether the token is new; else the index named it.
        surrogate: of a shaped token.
        entry: in the blind index, of a deterministic field, as it is looked up.
        entries: the same in each epoch and version that the index is written in.
        found: the row that the index named when this was prepared; None for none.
    """

    row: bytes
    field: str
    key: KeyRow
    claim: bytes | None
    new: bool = True
    surrogate: str | None = None
    entry: bytes | None = None
    found: bytes | None = None
    entries: tuple[IndexRow, ...] = ()


@dataclass(slots=True, repr=False)
class Count:
    """What a request makes of one field.

    Attributes:
        values: how many were asked for; what a budget counts.
        small: of those, how many of a vaultless field FF1 has too few of, and `rule.small` takes.
        failed: how many could not be taken, by code.
    """

    rule: FieldRule
    values: int = 0
    key_version: int | None = None
    small: int = 0
    failed: dict[str, int] = field(default_factory=dict)


class Issue(CallerCommand):
    """Writes what was prepared, if epoch, keys and index still stand, inside the caller's budgets.

    Returns from `decide`: the refusal, which is on the record, or None.
    """

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        verb: str,
        schema: TenantSchema,
        epochs: EpochsInUse,
        counts: Iterable[Count],
        rows: list[Vaulted] | None = None,
        keys: Iterable[KeyRow] = (),
    ) -> None:
        super().__init__(caller, schema.head)
        self.decision = new_id("dec")
        self._origin = origin
        self._verb = verb
        self._schema = schema.schema
        self.prepared_on = epochs
        self._counts = sorted(counts, key=lambda count: count.rule.name)
        self._rows = rows or []
        self._keys = {key.id: key for key in keys}
        self._new: dict[str, int] = {}
        if self._rows:
            self._keys |= {row.key.id: row.key for row in self._rows}
            self._new = {row.field: 0 for row in self._rows}
            for name in {row.row: row.field for row in self._rows if row.new}.values():
                self._new[name] += 1
        self._indexed = any(row.entry is not None for row in self._rows)
        self.weight = 1 + len(self._rows) // ROWS_A_WEIGHT

    def needs(self, needs: Needs) -> None:
        """The caller's rows, budgets, data keys, the tokens that the index named, and its entries."""
        super().needs(needs)
        needs.data_keys.update(self._keys)
        for count in self._counts:
            if count.rule.budget_per_day is not None:
                needs.counters.add(self._budget(count))
            if count.rule.max_rows is not None:
                needs.issued.add((self.caller.principal.tenant, count.rule.name))
        for row in self._rows:
            if row.found is not None:
                needs.tokens.add(row.found)
            if row.entry is not None:
                needs.index.add(row.entry)

    def decide(self, state: State, writes: Writes) -> CoatcheckError | None:
        """Inserts everything."""
        self.check(state)
        self._check_keys(state)
        self._check_rows(state)
        for count in self._counts:
            budget = count.rule.budget_per_day
            if budget is not None and state.counters.get(self._budget(count), 0) + count.values > budget:
                refusal = Denied("budget_exhausted", field=count.rule.name, decision=self.decision)
                writes.event(self.event(refusal))
                return refusal
            self._check_space(state, count)
        self._write(state, writes)
        return None

    def _budget(self, count: Count) -> tuple[str, str]:
        return (self.caller.principal.id, f"{self._verb}:{count.rule.name}")

    def _check_keys(self, state: State) -> None:
        for key in self._keys.values():
            # Not the epoch: a turn seals a key anew, and it is the same key.
            standing = state.data_keys.get(key.id)
            if standing is None or (standing.state, standing.period) != ("active", "active"):
                raise Stale

    def _check_rows(self, state: State) -> None:
        """Whether the index names what it named, and its tokens are alive or dead as they were."""
        if not self._indexed:
            return
        making = {(row.row, row.key.id) for row in self._rows if row.claim is not None}
        for row in self._rows:
            if row.entry is None:
                continue
            if state.index.get(row.entry) != row.found:
                raise Stale
            token = None if row.found is None else state.tokens.get(row.found)
            if row.new == (token is not None and is_alive(token)):
                raise Stale
            held = not row.new and token is not None and any(c.key.id == row.key.id for c in token.claims)
            if not held and (row.row, row.key.id) not in making:
                raise Stale

    def _check_space(self, state: State, count: Count) -> None:
        """Whether a shaped field has surrogates left.

        Raises:
            BadInput: `token_space_exhausted`.
        """
        most = count.rule.max_rows
        name = count.rule.name
        if most is not None:
            issued = state.issued.get((self.caller.principal.tenant, name), 0)
            if issued + self._new.get(name, 0) > most:
                raise BadInput("token_space_exhausted", field=name)

    def _write(self, state: State, writes: Writes) -> None:
        tenant = self.caller.principal.tenant
        alone = [row for row in self._rows if row.entry is None]  # no index names them: nobody else's
        self._insert(state, writes, alone)
        writes.insert_rows("claim", [(row.row, row.key.id, row.claim) for row in alone])
        for row in self._rows if self._indexed else ():
            if row.entry is None:
                continue
            if row.new and row.row not in state.tokens:
                state.tokens[row.row] = TokenRow(tenant, row.field, [], row.surrogate)
                self._insert(state, writes, [row])
            self._claim(state, writes, row)
        for count in self._counts:
            if count.values:
                self._count(state, writes, tenant, count)
        self.due(state, writes)
        writes.event(self.event(None))

    def _insert(self, state: State, writes: Writes, rows: list[Vaulted]) -> None:
        """Tokens that are new, each under its entry and with its surrogate registered."""
        tenant, now = self.caller.principal.tenant, state.now
        writes.insert_rows("token", [(row.row, tenant, row.field, now, row.surrogate) for row in rows])
        for row in rows:
            if row.surrogate is not None:
                of: dict[str, Any] = {"tenant": tenant, "field": row.field, "surrogate": row.surrogate}
                writes.insert("surrogate", **of, token=row.row)
            if row.entry is None:
                continue
            for epoch, version, entry in row.entries:
                of = {"epoch": epoch, "entry": entry, "token": row.row, "key_version": version}
                if row.found is None:
                    writes.insert("index_entry", **of)
                else:
                    writes.update("place_index_entry", **of)
            state.index[row.entry] = row.row

    def _claim(self, state: State, writes: Writes, row: Vaulted) -> None:
        """A claim, if there is one to write and no earlier command of the group has just written it."""
        if row.claim is None:
            return
        token = state.tokens[row.row]
        if not token.claims or all(claim.key.id != row.key.id for claim in token.claims):
            writes.insert_rows("claim", [(row.row, row.key.id, row.claim)])
            token.claims.append(Claim(row.claim, state.data_keys[row.key.id]))

    def _count(self, state: State, writes: Writes, tenant: str, count: Count) -> None:
        name, most = count.rule.name, count.rule.max_rows
        if count.rule.budget_per_day is not None:
            writes.count(self._budget(count), count.values)
        if count.small:
            writes.issue(tenant, name, NO_VERSION, count.small, None)
            made = count.values - count.small
        else:
            made = self._new.get(name, count.values)
        if not made:
            return
        before = state.issued.get((tenant, name), 0)
        bound = most
        if most is not None and (before + made) * ALERT_AT < most:
            bound = (most - 1) // ALERT_AT  # beyond it this would have to raise the alert
        writes.issue(tenant, name, count.key_version or NO_VERSION, made, bound)
        if most is not None and before * ALERT_AT < most <= (before + made) * ALERT_AT:
            facts = {"code": "token_space_half", "field": name, "issued": before + made, "most": most}
            writes.event(Event("alert", tenant, self.caller.actor, facts))

    def due(self, state: State, writes: Writes) -> None:
        """Moves the end of keys that values were sealed under."""
        due_after_seal(self._schema, self._keys.values(), state, writes)

    def event(self, refusal: CoatcheckError | None) -> Event:
        """What the log says of it."""
        fields: list[dict[str, Any]] = []
        for count in self._counts:
            entry: dict[str, Any] = {"field": count.rule.name, "values": count.values}
            entry["protection"] = count.rule.protection.value
            if count.key_version is not None:
                entry["key_version"] = count.key_version
            if count.small:
                entry[_SMALL[count.rule.small]] = count.small
            if count.failed:
                entry["failed"] = count.failed
            fields.append(entry)
        facts: dict[str, Any] = {
            "fields": fields,
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        items: dict[str, Any] = {}
        if refusal is not None:
            facts |= {"outcome": "denied", "code": refusal.code}
        elif self._keys:
            items["keys"] = listed(sorted(format_id("key", key) for key in self._keys))
            if self._rows:
                items["rows"] = listed([row.row.hex() for row in self._rows])
        tenant = self.caller.principal.tenant
        return Event(self._verb, tenant, self.caller.actor, facts, items, self.decision)


def is_alive(token: TokenRow) -> bool:
    """Whether a token has a claim that still opens."""
    return any(may_open(KeyState(claim.key.state), KeyState(claim.key.period)) for claim in token.claims)
