"""Cases for attribute rules: who, what, on what, when; and what is expected.

What a case leaves out has one value everywhere, so that a file of cases says the same on a laptop, in CI and
against the service: noon of a Wednesday, of no address, for no purpose.
"""

from __future__ import annotations

import ipaddress
from typing import Final, Literal

import msgspec

from vault.errors import BadInput
from vault.policy.attribute_rules import AttributeRules, Verdict
from vault.policy.attributes import ACTIONS, FIELD, PURPOSE, Question, context_of
from vault.policy.permissions import check_roles
from vault.policy.principal import DELIVERIES, OPERATIONS, Kind, full_name
from vault.schema.document import Schema
from vault.schema.refusals import is_label

MAX_CASES: Final = 1_000
PERMIT: Final = "permit"
FORBID: Final = "forbid"
NOON: Final = 12
WEDNESDAY: Final = 3


class CaseContext(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """When, from where and for what. Times are UTC; a week begins with Monday, 1.

    Attributes:
        legal_basis, disclosure_class: absent: what the schema says of the purpose.
    """

    hour: int = NOON
    weekday: int = WEDNESDAY
    ip: str | None = None
    session: bool = False
    mfa_age_s: int | None = None
    purpose: str = ""
    legal_basis: str | None = None
    disclosure_class: str | None = None
    delivery: str = "plain"
    mask: str | None = None
    derive: str | None = None
    on_behalf_of: bool = False
    keyed: bool = False
    delegated: bool = False


class PolicyCase(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """One question with the answer that is expected.

    Attributes:
        principal: `agent:...`, `service:...` or `operator:...`; it need not be one that there is.
        roles: those that it has.
        action: an operation, or a kind of permission such as `tokenize` and `grant:create`.
        field, purpose: what the action is on, if that is one of these.
        expect: `permit` or `forbid`; absent where only the answer is wanted.
    """

    principal: str
    action: str
    field: str | None = None
    purpose: str | None = None
    roles: list[str] = msgspec.field(default_factory=list)
    context: CaseContext = msgspec.field(default_factory=CaseContext)
    expect: Literal["permit", "forbid"] | None = None


def question_of(case: PolicyCase, schema: Schema, region: str, tenant: str) -> Question:
    """A case in the terms of rules.

    Raises:
        BadInput: `name_invalid`, `operation_unsupported`, `limit_invalid`, `permission_unknown`,
            `member_missing` with the member.
    """
    kind = _kind(case.principal)
    on = ACTIONS.get(case.action)
    used = case.action in OPERATIONS
    if on is None or used != (kind is Kind.AGENT):
        raise BadInput("operation_unsupported", member="action")
    named = {FIELD: case.field, PURPOSE: case.purpose}
    resource = named.pop(on, None) if on in named else tenant
    if resource is None:
        raise BadInput("member_missing", member=on.lower())
    if any(other is not None for other in named.values()):
        raise BadInput("operation_unsupported", member="field" if on == PURPOSE else "purpose")
    if not is_label(resource):
        raise BadInput("name_invalid", member=on.lower())
    roles = tuple(sorted(check_roles(case.roles)))
    asked = case.context
    if not (0 <= asked.hour <= 23 and 1 <= asked.weekday <= 7):
        raise BadInput("limit_invalid", member="context")
    when: dict[str, str | int] = {
        "region": region,
        "hour": asked.hour,
        "weekday": asked.weekday,
    }
    if not used:
        context = context_of(
            **when, ip=_ip(asked.ip), session=asked.session, mfa_age_s=_count(asked.mfa_age_s)
        )
        return Question(case.principal, roles, case.action, resource, context)
    if asked.delivery not in DELIVERIES:
        raise BadInput("operation_unsupported", member="delivery")
    purpose = schema.purposes.get(asked.purpose)
    basis, disclosed = asked.legal_basis, asked.disclosure_class
    if basis is None:
        basis = purpose.legal_basis if purpose else ""
    if disclosed is None:
        disclosed = purpose.disclosure_class if purpose else ""
    context = context_of(
        **when,
        ip=_ip(asked.ip),
        purpose=asked.purpose,
        legal_basis=basis,
        disclosure_class=disclosed,
        delivery=asked.delivery,
        mask=asked.mask,
        derive=asked.derive,
        on_behalf_of=asked.on_behalf_of,
        keyed=asked.keyed,
        delegated=asked.delegated,
    )
    return Question(case.principal, roles, case.action, resource, context)


def asked_of(
    rules: AttributeRules | None, case: PolicyCase, schema: Schema, region: str, tenant: str
) -> Verdict:
    """What rules say to a case; None: the default set.

    Raises:
        BadInput: as `question_of`.
    """
    question = question_of(case, schema, region, tenant)
    return Verdict(True, ("default.permit",)) if rules is None else rules.judge(question)


def _kind(principal: str) -> Kind:
    head = principal.partition(":")[0]
    try:
        kind = Kind(head)
        if full_name(kind, principal) != principal:
            raise ValueError("not a name")
    except ValueError:
        raise BadInput("name_invalid", member="principal") from None
    return kind


def _ip(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise BadInput("limit_invalid", member="ip") from None


def _count(number: int | None) -> int | None:
    if number is not None and not 0 <= number < 2**53:
        raise BadInput("limit_invalid", member="mfa_age_s")
    return number
