"""The flow of a use of a grant: prepared without an opinion, decided by the ledger, opened with its proof.

The command is in `vault.services.deciding`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Holder
from vault.errors import BadInput, CoatcheckError, Internal, error
from vault.ledger.command import Command, Head, Needs, State, Verb, Writes
from vault.policy.decision import APPROVAL_REQUIRED, Decision, UseRequest, decide_use
from vault.policy.grant import SEALED
from vault.policy.principal import DELIVERIES, OPERATIONS
from vault.policy.terms import MAX_LABEL
from vault.services.approving import Need, seek
from vault.services.asked import Asked, Asking, Told, Used
from vault.services.batch import BatchRefused, ItemError, reports
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.comparing import count_pair, is_pair
from vault.services.deciding import UseGrant, narrowed, people_named, use_request
from vault.services.delivery import Sealed, check_challenge, seal_answer
from vault.services.gate import Request, trace
from vault.services.hidden import Hidden
from vault.services.idempotency import Once
from vault.services.opening import open_values
from vault.services.ruling import DENIED, ruled
from vault.services.subjects import find
from vault.store.rows import decode_grant

SMALL_BATCH: Final = 64


class GrantUse(msgspec.Struct):
    """The grant after the charge."""

    id: str
    uses_left: int


@dataclass(slots=True, repr=False)
class Shown:
    """What a use gives: values, masked values or errors, in the order of the items.

    Attributes:
        failed: how many errors there are; None unless errors are reported item by item.
        attempts_left: of a token that was verified.
        sealed: the values, where they are delivered sealed; `values` are not told then.
    """

    decision: str
    grant: GrantUse
    values: list[Told]
    failed: int | None
    sealed: Sealed | None = None
    attempts_left: int | None = None


class OpeningFailed(Command):
    """Says, with the decision's id, that something failed after the commit."""

    def __init__(self, verb: str, tenant: str, agent: str, decision: str, origin: Origin, code: str) -> None:
        facts = {"outcome": "failed", "code": code, "after_commit": 1, **trace(origin)}
        self._event = Event(verb, tenant, agent, facts, decision=decision)

    def needs(self, needs: Needs) -> None:
        """Touches no row but the head."""

    def decide(self, state: State, writes: Writes) -> None:
        """Notes the event."""
        writes.event(self._event)


def use_grant(
    asking: Asking,
    cell: Cell,
    request: Request,
    who: Holder,
    prepare: Callable[[TenantSchema], list[Asked]],
    found: Once[Any],
    replay: Callable[[str], Hidden],
) -> Verb[Shown]:
    """Charges the grant behind a request for its items, and opens those that it covers.

    Args:
        prepare: reads every item for what it names, in the tenant's schema. What is wrong with the form
            of the body it raises, which costs nothing; what is wrong with an item it notes.
        found: keeps the answer, for a request with an Idempotency-Key.
        replay: the answer to give again for a decision: without its values.

    Raises:
        Unauthenticated, Denied: the grant is not valid or does not allow it; on the record.
        BatchRefused: items that do not open; charged, on the record, and nothing was opened.
    """
    _check_form(asking)
    report = reports(asking.on_error)
    tenant = cell.schemas.of(who.tenant)
    epochs = cell.keyring.in_use  # before people are looked for
    asked = prepare(tenant)
    if is_pair(asking):
        count_pair(cell, who.credential.id, asked)
    # A grant that is over must not make the ledger read thousands of rows before it says so.
    use = use_request(asking, asked, request.origin)
    with_rows = len(asked) <= SMALL_BATCH or _may_pass(cell, who, use)
    people = find(cell, who.tenant, people_named(who.chain), epochs) if who.chain else {}
    rules = ruled(cell, tenant, who, use, cell.clock.now())
    seeking = seek(cell, who, asking, asked, narrowed(who.chain, people))
    command = UseGrant(
        who,
        request.origin,
        tenant,
        asking,
        asked,
        cell.uses,
        people,
        epochs=epochs,
        with_rows=with_rows,
        ruled=rules,
        seeking=seeking,
    )
    done = yield found.keep(command, lambda used, _at: _kept(used, command.id, replay, report=report))
    used: Used = done.value
    cell.uses.noted(command.versions_used(used), done.at)
    if used.decision.code is not None:
        raise _denial(used.decision, command.id, None if seeking is None else seeking.need)
    if used.failures and not report:
        raise BatchRefused(used.failures, decision=command.id, uses_left=used.uses_left)
    code: str | None = None
    try:
        values = open_values(cell, done, who.tenant, asked, used, asking)
        if len(used.failures) > 0 and not report:
            raise BatchRefused(used.failures)
        shown: list[Told] = [*values]
        for index, failed in used.failures.items():
            shown[index] = ItemError.of(failed)
        sealed = None
        if asking.delivery == SEALED:
            sealed = seal_answer(cell, done, who, asking, asked, shown, command.id)
    except Exception as failure:  # whatever it was, the log must not say that values were shown
        known = failure if isinstance(failure, CoatcheckError) else Internal("internal")
        known.facts |= {"decision": command.id, "uses_left": used.uses_left}
        code = known.code
        event = OpeningFailed(asking.verb, who.tenant, used.grant.agent, command.id, request.origin, code)
        yield found.correct(event, known)
        raise
    failed_count = len(used.failures) if report else None
    left = GrantUse(used.grant.id, used.uses_left)
    return Shown(command.id, left, shown, failed_count, sealed, used.attempts_left)


