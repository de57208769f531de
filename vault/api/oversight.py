"""Attribute rules, and why something was decided as it was."""

from __future__ import annotations

from vault.api.grants import PAGE, page_of
from vault.api.route import Route
from vault.services.listing import Listing
from vault.services.policies import (
    PolicyAnswer,
    PolicyApplied,
    PolicyBody,
    PolicyPlan,
    PolicyRow,
    apply_policy,
    list_policies,
    plan_policy,
    read_policy,
    show_policy,
)
from vault.services.policy_tests import PolicyTestAnswer, PolicyTestBody, run_policy_tests
from vault.services.reasons import ExplainAnswer, ExplainBody, explain_decision

ROUTES = (
    Route(
        "GET",
        "policy",
        "The attribute rules in force, and the schema that they are written in.",
        lambda call: show_policy(call.cell, call.request),
        PolicyAnswer,
        permission="policy:read",
    ),
    Route(
        "GET",
        "policy/versions",
        "The versions of the attribute rules, newest first: who applied them, and when.",
        lambda call: list_policies(call.cell, call.request, page_of(call)),
        Listing,
        rows=PolicyRow,
        query=PAGE,
        permission="policy:read",
    ),
    Route(
        "GET",
        "policy/versions/{id}",
        "One version of the attribute rules.",
        lambda call: read_policy(call.cell, call.request, call.path["id"]),
        PolicyAnswer,
        permission="policy:read",
        codes=("not_found",),
    ),
    Route(
        "POST",
        "policy/plan",
        "What applying attribute rules would change, and everything that is wrong with them.",
        lambda call: plan_policy(call.cell, call.request, call.body),
        PolicyPlan,
        body=PolicyBody,
        slow=True,
        permission="policy:read",
        unrepeatable="it changes nothing",
    ),
    Route(
        "PUT",
        "policy",
        "Puts attribute rules in force, with the digest of their plan.",
        lambda call: apply_policy(call.cell, call.request, call.body),
        PolicyApplied,
        body=PolicyBody,
        slow=True,
        permission="policy:apply",
        codes=("policy_refused", "plan_changed"),
    ),
    Route(
        "POST",
        "policy/test",
        "Tries attribute rules, or a draft of them, on cases; nothing is decided or charged.",
        lambda call: run_policy_tests(call.cell, call.request, call.body),
        PolicyTestAnswer,
        body=PolicyTestBody,
        slow=True,
        permission="policy:read",
        codes=(
            "policy_refused", "name_invalid", "operation_unsupported", "limit_invalid", "permission_unknown",
            "member_missing", "batch_too_large",
        ),
        unrepeatable="it changes nothing",
    ),
    Route(
        "POST",
        "policy/explain",
        "Why something was decided as it was, by the id of the decision; or what rules would say to a case.",
        lambda call: explain_decision(call.cell, call.request, call.body),
        ExplainAnswer,
        body=ExplainBody,
        slow=True,
        permission="policy:read",
        codes=(
            "not_found", "policy_refused", "name_invalid", "operation_unsupported", "limit_invalid",
            "permission_unknown", "member_missing",
        ),
        unrepeatable="it changes nothing",
    ),
)  # fmt: skip
