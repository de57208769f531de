"""detokenize: tokens become values or masked values, under a grant, after the charge is durable."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from vault.audit.event import Event, listed
from vault.authn.identities import Holder
from vault.context import EncryptionContext, Use
from vault.crypto.mac import same
from vault.envelope.seal import open_message
from vault.errors import (
    BadInput,
    CoatcheckError,
    IntegrityError,
    Internal,
    Stale,
    Unauthenticated,
    ValueRefused,
    error,
)
from vault.identifiers import NIL, format_id, new_id
from vault.keystate.states import KeyState, may_open
from vault.ledger.command import ROWS_A_WEIGHT, Command, Committed, Needs, State, Verb, Writes
from vault.ledger.state import Claim
from vault.policy.decision import Decision, UseRequest, decide_use
from vault.policy.grant import Grant
from vault.policy.principal import DELIVERIES, OPERATIONS
from vault.schema.document import FieldRule, Protection
from vault.services.batch import BatchRefused
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.gate import Request, holder, trace
from vault.services.grants import MAX_KEY_VERSION
from vault.services.hidden import Hidden
from vault.services.subjects import check_subject, find
from vault.store.rows import decode_grant
from vault.tokens.vaulted import decode

SMALL_BATCH: Final = 64


class DetokenizeItem(Hidden, forbid_unknown_fields=True, frozen=True):
    """One token of a row-wise body."""

    field: str
    token: str | None
    subject: str | None = None
    key_version: int | None = None


class DetokenizeBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Row-wise (`items`) or columnar (`field`, `tokens`, `subjects`, `key_version`)."""

    purpose: str
    operation: str = "reveal"
    mask: str | None = None
    delivery: str = "plain"
    items: list[DetokenizeItem] | None = None
    field: str | None = None
    tokens: list[str | None] | None = None
    subjects: list[str | None] | None = None
    key_version: int | None = None


class GrantUse(msgspec.Struct):
    """The grant after the charge."""

    id: str
    uses_left: int


class ValueItem(Hidden, frozen=True):
    """One value, or masked value; null for a null token."""

    value: str | None


class ValuesAnswer(Hidden, frozen=True, omit_defaults=True):
    """Values in the order of the tokens: `items` for row-wise bodies, `values` for columnar ones."""

    decision: str
    grant: GrantUse
    items: list[ValueItem] | None = None
    values: list[str | None] | None = None


_NEVER_SEEN: Final = b"\xff" * 16
"""In place of the row of a subject who has none. No row has this id, and it is not nobody's (`NIL`)."""


@dataclass(slots=True, repr=False)
class _Asked:
    """A token as prepared: which row it names, or why it cannot name one."""

    item: DetokenizeItem
    rule: FieldRule | None
    row: bytes | None = None
    subject: bytes | None = None  # the row of the subject named, or `_NEVER_SEEN`
    refusal: str | None = None


@dataclass(slots=True, repr=False)
class _Used:
    """What the ledger decided."""

    decision: Decision
    grant: Grant
    uses_left: int
    failures: dict[int, CoatcheckError | str]
    claims: dict[int, Claim] = field(default_factory=dict)
    versions: dict[int, int] = field(default_factory=dict)


