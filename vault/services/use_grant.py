"""Using a grant: the command that charges it and decides on every item, and the flow around it.

Tokens and ciphertexts go the same way: prepared without an opinion, charged hit or miss, decided on the
locked rows, and opened only with the proof of the commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vault.audit.event import Event, listed
from vault.authn.identities import Holder
from vault.crypto.mac import same
from vault.errors import BadInput, CoatcheckError, Internal, Stale, Unauthenticated, error
from vault.identifiers import NIL, format_id, new_id
from vault.keystate.states import KeyState, may_open
from vault.ledger.command import ROWS_A_WEIGHT, Command, Head, Needs, State, Verb, Writes
from vault.policy.decision import Decision, UseRequest, decide_use
from vault.policy.principal import DELIVERIES, OPERATIONS
from vault.schema.document import FieldRule, Protection
from vault.services.asked import Asked, Asking, Used
from vault.services.batch import REPORT, BatchRefused, ItemError, reports
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.gate import Request, trace
from vault.services.grants import MAX_KEY_VERSION
from vault.services.hidden import Hidden
from vault.services.idempotency import Once
from vault.services.opening import open_values
from vault.services.retention import due_after_use
from vault.services.uses import KeyUses, Version
from vault.store.custody import KeyRow
from vault.store.rows import EpochsInUse, decode_grant

SMALL_BATCH: Final = 64


class GrantUse(msgspec.Struct):
    """The grant after the charge."""

    id: str
    uses_left: int


@dataclass(slots=True, repr=False)
class Shown:
    """What a use gives: values, masked values or errors, in the order of the items."""

    decision: str
    grant: GrantUse
    values: list[str | ItemError | None]
    failed: int | None  # None unless errors are reported item by item


class UseGrant(Command):
    """Charges a grant, decides on every item, and writes the decision event."""

    def __init__(
        self,
        holder: Holder,
        origin: Origin,
        schema: TenantSchema,
        asking: Asking,
        asked: list[Asked],
        uses: KeyUses,
        *,
        epochs: EpochsInUse | None = None,
        with_rows: bool = True,
    ) -> None:
        self.prepared_on = epochs
        self.id = new_id("dec")
        self._uses = uses
        self._with_rows = with_rows
        self.weight = 1 + len(asked) // ROWS_A_WEIGHT if with_rows else 1
        self._credential = holder.credential
        self._tenant = holder.tenant
        self._origin = origin
        self._schema = schema
        self._verb = asking.verb
        self._report = asking.on_error == REPORT
        self._use = use_request(asking, asked)
        self._asked = asked

    def needs(self, needs: Needs) -> None:
        """The grant, and the token rows with their claims and keys."""
        needs.grants.add(self._credential.id)
        if not self._with_rows:
            return
        for asked in self._asked:
            if asked.row is not None:
                needs.tokens.add(asked.row)
            elif asked.message is not None:
                needs.data_keys.add(asked.message.key_id)

    def decide(self, state: State, writes: Writes) -> Used:
        """Checks 6 to 9 and 11: charges, and picks the claim of each item."""
        row = state.grants.get(self._credential.id)
        if row is None or not same(row.grant.digest, self._credential.digest):
            raise Unauthenticated("grant_invalid")
        if row.grant.tenant != self._tenant or state.head.schema_version != self._schema.head:
            raise Stale
        grant = row.grant
        decision = decide_use(grant, row.uses, state.now, self._use)
        if decision.code is None and not self._with_rows:
            raise Stale
        used = Used(decision, grant, 0, {})
        if decision.code is None:
            for index, asked in enumerate(self._asked):
                if asked.given:
                    self._decide_item(state, used, index, asked)
            if self._report or not used.failures:  # else nothing is opened
                due_after_use(self._schema.schema, self._keys_used(used), state, writes)
                self._uses.note(self.versions_used(used), state.now, writes)
        if decision.charged:
            writes.charge(grant.id, decision.charged)
        used.uses_left = grant.max_uses - row.uses
        writes.event(self._event(used))
        return used

    def _decide_item(self, state: State, used: Used, index: int, asked: Asked) -> None:
        rule = asked.rule
        if asked.refusal is not None or rule is None:
            used.failures[index] = asked.refusal or "token_unknown"
        elif self._use.operation == "mask" and self._use.mask not in rule.masks:
            used.failures[index] = "operation_unsupported"
        elif rule.protection is Protection.VAULTLESS:
            self._decide_vaultless(state, used, index, asked, rule)
        elif rule.protection is Protection.VAULTED:
            self._decide_claim(state, used, index, asked)
        else:
            self._decide_key(state, used, index, asked)

    def _decide_vaultless(self, state: State, used: Used, index: int, asked: Asked, rule: FieldRule) -> None:
        """A token that FF1 made, one of a small value's row, or a value that was passed."""
        if asked.row is None and not asked.passed:
            self._decide_version(used, index, asked, rule)
        elif None not in self._pinned(used, rule):
            used.failures[index] = "token_unknown"  # the grant is for tokens of one key version
        elif asked.row is not None:
            self._decide_claim(state, used, index, asked)

    def _decide_version(self, used: Used, index: int, asked: Asked, rule: FieldRule) -> None:
        """The key version a vaultless token is opened under: the item's, or the one its scope pins."""
        pinned = self._pinned(used, rule)
        version = asked.key_version
        if version is None and len(pinned) == 1:
            (version,) = pinned
        if version is None:
            used.failures[index] = "key_version_required"
        elif pinned.isdisjoint((None, version)):
            used.failures[index] = "token_unknown"
        elif not 1 <= version <= MAX_KEY_VERSION:  # what the log may hold of a caller's number
            used.failures[index] = "key_version_unknown"
        else:
            used.versions[index] = version

    def _pinned(self, used: Used, rule: FieldRule) -> set[int | None]:
        """The key versions that the grant's scope names for a field; None for any."""
        use = self._use
        entries = used.grant.entries_for(rule.name, use.operation, use.delivery, use.mask)
        return {entry.key_version for entry in entries}

    def _decide_claim(self, state: State, used: Used, index: int, asked: Asked) -> None:
        token = state.tokens.get(asked.row or b"")
        if token is None or (token.tenant, token.field, token.surrogate) != (
            self._tenant,
            asked.field,
            asked.surrogate,
        ):
            used.failures[index] = "token_unknown"
            return
        allowed = used.grant.subjects
        living = [c for c in token.claims if may_open(KeyState(c.key.state), KeyState(c.key.period))]
        in_scope = [claim for claim in living if _within(claim.key, allowed, asked.subject)]
        if in_scope:
            used.claims[index] = in_scope[0]
        elif not living and allowed is None and asked.subject is None:
            used.failures[index] = "erased"
        else:
            used.failures[index] = "token_unknown"

    def _decide_key(self, state: State, used: Used, index: int, asked: Asked) -> None:
        """The data key of a ciphertext: of this tenant, of a person in scope, and one that may still open."""
        key = state.data_keys.get(asked.message.key_id) if asked.message is not None else None
        if key is None or key.tenant != self._tenant or not _within(key, used.grant.subjects, asked.subject):
            used.failures[index] = "ciphertext_invalid"
        elif not may_open(KeyState(key.state), KeyState(key.period)):
            used.failures[index] = "erased"
        else:
            used.keys[index] = key

    @staticmethod
    def _keys_used(used: Used) -> list[KeyRow]:
        return [*(claim.key for claim in used.claims.values()), *used.keys.values()]

    def versions_used(self, used: Used) -> set[Version]:
        """The key versions under which vaultless tokens are opened."""
        return {
            (self._tenant, self._asked[index].field, version)
            for index, version in used.versions.items()
            if index not in used.failures
        }

    def _event(self, used: Used) -> Event:
        grant, decision = used.grant, used.decision
        purpose = self._schema.schema.purposes.get(grant.purpose)
        facts: dict[str, Any] = {
            "grant": grant.id,
            "grant_version": grant.version,
            "purpose": grant.purpose,
            "legal_basis": purpose.legal_basis if purpose else "",
            "disclosure_class": purpose.disclosure_class if purpose else "",
            "operation": self._use.operation,
            "delivery": "plain",
            "fields": self._field_entries(used),
            "charged": decision.charged,
            "outcome": "denied" if decision.code else "failed" if used.failures else "allowed",
            **trace(self._origin),
        }
        if decision.code is not None:
            facts |= {"code": decision.code, "check": decision.check}
        # A mask's name is the schema's only if a field of the request has it; else it is a caller's text.
        mask = self._use.mask
        if mask is not None and any(one.rule is not None and mask in one.rule.masks for one in self._asked):
            facts["mask"] = mask
        keys = self._keys_used(used)
        items: dict[str, Any] = {}
        if keys:
            rows = [self._asked[index].row for index in used.claims]
            people = {key.subject for key in keys} - {NIL}
            items = {
                "rows": listed([row.hex() for row in rows if row]),
                "keys": listed(sorted({format_id("key", key.id) for key in keys})),
                "subjects": listed(sorted(format_id("sub", person) for person in people)),
            }
        return Event(self._verb, self._tenant, grant.agent, facts, items, self.id)

    def _field_entries(self, used: Used) -> list[dict[str, Any]]:
        """An entry a field: how many items, how many of them failed and with which codes, key versions."""
        entries: dict[str, dict[str, Any]] = {}
        for index, asked in enumerate(self._asked):
            if not asked.given or asked.rule is None:
                continue
            entry = entries.setdefault(asked.rule.name, {"field": asked.rule.name, "items": 0})
            entry["items"] += 1
            if index in used.failures:
                failure = used.failures[index]
                code = failure if isinstance(failure, str) else failure.code
                entry["failed"] = dict(Counter(entry.get("failed", {})) + Counter([code]))
            elif asked.passed:
                entry["passed"] = entry.get("passed", 0) + 1
            if index in used.versions:
                entry["key_version"] = used.versions[index]
        return list(entries.values())


