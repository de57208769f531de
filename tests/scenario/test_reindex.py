"""Index keys rotated outside a turn: look-ups never miss, equal values keep one token, the old rows go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import CITY, EMAIL, HANDLE, HOST, BuiltCell, any_cell
from tests.support.turns import begin, stop_at, until
from vault.errors import Conflict
from vault.services import reindex
from vault.services.audit import verify
from vault.services.cell import Working
from vault.services.coverage import read_coverage
from vault.services.field_keys import (
    Attestation,
    DestroyBody,
    KeyChanged,
    ReasonBody,
    compromise_key,
    destroy_key,
    rotate_key,
)
from vault.services.jobs import cancel_job, resume_job
from vault.services.keys import KeyFilter, StoredKeyAnswer, list_stored_keys
from vault.services.listing import Page
from vault.services.worker import Worker

PEOPLE = [f"person-{number}" for number in range(60)]
MAILS = [f"user{number}@example.org" for number in range(60)]
REFERENCE = "subject-reference"


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        made.cell.working = Working(batch=16)
        yield made


def keys(built: BuiltCell, field: str | None, kind: str = "blind-index") -> dict[int, StoredKeyAnswer]:
    rows = built.run(list_stored_keys, Page(limit=500), KeyFilter(kind=kind), by=built.admin).items
    return {row.version: row for row in rows if row.field == field}


def states(built: BuiltCell, field: str | None, kind: str = "blind-index") -> dict[int, str]:
    return {version: row.state for version, row in sorted(keys(built, field, kind).items())}


def rotate(
    built: BuiltCell, field: str | None, kind: str = "blind-index", verb: Any = rotate_key
) -> KeyChanged:
    found = keys(built, field, kind)
    changed: KeyChanged = built.run(verb, found[max(found)].id, ReasonBody("test"), by=built.admin)
    assert changed.job is not None
    return changed


def versions(built: BuiltCell, table: str) -> dict[int, int]:
    """How many rows of a table say each key version."""
    rows = built.cell.store.read(getattr(built.cell.store.tables, table).select())
    found: dict[int, int] = {}
    for row in rows:
        found[row[3]] = found.get(row[3], 0) + 1
    return dict(sorted(found.items()))


class Held:
    """Deterministic values of all kinds, and their tokens."""

    def __init__(self, built: BuiltCell, people: list[str]) -> None:
        self.built, self.people = built, people
        self.mails = MAILS[: len(people)]
        self.names = [f"name of {person}" for person in people]
        self.tokens = self.all()

    def all(self) -> list[list[str | None]]:
        built, people = self.built, self.people
        return [
            built.tokens(EMAIL, *self.mails, subjects=[*people]),
            built.tokens(CITY, *["Berlin"] * len(people), subjects=[*people]),
            built.tokens(HANDLE, *self.names, subjects=[*people]),
        ]

    def check(self) -> None:
        assert self.all() == self.tokens
        grant = self.built.grant(EMAIL, HANDLE, uses=100_000, purpose="files")
        assert self.built.reveal(grant, EMAIL, *self.tokens[0], purpose="files") == self.mails


def left(built: BuiltCell, field: str | None) -> dict[int, int]:
    """How many rows of a field's index, or references, are found by each version."""
    return {
        version: built.run(read_coverage, row.id, by=built.admin).live or 0
        for version, row in sorted(keys(built, field, kind_of(field)).items())
    }


def kind_of(field: str | None) -> str:
    return "blind-index" if field else REFERENCE


@pytest.mark.parametrize("field", [EMAIL, CITY, HANDLE, None])
def test_rows_are_found_by_the_new_version_and_the_old_rows_go(built: BuiltCell, field: str | None) -> None:
    kind = kind_of(field)
    held = Held(built, PEOPLE)
    before = built.next_number
    changed = rotate(built, field, kind)
    assert (changed.state, changed.primary_version) == ("active", 2)
    assert states(built, field, kind) == {1: "active", 2: "active"}
    held.check()  # nothing is filled yet
    assert {version: key.filling for version, key in keys(built, field, kind).items()} == {1: False, 2: True}
    more = Held(built, [f"late-{number}" for number in range(20)])
    done = until(built, changed.job or "")
    assert (done.state, done.error, done.step) == ("done", None, "done")
    assert states(built, field, kind) == {1: "deactivated", 2: "active"}
    assert not any(key.filling for key in keys(built, field, kind).values())
    held.check()
    more.check()
    assert left(built, field) == {1: 0, 2: 60 if field == EMAIL else 80}
    every = versions(built, "blind_index" if field else "subject_refs")
    assert sum(every.values()) == (60 + 80 + 80 if field else 80)
    old = keys(built, field, kind)[1]
    assert built.run(destroy_key, old.id, DestroyBody(), by=built.admin).state == "destroyed"
    built.cell.forget()
    held.check()
    events = built.events(before, "key.reindex")
    assert [event["step"] for event in events] == ["fill", "close", "sweep"]
    assert events[0]["opened"] == events[2]["removed"] == (60 if field == EMAIL else 80)
    verify(built.cell.store)


