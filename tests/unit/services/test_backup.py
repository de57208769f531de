"""Writing a backup: what is told of it meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cells import NAME, BuiltCell, any_cell
from vault.keyring.epoch import stored_epochs
from vault.services.backup import write_backup
from vault.services.backup_folder import alone


@pytest.fixture(params=["sqlite", "postgresql"])
def built(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BuiltCell]:
    with any_cell(request.param, tmp_path) as made:
        yield made


def test_what_is_told_of_a_backup_is_told_to_its_end(built: BuiltCell, tmp_path: Path) -> None:
    built.tokens(NAME, *(f"value {number}" for number in range(1_200)))
    cell, told = built.cell, defaultdict[str, list[tuple[int, int]]](list)
    row = stored_epochs(cell.store)[0]
    folder = tmp_path / "backups"
    with alone(folder):
        made = write_backup(
            cell.store, row, cell.keyring.epoch(1), folder, values=True,
            seen=lambda what, *far: told[what].append(far),
        )  # fmt: skip
    for one in made.files:
        for what, total in (("write", one.rows), ("check", one.bytes)):
            far = told.pop(f"{what} {one.part}")
            assert far == sorted(far)
            assert far[-1] == (total, total)
            assert {of for _, of in far} == {total}
            assert len(far) > 1
    assert not told
