"""Parquet: gone on with wherever it was cut, read by others, types and compression kept."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.files.test_job import Abort, Made, idle
from vault.errors import BadInput
from vault.files.job import run
from vault.files.parquet import Parquet
from vault.files.plan import PARQUET, Plan, Refused

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ROWS = 1000


def table(rows: int = ROWS) -> Any:
    numbers = range(rows)
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "ssn": pa.array([None if n % 10 == 9 else f"{n:09d}" for n in numbers], pa.large_string()),
            "word": pa.array(["a", "b"] * (rows // 2), pa.string()).dictionary_encode(),
            "day": pa.array([datetime.date(2026, 1, 1)] * rows),
            "many": pa.array([[n, None] for n in numbers]),
            "deep": pa.array([{"x": n, "y": None} for n in numbers]),
        }
    ).replace_schema_metadata({"made by": "a test"})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.parquet"
    pq.write_table(table(), path, row_group_size=300, compression={"id": "zstd", "ssn": "snappy"})
    return path


def plan_of(source: Path, **more: object) -> Plan:
    columns = (("ssn", "customer.ssn"),)
    return Plan(source, source.with_name("out.parquet"), columns, form=PARQUET, **more)  # type: ignore[arg-type]


def test_a_column_is_turned_and_the_rest_stays(source: Path) -> None:
    plan = plan_of(source, versions=(("ssn", "version"),))
    told: list[tuple[int, int]] = []
    result = run(plan, Made(), lambda done, whole: told.append((done, whole)), 100)
    assert (result.rows, result.rejected) == (ROWS, 0)
    assert told[-1] == (ROWS, ROWS)
    before, after = table(), pq.read_table(plan.target)
    assert after.schema.names == [*before.schema.names, "version"]
    assert after.schema.metadata[b"made by"] == b"a test"
    for name in before.schema.names:
        if name != "ssn":
            assert after.column(name).to_pylist() == before.column(name).to_pylist()
            assert after.schema.field(name).type == before.schema.field(name).type
    assert after.schema.field("ssn").type == pa.large_string()
    nulls = [value is None for value in before.column("ssn").to_pylist()]
    assert [value is None for value in after.column("ssn").to_pylist()] == nulls
    assert [value is None for value in after.column("version").to_pylist()] == nulls
    group = pq.ParquetFile(plan.target).metadata.row_group(0)
    codecs = {group.column(n).path_in_schema: group.column(n).compression for n in range(group.num_columns)}
    assert (codecs["id"], codecs["ssn"]) == ("ZSTD", "SNAPPY")


def test_others_read_it(source: Path) -> None:
    """DuckDB and Polars have readers of their own."""
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    plan = plan_of(source, rejects=source.with_name("rejects.csv"))
    run(plan, Made("0001"), idle, 100)
    kept = [n for n in range(ROWS) if n % 10 == 9 or "0001" not in f"{n:09d}"]
    told = duckdb.sql(f"SELECT count(*), sum(id) FROM '{plan.target}'").fetchall()
    assert told == [(len(kept), sum(kept))]
    frame = polars.read_parquet(plan.target, columns=["id", "ssn"], use_pyarrow=False)
    assert frame["id"].to_list() == kept


def test_a_job_that_is_killed_anywhere_ends_with_the_same_bytes(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(source)
    real = os.fsync
    run(plan, Made(), idle, 100)
    wanted = plan.target.read_bytes()
    at, aborted = 0, True
    while aborted:
        plan.target.unlink()
        maker, calls, aborted = Made(), 0, False

        def sync(handle: int, last: int = at) -> None:
            nonlocal calls
            calls += 1
            if calls == last + 1:
                raise Abort
            real(handle)

        monkeypatch.setattr("vault.files.job.os.fsync", sync)
        try:
            run(plan, maker, idle, 100)
        except Abort:
            aborted = True
        monkeypatch.setattr("vault.files.job.os.fsync", real)
        if aborted:
            run(plan, maker, idle, 100)
        assert plan.target.read_bytes() == wanted, at
        at += 1
    assert at > 20
    assert sorted(path.name for path in source.parent.iterdir()) == ["in.parquet", "out.parquet"]


@pytest.mark.parametrize("rows", [0, 10])
def test_a_file_of_which_nothing_is_left_is_whole(tmp_path: Path, rows: int) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(table(rows), source)
    plan = plan_of(source, rejects=tmp_path / "rejects.csv", versions=(("ssn", "version"),))
    result = run(plan, Made(""), idle)
    made = pq.read_table(plan.target)
    assert result.rows == rows
    assert len(made) == rows // 10  # nulls are never refused
    assert made.schema.names == [*table(0).schema.names, "version"]


def test_whole_parts_may_be_left_out(source: Path) -> None:
    plan = plan_of(source, rejects=source.with_name("rejects.csv"))
    run(plan, Made("0"), idle, 9)  # each value has a 0: all that stay are the nulls
    assert pq.read_table(plan.target).column("id").to_pylist() == list(range(9, ROWS, 10))


def test_dictionaries_become_plain_strings(source: Path) -> None:
    plan = Plan(source, source.with_name("out.parquet"), (("word", "customer.word"),), form=PARQUET)
    run(plan, Made(), idle)
    assert pq.read_schema(plan.target).field("word").type == pa.string()


def test_what_is_wrong_is_told_and_nothing_is_left(source: Path) -> None:
    whole = source.read_bytes()
    for data in (
        whole[:-1],
        whole[: len(whole) // 2],
        b"",
        b"PAR1",
        b"id,ssn\n",
        whole[:4] + b"\0" * 900 + whole[904:],
    ):
        source.write_bytes(data)
        with pytest.raises(BadInput, match="file_malformed"):
            run(plan_of(source), Made(), idle)
        assert list(source.parent.iterdir()) == [source]
    source.write_bytes(whole)
    for name in ("id", "many", "deep", "nowhere"):
        plan = Plan(source, source.with_name("out.parquet"), ((name, "f"),), form=PARQUET)
        with pytest.raises(BadInput, match="usage"):
            run(plan, Made(), idle)
        assert list(source.parent.iterdir()) == [source]
    with pytest.raises(Refused):
        run(plan_of(source), Made("00077"), idle)
    assert list(source.parent.iterdir()) == [source]


def test_key_versions_are_read_from_whole_numbers_and_from_strings(tmp_path: Path) -> None:
    path = tmp_path / "versions.parquet"
    pq.write_table(pa.table({"n": pa.array([1, None], pa.int32()), "s": ["2", "x"], "f": [1.5, 2.0]}), path)
    with path.open("rb") as source:
        (part,) = Parquet(source, (), 10).parts(0, 1)
        assert part.versions("n") == ["1", None]
        assert part.versions("s") == ["2", "x"]
        with pytest.raises(BadInput, match="usage"):
            part.versions("f")
