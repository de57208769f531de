"""Schemathesis, with all of its checks, over the OpenAPI document that the service serves.

COATCHECK_FULL=1 makes many more examples of every operation.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.doors import Doors, initialise_doors
from tests.support.service import PATIENCE_S
from vault.api.app import ROUTES
from vault.api.route import Route

EXAMPLES: Final = 400 if os.environ.get("COATCHECK_FULL") else 12
# JSON Schema cannot say that a body has columns or rows, nor what a checksum or a name is: what fits the
# schema may be refused with these, and every other refusal of it is a fault.
ACCEPTED: Final = [200, 201, 202, 400, 401, 403, 404, 409, 422, 423, 429]


REVOKES: Final = "/revoke$"
NO_DELETE: Final = ("--exclude-method", "DELETE")


def takes_away(route: Route) -> bool:
    """Whether it may end the credential that it is called with."""
    return route.method == "DELETE" or re.search(REVOKES, route.path) is not None


@pytest.fixture
def doors(tmp_path: Path) -> Iterator[Doors]:
    service = initialise_doors(tmp_path / "deployment")
    try:
        service.start()
        yield Doors(service)
    finally:
        service.kill()


def schemathesis(doors: Doors, folder: Path, location: str, *more: str) -> tuple[int, str]:
    """Runs it; its exit code and what it printed."""
    by_other = [
        (f"{route.method} /v1/{{region}}/{route.path}", doors.credential(route))
        for route in ROUTES
        if route.who and doors.credential(route) != doors.all_powerful
    ]
    settings = f"""
[parameters]
region = "eu"

[checks.positive_data_acceptance]
expected-statuses = {ACCEPTED}
"""
    for name, credential in by_other:
        settings += f"""
[[operations]]
include-name = "{name}"
headers = {{ Authorization = "Bearer {credential}" }}
"""
    (folder / "schemathesis.toml").write_text(settings, encoding="utf-8")
    program = Path(sys.executable).parent / "schemathesis"
    done = subprocess.run(
        [
            str(program), "--config-file", "schemathesis.toml", "run", location, "--checks", "all",
            "--url", doors.service.url, "--header", f"Authorization: Bearer {doors.all_powerful}",
            "--max-examples", str(EXAMPLES), "--seed", "7", "--workers", "2", "--continue-on-failure",
            "--generation-database", "none", "--no-color", *more,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE_S,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def numbers(said: str) -> tuple[int, int]:
    """How many operations were tested, and with how many cases."""
    tested, generated = re.search(r"Tested: (\d+)", said), re.search(r"(\d+) generated", said)
    return int(tested[1]) if tested else 0, int(generated[1]) if generated else 0


def test_no_check_fails(doors: Doors, tmp_path: Path) -> None:
    """Everything but what takes away from the run what it works with."""
    document = f"{doors.service.url}/openapi.json"
    code, said = schemathesis(doors, tmp_path, document, "--exclude-path-regex", REVOKES, *NO_DELETE)
    assert code == 0, said[-20_000:]
    operations, cases = numbers(said)
    assert operations == len([route for route in ROUTES if not takes_away(route)]), said[-3_000:]
    assert cases > 500, said[-3_000:]
    assert "Authentication failed" not in said, said[-3_000:]


def test_no_check_fails_of_what_takes_away(doors: Doors, tmp_path: Path) -> None:
    document = f"{doors.service.url}/openapi.json"
    for chosen in (("--include-path-regex", REVOKES), ("--include-method", "DELETE")):
        code, said = schemathesis(doors, tmp_path, document, *chosen)
        assert code == 0, said[-20_000:]
        assert numbers(said)[0] > 0
    assert doors.service.get("/livez").status == 200


@pytest.mark.parametrize("lie", ["a status that is not described", "a member of another type"])
def test_a_document_that_lies_is_found(doors: Doors, tmp_path: Path, lie: str) -> None:
    """The control: the same run over a document that says something else."""
    document: Any = doors.service.get("/openapi.json").json()
    if "status" in lie:
        del document["paths"]["/v1/{region}/schema"]["get"]["responses"]["200"]
    else:
        document["components"]["schemas"]["WhoAmI"]["properties"]["tenant"] = {"type": "integer"}
    (tmp_path / "lying.json").write_text(json.dumps(document), encoding="utf-8")
    code, said = schemathesis(
        doors, tmp_path, "lying.json", "--include-method", "GET", "--phases", "coverage"
    )
    assert code == 1, said[-3_000:]
    assert "Undocumented status code" in said or "Response violates schema" in said
