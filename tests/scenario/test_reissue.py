"""P17 for what exists: a vaulted token never opens as another person's value.

Each case plants what makes a design that numbers its rows hand the same token out twice: a restore of an
older database, a stand-by that is behind and takes over, counters that are lost, rows that are gone, keys
that are gone, a second region, a draw of chance that repeats. The controls are a design that numbers its
rows, and shaped tokens whose registrations were lost as well.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cells import (
    CITY,
    EMAIL,
    HANDLE,
    NAME,
    NOTE,
    PHONE,
    REGION,
    BuiltCell,
    development_cell,
    settings,
)
from vault.crypto.block import BlockCipher
from vault.crypto.randomness import new_key
from vault.errors import CoatcheckError
from vault.formats.surrogate import Surrogate
from vault.services.batch import BatchRefused
from vault.wiring import Wiring

PEOPLE = 16


@pytest.fixture
def built(tmp_path: Path) -> Iterator[BuiltCell]:
    with development_cell(tmp_path) as made:
        yield made


def reopen(built: BuiltCell) -> BuiltCell:
    """The cell as a new process would open it."""
    opened = Wiring(built.config).open(REGION)
    return replace(built, cell=opened.cell, close=opened.close)


@pytest.fixture(params=[NAME, EMAIL, CITY, HANDLE])
def field(request: pytest.FixtureRequest) -> str:
    """Opaque, deterministic over the field and within a person, shaped."""
    return str(request.param)


def issue(built: BuiltCell, wave: str, field: str = NAME) -> dict[str, str]:
    """The token of each person of a wave, with the value that it stands for."""
    values = [f"{wave}{number}@example.org" for number in range(PEOPLE)]
    subjects: list[str | None] = [f"{wave}-{number}" for number in range(PEOPLE)]
    tokens = built.tokens(field, *values, subjects=subjects)
    return {token: value for token, value in zip(tokens, values, strict=True) if token is not None}


def shown(built: BuiltCell, token: str, field: str = NAME) -> str | None:
    """What a token opens as under a grant for everybody; None if it does not open."""
    values = None
    refused = None
    try:
        values = built.reveal(built.grant(field, uses=1), field, token)
    except BatchRefused as refusal:
        refused = refusal.first
    assert refused in (None, "token_unknown", "erased")
    return values[0] if values else None


def execute(built: BuiltCell, statement: str, *parameters: object) -> None:
    """Changes the database behind the program's back."""
    with closing(sqlite3.connect(built.config.path("eu.db"))) as connection, connection:
        connection.execute(statement, parameters)


def check(built: BuiltCell, field: str, there: dict[str, str], lost: dict[str, str]) -> None:
    """What is there opens as its own value; what was lost opens as nobody's."""
    assert there.keys().isdisjoint(lost)
    assert {token: shown(built, token, field) for token in there} == there
    assert {shown(built, token, field) for token in lost} <= {None}


def test_not_after_restoring_an_older_database(built: BuiltCell, field: str, tmp_path: Path) -> None:
    before = issue(built, "before", field)
    built.close()
    kept = tmp_path / "kept.db"
    shutil.copy(built.config.path("eu.db"), kept)
    again = reopen(built)
    lost = issue(again, "lost", field)
    again.close()
    shutil.copy(kept, built.config.path("eu.db"))
    restored = reopen(built)
    try:
        after = issue(restored, "after", field)
        assert len(before.keys() | lost.keys() | after.keys()) == 3 * PEOPLE
        check(restored, field, before | after, lost)
    finally:
        restored.close()


def test_not_when_a_stand_by_that_is_behind_takes_over(tmp_path: Path, field: str) -> None:
    """The same keys, an older copy of the rows, and both go on issuing."""
    with development_cell(tmp_path / "first") as first:
        shared = issue(first, "shared", field)
        first.close()
        shutil.copytree(tmp_path / "first", tmp_path / "second")
        first = reopen(first)
        second = reopen(replace(first, config=settings(tmp_path / "second")))
        try:
            here, there = issue(first, "here", field), issue(second, "there", field)
            assert len(shared.keys() | here.keys() | there.keys()) == 3 * PEOPLE
            check(first, field, shared | here, there)
            check(second, field, shared | there, here)
        finally:
            second.close()
            first.close()


def test_not_after_counters_are_lost(built: BuiltCell, field: str) -> None:
    before = issue(built, "before", field)
    execute(built, "DELETE FROM cu_issued")
    execute(built, "DELETE FROM re_counters")
    after = issue(built, "after", field)
    assert before.keys().isdisjoint(after)
    check(built, field, before | after, {})


