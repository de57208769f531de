"""How a grant stands when it is used: delegations, kill switches, and proofs that were seen before."""

from __future__ import annotations

import hashlib
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


def add_needs(needs: Needs, who: Holder, conversation: str | None) -> None:
    """Adds the rows that say how a holder's grant stands; not the grant's own."""
    needs.kills.update(switches(who, conversation))
    if who.proof is not None:
        needs.proofs.add(proof_ref(who.credential.id, who.proof))
        needs.blocks.update(map(block_row, who.chain))


def standing_of(state: State, who: Holder, row: GrantRow, conversation: str | None) -> Standing:
    """How the grant stands for this holder, on the locked rows."""
    grant = row.grant
    replayed = who.proof is not None and proof_ref(grant.id, who.proof) in state.proofs
    killed = not state.kills.isdisjoint(switches(who, conversation))
    if not who.chain:
        return Standing(row.tat, killed, replayed)
    left: list[int] = []
    for block in who.chain:
        known = state.blocks.get(block_row(block))
        if known is not None and (known.revoked_at or known.grant != grant.id):
            return Standing(row.tat, killed, replayed, ("grant_invalid", ""))
        if isinstance(block.narrowing.uses, int):
            left.append(block.narrowing.uses - (known.uses if known is not None else 0))
    try:
        bounds = narrow_all(
            bounds_of(grant),
            who.chain,
            depth=grant.terms.depth,
            ttl_max_s=grant.terms.ttl_max_s,
            now=state.now,
        )
    except Denied as denied:
        refused = (denied.code, str(denied.facts.get("member", "")))
        return Standing(row.tat, killed, replayed, refused)
    return Standing(row.tat, killed, replayed, None, bounds, min(left, default=None))


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


def charge(writes: Writes, who: Holder, grant: Grant, charged: int, tat: Micros | None) -> None:
    """Charges a grant and every delegation that counts for itself, root to leaf."""
    writes.charge(grant.id, charged, tat)
    for block in who.chain:
        if isinstance(block.narrowing.uses, int):
            writes.charge_block(block_row(block), grant.id, charged)


def see(writes: Writes, who: Holder) -> None:
    """Notes the proof: whatever was decided, nothing is decided on it again."""
    if who.proof is not None:
        writes.see_proof(proof_ref(who.credential.id, who.proof))


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
