"""The bodies that make grants, and what a body asks for, checked against the schema."""

from __future__ import annotations

from typing import Final

import msgspec

from vault.clock import SECOND, Micros, parse_period, parse_time
from vault.crypto.base64url import decode
from vault.crypto.hpke import check_public
from vault.errors import BadInput
from vault.policy.approval import Approval
from vault.policy.grant import Proposal, ScopeEntry, check_accounting, check_scope
from vault.policy.principal import Ceiling, Kind, full_name
from vault.policy.terms import (
    DEFAULT_BLOCK_TTL_S,
    Bind,
    Delegation,
    RateBody,
    SealTo,
    Terms,
    check_terms,
    is_thumbprint,
    public_key,
)
from vault.policy.windows import Window
from vault.schema.document import Purpose, Schema
from vault.services.hidden import Hidden
from vault.services.subjects import MAX_SUBJECTS, check_subject

MAX_TEXT = 500
MAX_SCOPE = 100
MAX_SCOPE_NAMES = 1_000
MAX_KEY_VERSION = 2**31 - 1
MAX_BATCH: Final = 2**31 - 1
END_OF_TIME: Final[Micros] = parse_time("9999-12-31T23:59:59Z")


class Subjects(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True, rename={"in_": "in"}):
    """The data subjects a grant is for: some, or at most so many different ones, or both."""

    in_: list[str] | None = None
    max_distinct: int | None = None


