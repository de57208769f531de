"""What each step of a turn writes: one transaction that ends the step, with its time on the record.

A step that every process must be ready for asks so in that transaction, when nobody else can commit any more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import msgspec

from vault.audit.event import Event
from vault.clock import format_time
from vault.keyring.epoch import EpochRow, StoredEpoch
from vault.keystate.states import KeyState, move
from vault.ledger.command import Needs, State, Writes
from vault.services import processes
from vault.services.jobs import DONE, Piece, Work
from vault.store.custody import FieldKeyRow
from vault.store.rows import EpochsInUse

SWEPT: Final = 2_000  # rows of a table in one transaction
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def epochs_of(work: Work) -> EpochsInUse:
    """The two epochs of a turn, as the head row names them while it is under way."""
    return EpochsInUse(work.params["to"], work.params["from"])


class Step(Piece):
    """A piece of a turn that ends a step: its time goes into the turn's record and into the log."""

    def __init__(self, work: Work, to: str, **evidence: Any) -> None:
        now = work.progress
        self._ended = now.step
        cursor = {
            "times": {**now.cursor.get("times", {})},
            "evidence": {**now.cursor.get("evidence", {}), **evidence},
        }
        state = DONE if to == DONE else now.state
        super().__init__(work, replace(now, state=state, step=to, cursor=cursor, waits_for="", error=""))
        self._of = epochs_of(work)

    def effect(self, state: State, writes: Writes) -> None:
        """Notes the step; subclasses do more."""
        cursor = self.then.cursor
        cursor["times"][self._ended] = format_time(state.now)
        writes.update(
            "note_turn",
            of_turn=self._of.write,
            new_steps=_encode(cursor["times"]).decode(),
            new_evidence=_encode(cursor["evidence"]).decode(),
            at=state.now if self.then.state == DONE else 0,
        )
        facts = {"step": self._ended, "from": self._of.read, "to": self._of.write, "job": self.work.id}
        writes.event(Event("epoch.turn", self.work.tenant, self.work.actor, facts))


class Create(Step):
    """Enters the new epoch, its index layer, and the turn."""

    def __init__(self, work: Work, made: EpochRow, layer: FieldKeyRow, canary: bytes | None) -> None:
        super().__init__(work, "open")
        self._made = made
        self._layer = layer
        self._canary = canary

    def effect(self, state: State, writes: Writes) -> None:
        """Inserts the rows."""
        made, of = self._made, self._of
        writes.insert(
            "epoch",
            epoch=made.number,
            id=made.id,
            state=KeyState.PRE_ACTIVE.value,
            sealed_half=made.sealed_half,
            created_at=state.now,
            sealed_canary=made.canary,
            activated_at=None,
            destroy_at=None,
        )
        writes.insert("field_key", **self._layer._asdict(), created_at=state.now)
        if self._canary is not None:  # the old epoch is from before there were canaries
            writes.update("add_canary", of_epoch=of.read, canary=self._canary)
        writes.insert(
            "turn",
            opens=of.write,
            closes=of.read,
            job=self.work.id,
            steps="{}",
            evidence="{}",
            started_at=self.work.created_at,
            ended_at=0,
        )
        super().effect(state, writes)


class Asked(Step):
    """A step that all processes must be ready for. Returns from `decide`: how many are not; then 0."""

    def needs(self, needs: Needs) -> None:
        """The job, and the processes as they stand when nobody else can commit any more."""
        super().needs(needs)
        needs.settled = needs.processes = True

    def decide(self, state: State, writes: Writes) -> int:
        """Takes the step, if all are ready."""
        self.check(state)
        waits = self.waits(state)
        if waits == 0:
            self.effect(state, writes)
            self.advance(state, writes)
        return waits

    def waits(self, state: State) -> int:
        """How many processes are not ready."""
        raise NotImplementedError


class Opened(Asked):
    """All live processes have opened the new epoch."""

    def waits(self, state: State) -> int:
        """Those that have not."""
        return len(processes.behind(state.processes, self._of.write, state.now))


