"""Attribute rules: what is taken, what is refused before Cedar sees it, and what they say."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.errors import BadInput
from vault.policy.attribute_rules import DEFAULT, AttributeRules, examine, read_policies, rules_of
from vault.policy.attributes import (
    ACTIONS,
    CEDAR_SCHEMA,
    EXEMPT,
    FIELD,
    KINDS,
    Question,
    context_of,
    hour_and_weekday,
)
from vault.policy.permissions import PERMISSIONS, ROLES, kind_of
from vault.policy.policy_cases import CaseContext, PolicyCase, asked_of, question_of
from vault.policy.policy_text import MAX_DEPTH, MAX_POLICIES, MAX_TEXT, MAX_TOKENS
from vault.policy.principal import OPERATIONS
from vault.schema.document import EMPTY, parse_toml

ALL: Final = '@id("all") permit (principal, action, resource);\n'
USE: Final[dict[str, str | int | bool]] = {
    "region": "eu",
    "hour": 12,
    "weekday": 3,
    "purpose": "support",
    "legal_basis": "contract",
    "disclosure_class": "internal",
    "delivery": "plain",
    "on_behalf_of": False,
    "keyed": False,
    "delegated": False,
}
SCHEMA: Final = parse_toml(
    """
[purposes.refund]
legal_basis = "contract"
[retention.c]
keep = "P30D"
from = "creation"
[fields."customer.name"]
template = "text(max=80)"
protection = "vaulted"
retention = "c"
classification = "secret"
"""
)


def forbid(name: str, condition: str, action: str = "action") -> str:
    return f'@id("{name}") forbid (principal, {action}, resource) when {{ {condition} }};\n'


def used(**more: str | int | bool) -> Question:
    context = context_of(**{**USE, **more})
    return Question("agent:demo", (), "reveal", "customer.name", context)


def reasons(text: str) -> list[str]:
    return [refusal.sentence for refusal in examine(text)[1]]


def test_the_schema_is_one_and_names_every_permission_but_those_that_mend_it() -> None:
    cedarpy.Schema.from_str(CEDAR_SCHEMA)
    assert set(KINDS) | EXEMPT == {kind_of(name.replace("*", "x")) for name in PERMISSIONS}
    assert set(ACTIONS) == set(KINDS) | set(OPERATIONS)
    assert "policy:apply" not in ACTIONS
    assert all(f'"{name}"' in CEDAR_SCHEMA for name in (*ACTIONS, *ROLES))


def test_the_default_set_is_exactly_one_permit_of_everything() -> None:
    policies, refusals = examine(DEFAULT)
    assert refusals == []
    assert policies.names == ("default.permit",)
    assert rules_of(DEFAULT, EMPTY) is None
    read = cedarpy.policies_to_json_str(DEFAULT)
    assert read == (
        '{"templates":{},"staticPolicies":{"policy0":{"effect":"permit","principal":{"op":"All"},'
        '"action":{"op":"All"},"resource":{"op":"All"},"conditions":[],"annotations":{"id":"default.permit"}}},'
        '"templateLinks":[]}'
    )


@given(
    action=st.sampled_from(sorted(ACTIONS)),
    hour=st.integers(0, 23),
    weekday=st.integers(1, 7),
    roles=st.sets(st.sampled_from(sorted(ROLES))),
)
def test_the_default_set_permits_whatever_is_asked(
    action: str, hour: int, weekday: int, roles: set[str]
) -> None:
    who = "agent:a" if action in OPERATIONS else "service:a"
    context = context_of(**{**USE, "hour": hour, "weekday": weekday})
    question = Question(who, tuple(sorted(roles)), action, "x", context)
    assert AttributeRules(DEFAULT, EMPTY).judge(question) == (True, ("default.permit",), False)


@pytest.mark.parametrize(
    ("condition", "refused"),
    [
        ("context.hour >= 12", True),
        ("context.hour < 12", False),
        ("context.weekday > 5", False),
        ('context has ip && context.ip.isInRange(ip("192.0.2.0/24"))', True),
        ('context has ip && context.ip.isInRange(ip("10.0.0.0/8"))', False),
        ('resource in Group::"customer"', True),
        ('resource in Group::"chat"', False),
        ('resource has classification && resource.classification == "secret"', True),
        ('resource has protection && resource.protection == "vaultless"', False),
        ('context has purpose && context.purpose == "support"', True),
        ('context has delivery && context.delivery == "sealed"', False),
        ("principal is Agent", True),
        ('principal in Role::"admin"', False),
        ('context.region == "us"', False),
    ],
)
def test_a_forbid_decides_by_attributes(condition: str, refused: bool) -> None:
    rules = AttributeRules(ALL + forbid("no", condition), SCHEMA)
    verdict = rules.judge(used(ip="192.0.2.7"))
    assert (verdict.allowed, verdict.policies) == ((False, ("no",)) if refused else (True, ("all",)))


def test_what_nothing_permits_is_refused_without_a_name() -> None:
    text = '@id("only") permit (principal, action == Action::"mask", resource);'
    assert read_policies(text).names == ("only",)
    assert AttributeRules(text, EMPTY).judge(used()) == (False, (), False)


def test_a_policy_that_fails_refuses_and_so_does_a_set_that_is_none() -> None:
    """Cedar leaves a failing `forbid` out, and would permit: the control."""
    text = ALL + forbid("over", "context.hour + 9223372036854775807 > 0")
    assert examine(text)[1] == []
    assert AttributeRules(text, EMPTY).judge(used()) == (False, (), True)
    assert AttributeRules("permit (", EMPTY).judge(used()) == (False, (), True)
    assert AttributeRules("(" * 4_000, EMPTY).judge(used()) == (False, (), True)
    control = ALL + '@id("f") forbid (principal, action, resource) when { 1 + 9223372036854775807 > 0 };'
    request = {
        "principal": 'Agent::"a"',
        "action": 'Action::"reveal"',
        "resource": 'Field::"x"',
        "context": {},
    }
    assert cedarpy.is_authorized(request, control, []).allowed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no policy permits anything"),
        ("// nothing", "no policy permits anything"),
        (forbid("a", "true"), "no policy permits anything"),
        ("permit (principal, action, resource);", "policy 1: has no name"),
        ('@id("A") permit (principal, action, resource);', "policy 1: its name is not of"),
        (ALL + ALL, "policy 2 (all): its name is another's too"),
        ('@id("a") permit (principal == ?principal, action, resource);', "templates"),
        (ALL + forbid("b", "context.nope"), "policy 2 (b): does not hold to the schema"),
        (ALL + forbid("b", "resource.nope"), "policy 2 (b): does not hold to the schema"),
        (ALL + forbid("b", "true", 'action == Action::"policy:apply"'), "policy 2 (b): does not hold"),
        (ALL + forbid("b", "context.ip.isIpv4()"), "policy 2 (b): does not hold"),  # it may be absent
        (ALL + "forbid", "the text is not one of Cedar policies"),
        (ALL + '"', "a string does not end"),
        ("\0" + ALL, "the text has a control character"),
        (ALL + "\ud800", "the text is not UTF-8"),
        (ALL + "/" + "/" * MAX_TEXT, "is longer than"),
        (ALL * (MAX_POLICIES + 1), "there are more than"),
        (ALL + forbid("b", "||".join(["true"] * MAX_TOKENS)), "policy 2: has more than"),
        (ALL + forbid("b", "(" * MAX_DEPTH + "true" + ")" * MAX_DEPTH), "policy 2: is nested"),
        (ALL + forbid("b", "[" * 9_000 + "1" + "]" * 9_000 + " == 1"), "policy 2: is nested"),
        (ALL + forbid("b", "if true then " * 900 + "true" + " else false" * 900), "policy 2: is nested"),
        ("(" * (MAX_TEXT - 1), "policy 1: is nested"),
    ],
)
def test_what_is_not_taken(text: str, reason: str) -> None:
    assert any(reason in sentence for sentence in reasons(text)), reasons(text)
    with pytest.raises(BadInput) as refusal:
        read_policies(text)
    assert refusal.value.code == "policy_refused"


def test_marks_in_strings_and_comments_are_no_nesting() -> None:
    marks = "(" * 500 + ")" * 90 + "if " * 500
    text = ALL + f"// {marks}\n" + forbid("b", f'context.region == "{marks}\\" {marks};"')
    assert reasons(text) == []
    hidden = ALL + forbid("b", '"' + ")" * 500 + '" == "" && ' + "(" * 500 + "true" + ")" * 500)
    assert "policy 2: is nested more than 24 deep" in reasons(hidden)


@given(st.text(max_size=300))
def test_any_text_gets_an_answer(text: str) -> None:
    policies, refusals = examine(text)
    assert refusals or policies.names


def test_the_control_nesting_ends_a_process_that_does_not_look() -> None:
    text = "permit (principal, action, resource) when { " + "(" * 20_000 + "true" + ")" * 20_000 + " };"
    program = "import cedarpy, sys; cedarpy.PolicySet.from_str(sys.stdin.read())"
    done = subprocess.run(
        [sys.executable, "-c", program], input=text, text=True, capture_output=True, check=False
    )
    assert done.returncode < 0  # by a signal


def test_an_answer_is_remembered_as_long_as_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = AttributeRules(ALL + forbid("no", "context.hour == 3"), EMPTY)
    first = rules.judge(used(hour=3))
    monkeypatch.setattr("cedarpy.is_authorized", None)
    assert rules.judge(used(hour=3)) is first
    assert AttributeRules(ALL, EMPTY).judge(used(hour=3)).broke  # another set is asked anew


def test_the_hour_and_the_weekday_are_utc() -> None:
    assert hour_and_weekday(0) == (0, 4)  # 1970-01-01 was a Thursday
    assert hour_and_weekday((23 * 3_600 + 3_599) * 1_000_000) == (23, 4)
    assert hour_and_weekday(3 * 86_400 * 1_000_000) == (0, 7)


def test_a_case_says_the_same_everywhere() -> None:
    case = PolicyCase("agent:a", "reveal", "customer.name", context=CaseContext(purpose="refund"))
    context = dict(question_of(case, SCHEMA, "eu", "main").context)
    assert context == {**USE, "purpose": "refund"}
    assert asked_of(None, case, SCHEMA, "eu", "main").allowed
    created = PolicyCase("operator:a", "grant:create", purpose="refund", roles=["admin"])
    assert question_of(created, SCHEMA, "eu", "main")[:4] == (
        "operator:a", ("admin",), "grant:create", "refund"
    )  # fmt: skip
    listed = PolicyCase("operator:a", "audit:read")
    assert question_of(listed, SCHEMA, "eu", "acme").resource == "acme"


@pytest.mark.parametrize(
    ("case", "code", "member"),
    [
        (PolicyCase("agent:A", "reveal", "a"), "name_invalid", "principal"),
        (PolicyCase("robot:a", "reveal", "a"), "name_invalid", "principal"),
        (PolicyCase("agent:a", "shred", "a"), "operation_unsupported", "action"),
        (PolicyCase("agent:a", "tokenize", "a"), "operation_unsupported", "action"),
        (PolicyCase("service:a", "reveal", "a"), "operation_unsupported", "action"),
        (PolicyCase("operator:a", "policy:apply"), "operation_unsupported", "action"),
        (PolicyCase("agent:a", "reveal"), "member_missing", "field"),
        (PolicyCase("agent:a", "reveal", "a", "refund"), "operation_unsupported", "purpose"),
        (PolicyCase("service:a", "grant:create", "a", "refund"), "operation_unsupported", "field"),
        (PolicyCase("agent:a", "reveal", "A b"), "name_invalid", "field"),
        (PolicyCase("service:a", "audit:read", roles=["root"]), "permission_unknown", None),
        (PolicyCase("agent:a", "reveal", "a", context=CaseContext(hour=24)), "limit_invalid", "context"),
        (PolicyCase("agent:a", "reveal", "a", context=CaseContext(ip="x")), "limit_invalid", "ip"),
        (
            PolicyCase("agent:a", "reveal", "a", context=CaseContext(delivery="x")),
            "operation_unsupported",
            "delivery",
        ),
        (
            PolicyCase("service:a", "audit:read", context=CaseContext(mfa_age_s=-1)),
            "limit_invalid",
            "mfa_age_s",
        ),
    ],
)
def test_a_case_that_is_none(case: PolicyCase, code: str, member: str | None) -> None:
    with pytest.raises(BadInput) as refusal:
        question_of(case, SCHEMA, "eu", "main")
    assert refusal.value.code == code
    assert refusal.value.facts.get("member") == member


def test_fields_are_what_the_operations_are_on() -> None:
    assert {ACTIONS[name] for name in OPERATIONS} == {FIELD}
