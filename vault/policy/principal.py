"""Principals and their ceilings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

import msgspec

from vault.identifiers import PrincipalId, is_name
from vault.policy.permissions import effective

OPERATIONS: Final = ("reveal", "mask", "derive", "verify")
DELIVERIES: Final = ("plain", "sealed")
MAX_USES: Final = 10**12  # of a grant, and of a day: stays exact in every reader of the audit log


class Kind(StrEnum):
    """What a principal is."""

    OPERATOR = "operator"
    SERVICE = "service"
    AGENT = "agent"


class Ceiling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The most that a principal may give away in one grant, and in a day. What is not named is nothing.

    Attributes:
        subjects: the data subjects that grants may be for; absent means any. Named by the caller's own
            identifiers when a principal is created; kept and shown by our row ids (`sub_...`).
        uses: the most uses of one grant.
        uses_per_day: uses given in one UTC day, over all grants; absent means no such limit.
        ttl: the longest validity of a grant, ISO 8601.
    """

    fields: list[str] = []
    operations: list[str] = []
    deliveries: list[str] = []
    purposes: list[str] = []
    agents: list[str] = []
    subjects: list[str] | None = None
    uses: int = 0
    uses_per_day: int | None = None
    ttl: str = "PT15M"

    def __post_init__(self) -> None:
        if self.uses_per_day is not None and self.uses_per_day > MAX_USES:
            raise ValueError("uses_per_day is too large")


@dataclass(frozen=True)
class Principal:
    """Who acts: one row of `principals`.

    Attributes:
        name: `kind:name`, unique among the tenant's living principals.
        version: grows with every change, so that a command can tell whether it decided on this one.
    """

    id: PrincipalId
    tenant: str
    kind: Kind
    name: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]
    ceiling: Ceiling | None
    version: int

    @cached_property
    def held(self) -> frozenset[str]:
        """All permissions it has."""
        return effective(self.roles, self.permissions)


def full_name(kind: Kind, name: str) -> str:
    """`kind:name` from either spelling.

    Raises:
        ValueError: not a name, or of another kind.
    """
    head, colon, tail = name.partition(":")
    plain = tail if colon else name
    if (colon and head != kind.value) or not is_name(plain):
        raise ValueError("not a name")
    return f"{kind.value}:{plain}"
