"""The k-th statement fails, for every k of every command of every verb: all or nothing, and safe to retry.

What is undone is undone whole; what a verb committed before (a new person's key) stands with its event;
the same call again succeeds, and what is then there is what an undisturbed call leaves. COATCHECK_FULL=1
tries every kind of failure at every statement; else the kinds take turns, and one in three statements of a
verb fails: the first, the last, and others for each verb.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.faults import OUTAGES, POSTGRESQL_KINDS, SQLITE_KINDS, Fault, Watch, watching
from tests.harness.states import Rows, changed, dump, shape
from tests.support.cells import BuiltCell, development_cell, postgresql_cell
from tests.support.operators import cheapen
from tests.unit.services.calls import CALLS, READERS, WRITERS
from vault.errors import CoatcheckError, Conflict, Unavailable, Unknown
from vault.ledger import group
from vault.services.audit import verify

FULL: Final = bool(os.environ.get("COATCHECK_FULL"))
REFUSALS: Final = {
    *("database_unavailable", "outcome_unknown", "audit_unavailable", "too_busy"),
    "directory_unavailable",  # the look-up's own database
}
MOST: Final = 200  # statements of one verb
Open = Callable[[Path], AbstractContextManager[BuiltCell]]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are many passwords here."""
    cheapen(monkeypatch)


class Run:
    """One verb on a cell of its own, ready to be called."""

    def __init__(self, name: str, built: BuiltCell, watch: Watch) -> None:
        self.built, self.watch = built, watch
        self.name = name
        self.verb = CALLS[name].verb
        self.by, self.arguments = CALLS[name].prepare(built)
        self.before = dump(built.cell.store)

    def call(self, fault: Fault | None = None) -> CoatcheckError | None:
        """Calls it; what it was refused with."""
        self.watch.start(fault)
        try:
            self.built.run(self.verb, *self.arguments, by=self.by)
        except CoatcheckError as refusal:
            return refusal
        finally:
            self.watch.stop()
        return None

    def dump(self) -> Rows:
        return dump(self.built.cell.store)

    def shape(self) -> dict[str, list[Any]]:
        return shape(self.built.cell.store, self.dump())


@contextmanager
def prepared(open_: Open, folder: Path, name: str) -> Iterator[Run]:
    with watching() as watch, open_(folder) as built:
        yield Run(name, built, watch)


ONE_TIME: Final = ("confirm_totp",)
EACH_TIME: Final = ("issue_token", "token")
"""What is done once more by whoever asks again: the first token was put on the record, and nobody has it."""


class Undisturbed:
    """What a call runs and leaves when nothing fails.

    Attributes:
        states: the shape of the database before, and after each commit.
        size: how many statements there are.
    """

    def __init__(self, open_: Open, folder: Path, name: str) -> None:
        with prepared(open_, folder, name) as run:
            self.states = [run.shape()]
            run.watch.committed = self._note(run)
            assert run.call() is None
            run.watch.committed = None
            self.statements = list(run.watch.statements)
            self.size = len(self.statements)
            assert len(self.states) == CALLS[name].commits + 1
            assert self.states[-1] == run.shape()
        assert 0 < self.size < MOST

    def _note(self, run: Run) -> Callable[[], None]:
        store = run.built.cell.store

        def note() -> None:
            run.watch.stop()
            self.states.append(shape(store, dump(store)))
            run.watch._counting = True

        return note


def check(run: Run, normal: Undisturbed, fault: Fault) -> str:
    """One failing call and the call after it."""
    refusal = run.call(fault)
    assert run.watch.hits > 0
    verify(run.built.cell.store)
    after = run.dump()
    reached = shape(run.built.cell.store, after)
    if refusal is None:
        assert reached == normal.states[-1], "it says that it was done"
        return "done"
    assert isinstance(refusal, Unavailable)
    assert refusal.code in REFUSALS
    # All of it, when what fails is a look at what was done: then the call must be one to make twice.
    assert reached in normal.states, "half of it was done"
    if reached == normal.states[0]:
        assert changed(run.before, after) == set()
    if fault.lasting:
        assert run.call(Fault(fault.kind, 1, lasting=True)) is not None
        assert run.dump() == after
    again = run.call()
    # A code is good for one time: if it was used, and only its answer failed, that is what it says.
    used = run.name in ONE_TIME and reached == normal.states[-1]
    assert isinstance(again, Conflict) if used else again is None, f"it cannot be called again: {again}"
    if run.name not in EACH_TIME or reached != normal.states[-1]:
        assert run.shape() == normal.states[-1]
    verify(run.built.cell.store)
    return refusal.code


