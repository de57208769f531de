"""The grant: what it says, and whether its creator may give it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec

from vault.clock import SECOND, Micros, parse_period
from vault.errors import BadInput, Denied
from vault.formats.derived import AGE, check_derived
from vault.identifiers import GrantId, PrincipalId
from vault.policy.approval import check_approval
from vault.policy.principal import DELIVERIES, OPERATIONS, Ceiling
from vault.policy.terms import NONE, Terms
from vault.schema.document import FieldRule, Protection, Purpose
from vault.schema.plan import ACCOUNTED

SEALED: Final = "sealed"
VERIFY: Final = "verify"
"""Tells whether, and nothing of what: its answer needs no delivery."""
MAX_AGES: Final = 2
"""Different ages that one grant may ask of a field: many would find a birthday by halves."""


class GrantState(StrEnum):
    """What a grant's row says; `exhausted` and `expired` follow from counters and the clock."""

    PENDING = "pending"  # not approved yet
    ACTIVE = "active"
    SUSPENDED = "suspended"
    REVOKED = "revoked"


class Derived(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A function of a value: `vault.formats.derived`.

    Attributes:
        fn: `age_at_least`, `year`, `domain`, `country`, `last4`, or `equals`.
        arg: for `age_at_least`: years.
    """

    fn: str
    arg: int | None = None


class ScopeEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of a grant's scope.

    Attributes:
        fields: names of fields.
        operations: `reveal`, `mask`, `derive`, `verify`.
        delivery: `plain`, `sealed`; none where all that is allowed is `verify`.
        mask: the one mask that `mask` may use; absent means any mask of the field.
        key_version: pins the key version of vaultless tokens.
        derive: the only functions that `derive` may ask for. A holder that could choose their arguments would
            find a value by halves.
    """

    fields: list[str]
    operations: list[str]
    delivery: list[str]
    mask: str | None = None
    key_version: int | None = None
    derive: list[Derived] = []

    @property
    def delivers(self) -> bool:
        """Whether it says how what it shows is delivered, if it shows anything."""
        return bool(self.delivery) or set(self.operations) <= {VERIFY}


@dataclass(frozen=True, slots=True)
class Grant:
    """One row of `grants`, without its counter.

    Attributes:
        agent: the holder's name, `agent:...`.
        subjects: row ids of the data subjects it is for; None means any.
        digest: SHA-256 of the credential's secret; empty for a keyed grant.
        jkt: the thumbprint of the holder's key; None for a bearer grant.
        on_behalf_of: whom it is for, as its creator named them.
    """

    id: GrantId
    tenant: str
    agent: str
    created_by: PrincipalId
    purpose: str
    scope: tuple[ScopeEntry, ...]
    subjects: frozenset[bytes] | None
    max_uses: int
    batch: int
    valid_from: Micros
    valid_until: Micros
    state: GrantState
    version: int
    digest: bytes
    jkt: str | None = None
    terms: Terms = NONE
    on_behalf_of: str | None = field(default=None, repr=False)

    def state_at(self, now: Micros, uses: int) -> str:
        """`active`, `pending` (not approved, or not yet), `suspended`, `exhausted`, `expired`, `revoked`."""
        if self.state is GrantState.REVOKED:
            return "revoked"
        if now >= self.valid_until:
            return "expired"
        if self.state is GrantState.SUSPENDED:
            return "suspended"
        if now < self.valid_from or self.state is GrantState.PENDING:
            return "pending"
        return "exhausted" if uses >= self.max_uses else "active"

    def entries_for(
        self, field: str, operation: str, delivery: str, mask: str | None, derive: Derived | None = None
    ) -> tuple[ScopeEntry, ...]:
        """The lines of the scope that cover an operation on a field, with this mask or this function."""
        return tuple(
            entry
            for entry in self.scope
            if field in entry.fields
            and operation in entry.operations
            and (operation == VERIFY or delivery in entry.delivery)
            and (operation != "mask" or entry.mask in (None, mask))
            and (operation != "derive" or derive in entry.derive)
        )


@dataclass(frozen=True, slots=True)
class Proposal:
    """A grant that somebody wants to create."""

    agent: str
    purpose: str
    scope: tuple[ScopeEntry, ...]
    subjects: tuple[str, ...] | None  # the callers' own identifiers; our row ids where a ceiling is asked
    uses: int
    batch: int
    valid_from: Micros
    valid_until: Micros
    keyed: bool = False
    terms: Terms = NONE


def check_scope(proposal: Proposal, fields: Mapping[str, FieldRule]) -> None:
    """Whether the scope makes sense in this schema.

    Raises:
        BadInput: `member_missing`, `field_unknown`, `operation_unsupported`, `subjects_unenforceable`.
    """
    if not proposal.scope:
        raise BadInput("member_missing", member="scope")
    if proposal.terms.max_distinct is not None and _unpersonal(proposal, fields):
        raise BadInput("subjects_unenforceable", member="max_distinct")
    if proposal.terms.seal_to is None and SEALED in _all(proposal.scope, "delivery"):
        raise BadInput("member_missing", member="seal_to")
    approval = proposal.terms.approval
    if approval is not None:
        check_approval(approval, _all(proposal.scope, "operations"), _all(proposal.scope, "fields"))
    for entry in proposal.scope:
        if not (entry.fields and entry.operations and entry.delivers):
            raise BadInput("member_missing", member="scope")
        if not (set(entry.operations) <= set(OPERATIONS) and set(entry.delivery) <= set(DELIVERIES)):
            raise BadInput("operation_unsupported")
        for name in entry.fields:
            rule = fields.get(name)
            if rule is None:
                raise BadInput("field_unknown")
            if proposal.subjects is not None and rule.protection is Protection.VAULTLESS:
                raise BadInput("subjects_unenforceable", field=name)
            if entry.mask is not None and entry.mask not in rule.masks:
                raise BadInput("operation_unsupported", member="mask")
            if "mask" in entry.operations and not rule.masks:
                raise BadInput("operation_unsupported", member="mask", field=name)
            for one in entry.derive:
                check_derived(one.fn, one.arg, rule.template)
        if ("derive" in entry.operations) != bool(entry.derive):
            raise BadInput("member_missing", member="derive")
    for name in _all(proposal.scope, "fields"):
        derived = [one for entry in proposal.scope if name in entry.fields for one in entry.derive]
        if len({one.arg for one in derived if one.fn == AGE}) > MAX_AGES:
            raise BadInput("limit_invalid", member="derive", most=MAX_AGES)


def _unpersonal(proposal: Proposal, fields: Mapping[str, FieldRule]) -> bool:
    """Whether a field of the scope has values that nothing ties to a person."""
    named = (fields.get(name) for name in _all(proposal.scope, "fields"))
    return any(rule is not None and rule.protection is Protection.VAULTLESS for rule in named)


def check_accounting(proposal: Proposal, purpose: Purpose, fields: Mapping[str, FieldRule]) -> None:
    """Whether disclosures for the purpose can be accounted for, where they must be: by person.

    Raises:
        BadInput: `subjects_unenforceable`: a vaultless token does not say whose value it is.
    """
    if purpose.disclosure_class != ACCOUNTED:
        return
    for name in sorted(_all(proposal.scope, "fields")):
        if fields[name].protection is Protection.VAULTLESS:
            raise BadInput("subjects_unenforceable", field=name, member="purpose")


def check_purpose(proposal: Proposal, purpose: Purpose) -> None:
    """Whether a purpose allows this: plain delivery, and the caps of what is worth stealing.

    A keyed grant's caps are its creator's ceiling alone: whoever takes its id has nothing.

    Raises:
        Denied: `plain_delivery_denied`.
        BadInput: `limit_invalid`, `validity_invalid`.
    """
    plain = purpose.keyed_deliveries if proposal.keyed else purpose.deliveries
    if not _all(proposal.scope, "delivery") <= plain | {SEALED}:
        raise Denied("plain_delivery_denied")
    if proposal.keyed:
        return
    if proposal.uses > purpose.max_uses:
        raise BadInput("limit_invalid", member="uses", most=purpose.max_uses)
    if proposal.valid_until - proposal.valid_from > purpose.max_ttl_s * SECOND:
        raise BadInput("validity_invalid", most_seconds=purpose.max_ttl_s)


def check_ceiling(proposal: Proposal, ceiling: Ceiling | None, given_today: int) -> None:
    """Whether the creator may give this away.

    Args:
        given_today: uses it has given in grants this UTC day, in all.

    Raises:
        Denied: `delegation_denied` with the member that lies outside, `budget_exhausted` for the day.
    """
    if ceiling is None:
        raise Denied("delegation_denied", member="ceiling")
    allowed: tuple[tuple[str, Collection[str], Collection[str]], ...] = (
        ("purpose", {proposal.purpose}, ceiling.purposes),
        ("agent", {proposal.agent}, ceiling.agents),
        ("fields", _all(proposal.scope, "fields"), ceiling.fields),
        ("operations", _all(proposal.scope, "operations"), ceiling.operations),
        ("delivery", _all(proposal.scope, "delivery"), ceiling.deliveries),
    )
    for member, asked, held in allowed:
        if not set(asked) <= set(held):
            raise Denied("delegation_denied", member=member)
    if ceiling.subjects is not None and (
        proposal.subjects is None or not set(proposal.subjects) <= set(ceiling.subjects)
    ):
        raise Denied("delegation_denied", member="subjects")
    if proposal.uses > ceiling.uses:
        raise Denied("delegation_denied", member="uses", most=ceiling.uses)
    longest = parse_period(ceiling.ttl).shortest_seconds
    if proposal.valid_until - proposal.valid_from > longest * SECOND:
        raise Denied("delegation_denied", member="valid", most_seconds=longest)
    if ceiling.uses_per_day is not None and given_today + proposal.uses > ceiling.uses_per_day:
        raise Denied("budget_exhausted", member="uses_per_day")


def _all(scope: Collection[ScopeEntry], member: str) -> set[str]:
    return {item for entry in scope for item in getattr(entry, member)}
