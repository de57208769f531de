"""The decision on one use of a grant: pure, in a fixed order of checks.

A decoded request on a grant that could pay is charged one use per item, hit or miss, whatever else is
wrong with it, so that guessing is never free. One that cannot pay for all its items learns only that; nor
does one learn more that comes too fast, or with a proof that was seen before.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from vault.clock import SECOND, Micros
from vault.policy.grant import Derived, Grant, GrantState
from vault.policy.narrowing import Bounds
from vault.policy.networks import inside
from vault.policy.rate import decide as decide_rate
from vault.policy.windows import inside as inside_windows

APPROVAL_REQUIRED: Final = "approval_required"
SUSPENDED_S: Final = 60
"""Seconds after which a suspended grant may be tried again, as its holder is told."""


class UseRequest(NamedTuple):
    """What is asked of a grant.

    Attributes:
        fields: the fields of the items, without repeats.
        items: how many values are asked for, nulls not counted.
        address: where the request came from.
    """

    operation: str
    delivery: str
    purpose: str
    mask: str | None
    fields: tuple[str, ...]
    items: int
    address: str = ""
    conversation: str | None = None
    task: str | None = None
    derive: Derived | None = None


class Standing(NamedTuple):
    """How a grant stands besides its row's budget, as the ledger has locked and read it.

    Attributes:
        tat: the state of its rate.
        killed: whether a kill switch binds it, or what it is used with.
        replayed: whether the request's proof was seen before.
        refused: why the delegation is none: a code, and the member that is not narrower.
        bounds: what the delegation leaves; None without one.
        left: the uses that are left to the delegations that have their own count; None: none has.
    """

    tat: Micros = 0
    killed: bool = False
    replayed: bool = False
    refused: tuple[str, str] | None = None
    bounds: Bounds | None = None
    left: int | None = None


ALONE: Final = Standing()


class Decision(NamedTuple):
    """The answer.

    Attributes:
        code: None when allowed, else the refusal.
        charged: in uses.
        check: which check refused: GRANTS.md, "Order of checks".
        tat: the rate's new state; None where it does not change.
        retry_after: seconds, where waiting helps.
        policies: the names of the tenant's attribute rules that refused.
    """

    code: str | None
    charged: int
    check: int = 0
    member: str = ""
    tat: Micros | None = None
    retry_after: int = 0
    policies: tuple[str, ...] = ()


def decide_use(
    grant: Grant, uses: int, now: Micros, request: UseRequest, standing: Standing = ALONE
) -> Decision:
    """Decides checks 5 to 8 and the charge of 11 on a locked grant row.

    Args:
        uses: the row's counter, with all that this group charged before.
        now: the ledger's time.
    """
    unpaid = _standing(grant, uses, now, standing)
    if unpaid is not None:
        return unpaid
    if request.items > min(grant.max_uses - uses, grant.max_uses if standing.left is None else standing.left):
        return Decision("budget_exhausted", 0, 11)
    tat = None
    if grant.terms.rate is not None and request.items:
        taken = decide_rate(standing.tat, now, min(request.items, grant.batch), grant.terms.rate.gcra)
        if taken.tat is None:
            return Decision("rate_limited", 0, 11, retry_after=-(-taken.retry_after // SECOND))
        tat = taken.tat
    code, check, member = _covers(grant, request, standing.bounds) or (None, 0, "")
    return Decision(code, request.items, check, member, tat)


def asks_for_approval(grant: Grant, request: UseRequest) -> bool:
    """Whether a use needs an approval of its own."""
    approval = grant.terms.approval
    return approval is not None and approval.asks_for(request.operation, request.fields)


def _standing(grant: Grant, uses: int, now: Micros, standing: Standing) -> Decision | None:
    """Whether the grant stands at all, whatever is asked of it; nothing is charged where it does not."""
    if standing.refused is not None:
        code, member = standing.refused
        return Decision(code, 0, 5, member)
    state = grant.state_at(now, uses)
    if state in ("revoked", "expired") or (standing.bounds is not None and now >= standing.bounds.until):
        return Decision("grant_invalid", 0, 6)
    if state == "suspended" or standing.killed:
        return Decision("grant_suspended", 0, 6, retry_after=SUSPENDED_S)
    if grant.state is GrantState.PENDING:
        return Decision(APPROVAL_REQUIRED, 0, 6)
    if state == "pending" or (grant.terms.windows and not inside_windows(grant.terms.windows, now)):
        return Decision("outside_window", 0, 6)
    if standing.replayed:
        return Decision("proof_replayed", 0, 11)
    return None


def _covers(grant: Grant, request: UseRequest, bounds: Bounds | None) -> tuple[str, int, str] | None:
    """What of the request lies outside: a code, its check, and the member."""
    terms = grant.terms
    if not inside(terms.networks, request.address):
        return "network_denied", 7, ""
    for member in ("conversation", "task"):
        if getattr(terms, member) not in (None, getattr(request, member)):
            return "scope_denied", 7, member
    if request.purpose != grant.purpose:
        return "purpose_mismatch", 7, ""
    if request.items > grant.batch:
        return "scope_denied", 8, "batch"
    if bounds is not None:
        if request.operation not in bounds.operations:
            return "scope_denied", 8, "operation"
        if not bounds.fields.issuperset(request.fields):
            return "scope_denied", 8, "field"
        if request.operation == "mask" and bounds.mask not in (None, request.mask):
            return "scope_denied", 8, "mask"
    for field in request.fields:
        if not grant.entries_for(field, request.operation, request.delivery, request.mask, request.derive):
            return "scope_denied", 8, "field"
    return None
