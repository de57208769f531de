"""What is left of a grant after its delegations: always less, never more. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET, UnsetType

from vault.clock import SECOND, Micros
from vault.errors import Denied
from vault.policy.block import Block

MAX_AHEAD_S: Final = 60  # that a giver's clock may be before ours; as for proofs
SHOWS_ALL: Final = frozenset({"reveal"})
"""Operations that show more of a value than any mask."""


@dataclass(frozen=True, slots=True, repr=False)
class Bounds:
    """The most that a holder may do; at the root, what the grant says.

    Attributes:
        operations, fields: the only ones.
        subjects: the callers' own identifiers of the only people; None for any that the grant is for.
        mask: the only mask that values may be shown by; None for any that the grant allows.
        destinations: the only ones; None for any that the grant allows.
        uses: the most uses; None where nothing but the grant's own counter bounds them.
        until: the end, exclusive.
    """

    operations: frozenset[str]
    fields: frozenset[str]
    subjects: frozenset[str] | None
    mask: str | None
    destinations: frozenset[str] | None
    uses: int | None
    until: Micros

    def __repr__(self) -> str:
        return "<Bounds>"


def narrow(bounds: Bounds, block: Block, *, ttl_max_s: int, now: Micros) -> Bounds:
    """What a block leaves of its giver's bounds.

    Without an `exp` of its own a block ends when its time to live does, or with its giver's bounds.

    Args:
        ttl_max_s: seconds after its `iat` for which a block may hold; the grant says it.
        now: to refuse what was made later.

    Raises:
        Denied: `delegation_denied` with the member that is not narrower.
    """
    given = block.narrowing
    if block.iat * SECOND > now + MAX_AHEAD_S * SECOND:
        raise Denied("delegation_denied", member="iat")
    operations = _subset(bounds.operations, given.operations, "operations") or frozenset()
    mask = bounds.mask
    if given.mask is not UNSET:
        if mask not in (None, given.mask):
            raise Denied("delegation_denied", member="mask")
        mask = given.mask
        # A giver that names a mask means that no more is seen; one that lists `reveal` beside it means both.
        if given.operations is not UNSET and not SHOWS_ALL.isdisjoint(given.operations):
            raise Denied("delegation_denied", member="mask")
        operations -= SHOWS_ALL
        if not operations:
            raise Denied("delegation_denied", member="mask")
    end = (block.iat + ttl_max_s) * SECOND
    return Bounds(
        operations=operations,
        fields=_subset(bounds.fields, given.fields, "fields") or frozenset(),
        subjects=_subset(bounds.subjects, given.subjects, "subjects"),
        mask=mask,
        destinations=_subset(bounds.destinations, given.destinations, "destinations"),
        uses=_at_most(bounds.uses, given.uses, "uses"),
        until=_end(bounds.until, end, given.exp),
    )


def narrow_all(bounds: Bounds, blocks: Iterable[Block], *, depth: int, ttl_max_s: int, now: Micros) -> Bounds:
    """What a chain leaves of a grant.

    Args:
        depth: how many blocks the grant allows, 0 to 3.

    Raises:
        Denied: `delegation_denied`, with the member `depth`, or as `narrow`.
    """
    for number, block in enumerate(blocks):
        if number >= depth:
            raise Denied("delegation_denied", member="depth")
        bounds = narrow(bounds, block, ttl_max_s=ttl_max_s, now=now)
    return bounds


def _subset(
    held: frozenset[str] | None, given: tuple[str, ...] | UnsetType, member: str
) -> frozenset[str] | None:
    """The texts that are left; None held is any."""
    if given is UNSET:
        return held
    left = frozenset(given)
    if held is not None and not left <= held:
        raise Denied("delegation_denied", member=member)
    return left


def _at_most(held: int | None, given: int | UnsetType, member: str) -> int | None:
    """The number that is left; None held is any."""
    if given is UNSET:
        return held
    if held is not None and given > held:
        raise Denied("delegation_denied", member=member)
    return given


def _end(held: Micros, longest: Micros, given: int | UnsetType) -> Micros:
    """The end that is left."""
    if given is UNSET:
        return min(held, longest)
    if given * SECOND > min(held, longest):
        raise Denied("delegation_denied", member="exp")
    return given * SECOND
