"""tokenize: values become tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from dataclasses import dataclass
from itertools import repeat

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from vault.authn.identities import Caller
from vault.clock import Period
from vault.errors import BadInput, CoatcheckError, Conflict, Stale, ValueRefused
from vault.ledger.command import Command, Committed, Verb
from vault.schema.rules import FieldRule, Protection
from vault.services.batch import FAIL, BatchRefused, Failures, ItemCode, ItemError, check_size, reports
from vault.services.binding import bound_schema
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden
from vault.services.idempotency import Once, Replayable, once
from vault.services.issue import Count, Issue, Vaulted
from vault.services.retention import own_time
from vault.services.small import take_small
from vault.services.subjects import check_subject, erased_among
from vault.services.vaulting import Wanted, data_keys, normal_form, tokens_of, vault
from vault.store.rows import EpochsInUse
from vault.tokens.written import Written


class TokenizeItem(Hidden, forbid_unknown_fields=True, frozen=True):
    """One value of a row-wise body."""

    field: str
    value: str | None
    subject: str | None = None


class TokenizeBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Columnar (`field`, `values`, `subjects`) or row-wise (`items`).

    Attributes:
        keep: how long the values are kept (ISO 8601), to the end of that day, where it is shorter than their
            class says; of vaulted fields.
    """

    field: str | None = None
    values: list[str | None] | None = None
    subjects: list[str | None] | None = None
    items: list[TokenizeItem] | None = None
    on_error: str = FAIL
    keep: str | None = None


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


class WrittenAnswer(Hidden, frozen=True, omit_defaults=True):
    """The same, the tokens as they are on the wire."""

    field: str
    tokens: msgspec.Raw
    decision: str
    key_version: int | None = None
    failed: int | None = None


class ItemsAnswer(Replayable, frozen=True, omit_defaults=True):
    """Tokens in the order of the items; errors among them as in `ColumnAnswer`."""

    items: list[TokenItem]
    decision: str
    failed: int | None = None


Answer = ColumnAnswer | ItemsAnswer | WrittenAnswer


@dataclass(slots=True, repr=False)
class _Column:
    """The values of one field, and which of all values of the body they are."""

    field: str
    places: Sequence[int]
    values: list[str | None]
    subjects: list[str | None] | None

    def rows(self) -> Iterable[tuple[int, str | None, str | None]]:
        """(place, value, subject) of each."""
        return zip(self.places, self.values, self.subjects or repeat(None), strict=False)


@dataclass(slots=True, repr=False)
class _Made:
    """Tokens and key versions by place, what is wrong with others, and what is to be written and counted."""

    tokens: list[str | None]
    versions: list[int | None]
    failures: Failures
    counts: dict[str, Count]
    rows: list[Vaulted]
    array: msgspec.Raw | None = None  # of all tokens, in place of `tokens`

    def refuse(self, place: int, refusal: CoatcheckError, count: Count) -> None:
        """A value that cannot be taken."""
        self.failures[place] = refusal
        count.failed[refusal.code] = count.failed.get(refusal.code, 0) + 1


