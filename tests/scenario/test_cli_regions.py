"""Regions from the shell: list, look-ups, transfers over HTTP and on this host; the directory's own."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import PATIENCE_S, Service, coatcheck_here, initialise
from vault.cli.templates import DEVELOPMENT, DEVELOPMENT_SCHEMA
from vault.codes import CODES

NAME = "customer.name"
SETTINGS = (
    DEVELOPMENT.replace("[cell.eu]\n", '[cell.eu]\ntransfer_to = ["us"]\n')
    + """
[directory]
database = "sqlite:///directory.db"
kms = "local:keys/directory"
half_stores = ["keys/directory"]
key_file = "keys/directory/development.key"
"""
)
SCHEMA = DEVELOPMENT_SCHEMA.replace('protection = "vaulted"', 'protection = "vaulted"\ntransfer_to = ["us"]')
Done = subprocess.CompletedProcess[str]


def deployment(folder: Path) -> Service:
    folder.mkdir(parents=True)
    (folder / "coatcheck.toml").write_text(SETTINGS, encoding="utf-8")
    (folder / "schema.toml").write_text(SCHEMA, encoding="utf-8")
    initialise(folder)
    return Service(folder)


def out(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def code(done: Done) -> str:
    assert done.returncode != 0
    return done.stderr.split(": ")[1]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = deployment(tmp_path_factory.mktemp("regions") / "deployment")
    assert out(coatcheck_here("directory", "create", "--json", "--config", made.folder)) == {"created": True}
    assert out(coatcheck_here("directory", "create", "--json", "--config", made.folder)) == {"created": False}
    try:
        made.start()
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def officer(service: Service) -> dict[str, str]:
    admin = service.credential("admin_key")
    body = {"kind": "operator", "name": "officer", "roles": ["privacy-officer"],
            "permissions": ["directory:lookup"]}  # fmt: skip
    id_ = service.call("POST", "principals", body, key=admin).json()["id"]
    key = service.call("POST", f"principals/{id_}/keys", {}, key=admin).json()["credential"]
    return {"COATCHECK_URL": service.url, "COATCHECK_REGION": "eu", "COATCHECK_KEY": key}


def tokens(service: Service, person: str, count: int = 3) -> list[str]:
    body = {
        "field": NAME,
        "values": [f"{person} {one}" for one in range(count)],
        "subjects": [person] * count,
    }
    made = service.call("POST", "tokenize", body)
    assert made.status == 200, made.body
    return list(made.json()["tokens"])


def found(more: dict[str, str], person: str) -> Any:
    """A person's region, once a worker has listed the person."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        done = coatcheck_here("region", "lookup", "--json", given=person, more=more)
        if done.returncode == 0:
            return json.loads(done.stdout)
        assert code_of(done) == "not_found"
        time.sleep(0.3)
    raise AssertionError("nobody lists the person")


def code_of(done: Done) -> str:
    return str(json.loads(done.stderr.splitlines()[-1])["code"])


def test_list_and_lookup(service: Service, officer: dict[str, str]) -> None:
    rows = out(coatcheck_here("region", "list", "--json", more=officer))
    assert [(row["region"], row.get("here")) for row in rows] == [("eu", True), ("us", True)]
    here = out(coatcheck_here("region", "list", "--json", "--config", service.folder))
    assert [(row["region"], row["here"]) for row in here] == [("eu", True), ("us", True)]
    tokens(service, "person-1")
    answer = found(officer, "person-1")
    assert (answer["region"], "also" in answer) == ("eu", False)
    assert answer["url"].startswith("http://127.0.0.1:")
    for given in ("", "one\ntwo"):
        assert coatcheck_here("region", "lookup", given=given, more=officer).returncode == 2
    plain = officer | {"COATCHECK_KEY": service.credential()}
    assert code(coatcheck_here("region", "lookup", given="person-1", more=plain)) == "permission_denied"