class Flip(Opened):
    """The new epoch is written under from here on. Bumps the fence: what was prepared before is stale."""

    alone = True

    def __init__(
        self, work: Work, old: StoredEpoch, new: StoredEpoch, layer: FieldKeyRow, total: int
    ) -> None:
        super().__init__(work, "reseal")
        self.then.total = total
        self.prepared_on = EpochsInUse(old.number, old.number)
        self._changes = [
            {
                "of_epoch": row.number,
                "was": row.state,
                "to": move(KeyState(row.state), to).value,
                "at": None,
            }
            for row, to in ((old, KeyState.DEACTIVATED), (new, KeyState.ACTIVE))
        ]
        to = move(KeyState(layer.state), KeyState.ACTIVE).value
        self._layer = {"key_id": layer.id, "was": layer.state, "to": to}

    def effect(self, state: State, writes: Writes) -> None:
        """Moves the head and the states."""
        old, new = self._changes
        writes.change("move_epoch", [old, {**new, "at": state.now}])
        writes.change("move_field_key", [self._layer])
        writes.write_by += 1
        writes.fence_by += 1
        self.then.cursor["evidence"]["events_at_flip"] = state.head.next
        super().effect(state, writes)


class Close(Step):
    """The new epoch is read in from here on, and the old one's index layer is gone. Bumps the fence."""

    alone = True

    def __init__(self, work: Work, layer: FieldKeyRow, **evidence: Any) -> None:
        super().__init__(work, "drop", **evidence)
        self.prepared_on = EpochsInUse(self._of.write, self._of.read)
        to = move(KeyState(layer.state), KeyState.DESTROYED).value
        self._layer = {"key_id": layer.id, "was": layer.state, "to": to}

    def effect(self, state: State, writes: Writes) -> None:
        """Moves the head."""
        writes.change("end_field_key", [self._layer])
        writes.read_by += 1
        writes.fence_by += 1
        super().effect(state, writes)


class Dropped(Asked):
    """No process can hold the old epoch's key any more."""

    def waits(self, state: State) -> int:
        """Those that may."""
        return len(processes.holding(state.processes, self._of.read, state.now))


class Sweep(Piece):
    """Removes a bounded number of rows of the old epoch."""

    def effect(self, state: State, writes: Writes) -> None:
        """Notes the deletes."""
        of = epochs_of(self.work)
        for table in ("reference", "suppression", "index", "answers"):
            writes.update(f"drop_{table}", of_epoch=of.read, most=SWEPT)


class Prove(Step):
    """Orders the destruction of the old epoch's halves, on every host."""

    def __init__(self, work: Work, **evidence: Any) -> None:
        super().__init__(work, "destroy", **evidence)

    def effect(self, state: State, writes: Writes) -> None:
        """Notes the order."""
        self.then.cursor["evidence"]["opened_at"] = format_time(state.now)
        writes.update("order_destruction", of_epoch=self._of.read, at=state.now)
        super().effect(state, writes)


class HalvesGone(Asked):
    """No live process's half-stores have the old epoch's half."""

    def __init__(self, work: Work) -> None:
        super().__init__(work, "root")

    def waits(self, state: State) -> int:
        """Those whose have."""
        return len(processes.not_destroyed(state.processes, self._of.read, state.now))


class Ended(Step):
    """The old epoch is destroyed, and that was shown."""

    def __init__(self, work: Work, old: StoredEpoch, **evidence: Any) -> None:
        super().__init__(work, DONE, **evidence)
        to = move(KeyState(old.state), KeyState.DESTROYED).value
        self._change = {"of_epoch": old.number, "was": old.state, "to": to}

    def effect(self, state: State, writes: Writes) -> None:
        """Ends it: nothing of its key is left, in the row either."""
        self.then.cursor["evidence"]["refused_at"] = format_time(state.now)
        writes.change("end_epoch", [self._change])
        super().effect(state, writes)
