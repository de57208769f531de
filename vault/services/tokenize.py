"""tokenize: values become tokens."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from vault.authn.identities import Caller
from vault.errors import BadInput, ValueRefused
from vault.ledger.command import Command, Committed, Verb
from vault.schema.document import FieldRule, Protection
from vault.services.batch import FAIL, BatchRefused, Failures, ItemCode, ItemError, check_size, reports
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.idempotency import Once, Replayable, once
from vault.services.issue import Count, Issue, Vaulted
from vault.services.small import take_small
from vault.services.subjects import check_subject
from vault.services.vaulting import Wanted, data_keys, normal_form, tokens_of, vault


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
    on_error: str = FAIL


class TokenItem(Hidden, frozen=True, omit_defaults=True):
    """One token, null for a null value, `key_version` only for vaultless fields; or the error there."""

    token: str | UnsetType | None = UNSET
    key_version: int | None = None
    error: ItemCode | UnsetType = UNSET


class ColumnAnswer(Replayable, frozen=True, omit_defaults=True):
    """Tokens of one field, in the order of the values.

    With `on_error` = `report`, a place may hold an error, and `failed` counts them.
    """

    field: str
    tokens: list[str | ItemError | None]
    decision: str
    key_version: int | None = None
    failed: int | None = None


class ItemsAnswer(Replayable, frozen=True, omit_defaults=True):
    """Tokens in the order of the items; errors among them as in `ColumnAnswer`."""

    items: list[TokenItem]
    decision: str
    failed: int | None = None


@dataclass(slots=True, repr=False)
class _Made:
    tokens: list[str | None]
    versions: list[int | None]
    failures: Failures
    counts: dict[str, Count]
    rows: list[Vaulted]


def tokenize(cell: Cell, request: Request, body: TokenizeBody) -> Verb[ColumnAnswer | ItemsAnswer]:
    """Turns values into tokens: all or none, or with the errors in their places.

    Raises:
        Unauthenticated, Denied: the caller may not, or its budget does not cover it.
        BadInput: the body or a value cannot be taken; `BatchRefused` lists the values.
    """
    caller = authenticate(cell, request)
    report = reports(body.on_error)
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
    found: Once[ItemsAnswer] | Once[ColumnAnswer]
    if body.items is not None:
        found = once(cell, request, caller, "tokenize", ItemsAnswer, body)
    else:
        found = once(cell, request, caller, "tokenize", ColumnAnswer, body)
    if found.replay is not None:
        return found.replay
    made = yield from _make(cell, caller, request.origin, tenant, items, report=report)
    epoch = cell.keyring.write_epoch
    command = Issue(caller, request.origin, "tokenize", tenant, epoch, made.counts.values(), made.rows)
    answer = _answer(body, made, command.decision, report=report)
    done = yield found.keep(command, answer)
    if done.value is not None:
        raise done.value
    return answer


def _answer(body: TokenizeBody, made: _Made, decision: str, *, report: bool) -> ColumnAnswer | ItemsAnswer:
    """The answer in the form of the body."""
    failed = len(made.failures) if report else None
    errors = {index: ItemError.of(failure) for index, failure in made.failures.items()}
    if body.items is not None:
        pairs = zip(made.tokens, made.versions, strict=True)
        shown = [
            TokenItem(error=errors[index].error) if index in errors else TokenItem(*pair)
            for index, pair in enumerate(pairs)
        ]
        return ItemsAnswer(shown, decision, failed)
    version = next((version for version in made.versions if version is not None), None)
    tokens: list[str | ItemError | None] = [
        errors.get(index) or token for index, token in enumerate(made.tokens)
    ]
    return ColumnAnswer(body.field or "", tokens, decision, version, failed)


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
    check_size(items, cell.limits.items, "items" if body.items is not None else "values")
    return items


def _make(
    cell: Cell,
    caller: Caller,
    origin: Origin,
    tenant: TenantSchema,
    items: list[TokenizeItem],
    *,
    report: bool,
) -> Generator[Command, Committed, _Made]:
    """Tokens of all items that can be taken, ready to be written."""
    name = caller.principal.tenant
    made = _Made([None] * len(items), [None] * len(items), {}, {}, [])
    vaulted: list[int] = []
    wanted: list[Wanted] = []
    for index, item in enumerate(items):
        if item.value is None:
            continue
        rule = tenant.schema.fields[item.field]
        count = made.counts.get(item.field)
        if count is None:
            count = made.counts[item.field] = Count(rule)
        try:
            if rule.protection is Protection.VAULTLESS:
                made.tokens[index], made.versions[index] = _vaultless(cell, name, rule, item)
                count.key_version = made.versions[index]
            else:
                check_vaulted(rule, item.value, item.subject)
                wanted.append(Wanted(rule, item.value, item.subject, normal_form(rule, item.value)))
                vaulted.append(index)
        except ValueRefused as refusal:
            made.failures[index] = refusal
            count.failed[refusal.code] = count.failed.get(refusal.code, 0) + 1
        else:
            count.values += 1
    passed, small = take_small(
        made.failures, made.counts, lambda at: (tenant.schema.fields[items[at].field], items[at].value or "")
    )
    for index, value in passed.items():
        made.tokens[index] = value
    vaulted += small.keys()
    wanted += small.values()
    if made.failures and not report:
        raise BatchRefused(made.failures)
    if not wanted:
        return made
    keys = yield from data_keys(cell, caller, origin, tenant, wanted)
    made.rows = vault(cell, name, wanted, keys)
    for index, token in zip(vaulted, tokens_of(cell, name, made.rows), strict=True):
        made.tokens[index] = token
    return made


def _vaultless(cell: Cell, tenant: str, rule: FieldRule, item: TokenizeItem) -> tuple[str, int]:
    """The token of a vaultless value and its key version."""
    if item.subject is not None:
        raise ValueRefused("subjects_unenforceable")
    version = cell.keyring.ff1_versions(tenant, rule.name).primary
    value = item.value or ""
    return cell.keyring.vaultless(tenant, rule.name, rule.shape, version).tokenize(value), version


def check_vaulted(rule: FieldRule, value: str, subject: str | None) -> None:
    """Whether a value and its person can be kept.

    Raises:
        ValueRefused: what the template refuses; `subject_invalid`, `subject_required`.
    """
    if rule.template is not None:
        rule.template.parse(value)
    if subject is not None:
        check_subject(subject)
    elif rule.subject_required:
        raise ValueRefused("subject_required")
