"""A tenant's attribute rules: show, plan, apply; and the versions there were.

A set is one Cedar text. It is applied with the digest of its plan, so that what was looked at is what is put
in force, and in place of what it was looked at beside. It binds every request that begins after that is
answered, as a schema does: by the head's schema version.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from vault.audit.event import Event
from vault.authn.identities import Caller
from vault.clock import format_time
from vault.errors import BadInput, Conflict, Stale, Unknown
from vault.ledger.command import State, Verb, Writes
from vault.policy.attribute_rules import DEFAULT, Policies, examine
from vault.policy.attributes import CEDAR_SCHEMA
from vault.services.cell import Cell, Origin, TenantSchema
from vault.services.gate import CallerCommand, Request, admit, authenticate, trace
from vault.services.hidden import Hidden
from vault.services.idempotency import Replayable, once
from vault.services.listing import Listing, Page, check_limit, listing

_ABOVE_ALL: Final = 2**62


class PolicyBody(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A set of Cedar policies to plan or apply; `digest` of the plan to apply."""

    text: str
    digest: str | None = None


class PolicyRefusal(Hidden, frozen=True, omit_defaults=True):
    """One reason why a set cannot be applied.

    Attributes:
        policy: its place in the text, from 1; 0: the text as a whole. name: its own, if it has one.
        detail: what Cedar says.
    """

    policy: int
    reason: str
    name: str | None = None
    detail: str | None = None


class PolicyPlan(Hidden, frozen=True):
    """What applying a set would do.

    Attributes:
        replaces: the version in force, which it would take the place of; 0: the default set.
        policies: the names, in their order; added and removed: beside those in force.
        changes: whether it says anything else than the set in force.
        digest: to apply it with.
    """

    replaces: int
    policies: list[str]
    added: list[str]
    removed: list[str]
    changes: bool
    refusals: list[PolicyRefusal]
    digest: str


class PolicyApplied(Replayable, frozen=True):
    """The version that is now in force."""

    version: int
    policies: list[str]


class PolicyRow(msgspec.Struct, frozen=True):
    """One version: who applied it, and when."""

    version: int
    digest: str
    applied_by: str
    applied_at: str


class PolicyAnswer(Hidden, frozen=True, omit_defaults=True):
    """A set.

    Attributes:
        version: 0 for the default set, which nobody applied.
        default: whether it is the set that permits all: permissions, ceilings and grants decide alone.
        schema: what policies may ask about, in Cedar's notation.
    """

    version: int
    default: bool
    policies: list[str]
    text: str
    schema: str
    digest: str
    applied_by: str | None = None
    applied_at: str | None = None


class ApplyPolicy(CallerCommand):
    """Inserts a version of the rules, and moves the head: whatever was prepared on the old is stale."""

    alone = True

    def __init__(self, caller: Caller, origin: Origin, now: TenantSchema, then: Policies) -> None:
        super().__init__(caller, now.head)
        self._origin = origin
        self._now = now
        self._then = then

    def decide(self, state: State, writes: Writes) -> int:
        """The new version."""
        self.check(state)
        if state.head.schema_version != self._now.head:  # the host's too, which `check` lets pass
            raise Stale
        tenant, version = self.caller.principal.tenant, self._now.policy_version + 1
        writes.insert(
            "policy",
            tenant=tenant,
            version=version,
            digest=self._then.digest,
            body=self._then.text,
            applied_by=self.caller.actor,
            applied_at=state.now,
        )
        writes.schema_by += 1
        writes.fence_by += 1
        facts = {
            "version": version,
            "digest": self._then.digest,
            "policies": list(self._then.names),
            "credential": self.caller.api_key,
            **trace(self._origin),
        }
        writes.event(Event("policy.apply", tenant, self.caller.actor, facts))
        return version