def tokenize(
    cell: Cell, request: Request, body: TokenizeBody, written: Written | None = None
) -> Verb[Answer]:
    """Turns values into tokens: all or none, or with the errors in their places.

    Args:
        written: the values, where the body has an empty list of them.

    Raises:
        Unauthenticated, Denied: the caller may not, or its budget does not cover it.
        BadInput: the body or a value cannot be taken; `BatchRefused` lists the values.
    """
    caller = authenticate(cell, request)
    report = reports(body.on_error)
    fields, keep = _fields(cell, body, written), own_time(body.keep)
    tenant = bound_schema(cell, request, caller)
    needed = (f"tokenize:{name}" for name in fields)
    yield from admit(cell, caller, request.origin, "tokenize", *needed, schema=tenant)
    for name in fields:
        rule = tenant.schema.fields.get(name)
        if rule is None:
            raise BadInput("field_unknown")
        if rule.protection is Protection.ENCRYPTED:
            raise BadInput("operation_unsupported", field=name)
        if keep is not None and rule.protection is not Protection.VAULTED:
            raise BadInput("operation_unsupported", field=name, member="keep")
    if written is not None and tenant.schema.fields[fields[0]].protection is not Protection.VAULTLESS:
        body, written = replace(body, values=written.strings()), None
    found: Once[ItemsAnswer] | Once[ColumnAnswer]
    if body.items is not None:
        found = once(cell, request, caller, "tokenize", ItemsAnswer, body)
    else:
        asked = body
        if written is not None and request.idempotency is not None:
            asked = replace(body, values=written.packed())
        found = once(cell, request, caller, "tokenize", ColumnAnswer, asked)
    if found.replay is not None:
        return found.replay
    made = None
    epochs = cell.keyring.in_use
    if written is not None:
        made = _rewritten(cell, caller, tenant.schema.fields[fields[0]], written)
        if made is None:
            body = replace(body, values=written.strings())
    if made is None:
        columns = _columns(body)
        made = yield from _make(
            cell, caller, request.origin, tenant, epochs, columns, report=report, keep=keep
        )
    command = Issue(caller, request.origin, "tokenize", tenant, epochs, made.counts.values(), made.rows)
    answer = _answer(body, made, command.decision, report=report)
    done = yield found.keep(command, answer)
    if done.value is not None:
        raise done.value
    return answer


def _answer(body: TokenizeBody, made: _Made, decision: str, *, report: bool) -> Answer:
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
    if made.array is not None:
        return WrittenAnswer(body.field or "", made.array, decision, version, failed)
    tokens: list[str | ItemError | None] = [*made.tokens]
    for index, failure in errors.items():
        tokens[index] = failure
    return ColumnAnswer(body.field or "", tokens, decision, version, failed)


def _fields(cell: Cell, body: TokenizeBody, written: Written | None) -> list[str]:
    """The fields that either form names, each once, after a look at its form.

    Raises:
        BadInput: `body_malformed`, `member_missing`, `items_mismatch`, `batch_too_large`.
    """
    if body.items is not None:
        if body.field is not None or body.values is not None or body.subjects is not None:
            raise BadInput("body_malformed", pointer="items")
        check_size(body.items, cell.limits.items)
        return list(dict.fromkeys(item.field for item in body.items))
    if body.field is None or body.values is None:
        raise BadInput("member_missing", member="field" if body.field is None else "values")
    values: Sized = body.values if written is None else written
    if body.subjects is not None and len(body.subjects) != len(values):
        raise BadInput("items_mismatch")
    check_size(values, cell.limits.items, "values")
    return [body.field]


def _rewritten(cell: Cell, caller: Caller, rule: FieldRule, written: Written) -> _Made | None:
    """Tokens of values of a vaultless field, written as the values were; None if that cannot be with all."""
    tenant = caller.principal.tenant
    version = cell.keyring.ff1_versions(tenant, rule.name).primary
    tokens = written.like()
    vaultless = cell.keyring.vaultless(tenant, rule.name, rule.shape, version)
    if len(vaultless.tokenize_texts(written.texts, tokens.data)) or not tokens.is_sound():
        return None
    return _Made([], [version], {}, {rule.name: Count(rule, len(written), version)}, [], tokens.array())


def _columns(body: TokenizeBody) -> list[_Column]:
    """The values of either form, by field."""
    if body.items is None:
        values = body.values or []
        return [_Column(body.field or "", range(len(values)), values, body.subjects)]
    places: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(body.items):
        places[item.field].append(place)
    items = body.items
    return [
        _Column(
            field, those, [items[place].value for place in those], [items[place].subject for place in those]
        )
        for field, those in places.items()
    ]


