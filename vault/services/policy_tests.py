"""Attribute rules tried on cases: a draft, or the set in force. Nothing is decided, charged or opened."""

from __future__ import annotations

from typing import Any

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.errors import BadInput
from vault.ledger.command import State, Verb, Writes
from vault.policy.attribute_rules import Policies, read_policies, rules_of
from vault.policy.policy_cases import FORBID, MAX_CASES, PERMIT, PolicyCase, asked_of
from vault.schema.document import Schema
from vault.services.cell import Cell, Origin
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.hidden import Hidden


class PolicyTestBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Cases, and the draft to try them on; without one, the set in force."""

    cases: list[PolicyCase]
    text: str | None = None


class CaseAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What rules say to a case.

    Attributes:
        decision: `permit` or `forbid`.
        policies: those that decided; none where nothing permits it, or the set broke.
        broke: whether a policy failed while it was asked, which refuses.
        right: whether it is what was expected; absent where nothing was.
    """

    decision: str
    policies: list[str]
    broke: bool = False
    right: bool | None = None


class PolicyTestAnswer(msgspec.Struct, frozen=True):
    """How the cases came out.

    Attributes:
        wrong: how many are not as expected.
    """

    cases: list[CaseAnswer]
    wrong: int


class PolicyTested(CallerCommand):
    """Puts on the record that rules were tried."""

    def __init__(self, caller: Caller, origin: Origin, facts: dict[str, Any]) -> None:
        super().__init__(caller)
        told = {"credential": caller.api_key, **facts, **trace(origin)}
        self._event = Event("policy.test", caller.principal.tenant, caller.actor, told)

    def decide(self, state: State, writes: Writes) -> None:
        """Notes the event."""
        self.check(state)
        writes.event(self._event)


def try_cases(
    policies: Policies, cases: list[PolicyCase], schema: Schema, region: str, tenant: str
) -> PolicyTestAnswer:
    """How cases come out under a set. Needs no cell: for continuous integration too.

    Raises:
        BadInput: `batch_too_large`; or what is wrong with a case, with `case`, its place from 1.
    """
    if len(cases) > MAX_CASES:
        raise BadInput("batch_too_large", most=MAX_CASES)
    rules = rules_of(policies.text, schema)
    answers = []
    for place, case in enumerate(cases, 1):
        try:
            verdict = asked_of(rules, case, schema, region, tenant)
        except BadInput as problem:
            problem.facts["case"] = place
            raise
        decision = PERMIT if verdict.allowed else FORBID
        right = None if case.expect is None else case.expect == decision
        answers.append(CaseAnswer(decision, list(verdict.policies), verdict.broke, right))
    return PolicyTestAnswer(answers, sum(answer.right is False for answer in answers))


def run_policy_tests(cell: Cell, request: Request, body: PolicyTestBody) -> Verb[PolicyTestAnswer]:
    """How cases come out.

    Raises:
        BadInput: `policy_refused`; or as `try_cases`.
    """
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "policy.test", "policy:read")
    now = cell.schemas.of(caller.principal.tenant, fresh=True)
    policies = read_policies(now.policies if body.text is None else body.text)
    answer = try_cases(policies, body.cases, now.schema, cell.region, caller.principal.tenant)
    facts: dict[str, Any] = {"cases": len(answer.cases), "wrong": answer.wrong, "digest": policies.digest}
    facts |= {"version": now.policy_version} if body.text is None else {}
    yield PolicyTested(caller, request.origin, facts)
    return answer
