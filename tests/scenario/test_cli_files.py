"""tokenize-file against a running service: byte-identical after kills, rejects, vaulted columns, bad files.

Three kills; twenty with COATCHECK_FULL=1.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import COATCHECK, PATIENCE_S, ROOT, Service, coatcheck, environment, running

KILLS = 20 if os.environ.get("COATCHECK_FULL") == "1" else 3
MANY = 400_000  # rows: several blocks
SSN = "customer.ssn"
NAME = "customer.name"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("files") / "deployment") as made:
        yield made


def settings(service: Service) -> dict[str, str]:
    return {
        "COATCHECK_URL": service.url,
        "COATCHECK_KEY": service.credential(),
        "COATCHECK_REGION": "eu",
        "PYTHONPATH": str(ROOT),
    }


def tokenize_file(
    service: Service, source: Path, target: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    return coatcheck(
        "tokenize-file", "--in", source, "--out", target, *more, "--json", more=settings(service)
    )


def records(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))


def write(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path


def test_columns_become_tokens_and_all_else_stays(service: Service, tmp_path: Path) -> None:
    rows = [["id", "ssn", "name", "note"]]
    rows += [[str(n), f"{n:09d}", f"Ada {n}", 'a "note",\nof two lines'] for n in range(1, 50)]
    rows += [["50", "", "", "né"]]
    source, target = write(tmp_path / "in.csv", rows), tmp_path / "out.csv"
    columns = ("--column", f"ssn={SSN}", "--column", f"name={NAME}", "--subject-column", "id")
    done = tokenize_file(service, source, target, *columns)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "rows": 50,
        "rejected_rows": 0,
        "resumed": False,
        "key_versions": {SSN: 1},
    }
    made = records(target)
    answer = service.call("POST", "tokenize", {"field": SSN, "values": [row[1] for row in rows[1:-1]]})
    assert [row[1] for row in made[1:]] == [*answer.json()["tokens"], ""]
    assert [row[2][:4] for row in made[1:]] == ["tok_"] * 49 + [""]
    assert [[row[0], row[3]] for row in made] == [[row[0], row[3]] for row in rows]
    scope = [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}]
    body = {"agent": "agent:demo", "purpose": "support", "scope": scope, "limits": {"uses": 5}}
    grant = service.call("POST", "grants", body).json()["credential"]
    asked = {"purpose": "support", "items": [{"field": NAME, "token": made[3][2], "subject": "3"}]}
    assert service.call("POST", "detokenize", asked, key=grant).json()["items"] == [{"value": "Ada 3"}]


def test_killed_again_and_again_the_file_is_the_same(service: Service, tmp_path: Path) -> None:
    chosen = random.Random(KILLS)
    rows = [["id", "ssn", "note"], *([str(n), f"{n:09d}", f'"{n}"\nx'] for n in range(MANY))]
    source, target = write(tmp_path / "in.csv", rows), tmp_path / "out.csv"
    begun = time.monotonic()
    whole = tokenize_file(service, source, tmp_path / "whole.csv", "--column", f"ssn={SSN}")
    took = time.monotonic() - begun
    assert whole.returncode == 0, whole.stderr
    files = ("--in", str(source), "--out", str(target))
    command = [*COATCHECK, "tokenize-file", *files, "--column", f"ssn={SSN}", "--json"]
    killed = 0
    while killed < KILLS:
        running_ = subprocess.Popen(
            command, cwd=ROOT, env=environment(settings(service)), stdout=subprocess.PIPE
        )
        try:
            running_.wait(chosen.uniform(0.1, 1.0) * took)
        except subprocess.TimeoutExpired:
            running_.kill()
            running_.wait(PATIENCE_S)
            killed += 1
        else:
            assert running_.returncode == 0
        assert running_.stdout is not None
        running_.stdout.close()
    done = tokenize_file(service, source, target, "--column", f"ssn={SSN}")
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv", "whole.csv"]


def test_rejects_are_told_by_row_and_code(service: Service, tmp_path: Path) -> None:
    rows = [["id", "ssn"], ["1", "123456789"], ["2", "12-secret"], ["3", "078051120"], ["4", "9"]]
    source, target = write(tmp_path / "in.csv", rows), tmp_path / "out.csv"
    done = tokenize_file(service, source, target, "--column", f"ssn={SSN}")
    assert done.returncode == 3
    assert "value_alphabet" in done.stderr
    assert "secret" not in done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == [source]
    rejects = tmp_path / "rejects.csv"
    done = tokenize_file(service, source, target, "--column", f"ssn={SSN}", "--rejects", str(rejects))
    assert done.returncode == 8
    assert json.loads(done.stdout)["refused"] == {"ssn: value_alphabet": 1, "ssn: value_length": 1}
    assert rejects.read_text() == "row,column,code\n2,ssn,value_alphabet\n4,ssn,value_length\n"
    assert [row[0] for row in records(target)] == ["id", "1", "3"]


@pytest.mark.parametrize(
    ("data", "options", "exit_", "code"),
    [
        (b"id,ssn\n1\n", (f"ssn={SSN}",), 3, "file_malformed"),
        (b"id,ssn\n1,\xff\n", (f"ssn={SSN}",), 3, "file_malformed"),
        (b'id,ssn\n1,"2\n', (f"ssn={SSN}",), 3, "file_malformed"),
        (b"id,ssn\n1,2\n", (f"nope={SSN}",), 2, "usage"),
        (b"id,ssn\n1,2\n", ("ssn",), 2, "usage"),
        (b"id,ssn\n1,123456789\n", ("ssn=no.such.field",), 6, "not_found"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_left(
    service: Service, tmp_path: Path, data: bytes, options: tuple[str, ...], exit_: int, code: str
) -> None:
    source = tmp_path / "in.csv"
    source.write_bytes(data)
    columns = [part for option in options for part in ("--column", option)]
    done = tokenize_file(service, source, tmp_path / "out.csv", *columns)
    assert (done.returncode, json.loads(done.stderr)["code"]) == (exit_, code)
    assert list(tmp_path.iterdir()) == [source]