def show_policy(cell: Cell, request: Request) -> Verb[PolicyAnswer]:
    """The set in force."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "policy.read", "policy:read")
    now = cell.schemas.of(caller.principal.tenant, fresh=True)
    if not now.policy_version:
        return _shown(0, DEFAULT)
    return _version(cell, caller, now.policy_version)


def list_policies(cell: Cell, request: Request, page: Page) -> Verb[Listing]:
    """The versions there were, newest first."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "policy.history", "policy:read")
    check_limit(page)
    below = _ABOVE_ALL if page.cursor is None else _number(page.cursor)
    if below is None:
        raise BadInput("parameter_invalid", parameter="cursor")
    params = {"tenant": caller.principal.tenant, "below": below, "most": page.limit + 1}
    found = cell.store.read(cell.store.oversight.policies_page, params)
    rows = [PolicyRow(version, digest, by, format_time(at)) for version, digest, by, at in found]
    return listing(list(rows), [str(row.version) for row in rows], page)


def read_policy(cell: Cell, request: Request, version: str) -> Verb[PolicyAnswer]:
    """One version, also one that is in force no more."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "policy.history", "policy:read")
    return _version(cell, caller, _number(version) or 0)


def plan_policy(cell: Cell, request: Request, body: PolicyBody) -> Verb[PolicyPlan]:
    """What applying a set would do, and everything that is wrong with it."""
    caller = authenticate(cell, request, fresh=True)
    yield from admit(cell, caller, request.origin, "policy.plan", "policy:read")
    now = cell.schemas.of(caller.principal.tenant, fresh=True)
    then, refusals = examine(body.text)
    before = examine(now.policies)[0].names
    return PolicyPlan(
        replaces=now.policy_version,
        policies=list(then.names),
        added=sorted(set(then.names) - set(before)),
        removed=sorted(set(before) - set(then.names)),
        changes=body.text != now.policies,
        refusals=[
            PolicyRefusal(one.policy, one.reason, one.name or None, one.detail or None) for one in refusals
        ],
        digest=plan_digest(now, then),
    )


def apply_policy(cell: Cell, request: Request, body: PolicyBody) -> Verb[PolicyApplied]:
    """Puts a set in force, if it is the one that was planned.

    Raises:
        BadInput: `policy_refused` with `refusals`.
        Conflict: `plan_changed`: the digest is another plan's, or another set was applied meanwhile.
    """
    caller = authenticate(cell, request)
    yield from admit(cell, caller, request.origin, "policy.apply", "policy:apply")
    repeat = once(cell, request, caller, "policy.apply", PolicyApplied, body)
    if repeat.replay is not None:
        return repeat.replay
    now = cell.schemas.of(caller.principal.tenant, fresh=not cell.store.is_file)
    then, refusals = examine(body.text)
    if refusals:
        raise BadInput("policy_refused", refusals=[refusal.sentence for refusal in refusals])
    if body.digest != plan_digest(now, then):
        raise Conflict("plan_changed")
    if body.text == now.policies:
        return PolicyApplied(now.policy_version, list(then.names))
    answer = PolicyApplied(now.policy_version + 1, list(then.names))
    yield repeat.keep(ApplyPolicy(caller, request.origin, now, then), answer)
    cell.forget()
    return answer


def plan_digest(now: TenantSchema, then: Policies) -> str:
    """SHA-256 (hex) of the set, and of the version that it was looked at beside."""
    return hashlib.sha256(f"{now.policy_version}:{then.digest}".encode()).hexdigest()


def _version(cell: Cell, caller: Caller, version: int) -> PolicyAnswer:
    params = {"tenant": caller.principal.tenant, "version": version}
    rows = cell.store.read(cell.store.oversight.policy_version, params)
    if not rows:
        raise Unknown("not_found")
    number, _, by, at, text = rows[0]
    return _shown(number, text, by, format_time(at))


def _shown(version: int, text: str, by: str | None = None, at: str | None = None) -> PolicyAnswer:
    read = examine(text)[0]
    names = list(read.names)
    return PolicyAnswer(version, text == DEFAULT, names, text, CEDAR_SCHEMA, read.digest, by, at)


def _number(text: str) -> int | None:
    """The number of a version, in its one spelling."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18) or text.startswith("0"):
        return None
    return int(text)
