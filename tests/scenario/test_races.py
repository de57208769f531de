"""64 racing tokenizers of one deterministic value make one token, round after round, and none is refused.

In this process by threads, over the HTTP door at once, and on PostgreSQL through two processes' worth of
cells. COATCHECK_FULL=1 runs 500 rounds.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.cells import CITY, EMAIL, HANDLE, BuiltCell, development_cell, postgresql_cell
from tests.support.within import within
from vault.authn.identities import Identities
from vault.errors import CoatcheckError
from vault.keyring.epoch import open_epochs
from vault.keyring.ring import Keyring
from vault.ledger.committer import Committer
from vault.services.audit import verify
from vault.services.cell import Cell, Schemas
from vault.store.cell import Store
from vault.wiring import Wiring

RACERS: Final = 64
ROUNDS: Final = 500 if os.environ.get("COATCHECK_FULL") else 8
PEOPLE: Final = 8


def race(racers: int, run: Callable[[int], str]) -> list[str]:
    """What each of so many threads got: a token, or the code that it was refused with."""
    got = [""] * racers
    ready = threading.Barrier(racers)

    def racer(number: int) -> None:
        ready.wait()
        try:
            got[number] = run(number)
        except CoatcheckError as refusal:
            got[number] = f"refused: {refusal.code}"

    threads = [threading.Thread(target=racer, args=(number,)) for number in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def count(built: BuiltCell, table: str, field: str) -> int:
    """The rows of a table that are of a field."""
    rows: Any = getattr(built.cell.store.tables, table)
    return len(built.cell.store.read(rows.select().where(rows.c.field == field)))


def claims(built: BuiltCell) -> int:
    return len(built.cell.store.read(built.cell.store.tables.claims.select()))


def entries(built: BuiltCell) -> int:
    return len(built.cell.store.read(built.cell.store.tables.blind_index.select()))


def person(number: int) -> str:
    return f"person-{number % PEOPLE}"


def check(built: BuiltCell, field: str, got: Sequence[str], token_rows: int) -> str:
    """One token for all, one row for it, and it opens; the token."""
    assert len(set(got)) == 1, set(got)
    assert not got[0].startswith("refused")
    assert count(built, "tokens", field) == token_rows
    assert entries(built) == token_rows
    return got[0]


@contextmanager
def twice(built: BuiltCell) -> Iterator[BuiltCell]:
    """The same cell as another process has it: its own connections, keys, caches and committer."""
    cell = built.cell
    wiring = Wiring(built.config)
    url = cell.store.engine.url.render_as_string(hide_password=False)
    store = Store(url, cell.clock)
    epochs = open_epochs("eu", store, wiring.provider("eu"), wiring.halves("eu"))
    keyring = Keyring("eu", epochs, store)
    other = Cell(
        region="eu",
        store=store,
        committer=Committer(store),
        keyring=keyring,
        identities=Identities(store, cell.clock),
        schemas=Schemas(store, keyring),
        clock=cell.clock,
        limits=cell.limits,
    )
    try:
        yield replace(built, cell=other, close=other.close)
    finally:
        other.close()


@pytest.mark.parametrize("field", [EMAIL, HANDLE])
def test_threads_make_one_token(field: str, tmp_path: Path) -> None:
    with development_cell(tmp_path) as built:
        for round_ in range(1, ROUNDS + 1):
            value = f"ada{round_}@example.org"

            def run(number: int, value: str = value) -> str:
                return built.token(field, value, person(number))

            token = check(built, field, race(RACERS, run), round_)
            assert claims(built) == round_ * PEOPLE
            if round_ % 20 == 0:
                grant = built.grant(field, uses=PEOPLE)
                for number in range(PEOPLE):
                    assert built.reveal(grant, field, token, subjects=[person(number)]) == [value]
        verify(built.cell.store)


def test_requests_at_once_make_one_token(tmp_path: Path) -> None:
    with within(tmp_path) as door:
        built = door.built
        for round_ in range(1, ROUNDS + 1):
            value = f"ada{round_}@example.org"
            answers = door.together(
                (
                    "POST",
                    "tokenize",
                    {"field": EMAIL, "values": [value], "subjects": [person(number)]},
                    built.service,
                )
                for number in range(RACERS)
            )
            assert {answer.status for answer in answers} == {200}
            check(built, EMAIL, [answer.json()["tokens"][0] for answer in answers], round_)
        verify(built.cell.store)


def test_batches_that_overlap_make_one_token_a_value(tmp_path: Path) -> None:
    """Each batch is in the way of most others, and none of their values was seen before."""
    rng = random.Random(1)
    with within(tmp_path) as door:
        token_of: dict[str, str] = {}
        for round_ in range(max(3, ROUNDS // 10)):
            values = [f"{word}{round_}@example.org" for word in range(150)]
            asked = [rng.sample(values, 40) for _ in range(RACERS // 2)]
            answers = door.together(
                (
                    "POST",
                    "tokenize",
                    {"field": EMAIL, "values": batch, "subjects": [person(number)] * len(batch)},
                    door.built.service,
                )
                for number, batch in enumerate(asked)
            )
            assert [answer.status for answer in answers] == [200] * len(asked)
            for batch, answer in zip(asked, answers, strict=True):
                for value, token in zip(batch, answer.json()["tokens"], strict=True):
                    assert token_of.setdefault(value, token) == token
        assert count(door.built, "tokens", EMAIL) == entries(door.built) == len(token_of)
        verify(door.built.cell.store)


def test_within_a_person_there_is_one_each(tmp_path: Path) -> None:
    with development_cell(tmp_path) as built:
        got = race(RACERS, lambda number: built.token(CITY, "Wien", person(number)))
        for number in range(PEOPLE):
            assert len(set(got[number::PEOPLE])) == 1
        assert len(set(got)) == PEOPLE == count(built, "tokens", CITY) == claims(built)


@pytest.mark.parametrize("field", [EMAIL, HANDLE])
def test_two_processes_make_one_token(field: str, tmp_path: Path) -> None:
    rounds = ROUNDS if os.environ.get("COATCHECK_FULL") else 6
    with postgresql_cell(tmp_path) as built, twice(built) as second:
        for round_ in range(1, rounds + 1):
            value = f"ada{round_}@example.org"

            def run(number: int, value: str = value) -> str:
                cell = (built, second)[number % 2]
                return cell.token(field, value, person(number))

            check(built, field, race(RACERS, run), round_)
            assert claims(built) == round_ * PEOPLE
        verify(built.cell.store)


def test_the_control_makes_several() -> None:
    """A design that looks, and then inserts what it did not find, without looking again."""
    index: dict[str, list[int]] = {}
    looked = threading.Barrier(RACERS)

    def tokenize(number: int) -> str:
        found = index.get("ada")
        looked.wait()
        if found is None:
            index.setdefault("ada", []).append(number)
            return str(number)
        return str(found[0])

    assert len(set(race(RACERS, tokenize))) > 1
