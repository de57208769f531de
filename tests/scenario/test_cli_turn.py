"""Turning the keys from the shell: over HTTP, and on this host; what jobs, check and doctor say."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.support.service import Service, coatcheck, coatcheck_here, initialise, running
from tests.support.turns import slow_pieces
from vault.cli.jobs import line
from vault.codes import Exit
from vault.services.processes import LEASE_S

EU = ("--region", "eu")


def custodian(service: Service) -> dict[str, str]:
    """The environment of somebody who may turn the epoch and nothing else."""
    admin = service.credential("admin_key")
    body = {"kind": "operator", "name": "custodian", "roles": ["cell-custodian"]}
    # On this development cell the admin may make one.
    made = service.call("POST", "principals", body, key=admin)
    assert made.status == 201, made.body
    key = service.call("POST", f"principals/{made.json()['id']}/keys", {}, key=admin).json()["credential"]
    return {"COATCHECK_URL": service.url, "COATCHECK_REGION": "eu", "COATCHECK_KEY": key}


def data(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_over_http_by_a_custodian(tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    with running(folder) as service:
        token = service.call("POST", "tokenize", {"field": "customer.name", "values": ["Ada"]}).json()[
            "tokens"
        ][0]
        more = custodian(service)
        done = coatcheck("epoch", "turn", "--yes", "--watch", "--json", more=more)
        job = data(done)
        assert (job["kind"], job["state"], job["done"]) == ("epoch.turn", "done", job["total"])
        assert "100%" in done.stderr
        listed = coatcheck("epoch", "list", "--json", more=more)
        epochs = json.loads(listed.stdout)
        assert [epoch["state"] for epoch in epochs] == ["active", "destroyed"]
        assert set(epochs[0]["turn"]["steps"]) >= {"create", "flip", "close", "root"}
        assert data(coatcheck("jobs", "show", str(job["id"]), "--json", more=more)) == job
        refused = coatcheck("jobs", "cancel", str(job["id"]), more=more)
        assert (refused.returncode, "version_conflict" in refused.stderr) == (Exit.CONFLICT, True)
        assert coatcheck("jobs", "list", more=more).stdout.count("job_") == 1
        reads = service.call(
            "POST", "tokenize", {"field": "customer.name", "values": ["x"]}, key=more["COATCHECK_KEY"]
        )
        assert reads.status == 403
        grant = service.call(
            "POST",
            "grants",
            {
                "agent": "agent:demo",
                "purpose": "support",
                "scope": [{"fields": ["customer.name"], "operations": ["reveal"], "delivery": ["plain"]}],
                "limits": {"uses": 2},
            },
        ).json()
        body = {"purpose": "support", "field": "customer.name", "tokens": [token]}
        assert service.call("POST", "detokenize", body, key=grant["credential"]).json()["values"] == ["Ada"]
        assert not (folder / "keys" / "eu" / "half-000001").exists()
        others = service.call("POST", "epochs/turn", {}, key=service.credential())
        assert others.status == 403


def test_on_this_host(tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    initialise(folder)
    here = ("--config", folder, *EU)
    for number in (2, 3):
        assert data(coatcheck_here("epoch", "turn", "--yes", "--json", *here))["state"] == "done"
        epochs = json.loads(coatcheck_here("epoch", "list", "--json", *here).stdout)
        assert epochs[0]["epoch"] == number
    checked = json.loads(coatcheck_here("epoch", "check", "--json", *here).stdout)
    assert [(row["epoch"], row["result"]) for row in checked] == [
        (3, "opens"), (2, "destroyed"), (1, "destroyed"),
    ]  # fmt: skip
    assert data(coatcheck_here("worker", "--once", "--json", "--config", folder)) == {"jobs": 0}
    assert coatcheck_here("epoch", "turn", *here).returncode != 0  # nobody said yes
    for half in (folder / "keys" / "eu").glob("half-000003"):
        half.rename(half.with_name("away"))
    gone = coatcheck_here("epoch", "check", *here)
    assert (gone.returncode, "key_unavailable" in gone.stderr) == (Exit.UNAVAILABLE, True)


def test_on_this_host_for_longer_than_a_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "deployment"
    initialise(folder)
    passed = slow_pieces(monkeypatch)
    done = coatcheck_here("epoch", "turn", "--yes", "--json", "--config", folder, *EU)
    assert data(done)["state"] == "done"
    assert passed[0] > 3 * LEASE_S


def test_a_turn_on_schedule_and_what_doctor_says(tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    initialise(folder)
    doctor = coatcheck_here("doctor", "--config", folder)
    assert "no cryptoperiod is set" in doctor.stdout
    config = folder / "coatcheck.toml"
    config.write_text(config.read_text().replace("[cell.eu]\n", '[cell.eu]\nrotation = "PT1H"\n'))
    assert "inside its cryptoperiod of PT1H" in coatcheck_here("doctor", "--config", folder).stdout
    database = folder / "eu.db"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE cu_epochs SET activated_at = 1, created_at = 1")
    assert "its cryptoperiod of PT1H is over" in coatcheck_here("doctor", "--config", folder).stdout
    assert data(coatcheck_here("worker", "--once", "--json", "--config", folder))["jobs"] != 0
    epochs = json.loads(coatcheck_here("epoch", "list", "--json", "--config", folder, *EU).stdout)
    assert epochs[0]["epoch"] == 2
    assert "period_end" in epochs[0]


def test_a_job_in_one_line() -> None:
    job = {
        "state": "running", "step": "carry", "done": 12_345, "total": 24_690, "rate": 8_000.0, "eta": 3_700,
    }  # fmt: skip
    assert (
        line(job) == "[############------------]  50%  running  carry  12,345/24,690  8,000/s  01:01:40 left"
    )
    waits = {**job, "rate": None, "eta": None, "waits_for": "processes", "error": "key_unavailable"}
    assert line(waits).endswith("12,345/24,690  waits for processes  key_unavailable")
    assert line({"state": "queued", "step": "create", "done": 0, "total": 0}).startswith("[----")
