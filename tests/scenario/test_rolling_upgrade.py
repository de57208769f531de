"""A newer program beside an older one on PostgreSQL: the older goes on, where nothing is passed over.

The newer program is this one with migrations of its own: one that older programs go on beside, and one that
they do not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.roomy import ONE_CELL, SSN, initialise_roomy
from tests.support.servers import server
from tests.support.service import PATIENCE_S, ROOT, Service, coatcheck
from vault.codes import Exit
from vault.store import migrations

MIGRATION: Final = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{number}", "{before}"
branch_labels = depends_on = None
online = {online}


def upgrade():
    op.add_column("grants", sa.Column("later_{number}", sa.Integer()), schema="record")


def downgrade():
    op.drop_column("grants", "later_{number}", schema="record")
"""


def newer(folder: Path, number: str, before: str, *, online: bool, program: Path = ROOT) -> Path:
    """A copy of a program with one more migration."""
    for name in ("vault", "migrations"):  # with what has been compiled of it
        shutil.copytree(program / name, folder / name)
    text = MIGRATION.format(number=number, before=before, online=online)
    (folder / "migrations" / "versions" / f"{number}_later.py").write_text(text)
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Service]:
    with server() as postgres:
        service = Service(tmp_path / "deployment")
        initialise_roomy(service.folder, ONE_CELL.replace("sqlite:///eu.db", postgres.database("eu")))
        service.start()
        try:
            yield service
        finally:
            service.kill()


def upgrade(service: Service, program: Path) -> subprocess.CompletedProcess[str]:
    return coatcheck(
        *("cell", "upgrade", "--yes", "--json", "--config", service.folder),
        more={"PYTHONPATH": str(program)},
        cwd=program,
    )


def works(service: Service) -> int:
    return service.call("POST", "tokenize", {"field": SSN, "values": ["123-45-6789"]}).status


def test_services_go_on_beside_a_migration_that_is_online(old: Service, tmp_path: Path) -> None:
    after = newer(tmp_path / "newer", "9001", migrations.newest(), online=True)
    answers: Counter[int] = Counter()
    stop = threading.Event()

    def load() -> None:
        while not stop.wait(0.1):  # the others have to start meanwhile
            answers[works(old)] += 1

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    done = upgrade(old, after)
    new = Service(old.folder, program=after)
    try:
        new.start()
        assert works(new) == 200
        new.stop()  # else the turn below waits until its lease has run out
    finally:
        stop.set()
        for client in clients:
            client.join(PATIENCE_S)
        new.kill()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == ["9001"]
    assert set(answers) == {200}
    old.stop()
    old.start()  # and once more, while there are some of them
    assert works(old) == 200
    # Jobs are for the newer program: this one would pass over what it does not know.
    asked = old.call("POST", "epochs/turn", {}, key=old.credential("admin_key"))
    assert asked.status == 202, asked.body
    refused = coatcheck("epoch", "turn", "--yes", "--config", old.folder)
    assert (refused.returncode, "migration_required" in refused.stderr) == (Exit.CONFIG, True)
    job: Any = asked.json()["id"]
    done = coatcheck("jobs", "show", job, "--json", "--config", old.folder)
    assert json.loads(done.stdout)["state"] == "queued"
    turned = coatcheck(
        *("epoch", "turn", "--yes", "--drop-replays", "--config", old.folder),
        more={"PYTHONPATH": str(after)},
        cwd=after,
    )
    assert turned.returncode == 0, turned.stderr
    assert works(old) == 200


def test_a_migration_that_is_not_waits_until_all_have_stopped(old: Service, tmp_path: Path) -> None:
    beside = newer(tmp_path / "beside", "9001", migrations.newest(), online=True)
    after = newer(tmp_path / "after", "9002", "9001", online=False, program=beside)
    refused = upgrade(old, after)
    assert (refused.returncode, "cell_locked" in refused.stderr) == (Exit.CONFLICT, True)
    assert works(old) == 200
    old.stop()
    assert upgrade(old, after).returncode == 0
    for program in (ROOT, beside):  # neither knows what is needed now
        service = Service(old.folder, program=program)
        process = service.spawn()
        assert process.wait(PATIENCE_S) == Exit.CONFIG
        assert "migration_required" in service.log()
    new = Service(old.folder, program=after)
    new.start()
    try:
        assert works(new) == 200
    finally:
        new.kill()
