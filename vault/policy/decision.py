"""The decision on one use of a grant: pure, in a fixed order of checks.

A decoded request on a grant that could pay is charged one use per item, hit or miss, whatever else is
wrong with it, so that guessing is never free. One that cannot pay for all its items learns only that.
"""

from __future__ import annotations

from typing import NamedTuple

from vault.clock import Micros
from vault.policy.grant import Grant


class UseRequest(NamedTuple):
    """What is asked of a grant.

    Attributes:
        fields: the fields of the items, without repeats.
        items: how many values are asked for, nulls not counted.
    """

    operation: str
    delivery: str
    purpose: str
    mask: str | None
    fields: tuple[str, ...]
    items: int


class Decision(NamedTuple):
    """The answer: `code` is None when allowed, else the refusal; `charged` in uses; which check."""

    code: str | None
    charged: int
    check: int = 0
    member: str = ""


def decide_use(grant: Grant, uses: int, now: Micros, request: UseRequest) -> Decision:
    """Decides checks 6 to 8 and the charge of 11 on a locked grant row.

    Args:
        uses: the row's counter, with all that this group charged before.
        now: the ledger's time.
    """
    state = grant.state_at(now, uses)
    if state in ("revoked", "expired"):
        return Decision("grant_invalid", 0, 6)
    if state == "pending":
        return Decision("outside_window", 0, 6)
    if request.items > grant.max_uses - uses:
        return Decision("budget_exhausted", 0, 11)
    if request.purpose != grant.purpose:
        return Decision("purpose_mismatch", request.items, 7)
    if request.items > grant.batch:
        return Decision("scope_denied", request.items, 8, "batch")
    for field in request.fields:
        if not grant.entries_for(field, request.operation, request.delivery, request.mask):
            return Decision("scope_denied", request.items, 8, "field")
    return Decision(None, request.items)
