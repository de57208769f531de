"""tokenize: values become tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

from vault.audit.event import Event, listed
from vault.authn.identities import Caller
from vault.context import EncryptionContext, Use
from vault.envelope.seal import seal
from vault.errors import BadInput, CoatcheckError, Stale, ValueRefused
from vault.identifiers import NIL, RowId, format_id, new_id, uuid7
from vault.ledger.command import ROWS_A_WEIGHT, Command, Committed, Needs, State, Verb, Writes
from vault.retention.period import retention_class
from vault.schema.document import FieldRule, Protection
from vault.services.batch import BatchRefused
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.datakeys import obtain
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.hidden import Hidden
from vault.services.subjects import check_subject, enter
from vault.store.custody import KeyRow, Slot
from vault.tokens.vaulted import encode


class TokenizeItem(Hidden, forbid_unknown_fields=True, frozen=True):
    """One value of a row-wise body."""

    field: str
    value: str | None
    subject: str | None = None


class TokenizeBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Columnar (`field`, `values`, `subjects`) or row-wise (`items`)."""

    field: str | None = None
    values: list[str | None] | None = None
    subjects: list[str | None] | None = None
    items: list[TokenizeItem] | None = None


class TokenItem(Hidden, frozen=True, omit_defaults=True):
    """One token; `key_version` only for vaultless fields. A null value gives a null token."""

    token: str | None
    key_version: int | None = None


class ColumnAnswer(Hidden, frozen=True, omit_defaults=True):
    """Tokens of one field, in the order of the values."""

    field: str
    tokens: list[str | None]
    decision: str
    key_version: int | None = None


class ItemsAnswer(Hidden, frozen=True):
    """Tokens in the order of the items."""

    items: list[TokenItem]
    decision: str


class _Sealed(NamedTuple):
    """A vaulted value, ready to be written."""

    row: bytes
    field: str
    key: KeyRow
    claim: bytes


class Tokenized(CallerCommand):
    """Writes token rows and claims, and the event; vaultless tokens leave only the event."""

    def __init__(
        self,
        caller: Caller,
        origin: Origin,
        schema_head: int,
        epoch: int,
        rows: list[_Sealed],
        facts: dict[str, Any],
    ) -> None:
        super().__init__(caller, schema_head)
        self.decision = new_id("dec")
        self._origin = origin
        self._epoch = epoch
        self._rows = rows
        self.weight = 1 + len(rows) // ROWS_A_WEIGHT
        self._facts = facts

    def needs(self, needs: Needs) -> None:
        """The caller's rows and the data keys that were sealed under."""
        super().needs(needs)
        needs.data_keys.update(row.key.id for row in self._rows)

    def decide(self, state: State, writes: Writes) -> None:
        """Inserts everything, if epoch and keys still stand."""
        self.check(state)
        if state.head.write_epoch != self._epoch:
            raise Stale
        tenant = self.caller.principal.tenant
        for key in {row.key.id: row.key for row in self._rows}.values():
            standing = state.data_keys.get(key.id)
            if standing is None or (standing.state, standing.period, standing.epoch) != (
                "active",
                "active",
                key.epoch,
            ):
                raise Stale
        for row in self._rows:
            writes.insert(
                "token", id=row.row, tenant=tenant, field=row.field, created_at=state.now, surrogate=None
            )
            writes.insert("claim", token=row.row, key=row.key.id, sealed=row.claim)
        items: dict[str, Any] = {}
        if self._rows:
            items = {
                "rows": listed([row.row.hex() for row in self._rows]),
                "keys": listed(sorted({format_id("key", row.key.id) for row in self._rows})),
            }
        facts = {**self._facts, "credential": self.caller.api_key, **trace(self._origin)}
        writes.event(Event("tokenize", tenant, self.caller.actor, facts, items, self.decision))


def tokenize(cell: Cell, request: Request, body: TokenizeBody) -> Verb[ColumnAnswer | ItemsAnswer]:
    """Turns values into tokens, all or none.

    Raises:
        Unauthenticated, Denied: the caller may not.
        BadInput: the body or a value cannot be taken; `BatchRefused` lists the values.
    """
    caller = authenticate(cell, request)
    items = _items(cell, body)
    fields = list(dict.fromkeys(item.field for item in items))
    yield from admit(cell, caller, request.origin, "tokenize", *(f"tokenize:{name}" for name in fields))
    tenant = cell.schemas.of(caller.principal.tenant)
    for name in fields:
        rule = tenant.schema.fields.get(name)
        if rule is None:
            raise BadInput("field_unknown")
        if rule.protection is Protection.ENCRYPTED:
            raise BadInput("operation_unsupported", field=name)
    made = yield from _make(cell, caller, request.origin, tenant, items)
    if body.items is not None:
        return ItemsAnswer([TokenItem(*pair) for pair in made.tokens], made.decision)
    versions = {version for _, version in made.tokens if version is not None}
    version = versions.pop() if versions else None
    return ColumnAnswer(fields[0], [token for token, _ in made.tokens], made.decision, version)


