"""cell status, upgrade, downgrade, lock-info: a plan, a copy, and nothing while a service holds the cell."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.harness import checks
from tests.support.service import Service, coatcheck_here, initialise, running
from vault.store import migrations

FIRST, *_, NEWEST = migrations.between(None, migrations.newest())
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    initialise(tmp_path / "deployment")
    return tmp_path / "deployment"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("cell") / "deployment") as service:
        yield service


def cell(folder: Path, *arguments: str) -> Done:
    done = coatcheck_here("cell", *arguments, "--config", folder, "--json")
    assert "Traceback" not in done.stderr
    return done


def of(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def standing(folder: Path, region: str = "eu") -> dict[str, Any]:
    [row] = of(cell(folder, "status", "--region", region))
    return dict(row)


def dump(path: Path) -> list[str]:
    """All tables and rows of a database."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def copies(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("eu.db.*") if path.suffix != ".lock")


def test_status(folder: Path) -> None:
    rows = of(cell(folder, "status"))
    assert [row["region"] for row in rows] == ["eu", "us"]
    for row in rows:
        assert (row["revision"], row["newest"], row["pending"]) == (NEWEST, NEWEST, [])
        assert row["bytes"] == (folder / f"{row['region']}.db").stat().st_size
        assert row["held_by"] is None


def test_down_and_up_again(folder: Path) -> None:
    before = dump(folder / "eu.db")
    events = len(checks.events(folder / "eu.db"))
    down = of(cell(folder, "downgrade", FIRST, "--region", "eu", "--yes"))
    assert down["revision"] == FIRST
    assert down["steps"] == migrations.between(FIRST, NEWEST)[::-1]
    [copy] = copies(folder)
    assert str(copy) == down["copy"]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert dump(copy) == before
    assert standing(folder)["pending"] == migrations.between(FIRST, NEWEST)
    refused = coatcheck_here("schema", "show", "--config", folder, "--region", "eu")
    assert "migration_required" in refused.stderr
    doctor = coatcheck_here("doctor", "--config", folder)
    assert doctor.returncode == 11
    assert "coatcheck cell upgrade" in doctor.stderr
    up = of(cell(folder, "upgrade", "--region", "eu", "--yes"))
    assert (up["revision"], up["steps"]) == (NEWEST, migrations.between(FIRST, NEWEST))
    assert len(copies(folder)) == 2
    assert len(checks.events(folder / "eu.db")) == events
    assert coatcheck_here("schema", "show", "--config", folder, "--region", "eu").returncode == 0
    assert coatcheck_here("audit", "verify", "--config", folder, "--region", "eu").returncode == 0
    # And the copy is a way back.
    copy.rename(folder / "eu.db")
    assert standing(folder)["revision"] == NEWEST


def test_nothing_to_do(folder: Path) -> None:
    assert of(cell(folder, "upgrade", "--region", "eu"))["steps"] == []
    assert of(cell(folder, "downgrade", NEWEST, "--region", "eu"))["steps"] == []
    assert copies(folder) == []


def test_without_yes_it_shows_the_plan_and_does_nothing(folder: Path) -> None:
    before = (folder / "eu.db").read_bytes()
    done = cell(folder, "downgrade", FIRST, "--region", "eu")
    assert done.returncode == 2
    assert f"cell eu: {NEWEST} -> {FIRST}" in done.stderr
    assert "copy to" in done.stderr
    assert f"undo {NEWEST}" in done.stderr
    assert "say --yes" in done.stderr
    assert (folder / "eu.db").read_bytes() == before
    assert copies(folder) == []


def test_a_cell_that_is_held(service: Service) -> None:
    for arguments in (("downgrade", FIRST), ("upgrade",)):
        done = cell(service.folder, *arguments, "--region", "eu", "--yes")
        if arguments == ("upgrade",):
            assert of(done)["steps"] == []
            continue
        assert done.returncode == 7
        assert json.loads(done.stderr)["pid"] == service.pid
    assert copies(service.folder) == []
    assert service.call("GET", "whoami").status == 200
    assert standing(service.folder)["held_by"] == service.pid
    [eu, us] = of(cell(service.folder, "lock-info"))
    assert (eu["held"], eu["pid"], us["pid"]) == (True, service.pid, service.pid)
    assert eu["lock"] == str(service.folder / "eu.db.lock")


def test_a_lock_that_nobody_holds_is_left_as_it_is(folder: Path) -> None:
    lock = folder / "eu.db.lock"
    before = lock.read_bytes(), lock.stat().st_mtime_ns
    rows = of(cell(folder, "lock-info"))
    assert [(row["held"], row["pid"]) for row in rows] == [(False, None), (False, None)]
    assert (lock.read_bytes(), lock.stat().st_mtime_ns) == before
    lock.unlink()
    assert of(cell(folder, "lock-info", "--region", "eu"))[0]["held"] is False
    assert not lock.exists()


@pytest.mark.parametrize(
    "revision", ["base", "head", "9999", "-1", "+1", "", "0001@head", "x" * 500, "'; --"]
)
def test_a_version_that_is_none(folder: Path, revision: str) -> None:
    for verb in ("upgrade", "downgrade"):
        done = coatcheck_here("cell", verb, "--config", folder, "--region", "eu", "--yes", "--", revision)
        assert done.returncode == 2, done.stderr
    assert standing(folder)["revision"] == NEWEST
    assert copies(folder) == []


def test_up_is_not_down(folder: Path) -> None:
    assert cell(folder, "upgrade", FIRST, "--region", "eu", "--yes").returncode == 2
    of(cell(folder, "downgrade", FIRST, "--region", "eu", "--yes"))
    assert cell(folder, "downgrade", NEWEST, "--region", "eu", "--yes").returncode == 2


def test_a_database_of_a_newer_program(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "eu.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'newer'")
        connection.commit()
    assert standing(folder)["revision"] == "newer"
    done = cell(folder, "upgrade", "--region", "eu", "--yes")
    assert done.returncode == 11
    assert json.loads(done.stderr)["database"] == "newer"
    assert copies(folder) == []


def test_what_is_no_database(folder: Path) -> None:
    (folder / "eu.db").write_bytes(b"nonsense" * 1000)
    assert cell(folder, "status").returncode == 9
    (folder / "eu.db").unlink()
    assert cell(folder, "status").returncode == 11
    assert not (folder / "eu.db").exists()


def test_a_step_that_fails_leaves_what_was(folder: Path) -> None:
    of(cell(folder, "downgrade", FIRST, "--region", "eu", "--yes"))
    with closing(sqlite3.connect(folder / "eu.db")) as connection:
        newer = {row[0] for row in sqlite3.connect(copies(folder)[0]).execute(TABLES)}
        older = {row[0] for row in connection.execute(TABLES)}
        connection.execute(f"CREATE TABLE {min(newer - older)} (x)")  # in the way of the step
        connection.commit()
    before = dump(folder / "eu.db")
    done = cell(folder, "upgrade", "--region", "eu", "--yes")
    assert done.returncode == 11
    assert json.loads(done.stderr)["code"] == "migration_required"
    assert dump(folder / "eu.db") == before
    assert standing(folder)["held_by"] is None


TABLES = "SELECT name FROM sqlite_master WHERE type = 'table'"