class GrantLimits(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """How much a grant gives: values in all, in one request, and in a time; tries at one token."""

    uses: int = 1
    batch: int | None = None
    rate: RateBody | None = None
    verify_attempts: int | None = None


class Validity(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True, rename={"from_": "from"}
):
    """From when to when, RFC 3339; and in which windows of the week."""

    from_: str | None = None
    until: str | None = None
    windows: tuple[Window, ...] = ()


class GrantBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A grant to create: a keyed one if it is bound to a holder's key, else a bearer grant."""

    agent: str
    purpose: str
    scope: list[ScopeEntry]
    subjects: Subjects | None = None
    limits: GrantLimits = GrantLimits()
    valid: Validity = Validity()
    on_behalf_of: str | None = None
    reason: str | None = None
    bind: Bind = Bind()
    seal_to: SealTo | None = None
    delegation: Delegation | None = None
    approval: Approval | None = None


def propose(body: GrantBody, schema: Schema, ceiling: Ceiling | None, now: Micros) -> Proposal:
    """The grant that a body asks for, checked against the schema.

    Raises:
        BadInput: something in it makes no sense.
    """
    if body.purpose not in schema.purposes:
        raise BadInput("purpose_unknown")
    try:
        agent = full_name(Kind.AGENT, body.agent)
    except ValueError:
        raise BadInput("agent_unknown") from None
    named = sum(len(entry.fields) + len(entry.operations) + len(entry.delivery) for entry in body.scope)
    if len(body.scope) > MAX_SCOPE or named > MAX_SCOPE_NAMES:
        raise BadInput("limit_invalid", member="scope", most=MAX_SCOPE)
    if any(
        entry.key_version is not None and not 1 <= entry.key_version <= MAX_KEY_VERSION
        for entry in body.scope
    ):
        raise BadInput("key_version_unknown")
    check_text(body.reason)
    check_text(body.on_behalf_of)
    purpose = schema.purposes[body.purpose]
    start = now if body.valid.from_ is None else instant(body.valid.from_, "from")
    until = (
        max(start, now) + longest(purpose, ceiling)
        if body.valid.until is None
        else instant(body.valid.until, "until")
    )
    batch = _batch(body.limits)
    terms = _terms(body)
    check_terms(terms, batch)
    proposal = Proposal(
        agent=agent,
        purpose=body.purpose,
        scope=tuple(body.scope),
        subjects=named_subjects(body.subjects),
        uses=body.limits.uses,
        batch=batch,
        valid_from=start,
        valid_until=within(start, until, now),
        keyed=body.bind.cnf is not None,
        terms=terms,
    )
    check_scope(proposal, schema.fields)
    check_accounting(proposal, purpose, schema.fields)
    return proposal


def _batch(limits: GrantLimits) -> int:
    """How many values one request may ask for: all of them, as fast as the rate allows at once."""
    burst = limits.uses if limits.rate is None else limits.rate.most
    batch = min(limits.uses, burst) if limits.batch is None else limits.batch
    if not 1 <= limits.uses <= 10**12 or not 1 <= batch <= limits.uses:
        raise BadInput("limit_invalid", member="limits")
    return min(batch, MAX_BATCH)


def _terms(body: GrantBody) -> Terms:
    """All terms of a body in one, keys checked.

    Raises:
        BadInput: `limit_invalid`: a key that is none, or a delegation of what nobody can prove to hold.
    """
    bind, delegation = body.bind, body.delegation
    if bind.cnf is not None and not is_thumbprint(bind.cnf.jkt):
        raise BadInput("limit_invalid", member="cnf")
    if delegation is not None and bind.cnf is None:
        raise BadInput("member_missing", member="cnf")
    return Terms(
        networks=bind.networks,
        conversation=bind.conversation,
        task=bind.task,
        windows=body.valid.windows,
        rate=body.limits.rate,
        max_distinct=None if body.subjects is None else body.subjects.max_distinct,
        verify_attempts=body.limits.verify_attempts,
        seal_to=None if body.seal_to is None else _seal_to(body.seal_to),
        depth=0 if delegation is None else delegation.depth,
        approval=body.approval,
        ttl_max_s=DEFAULT_BLOCK_TTL_S if delegation is None else delegation.ttl_max_s,
    )


def _seal_to(jwk: SealTo) -> str:
    """The key that answers are sealed to, base64url; one that a message can be sealed to."""
    x = public_key(jwk)
    try:
        check_public(decode(x))
    except ValueError:
        raise BadInput("limit_invalid", member="seal_to") from None
    return x


def named_subjects(subjects: Subjects | None) -> tuple[str, ...] | None:
    """The people that a grant is for, each once; None for anybody.

    Raises:
        BadInput: `limit_invalid`, `subject_invalid`, `member_missing`: neither some nor at most so many.
    """
    if subjects is None:
        return None
    if subjects.in_ is None:
        if subjects.max_distinct is None:
            raise BadInput("member_missing", member="in")
        return None
    named = tuple(dict.fromkeys(subjects.in_))
    if not 1 <= len(named) <= MAX_SUBJECTS:
        raise BadInput("limit_invalid", member="subjects", most=MAX_SUBJECTS)
    for subject in named:
        check_subject(subject)
    return named


def longest(purpose: Purpose, ceiling: Ceiling | None) -> Micros:
    """How long a grant that names no end is valid: as long as its purpose and its creator's ceiling allow."""
    seconds = purpose.max_ttl_s
    if ceiling is not None:
        seconds = min(seconds, parse_period(ceiling.ttl).shortest_seconds)
    return seconds * SECOND


def instant(text: str, member: str) -> Micros:
    """The time that a member says.

    Raises:
        BadInput: `validity_invalid`.
    """
    try:
        return parse_time(text)
    except ValueError:
        raise BadInput("validity_invalid", member=member) from None


def within(start: Micros, until: Micros, now: Micros) -> Micros:
    """The end of a validity.

    Raises:
        BadInput: `validity_invalid`: it is over before it begins, or beyond the calendar.
    """
    if until <= max(start, now) or until >= END_OF_TIME:
        raise BadInput("validity_invalid")
    return until


def check_text(text: str | None) -> str | None:
    """A caller's short text: printable, at most 500 characters."""
    if text is not None and (len(text) > MAX_TEXT or not text.isprintable()):
        raise BadInput("limit_invalid", member="text", most=MAX_TEXT)
    return text