def _items(cell: Cell, body: TokenizeBody) -> list[TokenizeItem]:
    """The items of either form."""
    if body.items is not None:
        if body.field is not None or body.values is not None or body.subjects is not None:
            raise BadInput("body_malformed", pointer="items")
        items = body.items
    else:
        if body.field is None or body.values is None:
            raise BadInput("member_missing", member="field" if body.field is None else "values")
        field, values = body.field, body.values
        subjects = body.subjects if body.subjects is not None else [None] * len(values)
        if len(subjects) != len(values):
            raise BadInput("items_mismatch")
        items = [TokenizeItem(field, *pair) for pair in zip(values, subjects, strict=True)]
    if not items:
        raise BadInput("member_missing", member="items" if body.items is not None else "values")
    if len(items) > cell.limits.items:
        raise BadInput("batch_too_large", most=cell.limits.items)
    return items


@dataclass(frozen=True, slots=True, repr=False)
class _Made:
    tokens: list[tuple[str | None, int | None]]
    decision: str


def _make(
    cell: Cell, caller: Caller, origin: Origin, tenant: TenantSchema, items: list[TokenizeItem]
) -> Generator[Command, Committed, _Made]:
    rules = tenant.schema.fields
    name = caller.principal.tenant
    tokens: list[tuple[str | None, int | None]] = [(None, None)] * len(items)
    failures: dict[int, CoatcheckError | str] = {}
    vaulted: list[int] = []
    for index, item in enumerate(items):
        if item.value is None:
            continue
        rule = rules[item.field]
        try:
            if rule.protection is Protection.VAULTLESS:
                tokens[index] = _vaultless(cell, name, rule, item)
            else:
                _check_vaulted(rule, item)
                vaulted.append(index)
        except ValueRefused as refusal:
            failures[index] = refusal
    if failures:
        raise BatchRefused(failures)
    slots = yield from _slots(cell, caller, origin, tenant, [items[index] for index in vaulted])
    rows = []
    for index, key in zip(vaulted, slots, strict=True):
        row = _seal(cell, name, items[index], key)
        rows.append(row)
        tokens[index] = (encode(cell.keyring.row_ids(name, row.field), RowId(row.row)), None)
    command = Tokenized(
        caller, origin, tenant.head, cell.keyring.write_epoch, rows, _facts(items, tokens, rules)
    )
    yield command
    return _Made(tokens, command.decision)


def _vaultless(cell: Cell, tenant: str, rule: FieldRule, item: TokenizeItem) -> tuple[str, int]:
    """The token of a vaultless value and its key version."""
    if item.subject is not None:
        raise ValueRefused("subjects_unenforceable")
    version = cell.keyring.ff1_versions(tenant, rule.name).primary
    value = item.value or ""
    return cell.keyring.vaultless(tenant, rule.name, rule.shape, version).tokenize(value), version


def _check_vaulted(rule: FieldRule, item: TokenizeItem) -> None:
    rule.shape.parse(item.value or "")
    if item.subject is not None:
        check_subject(item.subject)
    elif rule.subject_required:
        raise ValueRefused("subject_required")


def _slots(
    cell: Cell, caller: Caller, origin: Origin, tenant: TenantSchema, items: list[TokenizeItem]
) -> Generator[Command, Committed, list[KeyRow]]:
    """The data key of each vaulted item, by its subject, class and due period."""
    if not items:
        return []
    people = yield from enter(
        cell, caller, origin, [item.subject for item in items if item.subject is not None]
    )
    now = cell.clock.now()
    due: dict[tuple[str, bool], tuple[str, str]] = {}
    for name, person in {(item.field, item.subject is not None) for item in items}:
        rule = tenant.schema.retention[tenant.schema.fields[name].retention]
        due[name, person] = (rule.name, retention_class(rule).due(now, person=person))
    wanted = [
        Slot(
            caller.principal.tenant,
            people[item.subject] if item.subject is not None else NIL,
            *due[item.field, item.subject is not None],
        )
        for item in items
    ]
    keys = yield from obtain(cell, caller, origin, wanted)
    return [keys[slot] for slot in wanted]


def _seal(cell: Cell, tenant: str, item: TokenizeItem, key: KeyRow) -> _Sealed:
    row = uuid7()
    context = EncryptionContext(Use.CLAIM, tenant, cell.region, item.field, row)
    value = (item.value or "").encode()
    return _Sealed(row, item.field, key, seal(cell.keyring.data_key(key), context, value))


def _facts(
    items: list[TokenizeItem], tokens: list[tuple[str | None, int | None]], rules: Any
) -> dict[str, Any]:
    """What the event says: an entry a field, with counts and key versions."""
    counts = Counter(item.field for item in items if item.value is not None)
    versions: dict[str, int] = {}
    for item, (_, version) in zip(items, tokens, strict=True):
        if version is not None:
            versions[item.field] = version
    fields = [
        {
            "field": name,
            "values": count,
            "protection": rules[name].protection.value,
            **({"key_version": versions[name]} if name in versions else {}),
        }
        for name, count in sorted(counts.items())
    ]
    return {"fields": fields}
