"""Why something was decided as it was: from the record; and what attribute rules would say to something."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from vault.clock import SECOND, Micros
from vault.codes import CODES
from vault.errors import BadInput, Unknown
from vault.identifiers import parse_id
from vault.ledger.command import Verb
from vault.policy.attribute_rules import read_policies, rules_of
from vault.policy.policy_cases import PolicyCase, asked_of
from vault.services.audit import find_events
from vault.services.cell import Cell
from vault.services.gate import Request, admit, authenticate
from vault.services.hidden import Hidden

CHECKS: Final[dict[str, str]] = {
    "approval": "a person has to approve it",
    "budget": "what is left: uses, rate, tries, people; and that a proof is new",
    "ceiling": "what the creator of a grant may give away",
    "delegation": "the chain of delegations",
    "duties": "nobody grants to itself, or reviews what it gave",
    "items": "each item: its token, its field, whose it is, and whether it still lives",
    "network": "from where the credential may be used",
    "opening": "opening the values, after they were charged",
    "permission": "the permissions that the caller holds",
    "place": "from where, in which conversation and for which purpose a grant may be used",
    "policy": "the tenant's attribute rules",
    "residency": "into which regions values may go",
    "scope": "the fields, operations, deliveries and masks of a grant",
    "second factor": "how lately the person proved a second factor",
    "state": "whether the grant is in force: revoked, suspended, stopped, or out of its time",
}
"""What is looked at, by the name that an explanation gives it."""

# GRANTS.md, "Order of checks".
_BY_NUMBER: Final = {
    5: "delegation",
    6: "state",
    7: "place",
    8: "scope",
    9: "items",
    10: "approval",
    11: "budget",
}
_BY_CODE: Final = {
    "policy_denied": "policy",
    "network_denied": "network",
    "permission_denied": "permission",
    "insufficient_user_authentication": "second factor",
    "self_approval": "duties",
    "review_denied": "duties",
    "residency_refused": "residency",
    "approval_required": "approval",
    "budget_exhausted": "budget",
}
_NEAR: Final[tuple[Micros, ...]] = (30 * SECOND, 600 * SECOND, 86_400 * SECOND)
"""How far from an id's time its event is looked for. A verb is made and decided within seconds."""
_MOST: Final = 8  # events of one decision


class ExplainBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What is to be explained: a decision that was taken, or a case that might be.

    Attributes:
        decision: `dec_...`, as the answer or the refusal gave it.
        case: a question to the attribute rules; text: a draft to ask, in place of the set in force.
    """

    decision: str | None = None
    case: PolicyCase | None = None
    text: str | None = None


class ItemsRefused(msgspec.Struct, frozen=True):
    """How many items of a field were refused, by code."""

    field: str
    codes: dict[str, int]


class ExplainAnswer(Hidden, frozen=True, omit_defaults=True):
    """Why.

    Attributes:
        outcome: `allowed`, `denied`; `failed`: some items were refused, or nothing could be opened.
        kind: of the event that says so; verb: what was asked for.
        check: what said no (a word of `CHECKS`); of: what that looks at; number: in the order of checks.
        member: of the grant or the request that did not fit; missing: kinds of permissions.
        policies: attribute rules that decided; none with the code `policy_denied`: nothing permits it.
        items: those that were refused.
        retry: whether and how trying again helps.
    """

    outcome: str
    decision: str | None = None
    at: str | None = None
    kind: str | None = None
    verb: str | None = None
    actor: str | None = None
    code: str | None = None
    sentence: str | None = None
    check: str | None = None
    of: str | None = None
    number: int | None = None
    member: str | None = None
    missing: list[str] = msgspec.field(default_factory=list)
    policies: list[str] = msgspec.field(default_factory=list)
    broke: bool = False
    items: list[ItemsRefused] = msgspec.field(default_factory=list)
    charged: int | None = None
    retry: str | None = None
    hint: str | None = None


def explain_decision(cell: Cell, request: Request, body: ExplainBody) -> Verb[ExplainAnswer]:
    """Says why something was decided as it was, or what rules would say to something.

    Raises:
        BadInput: `member_missing`: not exactly one of decision and case; what is wrong with the case or the
            draft.
        Unknown: `not_found`: no decision of the tenant.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "policy.explain", "policy:read")
    tenant = caller.principal.tenant
    if (body.decision is None) == (body.case is None):
        raise BadInput("member_missing", member="decision or case")
    if body.case is not None:
        now = cell.schemas.of(tenant, fresh=True)
        policies = read_policies(now.policies if body.text is None else body.text)
        rules = rules_of(policies.text, now.schema)
        verdict = asked_of(rules, body.case, now.schema, cell.region, tenant)
        if verdict.allowed:
            return ExplainAnswer(outcome="allowed", policies=list(verdict.policies))
        told = _of_code("policy_denied", None)
        return ExplainAnswer(outcome="denied", policies=list(verdict.policies), broke=verdict.broke, **told)
    if body.text is not None:
        raise BadInput("operation_unsupported", member="text")
    return why(_find(cell, tenant, body.decision or ""))


