"""Preparing vaulted values: their data keys, the tokens that equal values already have, and their claims."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass

from vault.authn.identities import Caller
from vault.clock import Period
from vault.context import Use, encode_for, with_record
from vault.crypto.randomness import below
from vault.envelope.seal import seal_encoded
from vault.errors import Unavailable
from vault.formats.normalize import Normalization, normalize
from vault.identifiers import NIL, RowId, uuid7s
from vault.keyring.field_keys import IndexVersions
from vault.ledger.command import Command, Committed
from vault.ledger.state import TokenRow, collect_tokens
from vault.retention.period import due_within, retention_class
from vault.schema.document import Determinism, FieldRule
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.datakeys import obtain
from vault.services.hidden import Hidden
from vault.services.issue import IndexRow, Vaulted, is_alive
from vault.services.subjects import enter
from vault.store.custody import KeyRow, Slot
from vault.store.rows import EpochsInUse
from vault.tokens.shaped import claim_record
from vault.tokens.vaulted import encode_many

DRAWS = 8  # rounds; of a space at least 100 times its rows, a round leaves a hundredth


class Wanted(Hidden, frozen=True, gc=False):
    """A value to be kept under a data key."""

    rule: FieldRule
    value: str
    subject: str | None
    form: str | None = None  # what it is compared by, in a deterministic field


class Plaintext(Hidden, frozen=True, gc=False):
    """A value to seal, and what it is bound to."""

    key: KeyRow
    context: bytes  # encoded
    value: str


@dataclass(slots=True, repr=False)
class _Draft:
    """A token in the making: one for all equal values of a deterministic field."""

    row: bytes
    new: bool = True
    surrogate: str | None = None
    entry: bytes | None = None
    found: bytes | None = None
    held: set[bytes] | None = None  # data keys under which it has a claim; None if no index names it


def data_keys(
    cell: Cell,
    caller: Caller,
    origin: Origin,
    tenant: TenantSchema,
    wanted: list[Wanted],
    keep: Period | None = None,
) -> Generator[Command, Committed, list[KeyRow]]:
    """The data key of each value, by its subject, class and due period; made if there was none.

    Args:
        keep: how long the values are kept, where that is shorter than their class says.
    """
    if not wanted:
        return []
    people = yield from enter(
        cell, caller, origin, [one.subject for one in wanted if one.subject is not None]
    )
    now = cell.clock.now()
    asked = [(one.rule.row_class, one.subject) for one in wanted]
    due: dict[tuple[str, bool], tuple[str, str]] = {}
    slots: dict[tuple[str, str | None], Slot] = {}
    for class_, subject in dict.fromkeys(asked):
        kind = (class_, subject is None)
        if kind not in due:
            rule = tenant.schema.retention[class_]
            kept, person_ = retention_class(rule), subject is not None
            period = (
                kept.due(now, person=person_) if keep is None else due_within(kept, keep, now, person=person_)
            )
            due[kind] = (rule.name, period)
        person = NIL if subject is None else people[subject]
        slots[class_, subject] = Slot(caller.principal.tenant, person, *due[kind])
    rows = yield from obtain(cell, caller, origin, slots.values())
    keys = {one: rows[slot] for one, slot in slots.items()}
    return [keys[one] for one in asked]


def vault(
    cell: Cell, tenant: str, epochs: EpochsInUse, wanted: list[Wanted], keys: list[KeyRow]
) -> list[Vaulted]:
    """Each value as it is to be written: under the token that an equal value has, or a new one.

    Args:
        epochs: those that the index is looked up and written in.
        keys: the data key of each.
    """
    if not wanted:
        return []
    rules = {one.rule.name: one.rule for one in wanted}
    versions = {
        name: cell.keyring.index_versions(tenant, name)
        for name, rule in rules.items()
        if rule.deterministic is not Determinism.NONE
    }
    entries = [
        None
        if one.form is None
        else index_entry(cell, tenant, epochs.read, versions[one.rule.name].read, one.rule, one.form, key)
        for one, key in zip(wanted, keys, strict=True)
    ]
    found, tokens = _look_up(cell, epochs.read, [entry for entry in entries if entry is not None])
    drafts: dict[bytes, _Draft] = {}
    chosen: list[_Draft] = []
    shaped: dict[str, list[_Draft]] = defaultdict(list)
    for one, entry, fresh in zip(wanted, entries, uuid7s(len(wanted)), strict=True):
        draft = None if entry is None else drafts.get(entry)
        if draft is None:
            draft = _draft(fresh, entry, found, tokens)
            if entry is not None:
                drafts[entry] = draft
            if draft.new and one.rule.surrogate is not None:
                shaped[one.rule.name].append(draft)
        chosen.append(draft)
    for name, those in shaped.items():
        _draw(cell, tenant, rules[name], those)
    claims = _seal(cell, tenant, wanted, keys, chosen)
    return [
        Vaulted(
            draft.row,
            one.rule.name,
            key,
            claim,
            draft.new,
            draft.surrogate,
            draft.entry,
            draft.found,
            () if draft.entry is None else _entries(cell, tenant, epochs, versions, one, key, draft.entry),
        )
        for one, key, draft, claim in zip(wanted, keys, chosen, claims, strict=True)
    ]


def _seal(
    cell: Cell, tenant: str, wanted: list[Wanted], keys: list[KeyRow], drafts: list[_Draft]
) -> list[bytes | None]:
    """The claim of each value that its token does not have under its key yet."""
    bound = {
        name: encode_for(Use.CLAIM, tenant, cell.region, name, None)
        for name in {one.rule.name for one in wanted}
    }
    needed: list[Plaintext | None] = []
    for one, key, draft in zip(wanted, keys, drafts, strict=True):
        if draft.held is not None:
            if key.id in draft.held:
                needed.append(None)
                continue
            draft.held.add(key.id)
        context = with_record(bound[one.rule.name], claim_record(draft.row, draft.surrogate))
        needed.append(Plaintext(key, context, one.value))
    return seal_values(cell, needed)


def seal_values(cell: Cell, values: list[Plaintext | None]) -> list[bytes | None]:
    """The `ve1` message of each value, in order; all values of a key are sealed together."""
    by_key: dict[bytes, list[int]] = defaultdict(list)
    for index, one in enumerate(values):
        if one is not None:
            by_key[one.key.id].append(index)
    cell.keyring.prepare({one.key.id: one.key for one in values if one is not None}.values())
    sealed: list[bytes | None] = [None] * len(values)
    for places in by_key.values():
        those = [one for one in (values[place] for place in places) if one is not None]
        key = cell.keyring.data_key(those[0].key)
        messages = seal_encoded(key, [one.context for one in those], [one.value.encode() for one in those])
        for place, message in zip(places, messages, strict=True):
            sealed[place] = message
    return sealed


def normal_form(rule: FieldRule, value: str) -> str | None:
    """What a value of a deterministic field is compared by; None for other fields.

    Raises:
        ValueRefused: `value_format`: nothing is left of it to compare.
    """
    if rule.deterministic is Determinism.NONE:
        return None
    return normalize(rule.shape, Normalization(rule.normalize), value)


def tokens_of(cell: Cell, tenant: str, rows: Sequence[Vaulted]) -> list[str]:
    """What the caller gets for vaulted values."""
    opaque: dict[str, list[RowId]] = defaultdict(list)
    for row in rows:
        if row.surrogate is None:
            opaque[row.field].append(RowId(row.row))
    tokens = {
        field: iter(encode_many(cell.keyring.row_ids(tenant, field), those))
        for field, those in opaque.items()
    }
    return [next(tokens[row.field]) if row.surrogate is None else row.surrogate for row in rows]


def index_entry(
    cell: Cell, tenant: str, epoch: int, version: int, rule: FieldRule, form: str, key: KeyRow
) -> bytes:
    """The index entry of a value of a deterministic field, in an epoch and under a version of its key.

    Args:
        form: what the value is compared by.
        key: the data key of its claim, which says whose it is.
    """
    subject = key.subject if rule.deterministic is Determinism.SUBJECT else None
    return cell.keyring.blind_index(tenant, rule.name, epoch, version).entry(form, subject)


def _entries(
    cell: Cell,
    tenant: str,
    epochs: EpochsInUse,
    versions: dict[str, IndexVersions],
    one: Wanted,
    key: KeyRow,
    looked_up: bytes,
) -> tuple[IndexRow, ...]:
    """The entry in each epoch and under each key version that the index is written in.

    Two epochs while a turn is under way, two versions while the index key is rotated.
    """
    of, form = versions[one.rule.name], one.form or ""
    return tuple(
        IndexRow(
            epoch,
            version,
            looked_up
            if (epoch, version) == (epochs.read, of.read)
            else index_entry(cell, tenant, epoch, version, one.rule, form, key),
        )
        for epoch in epochs.each
        for version in of.write
    )


def _look_up(
    cell: Cell, epoch: int, entries: Iterable[bytes]
) -> tuple[dict[bytes, bytes], dict[bytes, TokenRow]]:
    """The rows that the index names, and those rows, as they stand; the ledger looks again."""
    wanted = list(dict.fromkeys(entries))
    if not wanted:
        return {}, {}
    custody = cell.store.custody
    named = cell.store.read_keys(custody.index_entries, wanted, epoch=epoch)
    found = {bytes(entry): bytes(row) for entry, row in named}
    return found, collect_tokens(cell.store.read_keys(custody.claims, list(set(found.values()))))


def _draft(
    fresh: bytes, entry: bytes | None, found: dict[bytes, bytes], tokens: dict[bytes, TokenRow]
) -> _Draft:
    """The token that the index names, or a new one on the row `fresh`."""
    if entry is None:
        return _Draft(fresh)
    row = found.get(entry)
    token = tokens.get(row) if row is not None else None
    if row is not None and token is not None and is_alive(token):
        held = {claim.key.id for claim in token.claims}
        return _Draft(row, False, token.surrogate, entry, row, held)
    return _Draft(fresh, True, None, entry, row, set())


def _draw(cell: Cell, tenant: str, rule: FieldRule, drafts: list[_Draft]) -> None:
    """Gives each new token a surrogate that was never issued; the ledger's insert is what makes it so.

    Raises:
        Unavailable: `too_busy`: chance was against it; the space is sparse, so it will not be again.
    """
    if rule.surrogate is None:
        return
    taken: set[str] = set()
    left = drafts
    for _ in range(DRAWS):
        drawn = {rule.surrogate.draw(below): None for _ in left}.keys() - taken
        known = cell.store.read_keys(
            cell.store.custody.surrogates, list(drawn), tenant=tenant, field=rule.name
        )
        fresh = drawn - {row[0] for row in known}
        taken |= drawn
        for draft, surrogate in zip(left, fresh, strict=False):
            draft.surrogate = surrogate
        left = left[len(fresh) :]
        if not left:
            return
    raise Unavailable("too_busy", retry_after=1)
