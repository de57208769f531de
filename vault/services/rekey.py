"""rekey: vaultless tokens of one key version become tokens of the newest. No value is shown on the way.

Values pass through memory, between two FF1 transformations, and nobody is answered any. So it takes a
permission of its own and no grant: who may rekey learns nothing that tokens do not show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.crypto.ff1_batch import one_thread
from vault.crypto.texts import Bytes, Texts
from vault.errors import BadInput, CoatcheckError, ValueRefused
from vault.identifiers import new_id
from vault.ledger.command import State, Verb, Writes
from vault.schema.rules import FieldRule, Protection, Small
from vault.services.batch import FAIL, BatchRefused, ItemError, check_size, reports
from vault.services.binding import bound_schema
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.grant_body import MAX_KEY_VERSION
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.rewrite import Rewritten, TextColumn
from vault.services.small import is_opaque, is_passed
from vault.tokens.vaultless import Refused, Vaultless
from vault.tokens.written import Written


class RekeyBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Tokens of a vaultless field, all of one key version."""

    field: str
    tokens: list[str | None]
    from_version: int
    on_error: str = FAIL


class RekeyAnswer(Replayable, frozen=True, omit_defaults=True):
    """The tokens of the same values under the newest key version, in the same order.

    With `on_error` = `report`, a place may hold an error, and `failed` counts them.
    """

    field: str
    key_version: int
    tokens: list[str | ItemError | None]
    decision: str
    failed: int | None = None


class RekeyWritten(Hidden, frozen=True, omit_defaults=True):
    """The same, the tokens as they are on the wire."""

    field: str
    key_version: int
    tokens: msgspec.Raw
    decision: str
    failed: int | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """From one key version of a field to another.

    Attributes:
        name: of the field.
        old, new: key versions.
        count: tokens that were made.
        kept: tokens that have no key version, and stay as they are.
        failed: how many could not be taken, by code.
    """

    name: str
    old: int
    new: int
    count: int
    kept: int = 0
    failed: dict[str, int] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """As the event has it."""
        entry: dict[str, Any] = {"field": self.name, "tokens": self.count}
        entry |= {"from_version": self.old, "key_version": self.new}
        entry |= {"kept": self.kept} if self.kept else {}
        return entry | ({"failed": self.failed} if self.failed else {})


class Rekeyed(CallerCommand):
    """Counts what was rekeyed, if the keys still stand: a change of keys is a change of the schema's head."""

    def __init__(self, caller: Caller, origin: Origin, schema: TenantSchema, turns: list[Turn]) -> None:
        super().__init__(caller, schema.head)
        self.decision = new_id("dec")
        self._origin = origin
        self._turns = turns

    def decide(self, state: State, writes: Writes) -> None:
        """Counts, and notes the event."""
        self.check(state)
        tenant = self.caller.principal.tenant
        fields: list[dict[str, Any]] = []
        for turn in self._turns:
            if turn.count and turn.old != turn.new:
                writes.issue(tenant, turn.name, turn.new, turn.count)
                of = {"tenant": tenant, "field": turn.name, "key_version": turn.old}
                writes.update("add_rekeyed", **of, rekeyed=turn.count, used_at=state.now)
            fields.append(turn.entry())
        facts = {"fields": fields, "credential": self.caller.api_key, **trace(self._origin)}
        writes.event(Event("rekey", tenant, self.caller.actor, facts, decision=self.decision))


def rekey(
    cell: Cell, request: Request, body: RekeyBody, written: Written | None = None
) -> Verb[RekeyAnswer | RekeyWritten]:
    """Turns tokens of one key version into those of the newest: all or none, or with errors in their places.

    Tokens that have no key version (of values too few for FF1) stay as they are. Tokens that are of another
    version than `from_version` become tokens of other values, and nothing can tell: there is no integrity.

    Args:
        written: the tokens, where the body has an empty list of them.

    Raises:
        Unauthenticated, Denied: the caller may not.
        BadInput: the body or a token cannot be taken; `BatchRefused` lists the tokens.
    """
    caller = authenticate(cell, request)
    report = reports(body.on_error)
    check_size(body.tokens if written is None else written, cell.limits.items, "tokens")
    tenant = bound_schema(cell, request, caller)
    yield from admit(cell, caller, request.origin, "rekey", f"rekey:{body.field}", schema=tenant)
    rule = vaultless_rule(tenant, body.field)
    asked = body
    if written is not None and request.idempotency is not None:
        asked = replace(body, tokens=written.packed())
    found = once(cell, request, caller, "rekey", RekeyAnswer, asked)
    if found.replay is not None:
        return found.replay
    old, new, version = codecs(cell, caller.principal.tenant, rule, body.from_version)
    if written is not None:
        out = written.like()
        if in_place(old, new, written.texts, out.data) and out.is_sound():
            turn = Turn(rule.name, body.from_version, version, len(written))
            counted = Rekeyed(caller, request.origin, tenant, [turn])
            failed = 0 if report else None
            given = RekeyWritten(rule.name, version, out.array(), counted.decision, failed)
            yield found.keep(counted, given)
            return given
        body = replace(body, tokens=written.strings())
    tokens, refused, kept = turned(old, new, rule, body.tokens)
    if refused and not report:
        raise BatchRefused({**refused})
    codes = dict(sorted(Counter(refusal.code for refusal in refused.values()).items()))
    made = len(tokens) - tokens.count(None) - kept
    counted = Rekeyed(
        caller, request.origin, tenant, [Turn(rule.name, body.from_version, version, made, kept, codes)]
    )
    answered: list[str | ItemError | None] = [*tokens]
    for index, refusal in refused.items():
        answered[index] = ItemError.of(refusal)
    answer = RekeyAnswer(rule.name, version, answered, counted.decision, len(refused) if report else None)
    yield found.keep(counted, answer)
    return answer


