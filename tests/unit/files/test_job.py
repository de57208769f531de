"""Jobs over files: aborted wherever, they end with the same bytes; what is refused is told, never shown."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from vault.errors import BadInput, Conflict, Misconfigured
from vault.files.job import CHECKPOINT, PART, run
from vault.files.plan import Plan, Refused, Turned

ROWS = [["id", "ssn", "note"]] + [[str(n), f"{n:09d}", f'said "{n}",\nand left'] for n in range(300)]


class Abort(BaseException):
    """As a kill: nothing catches it."""


class Made:
    """Tokens that a table gives: new ones for new values, the same under the same key."""

    def __init__(self, refuse: str = "no") -> None:
        self.asked: list[str] = []
        self.known: dict[tuple[str, int], str] = {}
        self.refuse = refuse

    def turn(
        self,
        field: str,
        values: Sequence[str | None],
        subjects: Sequence[str | None] | None,
        key: str,
        versions: Sequence[str | None] | None = None,
    ) -> Turned:
        self.asked.append(key)
        made: list[str | None] = []
        refused = {}
        for index, value in enumerate(values):
            if value is not None and self.refuse in value:
                refused[index] = "value_format"
                made.append(None)
            elif value is None:
                made.append(None)
            else:
                whose = subjects[index] if subjects is not None else ""
                fresh = f"{field},{len(self.known)}{whose}"
                made.append(self.known.setdefault((key, index), fresh))
        told = {index: 7 for index, token in enumerate(made) if token is not None}
        return Turned(made, refused, told)


def idle(_done: int, _all: int) -> None:
    pass


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\r\n").writerows(ROWS)
    return path


def plan_of(source: Path, **more: object) -> Plan:
    return Plan(source, source.with_name("out.csv"), (("ssn", "customer.ssn"),), **more)  # type: ignore[arg-type]


def records(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))


def test_a_column_is_turned_and_the_rest_stays(source: Path) -> None:
    plan = plan_of(source)
    told: list[tuple[int, int]] = []
    result = run(plan, Made(), lambda done, whole: told.append((done, whole)), 1000)
    made = records(plan.target)
    assert (result.rows, result.rejected, result.resumed) == (300, 0, False)
    assert [row[::2] for row in made] == [row[::2] for row in ROWS]
    assert [row[1] for row in made[1:]] == [f"customer.ssn,{n}" for n in range(300)]
    assert told == sorted(told)
    assert told[-1] == (source.stat().st_size,) * 2
    assert sorted(path.name for path in source.parent.iterdir()) == ["in.csv", "out.csv"]


@pytest.mark.parametrize("rejects", [False, True])
def test_a_job_that_is_killed_anywhere_ends_with_the_same_bytes(
    source: Path, rejects: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aborted at each of its writes in turn: of output, rejects and checkpoint, before and after."""
    more = {"rejects": source.with_name("rejects.csv")} if rejects else {}
    plan = plan_of(source, **more)
    monkeypatch.setattr("vault.files.job.secrets.token_hex", lambda _: "same")

    def contents() -> list[bytes]:
        return [path.read_bytes() for path in (plan.target, *([plan.rejects] if plan.rejects else []))]

    def made() -> Made:
        return Made("00007" if rejects else "no")

    real = os.fsync
    whole = made()
    run(plan, whole, idle, 2000)
    wanted = contents()
    at, aborted = 0, True
    while aborted:
        for path in source.parent.iterdir():
            if path != source:
                path.unlink()
        maker, calls, aborted = made(), 0, False

        def sync(handle: int, last: int = at) -> None:
            nonlocal calls
            calls += 1
            if calls == last + 1:
                raise Abort
            real(handle)

        monkeypatch.setattr("vault.files.job.os.fsync", sync)
        try:
            run(plan, maker, idle, 2000)
        except Abort:
            aborted = True
        monkeypatch.setattr("vault.files.job.os.fsync", real)
        if aborted:
            run(plan, maker, idle, 2000)
        assert contents() == wanted, at
        assert set(maker.asked) == set(whole.asked)
        at += 1
    assert at > 20


def test_refused_values_end_the_job_and_leave_nothing(source: Path) -> None:
    plan = plan_of(source)
    with pytest.raises(Refused, match="value_format") as refused:
        run(plan, Made("00001"), idle, 1000)
    errors = refused.value.facts["errors"]
    assert errors[0] == {"row": 2, "column": "ssn", "code": "value_format"}  # type: ignore[index]
    assert "00001" not in repr(refused.value) + str(refused.value.facts)
    assert list(source.parent.iterdir()) == [source]