def test_transfer_over_http(service: Service, officer: dict[str, str]) -> None:
    old = tokens(service, "person-2")
    words = ["region", "transfer", "--to", "us", "--field", NAME, "--legal-basis", "relocation", "--json"]
    assert code(coatcheck_here(*words[:-1], given="person-2", more=officer)) == "usage"  # nobody to ask
    done = out(coatcheck_here(*words, "--yes", "--watch", "--move", given="person-2", more=officer))
    assert (done["state"], done["moved"], done["mode"]) == ("done", 3, "move")
    status = out(coatcheck_here("region", "status", done["id"], "--json", more=officer))
    assert status == done
    rows = out(coatcheck_here("region", "tokens", done["id"], "--json", more=officer))
    assert {row["old"] for row in rows} == set(old)
    assert len({row["new"] for row in rows} | set(old)) == 6
    shown = coatcheck_here("region", "tokens", done["id"], "--limit", "1", more=officer)
    assert "--cursor sub_" in shown.stderr
    job = out(coatcheck_here("jobs", "watch", done["job"], "--json", more=officer))
    assert (job["kind"], job["waits_for"]) == ("transfer", "pickup")
    refused = coatcheck_here(*words[:3], "mars", *words[4:-1], "--yes", given="person-2", more=officer)
    assert code(refused) == "residency_refused"
    assert coatcheck_here(*words, "--yes", "--legal-basis", "x", given="p", more=officer).returncode == 2
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and "also" not in found(officer, "person-2"):
        time.sleep(0.3)
    assert [row["region"] for row in found(officer, "person-2")["also"]] == ["us"]


def test_on_this_host(tmp_path: Path) -> None:
    service = deployment(tmp_path / "deployment")
    here = ("--config", service.folder, "--json")
    assert code_of(coatcheck_here("directory", "status", *here)) == "directory_unavailable"
    assert checked(here)["code"] == "directory_unavailable"
    out(coatcheck_here("directory", "create", *here))
    assert checked(here)["result"] == "ok"
    service.start()
    old = tokens(service, "person-3")
    assert service.stop() == 0
    assert code_of(coatcheck_here("region", "lookup", *here, "--region", "eu", given="nobody")) == "not_found"
    words = ("region", "transfer", "--to", "us", "--field", NAME, "--legal-basis", "contract", "--yes")
    done = out(coatcheck_here(*words, *here, "--region", "eu", given="person-3"))
    assert (done["state"], done["moved"]) == ("done", 3)
    assert out(coatcheck_here("region", "status", done["id"], *here, "--region", "eu"))["moved"] == 3
    rows = out(coatcheck_here("region", "tokens", done["id"], *here, "--region", "eu"))
    assert {row["old"] for row in rows} == set(old)
    out(coatcheck_here("worker", "--once", *here))
    out(coatcheck_here("worker", "--once", *here))
    standing = out(coatcheck_here("directory", "status", *here))
    assert [(row["region"], row["key"]) for row in standing] == [("eu", 1), ("us", 1)]
    assert out(coatcheck_here("directory", "rotate", "--yes", *here)) == {"key": 2}
    assert (checked(here)["result"], "eu, us" in checked(here)["detail"]) == ("risky", True)
    assert out(coatcheck_here("directory", "relist", *here)) == {"regions": 2}
    assert out(coatcheck_here("directory", "drop-region", "us", "--yes", *here))["entries"] >= 0
    assert code_of(coatcheck_here("directory", "drop-region", "us", "--yes", *here)) == "not_found"


def checked(here: tuple[Any, ...]) -> Any:
    """What `doctor` says of the directory."""
    rows = json.loads(coatcheck_here("doctor", *here).stdout)
    return next(row for row in rows if row["check"] == "directory")


def test_without_a_directory(tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    initialise(folder)
    for words in (["create"], ["status"], ["rotate", "--yes"], ["relist"]):
        done = coatcheck_here("directory", *words, "--config", folder)
        assert (code(done), done.returncode) == ("config_invalid", CODES["config_invalid"].exit)
    done = coatcheck_here("region", "lookup", "--config", folder, "--region", "eu", given="x")
    assert code(done) == "operation_unsupported"
