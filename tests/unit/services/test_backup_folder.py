"""A folder of backups: what belongs together, and what has had its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from vault.clock import DAY, parse_period, parse_time
from vault.errors import Unavailable
from vault.services.backup_folder import alone, found_in, name_for, newest_age, pairs, prune

NOW = parse_time("2026-11-30T12:00:00Z")
KEEP = parse_period("P7D")


def put(folder: Path, epoch: int, age_days: float, mark: str, *parts: str, end: str = "") -> list[str]:
    names = [
        name_for(part, "eu", epoch, NOW - round(age_days * DAY), "0" * 24 + mark) + end for part in parts
    ]
    for name in names:
        (folder / name).write_bytes(b"x")
    return names


PAIR = ("custody", "record")


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_names_say_what_they_are(tmp_path: Path) -> None:
    name = name_for("custody", "eu", 2, NOW, "0" * 24 + "0123abcd")
    assert name == "custody-eu-000002-20261130T120000.000000Z-0123abcd.ckc"
    put(tmp_path, 2, 0, "0123abcd", "custody", "record", "values")
    for other in ("custody-eu-2.ckc", name.replace("-eu-", "-us-"), name[:-1] + "r", "notes.txt"):
        (tmp_path / other).write_bytes(b"x")
    found = found_in(tmp_path, "eu")
    assert {one.part for one in found} == {"custody", "record", "values"}
    assert all((one.at, one.epoch, one.mark, one.whole) == (NOW, 2, "0123abcd", True) for one in found)
    assert found_in(tmp_path / "absent", "eu") == []
    assert len(pairs(found)) == 1


def test_custody_without_its_record_is_no_pair(tmp_path: Path) -> None:
    put(tmp_path, 2, 0, "aaaaaaaa", "custody")
    put(tmp_path, 2, 0, "bbbbbbbb", "record")
    put(tmp_path, 2, 0, "cccccccc", *PAIR, end=".new")
    assert pairs(found_in(tmp_path, "eu")) == []
    assert newest_age(tmp_path, "eu", 2, NOW) is None


def test_what_has_had_its_time_goes_and_the_newest_stays(tmp_path: Path) -> None:
    newest = put(tmp_path, 2, 1, "aaaaaaaa", *PAIR)
    within = put(tmp_path, 2, 6, "bbbbbbbb", *PAIR)
    put(tmp_path, 2, 8, "cccccccc", *PAIR)
    put(tmp_path, 1, 2, "dddddddd", *PAIR)
    values = [*put(tmp_path, 1, 400, "eeeeeeee", "values"), *put(tmp_path, 2, 8, "cccccccc", "values")]
    put(tmp_path, 2, 0, "ffffffff", "custody", "record", "values", end=".new")
    (tmp_path / "mine.txt").write_bytes(b"x")
    gone = prune(tmp_path, "eu", 2, KEEP, NOW)
    assert len(gone) == 2 + 2 + 3
    assert left(tmp_path) == {*newest, *within, *values, "mine.txt"}
    assert prune(tmp_path, "eu", 2, KEEP, NOW) == []
    assert newest_age(tmp_path, "eu", 2, NOW) == DAY


def test_the_newest_of_the_epoch_stays_however_old(tmp_path: Path) -> None:
    newest = put(tmp_path, 2, 300, "aaaaaaaa", *PAIR)
    put(tmp_path, 2, 301, "bbbbbbbb", *PAIR)
    put(tmp_path, 1, 1, "cccccccc", *PAIR)  # newer, of a closed epoch
    prune(tmp_path, "eu", 2, KEEP, NOW)
    assert left(tmp_path) == {*newest}


def test_another_regions_files_are_let_alone(tmp_path: Path) -> None:
    name = name_for("custody", "us", 1, NOW - 100 * DAY, "0" * 32)
    (tmp_path / name).write_bytes(b"x")
    assert prune(tmp_path, "eu", 2, KEEP, NOW) == []
    assert left(tmp_path) == {name}


def test_one_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    with alone(folder), pytest.raises(Unavailable, match="too_busy"), alone(folder):
        raise AssertionError("two held it")
    with alone(folder):
        assert folder.stat().st_mode & 0o777 == 0o700
