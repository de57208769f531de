"""decrypt: ciphertexts that callers kept become values or masked values, under a grant."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from vault.envelope.message import from_text, parse
from vault.errors import IntegrityError, ValueRefused
from vault.ledger.command import Verb
from vault.policy.grant import Derived
from vault.schema.document import Protection
from vault.services.asked import Asked
from vault.services.batch import FAIL, check_size
from vault.services.cell import Cell, TenantSchema
from vault.services.delivery import Sealed
from vault.services.detokenize import (
    ValueItem,
    asking_of,
    name_subjects,
    repeatable,
    sealed_items,
    value_items,
)
from vault.services.encrypt import check_record
from vault.services.gate import Request, holder
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.use_grant import GrantUse, use_grant


class DecryptItem(Hidden, forbid_unknown_fields=True, frozen=True):
    """One ciphertext, with the record it was made for, if it was made for one."""

    field: str
    ciphertext: str | None
    subject: str | None = None
    record: str | None = None


class DecryptBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Ciphertexts to open."""

    purpose: str
    items: list[DecryptItem]
    operation: str = "reveal"
    mask: str | None = None
    delivery: str = "plain"
    on_error: str = FAIL
    challenge: str | None = None
    conversation: str | None = None
    task: str | None = None
    derive: Derived | None = None


class DecryptAnswer(Replayable, frozen=True, omit_defaults=True):
    """Values in the order of the ciphertexts.

    With `on_error` = `report`, a place may hold an error, and `failed` counts them. A replayed answer has
    null for the values: none is kept. Of a sealed answer the values are in `sealed`.
    """

    decision: str
    items: list[ValueItem] | None
    grant: GrantUse | UnsetType = UNSET
    failed: int | None = None
    sealed: Sealed | UnsetType = UNSET


def decrypt(cell: Cell, request: Request, body: DecryptBody) -> Verb[DecryptAnswer]:
    """Opens ciphertexts under a grant.

    Raises:
        Unauthenticated, Denied: the grant is not valid or does not allow it; on the record.
        BatchRefused: items that do not open; charged, on the record, and nothing is shown.
    """
    who = holder(cell, request)
    asking = asking_of("decrypt", body)
    found = once(cell, request, who, "decrypt", DecryptAnswer, repeatable(body))
    if found.replay is not None:
        return found.replay
    shown = yield from use_grant(
        asking,
        cell,
        request,
        who,
        lambda schema: prepare_ciphertexts(cell, who.tenant, schema, body.items),
        found,
        lambda decision: DecryptAnswer(decision, None),
    )
    if shown.sealed is not None:
        items = sealed_items(shown.values)
        return DecryptAnswer(shown.decision, items, shown.grant, shown.failed, shown.sealed)
    return DecryptAnswer(shown.decision, value_items(shown.values), shown.grant, shown.failed)


def prepare_ciphertexts(
    cell: Cell, tenant: str, schema: TenantSchema, items: list[DecryptItem]
) -> list[Asked]:
    """Takes every ciphertext apart. What is wrong with it is told only after the charge."""
    check_size(items, cell.limits.items)
    rules = schema.schema.fields
    asked = [
        Asked(
            item.field,
            rules.get(item.field),
            item.ciphertext is not None,
            text=item.ciphertext or "",
            named=item.subject,
        )
        for item in items
    ]
    for one, item in zip(asked, items, strict=True):
        try:
            _read_ciphertext(one, item)
        except (ValueRefused, IntegrityError) as refusal:
            one.refusal = refusal.code
    name_subjects(cell, tenant, asked, [item.subject for item in items])
    return asked


def _read_ciphertext(one: Asked, item: DecryptItem) -> None:
    if one.rule is None or item.ciphertext is None:
        return
    if one.rule.protection is not Protection.ENCRYPTED:
        raise ValueRefused("operation_unsupported")
    if item.record is not None:
        one.record = check_record(item.record)
    one.message = parse(from_text(item.ciphertext))
