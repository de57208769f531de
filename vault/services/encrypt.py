"""encrypt: values become ciphertexts that the caller keeps; the vault keeps only the data key."""

from __future__ import annotations

import unicodedata
from collections.abc import Generator

from msgspec import UNSET, UnsetType

from vault.authn.identities import Caller
from vault.clock import Period
from vault.context import Use, encode_for
from vault.envelope.message import to_text
from vault.errors import BadInput, Conflict, Stale, ValueRefused
from vault.ledger.command import Command, Committed, Verb
from vault.schema.document import FieldRule, Protection
from vault.services.batch import FAIL, BatchRefused, Failures, ItemCode, ItemError, check_size, reports
from vault.services.binding import bound_schema
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.idempotency import Once, Replayable, once
from vault.services.issue import Count, Issue
from vault.services.retention import own_time
from vault.services.subjects import erased_among
from vault.services.tokenize import check_vaulted
from vault.services.vaulting import Plaintext, Wanted, data_keys, seal_values

MAX_RECORD = 256  # bytes


class EncryptItem(Hidden, forbid_unknown_fields=True, frozen=True):
    """One value, and the record it belongs to in the caller's own database, if that is to be bound."""

    field: str
    value: str | None
    subject: str | None = None
    record: str | None = None


class EncryptBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Values to encrypt.

    Attributes:
        keep: how long they can be opened (ISO 8601), to the end of that day, where it is shorter than their
            class says.
    """

    items: list[EncryptItem]
    on_error: str = FAIL
    keep: str | None = None


class CiphertextItem(Hidden, frozen=True, omit_defaults=True):
    """One ciphertext (`ve1.` and base64url), null for a null value; or the error in its place."""

    ciphertext: str | UnsetType | None = UNSET
    error: ItemCode | UnsetType = UNSET


class CiphertextsAnswer(Replayable, frozen=True, omit_defaults=True):
    """Ciphertexts in the order of the values.

    With `on_error` = `report`, a place may hold an error, and `failed` counts them.
    """

    items: list[CiphertextItem]
    decision: str
    failed: int | None = None


def encrypt(cell: Cell, request: Request, body: EncryptBody) -> Verb[CiphertextsAnswer]:
    """Encrypts values: all or none, or with the errors in their places.

    Raises:
        Unauthenticated, Denied: the caller may not.
        BadInput: the body or a value cannot be taken; `BatchRefused` lists the values.
    """
    caller = authenticate(cell, request)
    report = reports(body.on_error)
    check_size(body.items, cell.limits.items)
    fields = list(dict.fromkeys(item.field for item in body.items))
    tenant = bound_schema(cell, request, caller)
    needed = (f"encrypt:{name}" for name in fields)
    yield from admit(cell, caller, request.origin, "encrypt", *needed, schema=tenant)
    for name in fields:
        rule = tenant.schema.fields.get(name)
        if rule is None:
            raise BadInput("field_unknown")
        if rule.protection is not Protection.ENCRYPTED:
            raise BadInput("operation_unsupported", field=name)
    found = once(cell, request, caller, "encrypt", CiphertextsAnswer, body)
    if found.replay is not None:
        return found.replay
    answer = yield from _make(
        cell, caller, request.origin, tenant, body.items, found, report=report, keep=own_time(body.keep)
    )
    return answer


def check_record(record: str) -> bytes:
    """The caller's name of a record, as the context binds it.

    Raises:
        ValueRefused: `record_invalid`: not 1 to 256 bytes of UTF-8, or with control characters.
    """
    if not 1 <= len(record) <= MAX_RECORD or any(
        unicodedata.category(char) in ("Cc", "Cs", "Cn") for char in record
    ):
        raise ValueRefused("record_invalid")
    encoded = record.encode()
    if len(encoded) > MAX_RECORD:
        raise ValueRefused("record_invalid")
    return encoded


def _make(
    cell: Cell,
    caller: Caller,
    origin: Origin,
    tenant: TenantSchema,
    items: list[EncryptItem],
    found: Once[CiphertextsAnswer],
    *,
    report: bool,
    keep: Period | None,
) -> Generator[Command, Committed, CiphertextsAnswer]:
    """Ciphertexts of all items that can be taken, on the record."""
    shown = [CiphertextItem(None)] * len(items)
    failures: Failures = {}
    counts: dict[str, Count] = {}
    taken: list[tuple[int, bytes | None]] = []
    wanted: list[Wanted] = []
    for index, item in enumerate(items):
        if item.value is None:
            continue
        rule = tenant.schema.fields[item.field]
        count = counts.get(item.field)
        if count is None:
            count = counts[item.field] = Count(rule)
        try:
            record = _check(rule, item, item.value)
        except ValueRefused as refusal:
            failures[index] = refusal
            shown[index] = CiphertextItem(error=ItemError.of(refusal).error)
            count.failed[refusal.code] = count.failed.get(refusal.code, 0) + 1
        else:
            taken.append((index, record))
            wanted.append(Wanted(rule, item.value, item.subject))
            count.values += 1
    if failures and not report:
        raise BatchRefused(failures)
    epochs = cell.keyring.in_use
    name = caller.principal.tenant
    try:
        keys = yield from data_keys(cell, caller, origin, tenant, wanted, keep)
    except Conflict as refusal:
        if refusal.code != "subject_erased":
            raise
        erased = erased_among(cell, name, {one.subject for one in wanted if one.subject is not None})
        if not erased:
            raise Stale from None
        refused = Conflict("subject_erased")
        for index in [at for (at, _), one in zip(taken, wanted, strict=True) if one.subject in erased]:
            failures[index] = refused
            shown[index] = CiphertextItem(error=ItemError.of(refused).error)
            count = counts[items[index].field]
            count.values -= 1
            count.failed[refused.code] = count.failed.get(refused.code, 0) + 1
        if not report:
            raise BatchRefused(failures) from None
        taken = [(at, record) for at, record in taken if at not in failures]
        wanted = [one for one in wanted if one.subject not in erased]
        keys = yield from data_keys(cell, caller, origin, tenant, wanted, keep)
    plaintexts: list[Plaintext | None] = [
        Plaintext(key, encode_for(Use.VALUE, name, cell.region, one.rule.name, record), one.value)
        for (_, record), one, key in zip(taken, wanted, keys, strict=True)
    ]
    for (index, _), sealed in zip(taken, seal_values(cell, plaintexts), strict=True):
        shown[index] = CiphertextItem(None if sealed is None else to_text(sealed))
    command = Issue(caller, origin, "encrypt", tenant, epochs, counts.values(), keys=keys)
    answer = CiphertextsAnswer(shown, command.decision, len(failures) if report else None)
    done = yield found.keep(command, answer)
    if done.value is not None:
        raise done.value
    return answer


def _check(rule: FieldRule, item: EncryptItem, value: str) -> bytes | None:
    """Whether an item can be encrypted; its record as the context binds it.

    Raises:
        ValueRefused: `value_length`, what the template refuses, `subject_invalid`, `subject_required`,
            `record_invalid`.
    """
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueRefused("value_alphabet") from None
    if size > rule.max_bytes:
        raise ValueRefused("value_length", maximum=rule.max_bytes)
    check_vaulted(rule, value, item.subject)
    return None if item.record is None else check_record(item.record)