def test_not_after_rows_are_gone(built: BuiltCell, field: str) -> None:
    gone = issue(built, "gone", field)
    execute(built, "DELETE FROM cu_tokens")
    execute(built, "DELETE FROM va_claims")
    after = issue(built, "after", field)
    check(built, field, after, gone)


def test_not_after_keys_are_gone(built: BuiltCell, field: str) -> None:
    erased = issue(built, "erased", field)
    execute(built, "DELETE FROM cu_data_keys WHERE class = 'customer'")
    after = issue(built, "after", field)
    check(built, field, after, erased)
    again = issue(built, "erased", field)  # the same values of the same people
    check(built, field, after | again, erased)


class TestChanceThatRepeats:
    """A draw gives a surrogate that stood for somebody else before the restore."""

    def restored(self, built: BuiltCell, tmp_path: Path, *, registrations: bool) -> tuple[BuiltCell, str]:
        """A cell whose rows are older than a surrogate, and that surrogate."""
        built.close()
        kept = tmp_path / "kept.db"
        shutil.copy(built.config.path("eu.db"), kept)
        again = reopen(built)
        lost = again.token(PHONE, "Ada's", "ada")
        again.close()
        with closing(sqlite3.connect(built.config.path("eu.db"))) as newest:
            rows = newest.execute("SELECT tenant, field, surrogate, token FROM cu_surrogates").fetchall()
        shutil.copy(kept, built.config.path("eu.db"))
        if registrations:  # custody is of the newest instant: how a restore must be
            for row in rows:
                execute(built, "INSERT INTO cu_surrogates VALUES (?, ?, ?, ?)", *row)
        return reopen(built), lost

    @pytest.mark.parametrize("registrations", [True, False])
    def test_registrations_that_are_newest_keep_it_from_being_issued_again(
        self, built: BuiltCell, tmp_path: Path, registrations: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cell, lost = self.restored(built, tmp_path, registrations=registrations)
        draws = iter([lost, "4711471147"])
        monkeypatch.setattr(Surrogate, "draw", lambda _self, _below: next(draws))
        try:
            made = cell.token(PHONE, "Bob's", "bob")
            if registrations:
                assert made == "4711471147"
                assert shown(cell, lost, PHONE) is None
            else:  # the control: without them chance alone stands between two people
                assert made == lost
                assert shown(cell, lost, PHONE) == "Bob's"
        finally:
            cell.close()


def test_not_when_claims_are_swapped_between_tokens(built: BuiltCell) -> None:
    """Nobody: a claim moved behind another token does not open at all."""
    moved = issue(built, "moved")
    with closing(sqlite3.connect(built.config.path("eu.db"))) as connection, connection:
        rows = connection.execute("SELECT token, key, sealed FROM va_claims").fetchall()
        for (token, key, _), (_, _, other) in zip(rows, [*rows[1:], rows[0]], strict=True):
            place = "UPDATE va_claims SET sealed = ? WHERE token = ? AND key = ?"
            connection.execute(place, (other, token, key))
    for name in moved:
        with pytest.raises(CoatcheckError) as refusal:
            built.reveal(built.grant(NAME, uses=1), NAME, name)
        assert refusal.value.code == "integrity_failed"


def test_not_as_a_value_of_another_field(built: BuiltCell) -> None:
    token = built.token(NAME, "Ada Lovelace", "person-1")
    with pytest.raises(BatchRefused) as refusal:
        built.reveal(built.grant(NOTE, uses=1, operations=["reveal"]), NOTE, token)
    assert refusal.value.first == "token_unknown"


def test_not_in_another_cell(tmp_path: Path) -> None:
    with development_cell(tmp_path / "one") as one, development_cell(tmp_path / "two") as two:
        here, there = issue(one, "here"), issue(two, "there")
        assert here.keys().isdisjoint(there)
        assert {shown(two, token) for token in here} == {None}


def test_a_design_that_numbers_rows_hands_tokens_out_twice() -> None:
    """The control: number the rows, hide the number under a cipher, restore, issue again."""

    class Numbered:
        def __init__(self) -> None:
            self.cipher = BlockCipher(new_key())
            self.rows: list[str] = []

        def token(self, value: str) -> bytes:
            self.rows.append(value)
            return self.cipher.encrypt((len(self.rows) - 1).to_bytes(16, "big"))

        def value(self, token: bytes) -> str:
            return self.rows[int.from_bytes(self.cipher.decrypt(token), "big")]

    design = Numbered()
    design.token("before")
    kept = list(design.rows)
    lost = design.token("lost")
    design.rows = kept
    design.token("after")
    assert design.value(lost) == "after"
