"""P14: hostile bodies at every route are refused by a problem document that repeats nothing of them.

The routes are those of the table, so a new one is tried here without being named. COATCHECK_FULL=1 sends
every body; else each route is sent one in three, others for each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.harness.doors import (
    BY_NAME,
    WITH_BODY,
    Doors,
    bodies_taken,
    complaints,
    initialise_doors,
    undocumented,
)
from tests.harness.hostile import MARK, bodies, found

FULL = os.environ.get("COATCHECK_FULL") == "1"


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    service = initialise_doors(tmp_path_factory.mktemp("hostile") / "deployment")
    try:
        service.start()
        yield Doors(service)
        assert service.process is not None
        assert service.process.poll() is None
        log = service.log()
        assert not found(log), [line for line in log.splitlines() if MARK in line][:3]
        assert "Traceback" not in log
    finally:
        service.kill()


@pytest.mark.parametrize("name", WITH_BODY)
def test_a_hostile_body_is_refused_and_not_repeated(doors: Doors, name: str) -> None:
    route = BY_NAME[name]
    wrong, statuses, turn = [], [], sum(name.encode())
    for number, document in enumerate(bodies_taken(route)):
        for place, (what, body) in enumerate(bodies(document)):
            if not FULL and (place + turn) % 3:
                continue
            answer = doors.send(route, body)
            statuses.append(answer.status)
            wrong += [f"{number} {what}: {complaint}" for complaint in complaints(answer)]
            wrong += [f"{number} {what}: {code} is not documented" for code in undocumented(route, answer)]
    assert wrong == []
    assert sum(status >= 400 for status in statuses) > len(statuses) // 2
