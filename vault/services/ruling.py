"""What a tenant's attribute rules say to a request, or to a use of a grant.

They are asked after everything else has been decided, and only where a tenant has rules of its own. The hour
is part of what they may look at: the answer is made for the hours that the ledger's clock may show.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final, NamedTuple

from vault.authn.identities import Caller, Holder
from vault.clock import SECOND, Micros
from vault.errors import Stale
from vault.formats.derived import FUNCTIONS
from vault.policy.attribute_rules import AttributeRules, Verdict
from vault.policy.attributes import EXEMPT, TENANT, Question, context_of, hour_and_weekday, resource_of
from vault.policy.decision import Decision, UseRequest
from vault.policy.permissions import PERMISSIONS, kind_of
from vault.services.cell import Cell, TenantSchema

DENIED: Final = "policy_denied"
CHECK: Final = 8  # GRANTS.md, "Order of checks": what the use is, after what the grant covers
SKEW: Final[Micros] = 120 * SECOND
"""How far the ledger's clock may be from this process's: `vault.services.standing` bears the same."""
_ALLOWED: Final = Verdict(allowed=True)


@lru_cache(maxsize=1024)
def ip_of(address: str) -> str | None:
    """An address as rules see it; None where there is none, as of this host."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


class Ruled(NamedTuple):
    """What the rules say to a use, by the hour and weekday of the ledger's clock."""

    verdicts: dict[tuple[int, int], Verdict]

    def bind(self, decision: Decision, now: Micros) -> Decision:
        """The decision on a use that everything else allows.

        Raises:
            Stale: the rules were asked at another time.
        """
        verdict = self.verdicts.get(hour_and_weekday(now))
        if verdict is None:
            raise Stale
        if verdict.allowed:
            return decision
        return decision._replace(code=DENIED, check=CHECK, policies=verdict.policies)


def ruled(
    cell: Cell, schema: TenantSchema, who: Holder, use: UseRequest, now: Micros, *, keyed: bool | None = None
) -> Ruled | None:
    """What the rules say to a use; None where there are none to ask.

    Args:
        keyed: whether the grant is a keyed one; absent: as its holder came.
    """
    if schema.rules is None:
        return None
    purpose = schema.schema.purposes.get(who.purpose)
    fields = [name for name in use.fields if name in schema.schema.fields]
    # A mask's name is the schema's only if one of the fields has it; else it is a caller's text.
    masks = {name for field in fields for name in schema.schema.fields[field].masks}
    verdicts: dict[tuple[int, int], Verdict] = {}
    for hour, weekday in {hour_and_weekday(at) for at in (now - SKEW, now, now + SKEW)}:
        context = context_of(
            region=cell.region,
            hour=hour,
            weekday=weekday,
            ip=ip_of(use.address),
            purpose=who.purpose,
            legal_basis=purpose.legal_basis if purpose else "",
            disclosure_class=purpose.disclosure_class if purpose else "",
            delivery=use.delivery,
            mask=use.mask if use.mask in masks else None,
            derive=use.derive.fn if use.derive is not None and use.derive.fn in FUNCTIONS else None,
            on_behalf_of=who.for_user,
            keyed=who.proof is not None if keyed is None else keyed,
            delegated=bool(who.chain),
        )
        asked = [Question(who.agent, (), use.operation, field, context) for field in fields]
        verdicts[hour, weekday] = strictest(schema.rules, asked)
    return Ruled(verdicts)


def strictest(rules: AttributeRules, asked: list[Question]) -> Verdict:
    """The first refusal; that everything is allowed, where there is none."""
    for question in asked:
        verdict = rules.judge(question)
        if not verdict.allowed:
            return verdict
    return _ALLOWED


def refusal(
    cell: Cell, schema: TenantSchema, caller: Caller, address: str, needed: tuple[str, ...]
) -> Verdict | None:
    """What refuses a caller what it holds the permissions for; None: nothing does."""
    if schema.rules is None:
        return None
    now = cell.clock.now()
    hour, weekday = hour_and_weekday(now)
    age = None
    if caller.in_session:
        proved = max(caller.mfa_at, cell.identities.proved(caller.api_key)[0])
        age = max(0, now - proved) // SECOND if proved else None
    context = context_of(
        region=cell.region,
        hour=hour,
        weekday=weekday,
        ip=ip_of(address),
        session=caller.in_session,
        mfa_age_s=age,
    )
    principal = caller.principal
    asked = []
    for permission in needed:
        kind = kind_of(permission)
        if kind in EXEMPT:
            continue
        named = "" if permission in PERMISSIONS else permission.rpartition(":")[2]
        resource = named if resource_of(kind) != TENANT else principal.tenant
        asked.append(Question(principal.name, tuple(sorted(principal.roles)), kind, resource, context))
    verdict = strictest(schema.rules, asked)
    return None if verdict.allowed else verdict
