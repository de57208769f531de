"""Approvals: who must agree before a grant is of use, or before each use of it that matches.

The structs are what a grant's body says and what its row keeps, in one form.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from vault.clock import SECOND, Micros, parse_period
from vault.errors import BadInput
from vault.identifiers import is_name
from vault.policy.permissions import ROLES
from vault.policy.principal import Kind, Principal

MAX_NEEDED: Final = 10
MAX_APPROVERS: Final = 50
SHORTEST_S: Final = 60
LONGEST_S: Final = 7 * 86_400
_ROLE: Final = "role:"
_OPERATOR: Final = "operator:"


class _Strict(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    pass


class When(_Strict, frozen=True):
    """Which uses need an approval each: those that have all of this.

    Attributes:
        op: the operation.
        fields: one of these is among the fields that the use asks for.
    """

    op: str | None = None
    fields: list[str] = []


class Approval(_Strict, frozen=True):
    """Who must agree, and to what.

    Attributes:
        n: how many different people.
        of: who may: `role:ROLE`, `operator:NAME`.
        when: the uses that need one each; absent: the grant itself needs one, once, before it is active.
        ttl: how long an approval may be given and, once given, used; ISO 8601.
        not_self: whether the grant's creator is none of them.
    """

    of: list[str]
    n: int = 1
    when: When | None = None
    ttl: str = "PT1H"
    not_self: bool = True

    @property
    def lasts(self) -> Micros:
        """The ttl."""
        return parse_period(self.ttl).shortest_seconds * SECOND

    def asks_for(self, operation: str, fields: Iterable[str]) -> bool:
        """Whether a use needs an approval of its own."""
        when = self.when
        if when is None:
            return False
        return when.op in (None, operation) and (not when.fields or not set(when.fields).isdisjoint(fields))


def check_approval(approval: Approval, operations: Collection[str], fields: Collection[str]) -> None:
    """Returns if an approval can be given, and is asked for something that the grant's scope has.

    Args:
        operations, fields: of the scope.

    Raises:
        BadInput: `limit_invalid` with the member, `member_missing`, `operation_unsupported`.
    """
    names = list(dict.fromkeys(approval.of))
    if not names:
        raise BadInput("member_missing", member="of")
    if len(names) > MAX_APPROVERS or not all(map(_is_approver, names)):
        raise BadInput("limit_invalid", member="of", most=MAX_APPROVERS)
    if not 1 <= approval.n <= MAX_NEEDED:
        raise BadInput("limit_invalid", member="n", most=MAX_NEEDED)
    if all(name.startswith(_OPERATOR) for name in names) and len(names) < approval.n:
        raise BadInput("limit_invalid", member="n", most=len(names))  # it could never be given
    try:
        period = parse_period(approval.ttl)
    except ValueError:
        raise BadInput("limit_invalid", member="ttl") from None
    if not SHORTEST_S <= period.shortest_seconds <= LONGEST_S:
        raise BadInput("limit_invalid", member="ttl", least=SHORTEST_S, most=LONGEST_S)
    when = approval.when
    if when is None:
        return
    if when.op is None and not when.fields:
        raise BadInput("member_missing", member="when")
    if (when.op is not None and when.op not in operations) or not set(when.fields) <= set(fields):
        raise BadInput("operation_unsupported", member="when")


def _is_approver(name: str) -> bool:
    if name.startswith(_ROLE):
        return name.removeprefix(_ROLE) in ROLES
    return name.startswith(_OPERATOR) and is_name(name.removeprefix(_OPERATOR))


def is_asked(approval: Approval, principal: Principal) -> bool:
    """Whether a principal is one of those who may approve."""
    if principal.kind is not Kind.OPERATOR:
        return False
    return principal.name in approval.of or any(_ROLE + role in approval.of for role in principal.roles)


def is_own(approval: Approval, principal: Principal, created_by: str, on_behalf_of: str | None) -> bool:
    """Whether somebody would approve what is its own.

    Args:
        created_by: the id of the grant's creator.
        on_behalf_of: whom the grant is for, as its creator named them.
    """
    if approval.not_self and principal.id == created_by:
        return True
    if on_behalf_of is None:
        return False
    short = principal.name.removeprefix(_OPERATOR)
    named = on_behalf_of.strip().casefold()
    return named in (principal.id.casefold(), principal.name, short, f"user:{short}")
