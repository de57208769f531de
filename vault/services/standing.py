"""How a grant stands when it is used: delegations, kill switches, and proofs that were seen before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from vault.authn.identities import Holder
from vault.clock import SECOND, Micros
from vault.crypto.base64url import decode
from vault.errors import Denied
from vault.ledger.command import Command, Needs, State, Writes
from vault.ledger.state import Kill
from vault.policy.block import Block
from vault.policy.decision import Standing
from vault.policy.grant import Grant
from vault.policy.kill import KillKind
from vault.policy.narrowing import Bounds, narrow_all
from vault.policy.proof import MAX_AGE_S, Proof
from vault.services.cell import Cell
from vault.services.gate import Steps
from vault.services.idempotency import MAX_DROPPED, MAX_ROUNDS
from vault.store.rows import GrantRow

_REF_BYTES: Final = 16
SECOND_BYTES: Final = 4
_LAST: Final = 2**32 - 1  # of the year 2106
KEPT: Final[Micros] = MAX_AGE_S * SECOND + 120 * SECOND
"""How long after its second a proof is remembered: as long as it may be presented, and two minutes for clocks
of processes that differ."""


def proof_ref(grant: str, proof: Proof) -> bytes:
    """What a proof is remembered by: its second in 4 bytes, and 12 of a digest of grant and `jti`.

    The second stands first so that the rows of a time lie together: in any other order each would be written
    to a page of its own. A holder that gives one `jti` to proofs of two seconds made two proofs.
    """
    named = hashlib.sha256(f"{grant}{proof.jti}".encode()).digest()  # an id has one length
    return _second(proof.iat) + named[: _REF_BYTES - SECOND_BYTES]


def _second(seconds: int) -> bytes:
    return min(max(seconds, 0), _LAST).to_bytes(SECOND_BYTES, "big")


def block_row(block: Block) -> bytes:
    """The key of a delegation's row."""
    return decode(block.id)


def delegate_left(cell: Cell, chain: Sequence[Block], most: int) -> int:
    """The uses that are left to the last of some delegations, of those of its grant, as last written."""
    ids = [block_row(block) for block in chain]
    rows = cell.store.read_keys(cell.store.granting.grant_blocks, ids)
    used = {bytes(row[0]): int(row[2]) for row in rows}
    for id_, block in zip(ids, chain, strict=True):
        if isinstance(block.narrowing.uses, int):
            most = min(most, max(0, block.narrowing.uses - used.get(id_, 0)))
    return most


class Watched:
    """What decides on one use besides the grant's own row: found once, looked at under its lock.

    Args:
        who: the grant's holder, or its last delegate.
        conversation: that the use is part of, as the caller names it.
    """

    __slots__ = ("_blocks", "_chain", "_ref", "_switches")

    def __init__(self, who: Holder, conversation: str | None) -> None:
        self._chain = who.chain
        self._blocks = [block_row(block) for block in who.chain]
        self._switches = switches(who, conversation)
        self._ref = None if who.proof is None else proof_ref(who.credential.id, who.proof)

    def add_needs(self, needs: Needs) -> None:
        """Adds the rows that say how the grant stands; not the grant's own."""
        needs.kills.update(self._switches)
        if self._ref is not None:
            needs.proofs.add(self._ref)
            needs.blocks.update(self._blocks)

    def standing(self, state: State, row: GrantRow) -> Standing:
        """How the grant stands for this holder, on the locked rows."""
        grant = row.grant
        replayed = self._ref in state.proofs
        killed = bool(state.kills) and not state.kills.isdisjoint(self._switches)
        if not self._chain:
            return Standing(row.tat, killed, replayed)
        left: list[int] = []
        for id_, block in zip(self._blocks, self._chain, strict=True):
            known = state.blocks.get(id_)
            if known is not None and (known.revoked_at or known.grant != grant.id):
                return Standing(row.tat, killed, replayed, ("grant_invalid", ""))
            if isinstance(block.narrowing.uses, int):
                left.append(block.narrowing.uses - (known.uses if known is not None else 0))
        terms = grant.terms
        try:
            bounds = narrow_all(
                bounds_of(grant), self._chain, depth=terms.depth, ttl_max_s=terms.ttl_max_s, now=state.now
            )
        except Denied as denied:
            refused = (denied.code, str(denied.facts.get("member", "")))
            return Standing(row.tat, killed, replayed, refused)
        return Standing(row.tat, killed, replayed, None, bounds, min(left, default=None))

    def charge(self, writes: Writes, grant: str, charged: int, tat: Micros | None) -> None:
        """Charges a grant and every delegation that counts for itself, root to leaf."""
        writes.charge(grant, charged, tat)
        for id_, block in zip(self._blocks, self._chain, strict=True):
            if isinstance(block.narrowing.uses, int):
                writes.charge_block(id_, grant, charged)

    def see(self, writes: Writes) -> None:
        """Notes the proof: whatever was decided, nothing is decided on it again."""
        if self._ref is not None:
            writes.see_proof(self._ref)


def bounds_of(grant: Grant) -> Bounds:
    """The most that a grant's first delegate may be given; who its people are is decided item by item."""
    return Bounds(
        operations=frozenset(operation for entry in grant.scope for operation in entry.operations),
        fields=frozenset(field for entry in grant.scope for field in entry.fields),
        subjects=None,
        mask=None,
        destinations=None,
        uses=grant.max_uses,
        until=grant.valid_until,
    )


class DropOldProofs(Command):
    """Forgets proofs that are refused for their age by now. It has no event: what they were used for has."""

    def needs(self, needs: Needs) -> None:
        """Touches no row that others decide on."""

    def decide(self, state: State, writes: Writes) -> None:
        """Removes a bounded number."""
        writes.update("drop_old_proofs", before=_second((state.now - KEPT) // SECOND), most=MAX_DROPPED)


def drop_old_proofs(cell: Cell) -> Steps:
    """Forgets old proofs, if there are any, in small transactions."""
    params = {"before": _second((cell.clock.now() - KEPT) // SECOND), "most": 1}
    for _ in range(MAX_ROUNDS):
        if not cell.store.read(cell.store.granting.old_proofs, params):
            return
        yield DropOldProofs()


def switches(who: Holder, conversation: str | None) -> set[Kill]:
    """All that a kill switch would be set for which binds this use."""
    names = [(KillKind.TENANT, ""), (KillKind.AGENT, who.agent), (KillKind.PURPOSE, who.purpose)]
    names += [(KillKind.HOLDER, jkt) for jkt in who.keys]
    if conversation is not None:
        names.append((KillKind.CONVERSATION, conversation))
    return {(who.tenant, kind.value, name) for kind, name in names}
