"""Grants, proposals and ceilings to start from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from vault.clock import SECOND, Micros, parse_time
from vault.identifiers import GrantId, PrincipalId
from vault.policy.decision import UseRequest
from vault.policy.grant import Grant, GrantState, Proposal, ScopeEntry
from vault.policy.principal import Ceiling

START: Micros = parse_time("2026-11-23T14:00:00Z")
END: Micros = START + 900 * SECOND

SSN = ScopeEntry(["customer.ssn"], ["reveal"], ["plain"])
NAME = ScopeEntry(["customer.name"], ["reveal", "mask"], ["plain"])


def grant(**changes: Any) -> Grant:
    """Ten uses, four at once, of two fields, for a quarter of an hour."""
    standard = Grant(
        id=GrantId("gr_1"),
        tenant="main",
        agent="agent:bot",
        created_by=PrincipalId("pr_1"),
        purpose="support",
        scope=(SSN, NAME),
        subjects=None,
        max_uses=10,
        batch=4,
        valid_from=START,
        valid_until=END,
        state=GrantState.ACTIVE,
        version=1,
        digest=bytes(32),
    )
    return replace(standard, **changes)


def request(**changes: Any) -> UseRequest:
    """One item that the grant allows."""
    return UseRequest("reveal", "plain", "support", None, ("customer.ssn",), 1)._replace(**changes)


def proposal(**changes: Any) -> Proposal:
    """The grant before it is one."""
    standard = Proposal(
        agent="agent:bot",
        purpose="support",
        scope=(SSN, NAME),
        subjects=("cust-1",),
        uses=10,
        batch=4,
        valid_from=START,
        valid_until=END,
    )
    return replace(standard, **changes)


def ceiling(**changes: Any) -> Ceiling:
    """Just wide enough for the proposal."""
    standard = Ceiling(
        fields=["customer.ssn", "customer.name"],
        operations=["reveal", "mask"],
        deliveries=["plain"],
        purposes=["support"],
        agents=["agent:bot"],
        subjects=["cust-1"],
        uses=10,
        uses_per_day=10,
        ttl="PT15M",
    )
    return msgspec.structs.replace(standard, **changes)