def _make(
    cell: Cell,
    caller: Caller,
    origin: Origin,
    tenant: TenantSchema,
    epochs: EpochsInUse,
    columns: list[_Column],
    *,
    report: bool,
    keep: Period | None,
) -> Generator[Command, Committed, _Made]:
    """Tokens of all values that can be taken, ready to be written."""
    name = caller.principal.tenant
    size = sum(len(column.values) for column in columns)
    made = _Made([None] * size, [None] * size, {}, {}, [])
    vaulted: list[int] = []
    wanted: list[Wanted] = []
    for column in columns:
        if column.values.count(None) == len(column.values):
            continue
        rule = tenant.schema.fields[column.field]
        count = made.counts[column.field] = Count(rule)
        if rule.protection is Protection.VAULTLESS:
            _vaultless(cell, name, column, count, made)
            continue
        for place, value, subject in column.rows():
            if value is None:
                continue
            try:
                check_vaulted(rule, value, subject)
                wanted.append(Wanted(rule, value, subject, normal_form(rule, value)))
            except ValueRefused as refusal:
                made.refuse(place, refusal, count)
            else:
                vaulted.append(place)
                count.values += 1
    passed, small = take_small(made.failures, made.counts, _given(tenant, columns))
    for place, value in passed.items():
        made.tokens[place] = value
    vaulted += small.keys()
    wanted += small.values()
    if made.failures and not report:
        raise BatchRefused(made.failures)
    if not wanted:
        return made
    try:
        keys = yield from data_keys(cell, caller, origin, tenant, wanted, keep)
    except Conflict as refusal:
        if refusal.code != "subject_erased":
            raise
        vaulted, wanted = _without_erased(cell, name, made, vaulted, wanted)
        if not report:
            raise BatchRefused(made.failures) from None
        keys = yield from data_keys(cell, caller, origin, tenant, wanted, keep)
    made.rows = vault(cell, name, epochs, wanted, keys)
    for place, token in zip(vaulted, tokens_of(cell, name, made.rows), strict=True):
        made.tokens[place] = token
    return made


def _without_erased(
    cell: Cell, tenant: str, made: _Made, places: list[int], wanted: list[Wanted]
) -> tuple[list[int], list[Wanted]]:
    """What is not of people who were erased; the rest is refused, each in its place.

    Raises:
        Stale: nobody of them is erased any more.
    """
    erased = erased_among(cell, tenant, {one.subject for one in wanted if one.subject is not None})
    if not erased:
        raise Stale
    left: list[tuple[int, Wanted]] = []
    for place, one in zip(places, wanted, strict=True):
        if one.subject in erased:
            count = made.counts[one.rule.name]
            made.refuse(place, Conflict("subject_erased"), count)
            count.values -= 1
        else:
            left.append((place, one))
    return [place for place, _ in left], [one for _, one in left]


def _given(tenant: TenantSchema, columns: list[_Column]) -> Callable[[int], tuple[FieldRule, str]]:
    """What was asked for at a place: the field's rule and the value."""

    by_place: dict[int, tuple[FieldRule, str]] = {}

    def given(place: int) -> tuple[FieldRule, str]:
        if not by_place:  # hardly ever asked
            for column in columns:
                rule = tenant.schema.fields[column.field]
                pairs = zip(column.places, column.values, strict=True)
                by_place.update((at, (rule, value or "")) for at, value in pairs)
        return by_place[place]

    return given


def _vaultless(cell: Cell, tenant: str, column: _Column, count: Count, made: _Made) -> None:
    """The tokens of a column of a vaultless field, all together, and their key version."""
    rule, values = count.rule, column.values
    if column.subjects is not None and column.subjects.count(None) < len(column.subjects):
        values = list(values)
        for index, (place, value, subject) in enumerate(column.rows()):
            if value is not None and subject is not None:
                made.refuse(place, ValueRefused("subjects_unenforceable"), count)
                values[index] = None
    version = cell.keyring.ff1_versions(tenant, rule.name).primary
    tokens, refused = cell.keyring.vaultless(tenant, rule.name, rule.shape, version).tokenize_many(values)
    for index, refusal in refused.items():
        made.refuse(column.places[index], refusal, count)
    count.values = len(tokens) - tokens.count(None)
    if not count.values:
        return
    count.key_version = version
    if len(tokens) == len(made.tokens):
        made.tokens, made.versions = tokens, [None if token is None else version for token in tokens]
        return
    for place, token in zip(column.places, tokens, strict=True):
        if token is not None:
            made.tokens[place], made.versions[place] = token, version


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
