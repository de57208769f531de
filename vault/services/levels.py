"""The levels of an erasure, each with its time: what the turns of the epoch have made of it since.

Nothing is noted when a level is reached: it follows from the turns, whose evidence is on the record. A turn
closes an erasure whose keys were gone before its flip. What the erased keys were sealed under may be any
epoch up to the one that was written then, so every turn up to the closing one must have ended too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from vault.clock import Micros, parse_time
from vault.store.cell import Store
from vault.store.forgetting import ErasureRow

REQUESTED: Final = "requested"
KEYS_REMOVED: Final = "keys_removed"
EPOCH_CLOSED: Final = "epoch_closed"
KMS_DESTROYED: Final = "kms_destroyed"
LEVELS: Final = {
    REQUESTED: "denied to everybody; nothing is gone yet",
    KEYS_REMOVED: "no living row holds a key: what is kept in the cell opens no more",
    EPOCH_CLOSED: "a half of what older keys were sealed under is gone from every half-store: no backup of "
    "the database opens",
    KMS_DESTROYED: "the other half's root key is destroyed too: no backup opens with the key store either",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn of the epoch left on the record.

    Attributes:
        steps: when each step ended, RFC 3339.
        flip: how many events the log had at its flip; None: it has not flipped.
        final_at: from when on its root key cannot be taken back; None: from when it ended.
    """

    opens: int
    closes: int
    steps: dict[str, str]
    evidence: dict[str, Any]
    ended_at: Micros

    @property
    def flip(self) -> int | None:
        """How many events the log had at its flip."""
        found = self.evidence.get("events_at_flip")
        return None if found is None else int(found)

    @property
    def closed_at(self) -> Micros | None:
        """When the old epoch's half was gone from every half-store."""
        found = self.steps.get("destroy")
        return None if found is None else parse_time(found)

    @property
    def final_at(self) -> Micros | None:
        """When its root key is gone for good; in the future, if the key store waits; None: not ordered."""
        if not self.ended_at:
            return None
        said = self.evidence.get("root_destroyed", {}).get("final_at")
        return self.ended_at if said is None else max(self.ended_at, parse_time(said))


@dataclass(frozen=True, slots=True)
class Reached:
    """How far an erasure is.

    Attributes:
        at: when each level was reached.
        due: when `kms_destroyed` will be, where the key store has only scheduled it.
        turn: the turn that closes it; None: none has begun since.
    """

    at: dict[str, Micros] = field(default_factory=dict)
    due: Micros | None = None
    turn: Turn | None = None

    @property
    def level(self) -> str:
        """The highest level."""
        return next(name for name in reversed(LEVELS) if name in self.at)


def turns_of(store: Store) -> list[Turn]:
    """All turns, the oldest first."""
    decode = msgspec.json.decode
    return [
        Turn(row[0], row[1], decode(row[3]), decode(row[4]), row[6]) for row in store.read(store.work.turns)
    ]


def reached(row: ErasureRow, turns: Iterable[Turn], now: Micros) -> Reached:
    """The levels that an erasure has reached by now."""
    at = {REQUESTED: row.created_at}
    if not row.removed_at:
        return Reached(at)
    at[KEYS_REMOVED] = row.removed_at
    closed: Micros | None = row.removed_at
    final: Micros | None = row.removed_at
    for turn in turns:
        closed = None if closed is None or turn.closed_at is None else max(closed, turn.closed_at)
        final = None if final is None or turn.final_at is None else max(final, turn.final_at)
        if turn.flip is not None and turn.flip > row.events:
            if closed is not None:
                at[EPOCH_CLOSED] = closed
            if final is not None and final <= now:
                at[KMS_DESTROYED] = final
            return Reached(at, final if final is not None and final > now else None, turn)
    return Reached(at)
