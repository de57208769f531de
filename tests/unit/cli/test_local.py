"""Files rekeyed on this host, in place where that can be, else as lists: the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cells import SSN, BuiltCell, development_cell
from tests.unit.services.test_field_keys import rotate
from vault.cli.local import LocalRekeys, LocalService
from vault.files.job import run
from vault.files.plan import REKEY, Plan

VALUES = [f"{n:09d}" for n in range(100_000_000, 100_000_300)]


@pytest.fixture
def built(tmp_path: Path) -> Iterator[BuiltCell]:
    with development_cell(tmp_path / "cell") as made:
        yield made


@pytest.mark.parametrize("odd", ["", '"quoted, so not in place"\n', "\n"])
def test_a_file_is_rekeyed_here(built: BuiltCell, tmp_path: Path, odd: str) -> None:
    old = built.tokens(SSN, *VALUES)
    rotate(built)
    before = built.next_number
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    row = "{},{}\n".format
    tail = row("", odd.strip()) if odd else ""
    source.write_text("ssn,note\n" + "".join(row(token, n) for n, token in enumerate(old)) + tail)
    rekeys = LocalRekeys(LocalService(built.cell, "main"), 1, 100)
    result = run(Plan(source, target, (("ssn", SSN),), verb=REKEY), rekeys, lambda _done, _all: None)
    assert (result.rows, result.rejected) == (len(VALUES) + bool(odd), 0)
    assert rekeys.key_versions == {SSN: 2}
    events = built.events(before, "rekey")
    assert sum(event["fields"][0]["tokens"] for event in events) == len(VALUES)
    assert {event["actor"].partition(":")[0] for event in events} == {"host"}
    new = built.tokens(SSN, *VALUES)
    assert target.read_text() == "ssn,note\n" + "".join(row(token, n) for n, token in enumerate(new)) + tail
