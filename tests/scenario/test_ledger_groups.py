"""Verbs that share a transaction: what one does wrong is not the others' business."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import NAME, SSN, BuiltCell, any_cell, reveal
from vault.errors import CoatcheckError, Stale
from vault.ledger.command import Command, Committed, State, Writes
from vault.ledger.committer import Pending
from vault.services.audit import verify
from vault.services.batch import BatchRefused
from vault.services.datakeys import MakeDataKeys
from vault.services.detokenize import detokenize
from vault.services.grants import create_grant
from vault.services.issue import Issue
from vault.services.tokenize import TokenizeBody, tokenize

SIZE = 32
VALUE = "123-45-6789"


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        made.token(NAME, "warm")  # the data key is there
        yield made


class Group:
    """Verbs prepared one by one, decided together, and then run to their ends."""

    def __init__(self, built: BuiltCell) -> None:
        self.built = built
        self.verbs: list[Any] = []
        self.commands: list[Command] = []

    def add(self, verb: Callable[..., Any], *arguments: Any, by: str | None = None) -> Command:
        started = verb(self.built.cell, self.built.request(by or self.built.service), *arguments)
        self.verbs.append(started)
        self.commands.append(next(started))
        return self.commands[-1]

    def settle(self) -> list[Any]:
        """The answer of each verb, or what it raised."""
        committer, done = self.built.cell.committer, threading.Semaphore(0)

        def deliver(settled: list[Pending]) -> None:
            done.release(len(settled))

        before = committer.groups
        pending = [committer.pending(command, deliver) for command in self.commands]
        committer.submit(pending)
        for _ in pending:
            assert done.acquire(timeout=30)
        assert committer.groups == before + 1
        return [self._end(verb, one.outcome) for verb, one in zip(self.verbs, pending, strict=True)]

    @staticmethod
    def _end(verb: Any, outcome: Any) -> Any:
        try:
            if isinstance(outcome, Committed):
                verb.send(outcome)
            else:
                verb.throw(outcome)
        except StopIteration as end:
            return end.value
        except (CoatcheckError, Stale) as refusal:
            return refusal
        raise AssertionError("asked for one more command")


def raises(_self: Command, _state: State, _writes: Writes) -> Any:
    raise RuntimeError("poison")


def unbindable(self: Any, state: State, writes: Writes) -> Any:
    writes.insert("token", id=object(), tenant="main", field=NAME, created_at=0)


def constraint(self: Any, state: State, writes: Writes) -> Any:
    writes.insert("grant_subject", grant="gr_none", subject=bytes(16))


POISONS: dict[str, tuple[Any, str]] = {
    "raises": (raises, "internal"),
    "cannot be bound": (unbindable, "internal"),
    "violates a constraint": (constraint, "Stale"),
}


@pytest.mark.parametrize("poison", POISONS)
def test_31_verbs_are_answered_beside_a_poisoned_one(
    built: BuiltCell, poison: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    effect, code = POISONS[poison]
    token, ada = built.token(SSN, VALUE), built.token(NAME, "Ada")
    credential = built.grant(SSN, NAME, uses=50)
    first = built.next_number
    group = Group(built)
    for number in range(SIZE):
        if number == 13:
            command = group.add(tokenize, TokenizeBody(field=NAME, values=["poison"]))
            monkeypatch.setattr(command, "decide", effect.__get__(command))
        elif number % 4 == 0:
            group.add(tokenize, TokenizeBody(field=NAME, values=[f"name {number}"]))
        elif number % 4 == 1:
            group.add(tokenize, TokenizeBody(field=SSN, values=[VALUE]))
        elif number % 4 == 2:
            group.add(detokenize, reveal(SSN, [token]), by=credential)
        else:
            group.add(detokenize, reveal(NAME, [ada]), by=credential)
    answers = group.settle()
    poisoned = answers.pop(13)
    assert code in (getattr(poisoned, "code", ""), type(poisoned).__name__)
    assert not any(isinstance(answer, Exception) for answer in answers)
    assert [answer.values for answer in answers if hasattr(answer, "values")] == [[VALUE], ["Ada"]] * 8
    kinds = [event["kind"] for event in built.events(first)]
    assert (kinds.count("tokenize"), kinds.count("detokenize")) == (15, 16)
    verify(built.cell.store)
    made = [answer.tokens[0] for answer in answers if getattr(answer, "field", "") == NAME]
    assert built.reveal(built.grant(NAME), NAME, *made) == [f"name {n}" for n in range(0, SIZE, 4)]


def test_one_of_three_requests_on_a_grant_fails_alone(built: BuiltCell) -> None:
    token, credential = built.token(SSN, VALUE), built.grant(SSN, uses=5)
    group = Group(built)
    for size in (2, 4, 3):
        group.add(detokenize, reveal(SSN, [token] * size), by=credential)
    two, four, three = group.settle()
    assert (two.values, three.values) == ([VALUE] * 2, [VALUE] * 3)
    assert four.code == "budget_exhausted"
    assert (two.grant.uses_left, three.grant.uses_left) == (3, 0)
    assert [event["charged"] for event in built.events(kind="detokenize")] == [2, 0, 3]


def test_a_bad_item_of_one_request_is_charged_to_it(built: BuiltCell) -> None:
    token, credential = built.token(NAME, "Ada"), built.grant(NAME, uses=6)
    group = Group(built)
    group.add(detokenize, reveal(NAME, [token]), by=credential)
    group.add(detokenize, reveal(NAME, [token, "nonsense"]), by=credential)
    group.add(detokenize, reveal(NAME, [token]), by=credential)
    one, two, three = group.settle()
    assert (one.values, three.values) == (["Ada"], ["Ada"])
    assert isinstance(two, BatchRefused)
    assert (one.grant.uses_left, two.facts["uses_left"], three.grant.uses_left) == (5, 3, 2)


def test_grants_of_one_group_share_the_day_of_their_creator(built: BuiltCell) -> None:
    counters = built.cell.store.tables.counters
    before = built.cell.store.read(counters.select())
    assert before == []
    group = Group(built)
    for _ in range(4):
        group.add(create_grant, built.grant_body(SSN, uses=10))
    assert all(not isinstance(answer, Exception) for answer in group.settle())
    assert [row[3] for row in built.cell.store.read(counters.select())] == [40]


def test_two_that_need_the_same_new_key_get_the_same(built: BuiltCell) -> None:
    """Both prepare a key for a person's slot; the first one's stands, and is said to be made once."""
    built.token(NAME, "Ada", "c1")
    store = built.cell.store
    keys = store.tables.data_keys
    with store.engine.begin() as connection:
        connection.execute(keys.delete().where(keys.c["class"] == "customer"))
    built.cell.forget()
    group = Group(built)
    commands = [group.add(tokenize, TokenizeBody(field=NAME, values=["x"], subjects=["c1"])) for _ in (1, 2)]
    assert all(isinstance(command, MakeDataKeys) for command in commands)
    outcomes: list[Any] = []
    pending = [built.cell.committer.pending(command, lambda done: None) for command in commands]
    built.cell.committer.submit(pending)
    built.token(SSN, VALUE)  # comes after both
    outcomes = [one.outcome for one in pending]
    (one,), (two,) = (list(outcome.value.values()) for outcome in outcomes)
    assert one.id == two.id
    assert [event["count"] for event in built.events(kind="key.create")][-1:] == [1]
    for verb, outcome in zip(group.verbs, outcomes, strict=True):
        assert isinstance(verb.send(outcome), Issue)
        verb.close()


class TestPreparedOnWhatIsNoLongerSo:
    """`Stale`: no effect, no event, and the verb is made again."""

    def test_a_schema_was_applied(self, built: BuiltCell) -> None:
        token, credential = built.token(SSN, VALUE), built.grant(SSN)
        group = Group(built)
        group.add(tokenize, TokenizeBody(field=SSN, values=[VALUE]))
        group.add(detokenize, reveal(SSN, [token]), by=credential)
        group.add(create_grant, built.grant_body(SSN))
        built.apply(built.schema.replace("max_uses = 50", "max_uses = 60"))
        before = built.next_number
        assert [type(answer) for answer in group.settle()] == [Stale] * 3
        assert built.next_number == before
        assert built.reveal(credential, SSN, token) == [VALUE]
        assert built.grant(SSN, uses=60)

    def test_the_epoch_was_turned(self, built: BuiltCell) -> None:
        """To one that this process has not opened: it gives up without effect, and says so."""
        group = Group(built)
        group.add(tokenize, TokenizeBody(field=NAME, values=["Ada"]))
        head = built.cell.store.tables.head
        with built.cell.store.engine.begin() as connection:
            connection.execute(head.update().values(write_epoch=2))
        before = built.next_number
        assert [type(answer) for answer in group.settle()] == [Stale]
        with pytest.raises(CoatcheckError, match="key_unavailable"):
            built.token(NAME, "Ada", "somebody new")  # whose key would have to be sealed under it
        assert built.next_number == before

    def test_a_key_is_not_active_any_more(self, built: BuiltCell) -> None:
        keys = built.cell.store.tables.data_keys
        with built.cell.store.engine.begin() as connection:
            connection.execute(keys.update().values(state="deactivated"))
        before = built.next_number
        with pytest.raises(CoatcheckError, match="too_busy"):
            built.token(NAME, "Ada")
        assert built.next_number == before