class OpeningFailed(Command):
    """Says, with the decision's id, that something failed after the commit."""

    def __init__(self, verb: str, tenant: str, agent: str, decision: str, origin: Origin, code: str) -> None:
        facts = {"outcome": "failed", "code": code, "after_commit": 1, **trace(origin)}
        self._event = Event(verb, tenant, agent, facts, decision=decision)

    def needs(self, needs: Needs) -> None:
        """Touches no row but the head."""

    def decide(self, state: State, writes: Writes) -> None:
        """Notes the event."""
        writes.event(self._event)


def use_grant(
    asking: Asking,
    cell: Cell,
    request: Request,
    who: Holder,
    prepare: Callable[[TenantSchema], list[Asked]],
    found: Once[Any],
    replay: Callable[[str], Hidden],
) -> Verb[Shown]:
    """Charges the grant behind a request for its items, and opens those that it covers.

    Args:
        prepare: reads every item for what it names, in the tenant's schema. What is wrong with the form
            of the body it raises, which costs nothing; what is wrong with an item it notes.
        found: keeps the answer, for a request with an Idempotency-Key.
        replay: the answer to give again for a decision: without its values.

    Raises:
        Unauthenticated, Denied: the grant is not valid or does not allow it; on the record.
        BatchRefused: items that do not open; charged, on the record, and nothing was opened.
    """
    _check_form(asking)
    report = reports(asking.on_error)
    tenant = cell.schemas.of(who.tenant)
    epochs = cell.keyring.in_use  # before people are looked for
    asked = prepare(tenant)
    # A grant that is over must not make the ledger read thousands of rows before it says so.
    with_rows = len(asked) <= SMALL_BATCH or _may_pass(cell, who, use_request(asking, asked))
    command = UseGrant(
        who, request.origin, tenant, asking, asked, cell.uses, epochs=epochs, with_rows=with_rows
    )
    done = yield found.keep(command, lambda used, _at: _kept(used, command.id, replay, report=report))
    used: Used = done.value
    cell.uses.noted(command.versions_used(used), done.at)
    if used.decision.code is not None:
        raise _denial(used.decision, command.id)
    if used.failures and not report:
        raise BatchRefused(used.failures, decision=command.id, uses_left=used.uses_left)
    code: str | None = None
    try:
        values = open_values(cell, done, who.tenant, asked, used, asking)
        if len(used.failures) > 0 and not report:
            raise BatchRefused(used.failures)
    except Exception as failure:  # whatever it was, the log must not say that values were shown
        known = failure if isinstance(failure, CoatcheckError) else Internal("internal")
        known.facts |= {"decision": command.id, "uses_left": used.uses_left}
        code = known.code
        event = OpeningFailed(asking.verb, who.tenant, used.grant.agent, command.id, request.origin, code)
        yield found.correct(event, known)
        raise
    shown: list[str | ItemError | None] = [*values]
    for index, failed in used.failures.items():
        shown[index] = ItemError.of(failed)
    failed_count = len(used.failures) if report else None
    return Shown(command.id, GrantUse(used.grant.id, used.uses_left), shown, failed_count)