def test_rejected_rows_are_left_out_and_told(source: Path) -> None:
    plan = plan_of(source, rejects=source.with_name("rejects.csv"))
    result = run(plan, Made("00029"), idle, 1000)
    assert (result.rows, result.rejected) == (300, 11)
    assert result.codes == {"ssn: value_format": 11}
    assert records(plan.rejects or source) == [
        ["row", "column", "code"],
        *([str(n + 1), "ssn", "value_format"] for n in (29, *range(290, 300))),
    ]
    assert [row[0] for row in records(plan.target)[1:]] == [str(n) for n in range(290) if n != 29]
    assert oct((plan.rejects or source).stat().st_mode)[-3:] == "600"


def test_another_job_does_not_go_on_with_this_one(source: Path) -> None:
    plan = plan_of(source)

    def stop(done: int, _: int) -> None:
        raise Abort

    with pytest.raises(Abort):
        run(plan, Made(), stop, 1000)
    names = {path.name for path in source.parent.iterdir()}
    assert names == {"in.csv", f"out.csv{PART}", f"out.csv{CHECKPOINT}"}
    others = [
        Plan(source, plan.target, (("ssn", "another.field"),)),
        Plan(source, plan.target, plan.columns, subject="id"),
        Plan(source, plan.target, plan.columns, rejects=source.with_name("r")),
    ]
    for other in others:
        with pytest.raises(Conflict, match="job_differs"):
            run(other, Made(), idle, 1000)
    with source.open("a") as file:
        file.write("x,123456789,y\n")
    with pytest.raises(Conflict, match="job_differs"):
        run(plan, Made(), idle, 1000)


def test_subjects_go_with_their_values(source: Path) -> None:
    plan = plan_of(source, subject="id")
    run(plan, Made(), idle)
    assert records(plan.target)[5][1] == "customer.ssn,44"


def test_empty_fields_stay_empty(tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(b'a,ssn\n1,\n2,""\n3,x')
    plan = plan_of(source)
    run(plan, Made(), idle)
    assert plan.target.read_bytes() == b'a,ssn\n1,\n2,"customer.ssn,0"\n3,"customer.ssn,1"'


@pytest.mark.parametrize(
    ("data", "row"), [(b"a,ssn\n1,2,3\n", 1), (b"a,ssn\n1,2\n1\n", 2), (b"a,ssn\n1,\xff\n", 1), (b"", 0)]
)
def test_a_file_that_is_none_is_told_by_its_row(tmp_path: Path, data: bytes, row: int) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(data)
    with pytest.raises(BadInput, match="file_malformed") as refused:
        run(plan_of(source), Made(), idle)
    assert refused.value.facts["row"] == row
    assert not (tmp_path / "out.csv").exists()


def test_what_is_not_there(source: Path) -> None:
    with pytest.raises(BadInput, match="usage"):
        run(Plan(source, source.with_name("out"), (("nope", "f"),)), Made(), idle)
    with pytest.raises(BadInput, match="usage"):
        run(plan_of(source, subject="nope"), Made(), idle)
    with pytest.raises(Misconfigured, match="host_permissions"):
        run(Plan(source.with_name("absent"), source.with_name("out"), (("a", "f"),)), Made(), idle)
    with pytest.raises(Misconfigured, match="host_permissions"):
        run(Plan(source, source / "out", (("ssn", "f"),)), Made(), idle)


def test_key_versions_stand_in_a_column_of_their_own(source: Path) -> None:
    rejects = source.with_name("rejects.csv")
    plan = plan_of(source, rejects=rejects, versions=(("ssn", "ssn_version"),))
    run(plan, Made("00029"), idle, 1000)
    made = records(plan.target)
    assert made[0] == [*ROWS[0], "ssn_version"]
    kept = [row for row in ROWS[1:] if "00029" not in row[1]]
    assert [[row[0], row[2], row[3]] for row in made[1:]] == [[row[0], row[2], "7"] for row in kept]
    assert b"\r\n" in plan.target.read_bytes().splitlines(keepends=True)[0]


def test_key_versions_are_read_where_the_file_has_them(source: Path) -> None:
    seen: list[str | None] = []

    class Opened(Made):
        def turn(
            self,
            field: str,
            values: Sequence[str | None],
            subjects: Sequence[str | None] | None,
            key: str,
            versions: Sequence[str | None] | None = None,
        ) -> Turned:
            seen.extend(versions or [])
            return super().turn(field, values, subjects, key, versions)

    plan = plan_of(source, verb="detokenize", versions=(("ssn", "id"),))
    run(plan, Opened(), idle, 1000)
    assert seen == [row[0] for row in ROWS[1:]]
    assert records(plan.target)[0] == ROWS[0]


def test_an_added_column_is_new_and_a_read_one_is_there(source: Path) -> None:
    for verb, name in (("tokenize", "note"), ("detokenize", "nowhere")):
        with pytest.raises(BadInput, match="usage"):
            run(plan_of(source, verb=verb, versions=(("ssn", name),)), Made(), idle)
    assert list(source.parent.iterdir()) == [source]