def test_a_second_rotation_goes_on_from_the_first(built: BuiltCell) -> None:
    held = Held(built, PEOPLE[:20])
    for _ in range(2):
        assert until(built, rotate(built, EMAIL).job or "").state == "done"
    assert states(built, EMAIL) == {1: "deactivated", 2: "deactivated", 3: "active"}
    assert left(built, EMAIL) == {1: 0, 2: 0, 3: 20}
    held.check()


def test_one_rotation_of_an_index_at_a_time(built: BuiltCell) -> None:
    held = Held(built, PEOPLE[:10])
    first = rotate(built, EMAIL)
    found = keys(built, EMAIL)
    for verb in (rotate_key, compromise_key):
        with pytest.raises(Conflict, match="job_running") as refused:
            built.run(verb, found[2].id, ReasonBody(), by=built.admin)
        assert refused.value.facts["job"] == first.job
    with pytest.raises(Conflict, match="version_conflict"):
        built.run(rotate_key, found[1].id, ReasonBody(), by=built.admin)
    for body in (DestroyBody(), DestroyBody(Attestation("Ada", "Sure"))):  # nobody's word helps
        with pytest.raises(Conflict, match="key_in_use"):
            built.run(destroy_key, found[1].id, body, by=built.admin)
    other = rotate(built, HANDLE)  # another field's goes on beside it
    # One that becomes known to somebody meanwhile has its successor already.
    known: KeyChanged = built.run(compromise_key, found[1].id, ReasonBody(), by=built.admin)
    assert (known.state, known.job) == ("compromised", None)
    held.check()
    assert {until(built, changed.job or "").state for changed in (first, other)} == {"done"}
    held.check()
    assert states(built, EMAIL) == {1: "compromised", 2: "active"}


def test_a_rotation_that_is_stopped_harms_nothing_and_goes_on(built: BuiltCell) -> None:
    held = Held(built, PEOPLE)
    for step in ("fill", "close", "sweep"):
        job = rotate(built, EMAIL).job or ""
        stop_at(built, job, step)
        assert built.run(cancel_job, job, by=HOST).state == "cancelled"
        assert not Worker(built.cell).run_one()
        held.check()
        late = built.tokens(EMAIL, f"{step}@example.org", subjects=["person-1"])
        built.run(resume_job, job, by=HOST)
        assert until(built, job).state == "done"
        held.check()
        assert built.tokens(EMAIL, f"{step}@example.org", subjects=["person-1"]) == late


def test_a_compromised_key_is_looked_up_by_until_its_successor_is_filled(built: BuiltCell) -> None:
    held = Held(built, PEOPLE)
    for field in (EMAIL, None):
        kind = kind_of(field)
        changed = rotate(built, field, kind, compromise_key)
        assert changed.state == "compromised"
        assert states(built, field, kind) == {1: "compromised", 2: "active"}
        held.check()
        assert until(built, changed.job or "").state == "done"
        assert states(built, field, kind) == {1: "compromised", 2: "active"}
        assert left(built, field)[1] == 0
        held.check()


def test_rows_whose_values_are_gone_are_dropped(built: BuiltCell) -> None:
    held = Held(built, PEOPLE[:20])
    store = built.cell.store
    claims = store.tables.claims
    lost = built.cell.store.read(claims.select())
    with store.engine.begin() as connection:
        connection.execute(claims.delete())
    job = rotate(built, EMAIL).job or ""
    assert until(built, job).state == "done"
    assert left(built, EMAIL) == {1: 0, 2: 0}
    (event,) = [one for one in built.events(kind="key.reindex") if one["step"] == "fill"]
    assert (event["opened"], event["gone"]) == (0, 20)
    assert len(lost) == 60
    assert set(held.all()[0]).isdisjoint(held.tokens[0])  # equal values get tokens that open


def test_a_dead_token_is_taken_over_while_its_index_is_filled(built: BuiltCell) -> None:
    """What finds a dead token is moved by the old version, and placed by the new one, which has none."""
    Held(built, PEOPLE[:5])
    store = built.cell.store
    with store.engine.begin() as connection:
        connection.execute(store.tables.claims.delete())
    job = rotate(built, EMAIL).job or ""
    stop_at(built, job, "close")
    again = built.tokens(EMAIL, MAILS[0], subjects=["person-0"])
    assert left(built, EMAIL) == {1: 5, 2: 1}
    assert until(built, job).state == "done"
    assert built.tokens(EMAIL, MAILS[0], subjects=["person-0"]) == again