def rekey_in_place(
    cell: Cell, request: Request, columns: Sequence[TextColumn], from_version: int
) -> Verb[Rewritten | None]:
    """The same for columns of plain texts in place: what a file's job asks for on this host.

    Returns None, with nothing on the record, if one of the texts has to go by `rekey`.

    Raises:
        Unauthenticated, Denied: the caller may not.
        BadInput: as `rekey`.
    """
    caller = authenticate(cell, request)
    needed = sorted({f"rekey:{column.field}" for column in columns})
    tenant = bound_schema(cell, request, caller)
    yield from admit(cell, caller, request.origin, "rekey", *needed, schema=tenant)
    turns: list[Turn] = []
    for column in columns:
        rule = vaultless_rule(tenant, column.field)
        old, new, version = codecs(cell, caller.principal.tenant, rule, from_version)
        with one_thread():  # a job has several parts under way
            if not in_place(old, new, column.texts, column.out):
                return None
        turns.append(Turn(rule.name, from_version, version, int(np.count_nonzero(column.texts.lengths))))
    made = [turn for turn in turns if turn.count]
    if made:
        yield Rekeyed(caller, request.origin, tenant, made)
    return Rewritten({turn.name: turn.new for turn in made})


def vaultless_rule(tenant: TenantSchema, name: str) -> FieldRule:
    """The rule of a vaultless field.

    Raises:
        BadInput: `field_unknown`, `operation_unsupported`.
    """
    rule = tenant.schema.fields.get(name)
    if rule is None:
        raise BadInput("field_unknown")
    if rule.protection is not Protection.VAULTLESS:
        raise BadInput("operation_unsupported", field=rule.name)
    return rule


def codecs(cell: Cell, tenant: str, rule: FieldRule, old: int) -> tuple[Vaultless, Vaultless, int]:
    """What opens tokens of a key version, what makes them under the newest, and which that is.

    Raises:
        ValueRefused: `key_version_unknown`.
    """
    if not 1 <= old <= MAX_KEY_VERSION:
        raise ValueRefused("key_version_unknown")
    keyring = cell.keyring
    newest = keyring.ff1_versions(tenant, rule.name).primary
    opens = keyring.vaultless(tenant, rule.name, rule.shape, old)
    return opens, keyring.vaultless(tenant, rule.name, rule.shape, newest), newest


def turned(
    old: Vaultless, new: Vaultless, rule: FieldRule, tokens: list[str | None]
) -> tuple[list[str | None], Refused, int]:
    """Tokens under the newest version; None for null and for what is refused; and how many stay."""
    stays: dict[int, str] = {}
    if rule.small is not Small.REFUSE:
        stays = {
            index: token
            for index, token in enumerate(tokens)
            if token is not None and (is_opaque(rule, token) or is_passed(rule, token))
        }
    asked = [None if index in stays else token for index, token in enumerate(tokens)] if stays else tokens
    values, refused = old.detokenize_many(asked)
    made, again = new.tokenize_many(values)
    refusals: dict[int, CoatcheckError] = {**refused, **again}
    for index, token in stays.items():
        made[index] = token
    return made, refusals, len(stays)


def in_place(old: Vaultless, new: Vaultless, tokens: Texts, out: Bytes) -> bool:
    """Writes the tokens under the newest version to their places in another buffer; whether all could be.

    Those that could not are taken out of it and turned one by one, which says what is wrong with them.
    """
    values = tokens.data.copy()
    if tokens.lengths[old.detokenize_texts(tokens, values)].any():
        return False
    return not tokens.lengths[new.tokenize_texts(tokens._replace(data=values), out)].any()
