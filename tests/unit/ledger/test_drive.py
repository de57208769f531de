"""Verbs that turn out stale are made again, at most 8 times."""

from __future__ import annotations

import pytest

from tests.support.ledgers import Ledger, Note, fails
from vault.errors import MAX_TRIES, BadInput, Stale, Unavailable, pause_after
from vault.ledger.command import Verb
from vault.ledger.committer import drive


class Trial:
    """A verb of two commands, the second of which is stale the first few times."""

    def __init__(self, stale: int) -> None:
        self.left = stale
        self.made = self.closed = self.forgot = 0

    def verb(self) -> Verb[int]:
        self.made += 1
        try:
            yield Note(self.made * 10)
            effect = fails(Stale()) if self.left > 0 else None
            self.left -= 1
            done = yield Note(self.made * 10 + 1, f"tenant-{self.made}", effect)
        except GeneratorExit:
            self.closed += 1
            raise
        return int(done.value)

    def forget(self) -> None:
        self.forgot += 1


def test_a_stale_verb_is_made_again_from_its_beginning(sqlite_ledger: Ledger) -> None:
    trial = Trial(stale=2)
    assert drive(sqlite_ledger.committer, trial.verb, trial.forget) == 31
    assert (trial.made, trial.closed, trial.forgot) == (3, 2, 2)
    assert sqlite_ledger.numbers() == [10, 20, 30, 31]
    assert sqlite_ledger.tenants() == {"tenant-3"}


def test_it_succeeds_at_the_last_try(sqlite_ledger: Ledger) -> None:
    trial = Trial(stale=MAX_TRIES - 1)
    assert drive(sqlite_ledger.committer, trial.verb, trial.forget) == MAX_TRIES * 10 + 1


def test_it_is_made_eight_times_at_most(sqlite_ledger: Ledger) -> None:
    trial = Trial(stale=1_000)
    with pytest.raises(Unavailable) as refusal:
        drive(sqlite_ledger.committer, trial.verb, trial.forget)
    assert refusal.value.code == "too_busy"
    assert (trial.made, trial.closed, trial.forgot) == (8, 8, 8)
    assert sqlite_ledger.numbers() == [n * 10 for n in range(1, 9)]
    assert sqlite_ledger.tenants() == set()


def test_who_was_stale_twice_waits_for_a_time_of_chance() -> None:
    assert pause_after(1) == 0
    for tries in range(2, MAX_TRIES + 1):
        waits = [pause_after(tries) for _ in range(100)]
        assert len(set(waits)) > 90
        assert 0 <= min(waits) <= max(waits) <= 0.005 * 2**tries < 1.5


def test_a_refusal_reaches_the_verb_which_may_answer_it(sqlite_ledger: Ledger) -> None:
    def verb() -> Verb[str]:
        try:
            yield Note(1, None, fails(BadInput("agent_unknown")))
        except BadInput as refusal:
            yield Note(2)
            return refusal.code
        return ""

    assert drive(sqlite_ledger.committer, verb) == "agent_unknown"
    assert sqlite_ledger.numbers() == [2]


def test_a_verb_that_asks_nothing_answers(sqlite_ledger: Ledger) -> None:
    def verb() -> Verb[str]:
        yield from ()
        return "nothing"

    assert drive(sqlite_ledger.committer, verb) == "nothing"