def _kept(
    used: Used, decision: str, replay: Callable[[str], Hidden], *, report: bool
) -> Hidden | CoatcheckError | None:
    """What a repeated request is told: nothing new, if it was not charged."""
    if used.decision.code is not None:
        return _denial(used.decision, decision) if used.decision.charged else None
    if used.failures and not report:
        return BatchRefused(used.failures, decision=decision, uses_left=used.uses_left)
    return replay(decision)


def _may_pass(cell: Cell, who: Holder, use: UseRequest) -> bool:
    """Whether the grant, as it stands now, allows this; the ledger decides again on the locked row."""
    rows = cell.store.read_keys(cell.store.record.grants, [who.credential.id])
    grants = [decode_grant(row, frozenset()) for row in rows]
    head = Head(*cell.store.read(cell.store.record.head)[0])
    now = max(cell.clock.now(), head.last_at)  # as the ledger's: a clock that was set back changes nothing
    return all(decide_use(row.grant, row.uses, now, use).code is None for row in grants)


def _check_form(asking: Asking) -> None:
    """What is wrong whatever the grant says: costs nothing."""
    if asking.operation not in OPERATIONS:
        raise BadInput("operation_unsupported", member="operation")
    if asking.delivery not in DELIVERIES:
        raise BadInput("operation_unsupported", member="delivery")
    if (asking.mask is None) == (asking.operation == "mask"):
        code = "member_missing" if asking.mask is None else "operation_unsupported"
        raise BadInput(code, member="mask")
    if (asking.derive is None) == (asking.operation == "derive"):
        code = "member_missing" if asking.derive is None else "operation_unsupported"
        raise BadInput(code, member="derive")
    if asking.delivery == SEALED:
        check_challenge(asking.challenge)
    elif asking.challenge is not None:
        raise BadInput("operation_unsupported", member="challenge")
    for member, text in (("conversation", asking.conversation), ("task", asking.task)):
        if text is not None and not (1 <= len(text) <= MAX_LABEL and text.isprintable()):
            raise BadInput("limit_invalid", member=member, most=MAX_LABEL)


def _denial(decision: Decision, decision_id: str, need: Need | None = None) -> CoatcheckError:
    code = decision.code or "scope_denied"
    facts: dict[str, Any] = {"decision": decision_id}
    if decision.member:
        facts["member"] = decision.member
    if decision.retry_after:
        facts["retry_after"] = decision.retry_after
    if need is not None and code in (APPROVAL_REQUIRED, "approval_denied"):
        facts["approval"] = msgspec.to_builtins(need)
    if code == DENIED:
        facts["policies"] = list(decision.policies)
    return error(code, **facts)
