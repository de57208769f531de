"""P17 for what exists: a vaulted token never opens as another person's value.

Each case plants what makes a design that numbers its rows hand the same token out twice: a restore of an
older database, rows that are gone, keys that are gone, a second region. The control is such a design.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cells import NAME, NOTE, REGION, BuiltCell, development_cell
from vault.crypto.block import BlockCipher
from vault.crypto.randomness import new_key
from vault.errors import CoatcheckError
from vault.services.batch import BatchRefused
from vault.wiring import Wiring

PEOPLE = 40


@pytest.fixture
def built(tmp_path: Path) -> Iterator[BuiltCell]:
    with development_cell(tmp_path) as made:
        yield made


def reopen(built: BuiltCell) -> BuiltCell:
    """The cell as a new process would open it."""
    opened = Wiring(built.config).open(REGION)
    return replace(built, cell=opened.cell, close=opened.close)


def issue(built: BuiltCell, wave: str) -> dict[str, str]:
    """The token of each person of a wave, with the value that it stands for."""
    values = [f"{wave} {number}" for number in range(PEOPLE)]
    subjects: list[str | None] = [f"{wave}-{number}" for number in range(PEOPLE)]
    tokens = built.tokens(NAME, *values, subjects=subjects)
    return {token: value for token, value in zip(tokens, values, strict=True) if token is not None}


def shown(built: BuiltCell, token: str) -> str | None:
    """What a token opens as under a grant for everybody; None if it does not open."""
    values = None
    refused = None
    try:
        values = built.reveal(built.grant(NAME, uses=1), NAME, token)
    except BatchRefused as refusal:
        refused = refusal.first
    assert refused in (None, "token_unknown", "erased")
    return values[0] if values else None


def execute(built: BuiltCell, statement: str, *parameters: object) -> None:
    """Changes the database behind the program's back."""
    with closing(sqlite3.connect(built.config.path("eu.db"))) as connection, connection:
        connection.execute(statement, parameters)


def test_not_after_restoring_an_older_database(built: BuiltCell, tmp_path: Path) -> None:
    before = issue(built, "before")
    built.close()
    kept = tmp_path / "kept.db"
    shutil.copy(built.config.path("eu.db"), kept)
    again = reopen(built)
    lost = issue(again, "lost")
    again.close()
    shutil.copy(kept, built.config.path("eu.db"))
    restored = reopen(built)
    try:
        after = issue(restored, "after")
        assert len(before.keys() | lost.keys() | after.keys()) == 3 * PEOPLE
        assert {token: shown(restored, token) for token in before} == before
        assert {token: shown(restored, token) for token in after} == after
        assert {shown(restored, token) for token in lost} == {None}
    finally:
        restored.close()


def test_not_after_rows_are_gone(built: BuiltCell) -> None:
    gone = issue(built, "gone")
    execute(built, "DELETE FROM cu_tokens")
    execute(built, "DELETE FROM va_claims")
    after = issue(built, "after")
    assert gone.keys().isdisjoint(after)
    assert {shown(built, token) for token in gone} == {None}
    assert {token: shown(built, token) for token in after} == after


def test_not_after_keys_are_gone(built: BuiltCell) -> None:
    erased = issue(built, "erased")
    execute(built, "DELETE FROM cu_data_keys WHERE class = 'customer'")
    after = issue(built, "after")
    assert erased.keys().isdisjoint(after)
    assert {shown(built, token) for token in erased} == {None}
    assert {token: shown(built, token) for token in after} == after


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
