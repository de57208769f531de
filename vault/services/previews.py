"""What somebody who is to approve a use sees of it: what a mask shows of the values that it asks for.

It is a use of the field's mask by the approver, under their own name and on the record, decided by the same
checks as the use itself. A field without a mask shows nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller, Credential, Holder
from vault.errors import Stale
from vault.identifiers import new_id
from vault.keyring.approvals import approval_keys
from vault.ledger.command import ROWS_A_WEIGHT, Committed, Needs, State, Verb, Writes
from vault.policy.decision import Decision
from vault.policy.grant import Grant
from vault.schema.document import FieldRule
from vault.services.approving import AskedFor
from vault.services.asked import Asked, Asking, Used
from vault.services.batch import REPORT
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.deciding import UseGrant
from vault.services.decrypt import DecryptItem, prepare_ciphertexts
from vault.services.detokenize import DetokenizeItem, prepare_tokens
from vault.services.gate import CallerCommand, trace
from vault.services.hidden import Hidden
from vault.services.opening import open_values
from vault.store.approving import ApprovalRow
from vault.store.rows import EpochsInUse

DECRYPT = "decrypt"
_decoder = msgspec.json.Decoder(AskedFor)


class PreviewItem(Hidden, frozen=True, omit_defaults=True):
    """What is shown of one value.

    Attributes:
        shown: what the field's mask `mask` leaves of it.
        code: why nothing is shown: the item would be refused, or the field has no mask.
    """

    field: str
    mask: str | None = None
    shown: str | None = None
    code: str | None = None


class Preview(CallerCommand):
    """Decides on the items of a request as a use would, and says who looks at them."""

    def __init__(
        self, caller: Caller, origin: Origin, schema: TenantSchema, use: UseGrant, row: ApprovalRow,
        asked: list[Asked], people: frozenset[bytes] | None, epochs: EpochsInUse,
    ) -> None:  # fmt: skip
        super().__init__(caller, schema.head)
        self.id = new_id("dec")
        self.prepared_on = epochs
        self.weight = 1 + len(asked) // ROWS_A_WEIGHT
        self._use = use
        self._origin = origin
        self._row = row
        self._asked = asked
        self._people = people

    def needs(self, needs: Needs) -> None:
        """The caller's rows, and those of the use."""
        super().needs(needs)
        self._use.needs(needs)

    def decide(self, state: State, writes: Writes) -> Used:
        """What the use would open; an item without a mask is not opened."""
        self.check(state)
        held = state.grants.get(self._row.grant)
        if held is None or held.grant.version != self._row.version:
            raise Stale
        grant = held.grant
        people = grant.subjects
        if self._people is not None:
            people = self._people if people is None else people & self._people
        used = Used(Decision(None, 0), grant, 0, {}, people=people)
        self._use.decide_items(state, used)
        for index, asked in enumerate(self._asked):
            if asked.mask is None and index not in used.failures:
                used.failures[index] = "operation_unsupported"
        for kept in (used.claims, used.keys, used.versions):
            for index in used.failures.keys() & kept.keys():
                del kept[index]
        facts: dict[str, Any] = {
            "approval": self._row.id,
            "grant": grant.id,
            "operation": "mask",
            "masks": sorted({asked.mask for asked in self._asked if asked.mask is not None}),
            "fields": self._use.field_entries(used),
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        tenant, actor = self.caller.principal.tenant, self.caller.actor
        rows = self._use.rows_used(used)
        writes.event(Event("approval.preview", tenant, actor, facts, rows, self.id))
        return used


def preview(
    cell: Cell, caller: Caller, origin: Origin, row: ApprovalRow, grant: Grant
) -> Verb[tuple[str, list[PreviewItem]]]:
    """The decision's id, and what is shown of the items that were kept.

    Raises:
        IntegrityError: `integrity_failed`.
    """
    kept: AskedFor = _decoder.decode(approval_keys(cell.keyring).open(row.id, row.sealed))
    tenant = cell.schemas.of(row.tenant)
    epochs = cell.keyring.in_use
    asked = _prepare(cell, row, tenant, kept)
    # As the use asked for it, so that its scope is looked at; each item shows what its own mask leaves.
    of = (row.verb, row.operation, kept.mask, row.delivery, kept.purpose, REPORT)
    asking = Asking(*of, derive=kept.derive)
    who = Holder(Credential("gr", grant.id, grant.digest), row.tenant, grant.agent, grant.purpose)
    use = UseGrant(who, origin, tenant, asking, asked, cell.uses, {}, epochs=epochs)
    people = None if kept.people is None else frozenset(map(bytes.fromhex, kept.people))
    command = Preview(caller, origin, tenant, use, row, asked, people, epochs)
    done: Committed = yield command
    used: Used = done.value
    values = open_values(cell, done, row.tenant, asked, used, asking)
    shown = []
    for index, one in enumerate(asked):
        failure = used.failures.get(index)
        if failure is not None:
            code = failure if isinstance(failure, str) else failure.code
            shown.append(PreviewItem(one.field, one.mask, code=code))
        else:
            value = values[index]
            shown.append(PreviewItem(one.field, one.mask, value if isinstance(value, str) else None))
    return command.id, shown


def _prepare(cell: Cell, row: ApprovalRow, tenant: TenantSchema, kept: AskedFor) -> list[Asked]:
    """The items as the use prepares them, each with the mask that it is shown through."""
    if row.verb == DECRYPT:
        texts = [
            DecryptItem(item.field, item.text, None, None if item.record is None else _text(item.record))
            for item in kept.items
        ]
        asked = prepare_ciphertexts(cell, row.tenant, tenant, texts)
    else:
        tokens = [DetokenizeItem(item.field, item.text, None, item.key_version) for item in kept.items]
        asked = prepare_tokens(cell, row.tenant, tenant, tokens)
    for one, item in zip(asked, kept.items, strict=True):
        one.subject = None if item.person is None else bytes.fromhex(item.person)
        one.mask = None if one.rule is None else _mask_of(one.rule, kept.mask)
    return asked


def _text(record: str) -> str:
    return bytes.fromhex(record).decode()


def _mask_of(rule: FieldRule, asked: str | None) -> str | None:
    """The mask that is asked for, else the first of the field's; None if it has none."""
    if asked in rule.masks:
        return asked
    return next(iter(sorted(rule.masks)), None)