def those(name: str, size: int) -> list[int]:
    """The statements that fail."""
    turn = sum(name.encode())
    return [n for n in range(1, size + 1) if FULL or n in (1, size) or (n + turn) % 3 == 0]


@pytest.mark.parametrize("name", WRITERS)
def test_on_sqlite(name: str, tmp_path: Path) -> None:
    normal = Undisturbed(development_cell, tmp_path / "normal", name)
    said: set[str] = set()
    for number in those(name, normal.size):
        kinds = SQLITE_KINDS if FULL else (SQLITE_KINDS[number % len(SQLITE_KINDS)],)
        for kind in kinds:
            for lasting in (False, True) if FULL else (number % 2 == 0,):
                folder = tmp_path / f"{number}-{kind}-{lasting}"
                with prepared(development_cell, folder, name) as run:
                    said.add(check(run, normal, Fault(kind, number, lasting=lasting)))
    assert "database_unavailable" in said


ON_POSTGRESQL: Final = (
    WRITERS
    if FULL
    else [n for n in WRITERS if n in ("tokenize vaulted", "detokenize vaulted", "revoke_grant")]
)


@pytest.mark.parametrize("name", ON_POSTGRESQL)
def test_on_postgresql(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "FIND_OUT_S", 0.2)  # what fails lastingly is never found out
    normal = Undisturbed(postgresql_cell, tmp_path / "normal", name)
    for number in those(name, normal.size):
        kind = POSTGRESQL_KINDS[number % len(POSTGRESQL_KINDS)]
        with prepared(postgresql_cell, tmp_path / str(number), name) as run:
            check(run, normal, Fault(kind, number, lasting=number % 2 == 0))


@pytest.mark.parametrize("kind", SQLITE_KINDS if FULL else ("lost", "integrity"))
@pytest.mark.parametrize("name", WRITERS)
def test_a_commit_that_took_place_and_is_not_known_to_have(name: str, kind: str, tmp_path: Path) -> None:
    """Whatever is answered, what is there is whole: it is as if nothing had been called, or all of it."""
    normal = Undisturbed(development_cell, tmp_path / "normal", name)
    with prepared(development_cell, tmp_path / "run", name) as run:
        refusal = run.call(Fault(kind, of="^COMMIT$", afterwards=True))
        assert run.watch.hits == 1
        # What finds its own work done calls it taken, gone or changed: the caller looks, and sees why.
        # So does what was good for one time, a code or a challenge, and a session that ended itself.
        looked = refusal is None or refusal.code in (
            *REFUSALS,
            "login_refused",
            "passkey_invalid",
            "credential_invalid",
        )
        assert looked or isinstance(refusal, Conflict | Unknown)
        if refusal is not None and "decision" in refusal.facts:
            # What is spent is refused on the record, behind the effect: all of that is there.
            assert _but_the_log(run.shape()) == _but_the_log(normal.states[-1])
        else:
            assert refusal is None or run.shape() in normal.states
        verify(run.built.cell.store)


def _but_the_log(shape_: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {table: rows for table, rows in shape_.items() if table not in ("re_audit", "re_head")}


@pytest.mark.parametrize("name", READERS)
def test_what_only_reads_says_so_too(name: str, tmp_path: Path) -> None:
    normal = Undisturbed(development_cell, tmp_path / "normal", name)
    with prepared(development_cell, tmp_path / "run", name) as run:
        for number in range(1, normal.size + 1):
            for kind in OUTAGES:
                run.built.cell.forget()
                refusal = run.call(Fault(kind, number))
                assert refusal is None or refusal.code == "database_unavailable"
                assert run.dump() == run.before
        assert run.call() is None


def test_the_control_is_torn(tmp_path: Path) -> None:
    """A failure after a commit in the middle leaves a half, and the check above finds it."""
    name = "create_grant"
    normal = Undisturbed(development_cell, tmp_path / "normal", name)
    with prepared(development_cell, tmp_path / "run", name) as run:
        assert run.call() is None
        with run.built.cell.store.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM re_grant_subjects")
        assert run.shape() not in normal.states
