"""One command of a group never takes the others with it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.ledgers import Alone, Effect, Ledger, Note, fails
from vault.audit.event import Event
from vault.errors import BadInput, CoatcheckError, Internal, Stale
from vault.ledger.command import Committed, State, Writes

SIZE = 32
PLACE = 17


def unbindable(_state: State, writes: Writes) -> None:
    writes.insert("tenant", id=object(), name="x", state="active", created_at=0)


def too_large(_state: State, writes: Writes) -> None:
    writes.insert("tenant", id="tn_large", name="x", state="active", created_at=2**80)


def name_taken(_state: State, writes: Writes) -> None:
    writes.insert("tenant", id="tn_double", name="tenant-0", state="active", created_at=0)


def not_null(_state: State, writes: Writes) -> None:
    writes.insert("tenant", id="tn_null", name=None, state="active", created_at=0)


def no_such_table(_state: State, writes: Writes) -> None:
    writes.insert("due_period", tenant="main")


def event_of_no_json(_state: State, writes: Writes) -> None:
    writes.event(Event("cell.init", "main", "test", {"number": object()}))


POISONS: dict[str, tuple[Effect, type[Exception]]] = {
    "raises": (fails(RuntimeError("poison")), Internal),
    "raises an error of the language": (fails(ZeroDivisionError()), Internal),
    "violates a unique constraint": (name_taken, Stale),
    "violates a not-null constraint": (not_null, Stale),
    "holds a value that the driver cannot bind": (unbindable, Internal),
    "holds a number that the column cannot": (too_large, Internal),
    "lacks a column": (no_such_table, Internal),
    "notes an event that is no JSON": (event_of_no_json, Internal),
}


@pytest.mark.parametrize("poison", POISONS)
def test_the_other_31_succeed(ledger: Ledger, poison: str) -> None:
    ledger.submit([Note(0, "tenant-0")])
    effect, expected = POISONS[poison]
    commands = [Note(number, f"tenant-{number}") for number in range(1, SIZE + 1)]
    commands[PLACE] = Note(commands[PLACE].number, None, effect)
    before = ledger.committer.groups
    outcomes = ledger.submit(commands)
    assert ledger.committer.groups == before + 1
    poisoned = outcomes.pop(PLACE)
    assert type(poisoned) is expected
    assert [outcome.value for outcome in outcomes if isinstance(outcome, Committed)] == [
        command.number for index, command in enumerate(commands) if index != PLACE
    ]
    assert ledger.numbers() == [0, *(n for n in range(1, SIZE + 1) if n != PLACE + 1)]
    assert ledger.tenants() == {f"tenant-{n}" for n in ledger.numbers()}


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_command_alone_harms_nothing_after_it(ledger: Ledger, poison: str) -> None:
    ledger.submit([Note(0, "tenant-0")])
    effect, expected = POISONS[poison]
    assert type(ledger.submit([Note(1, None, effect)])[0]) is expected
    assert isinstance(ledger.submit([Note(2)])[0], Committed)
    assert ledger.numbers() == [0, 2]


def test_a_group_without_poison_is_one_transaction(ledger: Ledger) -> None:
    commands = [Note(number) for number in range(SIZE)]
    outcomes = ledger.submit(commands)
    assert [outcome.value for outcome in outcomes if isinstance(outcome, Committed)] == list(range(SIZE))
    assert len({id(state) for command in commands for state in command.decided}) == 1
    assert len({outcome.at for outcome in outcomes if isinstance(outcome, Committed)}) == 1
    assert ledger.numbers() == list(range(SIZE))


@pytest.mark.parametrize("refusal", [BadInput("agent_unknown"), Stale()])
def test_a_refused_command_leaves_nothing_and_costs_the_others_nothing(
    ledger: Ledger, refusal: Exception
) -> None:
    commands = [Note(number, f"tenant-{number}") for number in range(4)]
    commands[1] = Note(1, "tenant-1", fails(refusal))
    outcomes = ledger.submit(commands)
    assert outcomes[1] is refusal
    assert [len(command.decided) for command in commands] == [1, 1, 1, 1]
    assert ledger.numbers() == [0, 2, 3]
    assert ledger.tenants() == {"tenant-0", "tenant-2", "tenant-3"}


def test_a_command_sees_what_earlier_ones_of_its_group_did(ledger: Ledger) -> None:
    seen: list[Any] = []

    def count(state: State, writes: Writes) -> None:
        seen.append(state.counters.get(("pr_x", "uses"), 0))
        writes.count(("pr_x", "uses"), 5)

    ledger.submit([Note(number, None, count) for number in range(3)])
    assert seen == [0, 5, 10]
    counters = ledger.store.tables.counters
    assert [row[3] for row in ledger.store.read(counters.select())] == [15]


def test_alone_commands_have_a_transaction_of_their_own_and_keep_their_place(ledger: Ledger) -> None:
    commands: list[Note] = [Note(0), Note(1), Alone(2), Note(3), Alone(4), Alone(5), Note(6)]
    before = ledger.committer.groups
    ledger.submit(commands)
    assert ledger.committer.groups == before + 6
    together = [id(command.decided[0]) for command in commands]
    assert together[0] == together[1]
    assert len(set(together)) == 6
    assert ledger.numbers() == list(range(7))


def test_a_command_that_writes_nothing_leaves_the_head_as_it_is(ledger: Ledger) -> None:
    class Reads(Note):
        def decide(self, state: State, writes: Writes) -> int:
            return state.head.next

    ledger.submit([Note(0)])
    head = ledger.store.read(ledger.store.record.head)
    outcome = ledger.submit([Reads(1)])[0]
    assert isinstance(outcome, Committed)
    assert outcome.value == 1
    assert ledger.store.read(ledger.store.record.head) == head


def test_no_outcome_shows_what_was_to_be_written(ledger: Ledger) -> None:
    def planted(_state: State, writes: Writes) -> None:
        writes.insert("tenant", id="canary-7f3a91", name="canary-7f3a91", state=None, created_at=0)

    for number, effect in enumerate((planted, fails(RuntimeError("canary-7f3a91")))):
        outcome = ledger.submit([Note(number, None, effect)])[0]
        assert isinstance(outcome, CoatcheckError | Stale)
        seen: BaseException | None = outcome
        while seen is not None:
            assert "canary" not in f"{seen} {seen!r} {seen.args} {vars(seen)}"
            seen = seen.__cause__ or seen.__context__