class UseGrant(Command):
    """Charges a grant, decides on every item, and writes the decision event."""

    def __init__(
        self,
        holder: Holder,
        origin: Origin,
        schema: TenantSchema,
        use: UseRequest,
        asked: list[_Asked],
        *,
        with_rows: bool = True,
    ) -> None:
        self.id = new_id("dec")
        self._with_rows = with_rows
        self.weight = 1 + len(asked) // ROWS_A_WEIGHT if with_rows else 1
        self._credential = holder.credential
        self._tenant = holder.tenant
        self._origin = origin
        self._schema = schema
        self._use = use
        self._asked = asked

    def needs(self, needs: Needs) -> None:
        """The grant, and the token rows with their claims and keys."""
        needs.grants.add(self._credential.id)
        if not self._with_rows:
            return
        needs.tokens.update(asked.row for asked in self._asked if asked.row is not None)

    def decide(self, state: State, writes: Writes) -> _Used:
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
        used = _Used(decision, grant, 0, {})
        if decision.code is None:
            for index, asked in enumerate(self._asked):
                if asked.item.token is not None:
                    self._decide_item(state, used, index, asked)
        if decision.charged:
            writes.charge(grant.id, decision.charged)
        used.uses_left = grant.max_uses - row.uses
        writes.event(self._event(used))
        return used

    def _decide_item(self, state: State, used: _Used, index: int, asked: _Asked) -> None:
        item, rule = asked.item, asked.rule
        if asked.refusal is not None or rule is None:
            used.failures[index] = asked.refusal or "token_unknown"
        elif self._use.operation == "mask" and self._use.mask not in rule.masks:
            used.failures[index] = "operation_unsupported"
        elif rule.protection is Protection.VAULTLESS:
            self._decide_version(used, index, item, rule)
        else:
            self._decide_claim(state, used, index, asked)

    def _decide_version(self, used: _Used, index: int, item: DetokenizeItem, rule: FieldRule) -> None:
        """The key version a vaultless token is opened under: the item's, or the one its scope pins."""
        use = self._use
        entries = used.grant.entries_for(rule.name, use.operation, use.delivery, use.mask)
        pinned = {entry.key_version for entry in entries}
        version = item.key_version
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

    def _decide_claim(self, state: State, used: _Used, index: int, asked: _Asked) -> None:
        token = state.tokens.get(asked.row or b"")
        if token is None or token.tenant != self._tenant or token.field != asked.item.field:
            used.failures[index] = "token_unknown"
            return
        allowed = used.grant.subjects
        living = [c for c in token.claims if may_open(KeyState(c.key.state), KeyState(c.key.period))]
        in_scope = [
            claim
            for claim in living
            if (allowed is None or claim.key.subject in allowed)
            and (asked.subject is None or claim.key.subject == asked.subject)
        ]
        if in_scope:
            used.claims[index] = in_scope[0]
        elif not living and allowed is None and asked.subject is None:
            used.failures[index] = "erased"
        else:
            used.failures[index] = "token_unknown"

    def _event(self, used: _Used) -> Event:
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
        if any(one.rule is not None and self._use.mask in one.rule.masks for one in self._asked):
            facts["mask"] = self._use.mask
        claims = used.claims.values()
        items: dict[str, Any] = {}
        if claims:
            rows = [self._asked[index].row for index in used.claims]
            people = {claim.key.subject for claim in claims} - {NIL}
            items = {
                "rows": listed([row.hex() for row in rows if row]),
                "keys": listed(sorted({format_id("key", claim.key.id) for claim in claims})),
                "subjects": listed(sorted(format_id("sub", person) for person in people)),
            }
        return Event("detokenize", self._tenant, grant.agent, facts, items, self.id)

    def _field_entries(self, used: _Used) -> list[dict[str, Any]]:
        """An entry a field: how many items, how many of them failed and with which codes, key versions."""
        entries: dict[str, dict[str, Any]] = {}
        for index, asked in enumerate(self._asked):
            if asked.item.token is None or asked.rule is None:
                continue
            entry = entries.setdefault(asked.rule.name, {"field": asked.rule.name, "items": 0})
            entry["items"] += 1
            if index in used.failures:
                failure = used.failures[index]
                code = failure if isinstance(failure, str) else failure.code
                entry["failed"] = dict(Counter(entry.get("failed", {})) + Counter([code]))
            if index in used.versions:
                entry["key_version"] = used.versions[index]
        return list(entries.values())


class OpeningFailed(Command):
    """Says, with the decision's id, that something failed after the commit."""

    def __init__(self, tenant: str, agent: str, decision: str, origin: Origin, code: str) -> None:
        facts = {"outcome": "failed", "code": code, "after_commit": 1, **trace(origin)}
        self._event = Event("detokenize", tenant, agent, facts, decision=decision)

    def needs(self, needs: Needs) -> None:
        """Touches no row but the head."""

    def decide(self, state: State, writes: Writes) -> None:
        """Notes the event."""
        writes.event(self._event)


def detokenize(cell: Cell, request: Request, body: DetokenizeBody) -> Verb[ValuesAnswer]:
    """Turns tokens back into values under a grant, all or none.

    Raises:
        Unauthenticated, Denied: the grant is not valid or does not allow it; on the record.
        BatchRefused: items that do not open; charged, on the record, and nothing was opened.
    """
    who = holder(cell, request)
    _check_form(body)
    items = _items(cell, body)
    tenant_name = who.tenant
    tenant = cell.schemas.of(tenant_name)
    asked = _prepare(cell, tenant_name, tenant, items)
    use = UseRequest(
        operation=body.operation,
        delivery=body.delivery,
        purpose=body.purpose,
        mask=body.mask,
        fields=tuple(dict.fromkeys(item.field for item in items)),
        items=sum(item.token is not None for item in items),
    )
    # A grant that is over must not make the ledger read thousands of rows before it says so.
    with_rows = len(asked) <= SMALL_BATCH or _may_pass(cell, who, use)
    command = UseGrant(who, request.origin, tenant, use, asked, with_rows=with_rows)
    done = yield command
    used: _Used = done.value
    if used.decision.code is not None:
        raise _denial(used.decision, command.id)
    if used.failures:
        raise BatchRefused(used.failures, decision=command.id, uses_left=used.uses_left)
    try:
        values = _open(cell, done, tenant_name, asked)
        shown = _show(asked, values, body)
    except Exception as failure:  # whatever it was, the log must not say that values were shown
        known = failure if isinstance(failure, CoatcheckError) else Internal("internal")
        known.facts |= {"decision": command.id, "uses_left": used.uses_left}
        yield OpeningFailed(tenant_name, used.grant.agent, command.id, request.origin, known.code)
        raise
    grant = GrantUse(used.grant.id, used.uses_left)
    if body.items is None:
        return ValuesAnswer(command.id, grant, values=shown)
    return ValuesAnswer(command.id, grant, items=[ValueItem(value) for value in shown])


