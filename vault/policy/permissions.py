"""Permissions as one list, and the roles made of them.

A permission is a word, or a word and what it is for: `tokenize:customer.ssn`. There is no wildcard:
whoever may tokenize ten fields holds ten permissions, and a review can read them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vault.errors import BadInput
from vault.schema.refusals import is_label

# Alphabetical. `*` in the key stands for a name of the schema, never for "any".
PERMISSIONS: Final[dict[str, str]] = {
    "approval:decide": "approve and deny what one is asked to",
    "approval:read": "see what waits for an approval, and of what one is asked to approve, a masked preview",
    "audit:read": "read the audit log",
    "break-glass:create": "create a short grant past one's ceiling, which somebody else has to review",
    "break-glass:review": "review such grants of others",
    "directory:lookup": "ask in which region a person is",
    "encrypt:*": "turn values of a field into ciphertexts",
    "epoch:turn": "turn the cell's epoch; of the tenant main only",
    "erasure:create": "erase people: nothing that is kept of them can be read any more",
    "erasure:read": "see erasures, how far each is, and whether a person was erased",
    "event:report": "tell of events that values' time counts from",
    "grant:create:*": "create grants for a purpose, inside one's ceiling",
    "grant:list": "see all grants of the tenant",
    "grant:revoke": "revoke any grant of the tenant",
    "hold:create": "put a legal hold on what is kept of a person, a retention class or the tenant",
    "hold:decide": "confirm legal holds of others, ask for their end, and agree to it",
    "job:control": "stop jobs and let them go on",
    "job:read": "see jobs and how far they are",
    "key:destroy": "destroy versions of field keys that protect nothing more",
    "key:read": "see keys: what they are for and in which state",
    "key:rotate": "give field keys new versions, and declare them compromised",
    "kill:control": "stop every grant of an agent, a key, a conversation, a purpose or the tenant",
    "policy:apply": "change the attribute rules",
    "policy:read": "see the attribute rules, try them, and ask why something was refused",
    "principal:list": "see principals and their keys' ids",
    "principal:write": "create and remove principals and their keys",
    "rekey:*": "turn vaultless tokens of a field into those of its newest key version",
    "report:read": "see what is kept, why and until when, what was erased, and who saw a person",
    "retention:read": "see what falls due, and when",
    "retention:run": "begin what is due without waiting for the schedule",
    "review:decide": "confirm or remove access that one is named to review",
    "review:read": "see reviews of access and what was decided",
    "review:start": "begin a review of who has which access",
    "schema:apply": "change the schema",
    "schema:read": "see the schema and plan changes",
    "subject:reopen": "let people who were erased be entered anew",
    "tenant:create": "create tenants; of the tenant main only",
    "tenant:read": "see all tenants of the cell; of the tenant main only",
    "tokenize:*": "turn values of a field into tokens",
    "transfer:create": "transfer values of people into another region, where that is permitted",
    "transfer:read": "see transfers and what became of their tokens",
    "transfer:receive": "enter values that the service of another region transfers here",
}

ROLES: Final[dict[str, frozenset[str]]] = {
    "admin": frozenset(
        {
            *("grant:list", "grant:revoke", "job:control", "job:read", "kill:control"),
            *("policy:apply", "policy:read", "principal:list", "principal:write"),
            *("review:read", "review:start", "schema:apply", "schema:read"),
        }
    ),
    "approver": frozenset({"approval:decide", "approval:read"}),
    "auditor": frozenset(
        {
            *(
                "audit:read",
                "erasure:read",
                "grant:list",
                "job:read",
                "key:read",
                "policy:read",
                "principal:list",
            ),
            *("report:read", "retention:read", "review:read", "schema:read"),
        }
    ),
    "cell-admin": frozenset({"tenant:create", "tenant:read"}),
    "cell-custodian": frozenset({"epoch:turn", "job:control", "job:read", "key:read"}),
    "key-custodian": frozenset({"job:control", "job:read", "key:destroy", "key:read", "key:rotate"}),
    "operator": frozenset({"grant:list", "grant:revoke", "job:control", "job:read", "kill:control"}),
    "privacy-officer": frozenset(
        {
            *("approval:decide", "approval:read", "break-glass:review", "erasure:create", "erasure:read"),
            *("event:report", "hold:create", "hold:decide", "retention:read", "retention:run"),
            *("job:read", "report:read", "subject:reopen", "transfer:create", "transfer:read"),
        }
    ),
    "reviewer": frozenset({"review:decide", "review:read"}),
}
"""An admin arranges and does not read data; an auditor reads what happened and changes nothing; a custodian
sees keys, and of the cell turns them, and reads no data either; an operator stops what must not go on; a
privacy officer moves what may leave, erases, and holds what must stay; an approver agrees to what needs more
than one; a reviewer confirms or removes what others gave."""

CELL_WIDE: Final = frozenset({"epoch:turn", "tenant:create", "tenant:read"})
"""What only principals of the tenant that the cell began with can hold."""


ADMINISTRATIVE: Final[dict[str, bool]] = {
    "approval:decide": True,
    "break-glass:create": True,
    "break-glass:review": True,
    "epoch:turn": True,
    "erasure:create": False,  # what closes an account erases who had it
    "event:report": False,  # what closes an account tells of it
    "grant:create": False,  # what services are for
    "grant:revoke": False,  # what watches over agents has to be able to stop them
    "hold:create": False,  # what opens a case
    "hold:decide": True,
    "job:control": False,
    "key:destroy": True,
    "key:rotate": True,
    "policy:apply": True,
    "principal:write": True,
    "retention:run": True,
    "review:decide": True,
    "review:start": True,
    "schema:apply": True,
    "subject:reopen": True,
    "tenant:create": True,
    "transfer:create": True,
}
"""Kinds of permissions for which an operator must just have proved a second factor (RFC 9470); True: those
that service keys have no use of where `[identities] admin = "operators"`."""


KEEPING_KEYS: Final = frozenset({"epoch:turn", "key:destroy", "key:rotate"})
GIVING_DATA: Final = "grant:create"


def check_duties(held: Iterable[str]) -> None:
    """Returns if nobody holds two duties that are kept apart, whichever roles and permissions they are of:
    whoever has keys made or destroyed does not decide who is shown data.

    That nobody grants to itself, and that nobody reviews what it gave, is decided on each grant and item.

    Raises:
        BadInput: `duties_conflict`.
    """
    kinds = {kind_of(permission) for permission in held}
    if GIVING_DATA in kinds and not KEEPING_KEYS.isdisjoint(kinds):
        raise BadInput("duties_conflict")


def kind_of(permission: str) -> str:
    """A permission without what it is for."""
    return permission if permission in PERMISSIONS else permission.rpartition(":")[0]


def check_permissions(permissions: Iterable[str]) -> frozenset[str]:
    """The permissions as a set.

    Raises:
        BadInput: `permission_unknown`: not of the list, or for something that no schema can name.
    """
    held = frozenset(permissions)
    for permission in held:
        if permission not in PERMISSIONS or permission.endswith("*"):
            head, _, name = permission.rpartition(":")
            if f"{head}:*" not in PERMISSIONS or not is_label(name):
                raise BadInput("permission_unknown")
    return held


def check_roles(roles: Iterable[str]) -> frozenset[str]:
    """The roles as a set.

    Raises:
        BadInput: `permission_unknown`.
    """
    named = frozenset(roles)
    if not named <= ROLES.keys():
        raise BadInput("permission_unknown")
    return named


def effective(roles: Iterable[str], permissions: Iterable[str]) -> frozenset[str]:
    """All permissions that roles and single permissions give."""
    return frozenset(permissions).union(*(ROLES[role] for role in roles))
