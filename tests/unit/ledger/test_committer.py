"""Queue, order, closing: what the committer promises to those who hand commands over."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.support import ledgers
from tests.support.ledgers import Ledger, Note, fails
from vault.errors import BadInput, Unavailable
from vault.ledger.command import Committed, State, Writes
from vault.ledger.committer import Pending


class Gate:
    """Holds the committer inside a command until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, _state: State, _writes: Writes) -> None:
        self.entered.set()
        assert self._open.wait(30)

    def open(self) -> None:
        self._open.set()


def settled(ledger: Ledger, commands: int) -> None:
    """Waits until so many commands are settled."""
    while ledger.committer.commands < commands:
        threading.Event().wait(0.001)


def nobody(_: list[Pending]) -> None:
    pass


def test_outcomes_come_back_in_the_order_of_the_commands(sqlite_ledger: Ledger) -> None:
    delivered: list[Pending] = []
    done = threading.Event()

    def deliver(settled: list[Pending]) -> None:
        delivered.extend(settled)
        if len(delivered) == 10:
            done.set()

    committer = sqlite_ledger.committer
    pending = [committer.pending(Note(number), deliver) for number in range(10)]
    committer.submit(pending[:3])
    committer.submit(pending[3:])
    assert done.wait(30)
    assert delivered == pending
    assert sqlite_ledger.numbers() == list(range(10))


def test_what_waits_shares_the_next_transaction(sqlite_ledger: Ledger) -> None:
    gate = Gate()
    committer = sqlite_ledger.committer
    committer.submit([committer.pending(Note(0, None, gate), nobody)])
    assert gate.entered.wait(30)
    for number in range(1, 20):
        committer.submit([committer.pending(Note(number), nobody)])
    gate.open()
    sqlite_ledger.submit([Note(20)])
    assert committer.groups in (2, 3)  # the last one may find the group of the others already begun
    assert committer.commands == 21
    assert sqlite_ledger.numbers() == list(range(21))


def test_a_group_is_bounded(tmp_path: Path) -> None:
    with ledgers.ledger("sqlite", tmp_path, max_group=4) as made:
        commands = [Note(number) for number in range(10)]
        made.submit(commands)
        assert made.committer.groups == 3
        states = [id(command.decided[0]) for command in commands]
        assert [states.count(state) for state in dict.fromkeys(states)] == [4, 4, 2]


def test_a_full_queue_takes_none_and_says_so(tmp_path: Path) -> None:
    with ledgers.ledger("sqlite", tmp_path, max_queue=4) as made:
        gate, committer = Gate(), made.committer
        committer.submit([committer.pending(Note(0, None, gate), nobody)])
        assert gate.entered.wait(30)
        committer.submit([committer.pending(Note(number), nobody) for number in (1, 2)])
        with pytest.raises(Unavailable) as refusal:
            committer.submit([committer.pending(Note(number), nobody) for number in (3, 4)])
        assert refusal.value.code == "too_busy"
        assert refusal.value.facts == {"retry_after": 1}
        committer.submit([committer.pending(Note(5), nobody)])
        with pytest.raises(Unavailable):
            committer.execute(Note(6))
        gate.open()
        settled(made, 4)
        assert made.numbers() == [0, 1, 2, 5]
        made.submit([Note(8), Note(9), Note(10), Note(11)])
        with pytest.raises(Unavailable):
            made.submit([Note(number) for number in range(5)])


def test_closing_finishes_what_waits_and_takes_no_more(sqlite_ledger: Ledger) -> None:
    gate, committer = Gate(), sqlite_ledger.committer
    committer.submit([committer.pending(Note(0, None, gate), nobody)])
    assert gate.entered.wait(30)
    waiting = [committer.pending(Note(number), nobody) for number in range(1, 9)]
    for one in waiting:
        committer.submit([one])
    closing = threading.Thread(target=committer.close)
    closing.start()
    refused: list[str] = []
    while not refused:
        try:
            late = committer.pending(Note(99), nobody)
            committer.submit([late])
        except Unavailable as refusal:
            refused.append(refusal.code)
        else:
            waiting.append(late)  # closing had not begun yet
    assert refused == ["draining"]
    gate.open()
    closing.join(30)
    assert not closing.is_alive()
    assert all(isinstance(one.outcome, Committed) for one in waiting)
    assert sqlite_ledger.numbers()[:9] == list(range(9))
    with pytest.raises(Unavailable, match="draining"):
        committer.execute(Note(100))
    committer.close()


def test_a_door_that_fails_takes_nobody_with_it(sqlite_ledger: Ledger) -> None:
    def gone(_: list[Pending]) -> None:
        raise RuntimeError("Event loop is closed")

    def broken(_: list[Pending]) -> None:
        raise KeyError("x")

    committer = sqlite_ledger.committer
    committer.submit([committer.pending(Note(number), door) for number, door in enumerate((gone, broken))])
    assert isinstance(sqlite_ledger.submit([Note(2)])[0], Committed)
    assert sqlite_ledger.numbers() == [0, 1, 2]


def test_whoever_waits_gets_an_answer_whatever_happens(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("vault.ledger.committer.run_group", broken)
        outcomes = sqlite_ledger.submit([Note(0), Note(1)])
    assert [getattr(outcome, "code", None) for outcome in outcomes] == ["internal", "internal"]
    assert isinstance(sqlite_ledger.submit([Note(2)])[0], Committed)


def test_execute_gives_the_proof_or_raises_the_refusal(sqlite_ledger: Ledger) -> None:
    done = sqlite_ledger.committer.execute(Note(7))
    assert (type(done), done.value) == (Committed, 7)
    with pytest.raises(BadInput, match="agent_unknown"):
        sqlite_ledger.committer.execute(Note(8, None, fails(BadInput("agent_unknown"))))


def test_a_proof_cannot_be_made_elsewhere() -> None:
    with pytest.raises(TypeError):
        Committed(1, 2, object())
