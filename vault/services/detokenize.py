"""detokenize: tokens become values or masked values, under a grant, after the charge is durable."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from vault.errors import BadInput, ValueRefused
from vault.ledger.command import Verb
from vault.policy.grant import VERIFY, Derived
from vault.schema.document import Protection
from vault.services.asked import NEVER_SEEN, Asked, Asking, Told
from vault.services.batch import FAIL, ItemCode, ItemError, check_size
from vault.services.cell import Cell, TenantSchema
from vault.services.delivery import Sealed
from vault.services.gate import Request, holder
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.small import is_opaque, is_passed
from vault.services.subjects import check_subject, find
from vault.services.use_grant import GrantUse, use_grant
from vault.tokens.vaulted import decode

if TYPE_CHECKING:
    from vault.services.decrypt import DecryptBody


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
    on_error: str = FAIL
    challenge: str | None = None
    conversation: str | None = None
    task: str | None = None
    derive: Derived | None = None


class ValueItem(Hidden, frozen=True, omit_defaults=True):
    """One value, or masked value, null for a null token; or the error in its place; or that it is sealed."""

    value: str | bool | UnsetType | None = UNSET
    error: ItemCode | UnsetType = UNSET
    status: str | UnsetType = UNSET


class ValuesAnswer(Replayable, frozen=True, omit_defaults=True):
    """Values in the order of the tokens: `items` for row-wise bodies, `values` for columnar ones.

    With `on_error` = `report`, a place may hold an error, and `failed` counts them. A replayed answer has
    null for the values: none is kept. Of a sealed answer the values are in `sealed`, whichever form the
    body has, and `items` says of each that it is there.
    """

    decision: str
    grant: GrantUse | UnsetType = UNSET
    items: list[ValueItem] | UnsetType | None = UNSET
    values: list[Told] | UnsetType | None = UNSET
    failed: int | None = None
    sealed: Sealed | UnsetType = UNSET


Body = TypeVar("Body", DetokenizeBody, "DecryptBody")


def repeatable(body: Body) -> Body:
    """A body as a repeated request is known by: what freshens a sealed answer is another each time."""
    return body if body.challenge is None else replace(body, challenge=None)


def asking_of(verb: str, body: DetokenizeBody | DecryptBody) -> Asking:
    """What a body asks for besides its items.

    Raises:
        BadInput: `operation_unsupported`: verify has a route of its own.
    """
    if body.operation == VERIFY:
        raise BadInput("operation_unsupported", member="operation")
    return Asking(
        verb,
        body.operation,
        body.mask,
        body.delivery,
        body.purpose,
        body.on_error,
        body.challenge,
        body.conversation,
        body.task,
        body.derive,
    )


def detokenize(cell: Cell, request: Request, body: DetokenizeBody) -> Verb[ValuesAnswer]:
    """Turns tokens back into values under a grant.

    Raises:
        Unauthenticated, Denied: the grant is not valid or does not allow it; on the record.
        BatchRefused: items that do not open; charged, on the record, and nothing was opened.
    """
    who = holder(cell, request)
    asking = asking_of("detokenize", body)
    found = once(cell, request, who, "detokenize", ValuesAnswer, repeatable(body))
    if found.replay is not None:
        return found.replay
    by_column = body.items is None
    shown = yield from use_grant(
        asking,
        cell,
        request,
        who,
        lambda schema: prepare_tokens(cell, who.tenant, schema, _items(cell, body)),
        found,
        lambda id_: ValuesAnswer(id_, values=None) if by_column else ValuesAnswer(id_, items=None),
    )
    if shown.sealed is not None:
        items = sealed_items(shown.values)
        return ValuesAnswer(shown.decision, shown.grant, items, failed=shown.failed, sealed=shown.sealed)
    if by_column:
        return ValuesAnswer(shown.decision, shown.grant, values=shown.values, failed=shown.failed)
    return ValuesAnswer(shown.decision, shown.grant, items=value_items(shown.values), failed=shown.failed)


def value_items(values: list[Told]) -> list[ValueItem]:
    """Values as the items of a row-wise answer."""
    return [
        ValueItem(error=value.error) if isinstance(value, ItemError) else ValueItem(value) for value in values
    ]


def sealed_items(values: list[Told]) -> list[ValueItem]:
    """What an open answer tells of values that are sealed: no more than which of them could not be shown."""
    return [
        ValueItem(error=value.error) if isinstance(value, ItemError) else ValueItem(status="sealed")
        for value in values
    ]


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
    check_size(items, cell.limits.items, "items" if body.items is not None else "tokens")
    return items


def prepare_tokens(cell: Cell, tenant: str, schema: TenantSchema, items: list[DetokenizeItem]) -> list[Asked]:
    """Reads every token for what it names. What is wrong with it is told only after the charge."""
    rules = schema.schema.fields
    asked = [
        Asked(
            item.field,
            rules.get(item.field),
            item.token is not None,
            text=item.token or "",
            named=item.subject,
        )
        for item in items
    ]
    shaped: dict[str, list[Asked]] = {}
    for one, item in zip(asked, items, strict=True):
        try:
            _read_token(cell, tenant, one, item)
            if one.surrogate is not None:
                shaped.setdefault(one.field, []).append(one)
        except ValueRefused as refusal:
            one.refusal = refusal.code
    for field, those in shaped.items():
        _look_up(cell, tenant, field, those)
    name_subjects(cell, tenant, asked, [item.subject for item in items])
    return asked


def name_subjects(cell: Cell, tenant: str, asked: list[Asked], subjects: list[str | None]) -> None:
    """Notes the row of the subject that each item names; an unknown one is nobody the grant is for."""
    named: dict[str, list[Asked]] = {}
    for one, subject in zip(asked, subjects, strict=True):
        if subject is not None:
            try:
                named.setdefault(check_subject(subject), []).append(one)
            except ValueRefused as refusal:
                one.refusal = one.refusal or refusal.code
    people = find(cell, tenant, named)
    for subject, those in named.items():
        for one in those:
            one.subject = people.get(subject, NEVER_SEEN)


def _read_token(cell: Cell, tenant: str, one: Asked, item: DetokenizeItem) -> None:
    rule = one.rule
    if rule is None or item.token is None:
        return
    if rule.protection is Protection.VAULTLESS:
        if item.subject is not None:
            raise ValueRefused("subjects_unenforceable")
        if is_opaque(rule, item.token):
            one.row = decode(cell.keyring.row_ids(tenant, rule.name), item.token)
            return
        one.key_version, one.passed = item.key_version, is_passed(rule, item.token)
        if not one.passed:
            rule.shape.parse_token(item.token)
    elif rule.protection is Protection.ENCRYPTED:
        raise ValueRefused("operation_unsupported")
    elif item.key_version is not None:
        raise ValueRefused("token_unknown")
    elif rule.surrogate is not None:
        one.surrogate = rule.surrogate.parse(item.token)
    else:
        one.row = decode(cell.keyring.row_ids(tenant, rule.name), item.token)


def _look_up(cell: Cell, tenant: str, field: str, asked: list[Asked]) -> None:
    """The rows of shaped tokens. A surrogate's row never changes, so this may be read beforehand."""
    wanted = list({one.surrogate for one in asked})
    found = cell.store.read_keys(cell.store.custody.surrogates, wanted, tenant=tenant, field=field)
    rows = {surrogate: bytes(row) for surrogate, row in found}
    for one in asked:
        one.row = rows.get(one.surrogate or "")
        if one.row is None:
            one.refusal = "token_unknown"
