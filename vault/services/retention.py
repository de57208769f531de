"""Due dates: the period of a new value's key, and the dates that move with values and their use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vault.clock import Period, parse_period
from vault.errors import BadInput
from vault.ledger.command import State, Writes
from vault.retention.period import due_at_on_seal, due_at_on_use, retention_class
from vault.schema.document import Schema
from vault.store.custody import KeyRow

NEVER: Final = 2**62
"""In place of a date that is not known, where there was one."""


def own_time(keep: str | None) -> Period | None:
    """The time that a request's values are kept, where it is shorter than their class says.

    Raises:
        BadInput: `operation_unsupported`: no ISO 8601 duration, or longer than anybody keeps.
    """
    if keep is None:
        return None
    try:
        period = parse_period(keep)
        period.after(0)
    except (ValueError, OverflowError):
        raise BadInput("operation_unsupported", member="keep") from None
    return period


def due_after_seal(schema: Schema, keys: Iterable[KeyRow], state: State, writes: Writes) -> None:
    """Moves the date of keys that something was sealed under, where their class says so."""
    for key in keys:
        rule = schema.retention.get(key.class_)
        if rule is None or key.due:
            continue
        kept = retention_class(rule)
        if kept.mutable:
            standing = state.data_keys[key.id]
            due_at = due_at_on_seal(kept, state.now, standing.due_at)
            if due_at is None and standing.due_at is not None:
                due_at = NEVER  # the event came, and what is made now waits for the next one
            _move(key.id, standing, due_at, state, writes)


def due_after_use(schema: Schema, keys: Iterable[KeyRow], state: State, writes: Writes) -> None:
    """Moves the date of keys that something was opened with, where their class counts from the last use."""
    for key in {key.id: key for key in keys}.values():
        rule = schema.retention.get(key.class_)
        if rule is None or key.due:
            continue
        kept = retention_class(rule)
        if kept.mutable:
            standing = state.data_keys.get(key.id, key)
            _move(key.id, standing, due_at_on_use(kept, state.now, standing.due_at), state, writes)


def _move(key: bytes, standing: KeyRow, due_at: int | None, state: State, writes: Writes) -> None:
    """Notes a later date: for the database, and for the commands behind this one."""
    if due_at is not None and (standing.due_at is None or due_at > standing.due_at):
        state.data_keys[key] = standing._replace(due_at=due_at)
        writes.move_due(key, due_at)
