"""P15 on PostgreSQL: four processes; one of them, the server, or all of them are killed, and nothing is lost.

COATCHECK_FULL=1 strikes 30 times; `python -m tests.harness.crash_server --kills N --seed S` any number.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.harness import checks
from tests.harness.crash_server import ServerCrash
from tests.support.servers import server

KILLS = 30 if os.environ.get("COATCHECK_FULL") else 3


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    with server() as postgres:
        crash = ServerCrash(tmp_path / "deployment", postgres, 15, lambda _: None)
        try:
            report = crash.run(KILLS)
            assert report.findings == []
            assert sum(crash.struck.values()) == KILLS
            assert min(crash.struck.values()) == KILLS // 3
            assert report.acknowledged > 5 * KILLS
            # The control: what was never there, or was taken away, is found in the copy that is looked at.
            database = crash._database()
            assert checks.halves(database, checks.events(database)) == []
            postgres.run("DELETE FROM record.audit WHERE number = 3", "eu")
            broken = crash._database()
            assert checks.gaps(broken, crash.journal, checks.events(broken)) != []
        finally:
            crash.close()
