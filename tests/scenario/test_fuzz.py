"""P14: 15,000 fuzzed requests: no 5xx, no code that is not documented, no echo, bounded memory.

COATCHECK_FULL=1 sends a million; `python -m tests.harness.fuzz --requests N --seed S` any number.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.harness.doors import BY_NAME, WITH_BODY, Doors, initialise_doors
from tests.harness.fuzz import Maker, Request, judged, run
from tests.harness.hostile import mark
from tests.support.service import Answer
from vault.codes import CODES

REQUESTS = 1_000_000 if os.environ.get("COATCHECK_FULL") else 15_000
ROUTE = BY_NAME["GET whoami"]


def test_no_request_is_too_much(tmp_path: Path) -> None:
    report = run(tmp_path / "deployment", REQUESTS, 14)
    assert report.findings == []
    assert report.requests >= REQUESTS - 10
    assert report.routes.keys() == BY_NAME.keys()
    assert min(report.routes[name] for name in WITH_BODY) > REQUESTS // 100
    assert report.statuses.keys() >= {200, 201, 400, 401, 403, 404, 409, 415, 421, 422}
    assert len(report.codes) >= 30


@pytest.mark.parametrize(
    ("status", "more", "wrong"),
    [
        (403, {}, False),
        (500, {"code": "internal"}, True),
        (503, {"code": "too_busy"}, True),
        (403, {"code": "no_such_code"}, True),
        (403, {"code": "grant_invalid"}, True),
        (403, {"detail": mark()}, True),
        (400, {}, True),
    ],
)
def test_what_is_wrong_is_seen(status: int, more: dict[str, str], wrong: bool) -> None:
    document = {
        "type": "urn:coatcheck:error:permission_denied", "code": "permission_denied", "status": status,
        "title": CODES["permission_denied"].sentence, "retry": "never", "request": "req_0",
    }  # fmt: skip
    headers = [
        ("content-type", "application/problem+json"), ("cache-control", "no-store"),
        ("x-request-id", "req_0"), ("x-content-type-options", "nosniff"),
    ]  # fmt: skip
    answer = Answer(status, headers, json.dumps(document | more).encode())
    assert (judged(ROUTE, Request("GET whoami", "GET", b"", True), answer) != []) is wrong


def test_requests_are_made_again_from_a_seed(tmp_path: Path) -> None:
    service = initialise_doors(tmp_path / "deployment")
    service.start()
    try:
        doors = Doors(service)
        made = [[Maker(doors, {}, seed).make().raw for _ in range(20)] for seed in ("1", "1", "2")]
    finally:
        service.kill()
    assert made[0] == made[1] != made[2]