def _may_pass(cell: Cell, who: Holder, use: UseRequest) -> bool:
    """Whether the grant, as it stands now, allows this; the ledger decides again on the locked row."""
    rows = cell.store.read_keys(cell.store.record.grants, [who.credential.id])
    grants = [decode_grant(row, frozenset()) for row in rows]
    return all(decide_use(row.grant, row.uses, cell.clock.now(), use).code is None for row in grants)


def _check_form(body: DetokenizeBody) -> None:
    """What is wrong whatever the grant says: costs nothing."""
    if body.operation not in OPERATIONS:
        raise BadInput("operation_unsupported", member="operation")
    if body.delivery not in DELIVERIES:
        raise BadInput("operation_unsupported", member="delivery")
    if (body.mask is None) == (body.operation == "mask"):
        raise BadInput("member_missing" if body.mask is None else "operation_unsupported", member="mask")


def _items(cell: Cell, body: DetokenizeBody) -> list[DetokenizeItem]:
    """The items of either form."""
    columns = (body.field, body.tokens, body.subjects, body.key_version)
    if body.items is not None:
        if any(column is not None for column in columns):
            raise BadInput("body_malformed", pointer="items")
        items = body.items
    else:
        if body.field is None or body.tokens is None:
            raise BadInput("member_missing", member="field" if body.field is None else "tokens")
        subjects = body.subjects if body.subjects is not None else [None] * len(body.tokens)
        if len(subjects) != len(body.tokens):
            raise BadInput("items_mismatch")
        items = [
            DetokenizeItem(body.field, token, subject, body.key_version)
            for token, subject in zip(body.tokens, subjects, strict=True)
        ]
    if not items:
        raise BadInput("member_missing", member="items" if body.items is not None else "tokens")
    if len(items) > cell.limits.items:
        raise BadInput("batch_too_large", most=cell.limits.items)
    return items


def _prepare(cell: Cell, tenant_name: str, tenant: TenantSchema, items: list[DetokenizeItem]) -> list[_Asked]:
    """Reads every token for what it names. What is wrong with it is told only after the charge."""
    asked = [_Asked(item, tenant.schema.fields.get(item.field)) for item in items]
    named: dict[str, list[_Asked]] = {}
    for one in asked:
        try:
            _read_token(cell, tenant_name, one)
            if one.item.subject is not None:
                named.setdefault(check_subject(one.item.subject), []).append(one)
        except ValueRefused as refusal:
            one.refusal = refusal.code
    people = find(cell, tenant_name, named)
    for subject, those in named.items():
        for one in those:
            one.subject = people.get(subject, _NEVER_SEEN)
    return asked


def _read_token(cell: Cell, tenant: str, one: _Asked) -> None:
    if one.rule is None or one.item.token is None:
        return
    if one.rule.protection is Protection.VAULTLESS:
        if one.item.subject is not None:
            raise ValueRefused("subjects_unenforceable")
        one.rule.shape.parse_token(one.item.token)
    else:
        if one.item.key_version is not None or one.rule.protection is Protection.ENCRYPTED:
            raise ValueRefused("token_unknown")
        one.row = decode(cell.keyring.row_ids(tenant, one.rule.name), one.item.token)


def _denial(decision: Decision, decision_id: str) -> CoatcheckError:
    code = decision.code or "scope_denied"
    facts: dict[str, Any] = {"decision": decision_id}
    if decision.member:
        facts["member"] = decision.member
    return error(code, **facts)


def _open(cell: Cell, done: Committed, tenant: str, asked: list[_Asked]) -> list[str | None]:
    """Decrypts what the ledger allowed. Takes the proof of the commit, and nothing without it.

    Raises:
        IntegrityError: `integrity_failed`: a stored claim does not open.
        BatchRefused: a vaultless token that no value has.
    """
    if not isinstance(done, Committed):
        raise TypeError("opening takes a Committed")
    used: _Used = done.value
    values: list[str | None] = [None] * len(asked)
    failures: dict[int, CoatcheckError | str] = {}
    for index, one in enumerate(asked):
        if one.item.token is None or one.rule is None:
            continue
        if index in used.claims:
            claim = used.claims[index]
            context = EncryptionContext(Use.CLAIM, tenant, cell.region, one.rule.name, one.row)
            try:
                values[index] = open_message(cell.keyring.data_key(claim.key), context, claim.sealed).decode()
            except (IntegrityError, UnicodeDecodeError):
                raise IntegrityError("integrity_failed") from None
        else:
            try:
                codec = cell.keyring.vaultless(tenant, one.rule.name, one.rule.shape, used.versions[index])
                values[index] = codec.detokenize(one.item.token)
            except ValueRefused as refusal:
                failures[index] = refusal
    if failures:
        raise BatchRefused(failures)
    return values


def _show(asked: list[_Asked], values: list[str | None], body: DetokenizeBody) -> list[str | None]:
    """The values as the operation shows them."""
    if body.operation != "mask":
        return values
    shown: list[str | None] = []
    for one, value in zip(asked, values, strict=True):
        if value is None or one.rule is None:
            shown.append(None)
            continue
        shown.append(one.rule.masks[body.mask or ""].apply(value))
    return shown
