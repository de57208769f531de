"""What would be decided, without deciding it: nothing is charged, opened, or on the record."""

from __future__ import annotations

from typing import Any

import msgspec

from vault.authn.identities import Credential, Holder
from vault.errors import BadInput, Unknown
from vault.ledger.command import Verb
from vault.policy.decision import APPROVAL_REQUIRED, Standing, UseRequest, asks_for_approval, decide_use
from vault.policy.kill import KillKind
from vault.policy.principal import DELIVERIES, OPERATIONS
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.grant_views import read_row
from vault.services.hidden import Hidden
from vault.services.ruling import DENIED, ruled
from vault.services.standing import switches


class SimulateBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A use of a grant, as it might be asked for.

    Attributes:
        fields: of the items; items: how many.
        source: where it would come from.
    """

    grant: str
    purpose: str
    fields: list[str]
    operation: str = "reveal"
    delivery: str = "plain"
    mask: str | None = None
    items: int = 1
    source: str | None = None
    conversation: str | None = None
    task: str | None = None


class SimulateAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The decision that this would get now, before its items are looked at.

    Attributes:
        allowed: whether the grant covers it. An item may still be refused for what it is.
        code: why not; check: which check said so; member: of the grant or the request.
        charged: the uses that it would cost.
        policies: the tenant's rules that refuse it; none: nothing permits it.
    """

    allowed: bool
    charged: int
    state: str
    uses_left: int
    code: str | None = None
    check: int | None = None
    member: str | None = None
    retry_after: int | None = None
    policies: list[str] | None = None


def simulate(cell: Cell, request: Request, body: SimulateBody) -> Verb[SimulateAnswer]:
    """Says what a use of a grant would be answered.

    Raises:
        Unknown: `not_found`: no grant that the caller may see.
        BadInput: `operation_unsupported`, `limit_invalid`.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "grant.simulate", "grant:list")
    if body.operation not in OPERATIONS or body.delivery not in DELIVERIES:
        raise BadInput("operation_unsupported", member="operation")
    if not 0 <= body.items <= cell.limits.items:
        raise BadInput("limit_invalid", member="items", most=cell.limits.items)
    row = read_row(cell, caller.principal.tenant, body.grant)
    if row is None:
        raise Unknown("not_found")
    grant, now = row.grant, cell.clock.now()
    use = UseRequest(
        operation=body.operation,
        delivery=body.delivery,
        purpose=body.purpose,
        mask=body.mask,
        fields=tuple(dict.fromkeys(body.fields)),
        items=body.items,
        address=request.origin.address if body.source is None else body.source,
        conversation=body.conversation,
        task=body.task,
    )
    [[*_, for_user]] = cell.store.read(cell.store.record.grant_holder, {"grant_id": grant.id})
    named = Credential("gr", grant.id, b"")
    who = Holder(named, grant.tenant, grant.agent, grant.purpose, for_user=bool(for_user))
    stoppers = switches(who, body.conversation)
    if grant.jkt is not None:
        stoppers.add((grant.tenant, KillKind.HOLDER.value, grant.jkt))
    names = sorted({name for _, _, name in stoppers})
    binding = {tuple(kill) for kill in cell.store.read_keys(cell.store.granting.binding_kills, names)}
    decision = decide_use(grant, row.uses, now, use, Standing(row.tat, not binding.isdisjoint(stoppers)))
    if decision.code is None:
        schema = cell.schemas.of(grant.tenant, fresh=True)
        rules = ruled(cell, schema, who, use, now, keyed=grant.jkt is not None)
        decision = decision if rules is None else rules.bind(decision, now)
    if decision.code is None and asks_for_approval(grant, use):
        decision = decision._replace(code=APPROVAL_REQUIRED, charged=0, check=10)
    why: dict[str, Any] = {}
    if decision.code is not None:
        why = {"code": decision.code, "check": decision.check}
        why |= {"member": decision.member} if decision.member else {}
        why |= {"retry_after": decision.retry_after} if decision.retry_after else {}
        why |= {"policies": list(decision.policies)} if decision.code == DENIED else {}
    left = grant.max_uses - row.uses
    return SimulateAnswer(decision.code is None, decision.charged, grant.state_at(now, row.uses), left, **why)
