"""Commands: what a verb asks the ledger to do, decided in pure code on locked rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, Final, TypeVar

from vault.clock import Micros
from vault.ledger.state import Head, Needs, State, Writes
from vault.store.rows import EpochsInUse

Answer = TypeVar("Answer")

ROWS_A_WEIGHT: Final = 32
"""Rows that weigh as much as one more command in a group."""

_FROM_THE_LEDGER: Final = object()


class Committed:
    """Proof that a command's effect and event are durable. Only the ledger makes one.

    Functions that open values demand it, so that no code path reaches plaintext without a commit.

    Attributes:
        value: what the command's `decide` returned.
        at: the ledger's time of the transaction.
    """

    __slots__ = ("at", "value")

    def __init__(self, value: Any, at: Micros, made_by: object) -> None:
        if made_by is not _FROM_THE_LEDGER:
            raise TypeError("only the ledger makes a Committed")
        self.value = value
        self.at = at


def committed(value: Any, at: Micros) -> Committed:
    """For `ledger.group` alone (a rule of tests/rules)."""
    return Committed(value, at, _FROM_THE_LEDGER)


class Command(ABC):
    """One thing to do.

    `decide` makes every check before its first effect. It may raise a `CoatcheckError` (refused without
    effect and without event) or `Stale` (prepared on what is no longer so). A refusal that must be on
    the record is not raised: the command writes its event and returns what its verb then raises.
    """

    alone: bool = False
    """Whether it needs a transaction of its own: everything that bumps the fence."""

    prepared_on: EpochsInUse | None = None
    """The epochs that it was prepared on; under others it is stale before it decides. None: any."""

    weight: int = 1
    """How much of a group's bound it takes: more than one for a command of many rows."""

    @abstractmethod
    def needs(self, needs: Needs) -> None:
        """Adds the rows it touches."""

    @abstractmethod
    def decide(self, state: State, writes: Writes) -> Any:
        """Decides on the locked rows, notes effects and events, and returns the verb's result."""


Verb = Generator[Command, Committed, Answer]
"""A verb: yields commands, is resumed with `Committed` or an error, returns its answer."""

__all__ = ["Answer", "Command", "Committed", "Head", "Needs", "State", "Verb", "Writes", "committed"]
