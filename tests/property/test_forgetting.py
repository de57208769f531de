"""Writes, reveals, holds, erasures and turns in any order, against a model: equal after each step (P7).

COATCHECK_FULL=1 takes 10,000 steps.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.cells import EMAIL, HOST, NAME, BuiltCell, any_cell
from tests.support.hosted import shown
from tests.support.operators import operator
from tests.support.turns import with_keys
from vault.errors import CoatcheckError
from vault.ledger.committer import drive
from vault.services.erasures import ErasureBody, read_erasure, request_erasure
from vault.services.fences import ReopenBody, reopen_subject
from vault.services.holds import HoldBody, HoldReasonBody, approve_release, ask_release, create_hold
from vault.services.jobs import QUEUED, RUNNING, Release, Take, Work
from vault.services.tokenize import TokenizeBody, tokenize
from vault.services.turn import TurnBody, start_turn
from vault.services.turning import DROP
from vault.services.worker import KINDS, Worker

FULL = bool(os.environ.get("COATCHECK_FULL"))
PEOPLE = st.sampled_from(["ada", "bob", "eve"])
VALUES = st.sampled_from(["x@example.org", "y@example.org"])


@dataclass
class Person:
    """What the model knows of somebody.

    Attributes:
        values: (field, token, value) of what is alive.
        erasure: the erasure that stands in the way of a late write.
    """

    values: list[tuple[str, str, str]] = field(default_factory=list)
    erasure: str = ""
    entered: bool = False


class Forgetting(RuleBasedStateMachine):
    """A cell and a model of it."""

    @initialize()
    def begin(self) -> None:
        self._open = ExitStack()
        folder = Path(self._open.enter_context(tempfile.TemporaryDirectory()))
        self.built: BuiltCell = with_keys(self._open.enter_context(any_cell("sqlite", folder)))
        self.officer = operator(self.built, "pia", roles=["privacy-officer"])[0]
        self.worker = Worker(self.built.cell)
        self.people = {one: Person() for one in ("ada", "bob", "eve")}
        self.holds: list[tuple[str, str]] = []  # (hold, person or nothing: everybody)
        self.gone: list[tuple[str, str]] = []
        self.asked: dict[str, str] = {}  # erasure -> person whose keys are not removed

    def teardown(self) -> None:
        if hasattr(self, "_open"):
            self._open.close()

    def run(self, verb: Any, *arguments: Any, by: str = HOST) -> Any:
        return self.built.run(verb, *arguments, by=by)

    def code(self, verb: Any, *arguments: Any, by: str = HOST) -> tuple[Any, str]:
        """What it answers, and the code with which it is refused."""
        try:
            return self.run(verb, *arguments, by=by), ""
        except CoatcheckError as refusal:
            return None, refusal.code

    @rule(person=PEOPLE, value=VALUES, shared=st.booleans())
    def write(self, person: str, value: str, shared: bool) -> None:
        of, who = EMAIL if shared else NAME, self.people[person]
        body = TokenizeBody(field=of, values=[value], subjects=[person])
        made, code = self.code(tokenize, body, by=self.built.service)
        assert code == ("subject_erased" if who.erasure else "")
        if made is not None:
            token = str(made.tokens[0])
            who.entered = True
            who.values.append((of, token, value))
            self.gone = [one for one in self.gone if one != (of, token)]  # an equal value has its token again

    @rule(person=PEOPLE)
    def erase(self, person: str) -> None:
        who = self.people[person]
        made = self.run(request_erasure, ErasureBody(person, "objection"))
        if who.erasure:
            assert made.id == who.erasure
            return
        who.erasure = made.id
        if who.entered:
            self.asked[made.id] = person
        mine, who.values, who.entered = who.values, [], False
        others = {one[:2] for other in self.people.values() for one in other.values}
        self.gone += [one[:2] for one in mine if one[:2] not in others]

    @rule(person=PEOPLE)
    def reopen(self, person: str) -> None:
        who = self.people[person]
        pending = who.erasure in self.asked
        _, code = self.code(reopen_subject, ReopenBody(person, "came back"))
        if not who.erasure:
            assert code == "not_found"
        elif pending:
            assert code == ("hold_active" if self.held(person) else "job_running")
        else:
            assert code == ""
            who.erasure = ""

    def held(self, person: str) -> bool:
        return any(of in ("", person) for _, of in self.holds)

    @rule(person=st.sampled_from(["ada", "bob", ""]))
    def hold(self, person: str) -> None:
        body = HoldBody(reason="a case", subject=person or None, everything=not person)
        who, pending = self.people.get(person), person in self.asked.values()
        made, code = self.code(create_hold, body)
        if who is None or who.entered or pending:
            assert code == ""
        elif made is None:
            assert code in ("subject_erased", "not_found")
            return
        self.holds.append((made.id, person))

    @precondition(lambda self: len(self.holds) > 1)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        hold = data.draw(st.sampled_from(self.holds))
        self.run(ask_release, hold[0], HoldReasonBody("over"))
        self.run(approve_release, hold[0], HoldReasonBody("over"), by=self.officer)
        self.holds.remove(hold)

    @rule(pieces=st.integers(1, 6))
    def work(self, pieces: int) -> None:
        """A worker that is stopped after so many pieces."""
        cell = self.built.cell
        row = cell.committer.execute(Take(self.worker._by)).value
        if row is None:
            return
        work = Work.of(row, self.worker._by)
        work.progress = replace(work.progress, state=RUNNING)
        for _ in range(pieces):
            if work.progress.state != RUNNING:
                break
            self.worker._attendant.keep()
            drive(cell.committer, lambda: KINDS[work.kind](cell, work), cell.forget)
        if work.progress.state == RUNNING:
            cell.committer.execute(Release(work, replace(work.progress, state=QUEUED)))

    @rule()
    def turn(self) -> None:
        assert self.code(start_turn, TurnBody(DROP))[1] in ("", "job_running")

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        if not hasattr(self, "people"):
            return
        for erasure, person in list(self.asked.items()):
            found = self.run(read_erasure, erasure)
            if found.level == "requested":
                assert bool(found.held_by) == self.held(person), found
            else:
                assert not self.held_at_removal(person, found)
                del self.asked[erasure]
        alive = {one for who in self.people.values() for one in who.values}
        fields = {of: self.built.grant(of, uses=50) for of in (NAME, EMAIL)}
        for of, token, value in sorted(alive)[-20:]:
            assert shown(self.built, fields[of], of, token) == value
        for of, token in self.gone[-20:]:
            assert shown(self.built, fields[of], of, token) is None

    def held_at_removal(self, person: str, found: Any) -> bool:
        """Whether a hold was in force that the removal passed over. One that came later is none of those."""
        events = self.built.events()
        removed = [e["at"] for e in events if e["kind"] == "erasure.removed" and e["erasure"] == found.id]
        [at] = removed
        placed = {e["hold"]: e["at"] for e in events if e["kind"] == "hold.create"}
        return any(of in ("", person) and placed[hold] < at for hold, of in self.holds)


Forgetting.TestCase.settings = settings(
    max_examples=200 if FULL else 10,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestForgetting = pytest.mark.filterwarnings("ignore")(Forgetting.TestCase)
