"""Narrowing a grant in place: what is left is less in every way, or it is refused."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from vault.clock import Micros
from vault.errors import BadInput
from vault.policy.grant import Grant, ScopeEntry
from vault.policy.networks import is_network


@dataclass(frozen=True, slots=True, repr=False)
class Reduction:
    """What is to be left of a grant; None leaves what there is."""

    scope: tuple[ScopeEntry, ...] | None = None
    subjects: frozenset[bytes] | None = None
    max_distinct: int | None = None
    uses: int | None = None
    batch: int | None = None
    until: Micros | None = None
    networks: list[str] | None = None
    conversation: str | None = None


def reduce(grant: Grant, left: Reduction, used: int, now: Micros) -> Grant:
    """The grant that is left, as its next version.

    Args:
        used: how many uses were charged; what is left in all is at least as many.

    Raises:
        BadInput: `widening_refused` with the member that is not less.
    """
    scope = grant.scope
    if left.scope is not None:
        scope = left.scope
        _require(bool(scope) and all(_covered(entry, grant.scope) for entry in scope), "scope")
    subjects = grant.subjects
    if left.subjects is not None:
        _require(subjects is None or left.subjects <= subjects, "subjects")
        subjects = left.subjects
    uses = _less(grant.max_uses, left.uses, "uses", least=max(used, 1))
    batch = min(_less(grant.batch, left.batch, "batch", least=1), uses)
    until = _less(grant.valid_until, left.until, "until", least=now + 1)
    return replace(
        grant,
        scope=scope,
        subjects=subjects,
        max_uses=uses,
        batch=batch,
        valid_until=until,
        terms=msgspec.structs.replace(grant.terms, **_terms(grant, left)),
        version=grant.version + 1,
    )


def _terms(grant: Grant, left: Reduction) -> dict[str, Any]:
    """The terms that change."""
    old = grant.terms
    changed: dict[str, Any] = {}
    if left.max_distinct is not None:
        most = left.max_distinct if old.max_distinct is None else old.max_distinct
        changed["max_distinct"] = _less(most, left.max_distinct, "max_distinct", least=1)
    if left.networks is not None:
        _require(bool(left.networks) and _inside(left.networks, old.networks), "networks")
        changed["networks"] = left.networks
    if left.conversation is not None:
        _require(old.conversation in (None, left.conversation), "conversation")
        changed["conversation"] = left.conversation
    return changed


def _covered(entry: ScopeEntry, scope: Collection[ScopeEntry]) -> bool:
    """Whether one line of a scope gives nothing that a line of another does not."""
    return bool(entry.fields and entry.operations and entry.delivers) and any(
        set(entry.fields) <= set(other.fields)
        and set(entry.operations) <= set(other.operations)
        and set(entry.delivery) <= set(other.delivery)
        and other.mask in (None, entry.mask)
        and other.key_version in (None, entry.key_version)
        and set(entry.derive) <= set(other.derive)
        for other in scope
    )


def _inside(networks: Sequence[str], others: Sequence[str]) -> bool:
    """Whether every network lies in one of some others; no others: in any."""
    if not all(map(is_network, networks)):
        return False
    if not others:
        return True
    outer = [ipaddress.ip_network(other) for other in others]
    return all(_within_one(ipaddress.ip_network(network), outer) for network in networks)


def _within_one(network: Any, outer: Sequence[Any]) -> bool:
    return any(network.version == other.version and network.subnet_of(other) for other in outer)


def _less(old: int, new: int | None, member: str, *, least: int) -> int:
    if new is None:
        return old
    _require(least <= new <= old, member)
    return new


def _require(holds: bool, member: str) -> None:
    if not holds:
        raise BadInput("widening_refused", member=member)