def why(event: dict[str, Any]) -> ExplainAnswer:
    """An event's decision, explained."""
    code, number = event.get("code"), event.get("check")
    refused = [
        ItemsRefused(entry["field"], dict(entry["failed"]))
        for entry in event.get("fields", ())
        if isinstance(entry, dict) and isinstance(entry.get("failed"), dict)
    ]
    outcome = event.get("outcome", "denied" if code else "allowed")
    told: dict[str, Any] = {}
    if event.get("after_commit"):
        told = {"check": "opening", "of": CHECKS["opening"], **_of_code(code or "internal", None, "opening")}
    elif code is not None:
        of_ceiling = (
            "ceiling" if event["kind"] == "grant.create" or event.get("verb") == "grant.create" else None
        )
        told = _of_code(code, number, None if code in _BY_CODE and code != "budget_exhausted" else of_ceiling)
    elif refused:
        told = {"check": "items", "of": CHECKS["items"], "number": 9}
    return ExplainAnswer(
        outcome=outcome,
        decision=event.get("decision"),
        at=event.get("at"),
        kind=event["kind"],
        verb=event.get("verb"),
        actor=event.get("actor"),
        member=event.get("member") or None,
        missing=list(event.get("missing", ())),
        policies=list(event["policies"]) if code == "policy_denied" and "policies" in event else [],
        items=refused,
        charged=event.get("charged"),
        **told,
    )


def _of_code(code: str, number: int | None, check: str | None = None) -> dict[str, Any]:
    """What a code says, and which check it is of."""
    if code == "policy_denied":
        check = "policy"
    check = check or (_BY_NUMBER.get(number) if number else None) or _BY_CODE.get(code)
    told: dict[str, Any] = {"code": code}
    if check is not None:
        told |= {"check": check, "of": CHECKS[check]}
    if number:
        told["number"] = number
    row = CODES.get(code)
    if row is not None:
        told |= {"sentence": row.sentence, "retry": row.retry}
        told |= {"hint": row.hint} if row.hint else {}
    return told


def _find(cell: Cell, tenant: str, decision: str) -> dict[str, Any]:
    """The event of a decision: the one that says how it failed after it was allowed, if there is one.

    Raises:
        Unknown: `not_found`.
    """
    try:
        made_at = int.from_bytes(parse_id("dec", decision)[:6], "big") * 1_000  # RFC 9562, 5.7: milliseconds
    except ValueError:
        raise Unknown("not_found") from None
    for near in _NEAR:
        found = find_events(cell.store, tenant, f'"{decision}"', made_at - near, made_at + near, _MOST)
        own = [event for event in found if event.get("decision") == decision]
        if own:
            return own[-1]
    raise Unknown("not_found")