def _kept(
    used: Used, decision: str, replay: Callable[[str], Hidden], *, report: bool
) -> Hidden | CoatcheckError | None:
    """What a repeated request is told: nothing new, if it was not charged."""
    if used.decision.code is not None:
        return _denial(used.decision, decision) if used.decision.charged else None
    if used.failures and not report:
        return BatchRefused(used.failures, decision=decision, uses_left=used.uses_left)
    return replay(decision)


def use_request(asking: Asking, asked: list[Asked]) -> UseRequest:
    """What is asked of the grant."""
    return UseRequest(
        operation=asking.operation,
        delivery=asking.delivery,
        purpose=asking.purpose,
        mask=asking.mask,
        fields=tuple(dict.fromkeys(one.field for one in asked)),
        items=sum(one.given for one in asked),
    )


def _within(key: KeyRow, allowed: frozenset[bytes] | None, named: bytes | None) -> bool:
    """Whether a key's person is one the grant is for, and the one that the request names."""
    return (allowed is None or key.subject in allowed) and named in (None, key.subject)


def _may_pass(cell: Cell, who: Holder, use: UseRequest) -> bool:
    """Whether the grant, as it stands now, allows this; the ledger decides again on the locked row."""
    rows = cell.store.read_keys(cell.store.record.grants, [who.credential.id])
    grants = [decode_grant(row, frozenset()) for row in rows]
    head = Head(*cell.store.read(cell.store.record.head)[0])
    now = max(cell.clock.now(), head.last_at)  # as the ledger's: a clock that was set back changes nothing
    return all(decide_use(row.grant, row.uses, now, use).code is None for row in grants)


def _check_form(asking: Asking) -> None:
    """What is wrong whatever the grant says: costs nothing."""
    if asking.operation not in OPERATIONS:
        raise BadInput("operation_unsupported", member="operation")
    if asking.delivery not in DELIVERIES:
        raise BadInput("operation_unsupported", member="delivery")
    if (asking.mask is None) == (asking.operation == "mask"):
        code = "member_missing" if asking.mask is None else "operation_unsupported"
        raise BadInput(code, member="mask")


def _denial(decision: Decision, decision_id: str) -> CoatcheckError:
    code = decision.code or "scope_denied"
    facts: dict[str, Any] = {"decision": decision_id}
    if decision.member:
        facts["member"] = decision.member
    return error(code, **facts)