def test_a_claim_that_is_damaged_stops_the_rotation_and_nothing_else(built: BuiltCell) -> None:
    held = Held(built, PEOPLE[:20])
    store = built.cell.store
    rows = store.read(store.tables.claims.select())

    def damage(by: int) -> None:
        with store.engine.begin() as connection:
            for row in rows:
                sealed = bytes(row[2][:-1]) + bytes([row[2][-1] ^ by])
                change = store.tables.claims.update().values(sealed=sealed)
                connection.execute(change.where(store.tables.claims.c.token == row[0]))

    damage(1)
    job = rotate(built, EMAIL).job or ""
    failed = until(built, job)
    assert (failed.state, failed.step, failed.error) == ("failed", "fill", "integrity_failed")
    damage(0)
    built.run(resume_job, job, by=HOST)
    assert until(built, job).state == "done"
    held.check()


def test_a_field_that_ends_meanwhile_ends_the_rotation(built: BuiltCell) -> None:
    job = rotate(built, EMAIL).job or ""
    without = built.schema.replace('[fields."customer.email"]', '[fields."customer.post"]')
    assert without != built.schema
    built.apply(without)
    done = until(built, job)
    assert (done.state, done.step) == ("done", reindex.SUPERSEDED)
    built.apply(built.schema)
    held = Held(built, PEOPLE[:5])
    assert states(built, EMAIL) == {1: "deactivated", 2: "deactivated", 3: "active"}
    assert until(built, rotate(built, EMAIL).job or "").state == "done"
    held.check()


TURN_STEPS = ["flip", "reseal", "carry", "count", "settle", "close", "drop", "sweep", "root"]


BESIDE = [
    *(("sqlite", step, at) for step in TURN_STEPS for at in ("fill", "sweep")),
    *(("postgresql", step, at) for step, at in (("carry", "fill"), ("count", "sweep"), ("close", "fill"))),
]


@pytest.mark.parametrize(("kind", "step", "at"), BESIDE)
def test_a_rotation_and_a_turn_go_on_beside_each_other(tmp_path: Path, kind: str, step: str, at: str) -> None:
    """The turn stands at a step; the rotation goes on from where it is to its end; then the turn does."""
    with any_cell(kind, tmp_path) as built:
        built.cell.working = Working(batch=16)
        beside(built, step, at)


def beside(built: BuiltCell, step: str, at: str) -> None:
    held = Held(built, PEOPLE)
    jobs = [rotate(built, field, kind_of(field)).job or "" for field in (EMAIL, None)]
    if at == "sweep":
        for job in jobs:
            stop_at(built, job, "sweep")
            built.run(cancel_job, job, by=HOST)
    else:
        for job in jobs:
            built.run(cancel_job, job, by=HOST)
    turning = begin(built)
    stop_at(built, turning, step)
    built.run(cancel_job, turning, by=HOST)
    held.check()
    for job in jobs:
        built.run(resume_job, job, by=HOST)
        assert until(built, job).state == "done"
    held.check()
    late = built.tokens(EMAIL, "late@example.org", subjects=["late"])
    built.run(resume_job, turning, by=HOST)
    assert until(built, turning).state == "done"
    held.check()
    assert built.tokens(EMAIL, "late@example.org", subjects=["late"]) == late
    assert left(built, EMAIL) == {1: 0, 2: 61}
    assert left(built, None) == {1: 0, 2: 61}


def test_a_rotation_that_is_begun_in_the_middle_of_a_turn(built: BuiltCell) -> None:
    held = Held(built, PEOPLE)
    turning = begin(built)
    stop_at(built, turning, "count")
    built.run(cancel_job, turning, by=HOST)
    jobs = [rotate(built, field, kind_of(field)).job or "" for field in (EMAIL, None)]
    late = built.tokens(EMAIL, "late@example.org", subjects=["late"])
    stop_at(built, jobs[0], "close")
    built.run(resume_job, turning, by=HOST)
    assert {until(built, job).state for job in (turning, *jobs)} == {"done"}
    held.check()
    assert built.tokens(EMAIL, "late@example.org", subjects=["late"]) == late
    assert left(built, EMAIL) == left(built, None) == {1: 0, 2: 61}


@pytest.mark.parametrize("at", ["close", "sweep"])
def test_a_turn_in_the_middle_of_a_rotation(built: BuiltCell, at: str) -> None:
    """The rotation stands at a step; a whole turn goes by; then it goes on in the other epoch."""
    held = Held(built, PEOPLE)
    job = rotate(built, EMAIL).job or ""
    stop_at(built, job, at)
    built.run(cancel_job, job, by=HOST)
    assert until(built, begin(built)).state == "done"
    held.check()
    built.run(resume_job, job, by=HOST)
    assert until(built, job).state == "done"
    held.check()
    assert left(built, EMAIL) == {1: 0, 2: 60}
