"""What attribute rules may ask about: the Cedar schema, and one question in its terms.

The actions are our operations and permissions. A question is hashable and holds nothing that tells one
request from the next, so that what was decided once is decided.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from vault.clock import SECOND, Micros
from vault.policy.permissions import PERMISSIONS, ROLES
from vault.policy.principal import OPERATIONS, Kind
from vault.schema.document import Schema

FIELD: Final = "Field"
PURPOSE: Final = "Purpose"
TENANT: Final = "Tenant"
EXEMPT: Final = frozenset({"policy:apply", "policy:read"})
"""Permissions that no rule decides on: a set that locks its own authors out could never be mended."""
_USED: Final = "use"
_TYPES: Final = {Kind.OPERATOR: "Operator", Kind.SERVICE: "Service", Kind.AGENT: "Agent"}


def resource_of(kind: str) -> str:
    """What a permission of a kind is for: a field, a purpose, or the tenant as a whole."""
    if kind == "grant:create":
        return PURPOSE
    return FIELD if kind in ("tokenize", "encrypt", "rekey") else TENANT


KINDS: Final = tuple(sorted({name.removesuffix(":*") for name in PERMISSIONS} - EXEMPT))
"""Kinds of permissions that rules may decide on."""
ACTIONS: Final = {**dict.fromkeys(OPERATIONS, FIELD), **{kind: resource_of(kind) for kind in KINDS}}
"""Every action, and the type of its resource."""


def _schema() -> str:
    """The schema in Cedar's own notation."""
    listed = {
        kind: ", ".join(f'"{name}"' for name, of in ACTIONS.items() if of == kind and name not in OPERATIONS)
        for kind in (FIELD, PURPOSE, TENANT)
    }
    used = ", ".join(f'"{name}"' for name in OPERATIONS)
    roles = ", ".join(f'"{name}"' for name in sorted(ROLES))
    return f"""\
// What there is. Roles: {roles}.
entity Role;
entity Operator, Service in [Role];
entity Agent;
entity Group;  // of fields: what stands before the last dot of a field's name
entity Field in [Group] {{ classification: String, protection: String, retention: String }};
entity Purpose {{ legal_basis: String, disclosure_class: String }};
entity Tenant;

// When and from where. Times are UTC; a week begins with Monday, 1. A session is a person's.
type Asked = {{
  region: String, hour: Long, weekday: Long, ip?: ipaddr, session: Bool, mfa_age_s?: Long
}};
// The same of a use of a grant, and what it is for.
type Use = {{
  region: String, hour: Long, weekday: Long, ip?: ipaddr,
  purpose: String, legal_basis: String, disclosure_class: String,
  delivery: String, mask?: String, derive?: String,
  on_behalf_of: Bool, keyed: Bool, delegated: Bool
}};

action "{_USED}";
action {used} in ["{_USED}"]
  appliesTo {{ principal: [Agent], resource: [Field], context: Use }};
action {listed[FIELD]}
  appliesTo {{ principal: [Operator, Service], resource: [Field], context: Asked }};
action {listed[PURPOSE]}
  appliesTo {{ principal: [Operator, Service], resource: [Purpose], context: Asked }};
action {listed[TENANT]}
  appliesTo {{ principal: [Operator, Service], resource: [Tenant], context: Asked }};
"""


CEDAR_SCHEMA: Final = _schema()


class Question(NamedTuple):
    """May somebody do something: all that a rule can look at, but for what the tenant's schema says.

    Attributes:
        principal: `kind:name`; roles: those it has.
        action: of `ACTIONS`; resource: the name of a field or purpose, or of the tenant.
        context: the attributes of `Asked` or `Use`, sorted, by name; `ip` as text.
    """

    principal: str
    roles: tuple[str, ...]
    action: str
    resource: str
    context: tuple[tuple[str, str | int | bool], ...]


def context_of(**attributes: str | int | bool | None) -> tuple[tuple[str, str | int | bool], ...]:
    """A context; what is None is absent."""
    return tuple(sorted((name, value) for name, value in attributes.items() if value is not None))


def hour_and_weekday(at: Micros) -> tuple[int, int]:
    """The hour (0-23) and the weekday (1-7, Monday first) of an instant, in UTC."""
    then = datetime.fromtimestamp(at // SECOND, UTC)
    return then.hour, then.isoweekday()


def request_of(question: Question) -> dict[str, Any]:
    """A question as Cedar takes it."""
    kind, _, name = question.principal.partition(":")
    context: dict[str, Any] = dict(question.context)
    if "ip" in context:
        context["ip"] = {"__extn": {"fn": "ip", "arg": context["ip"]}}
    return {
        "principal": {"type": _TYPES[Kind(kind)], "id": name},
        "action": {"type": "Action", "id": question.action},
        "resource": {"type": ACTIONS[question.action], "id": question.resource},
        "context": context,
    }


def entities_of(question: Question, schema: Schema) -> list[dict[str, Any]]:
    """What a question is about, with its attributes: the few entities that its answer can depend on."""
    asked = request_of(question)
    roles = [{"type": "Role", "id": role} for role in question.roles]
    groups = [{"type": "Action", "id": _USED}] if question.action in OPERATIONS else []
    attributes: dict[str, Any] = {}
    parents: list[dict[str, Any]] = []
    kind, name = ACTIONS[question.action], question.resource
    if kind == FIELD:
        rule = schema.fields.get(name)
        attributes = {
            "classification": rule.classification if rule else "",
            "protection": rule.protection.value if rule else "",
            "retention": rule.retention if rule else "",
        }
        if "." in name:
            parents = [{"type": "Group", "id": name.rpartition(".")[0]}]
    elif kind == PURPOSE:
        purpose = schema.purposes.get(name)
        attributes = {
            "legal_basis": purpose.legal_basis if purpose else "",
            "disclosure_class": purpose.disclosure_class if purpose else "",
        }
    return [
        {"uid": asked["principal"], "attrs": {}, "parents": roles},
        {"uid": asked["action"], "attrs": {}, "parents": groups},
        {"uid": asked["resource"], "attrs": attributes, "parents": parents},
    ]
