"""Rules and reviews as people meet them: over HTTP, from the shell, and in a build without a cell."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import Service, coatcheck_here, running
from vault.codes import Exit
from vault.policy.attribute_rules import DEFAULT

NIGHT = (
    DEFAULT + '@id("night") forbid (principal, action in Action::"use", resource) when {context.hour < 6};\n'
)
CLOSED = DEFAULT + (
    '@id("closed") forbid (principal, action == Action::"reveal", resource in Group::"customer");\n'
)
CASES = """
[[cases]]
principal = "agent:support-bot"
action = "reveal"
field = "customer.name"
expect = "permit"
[cases.context]
purpose = "refund"
hour = 12

[[cases]]
principal = "agent:support-bot"
action = "reveal"
field = "customer.name"
expect = "forbid"
[cases.context]
hour = 3
"""
SCHEMA = '[purposes.refund]\nlegal_basis = "contract"\n'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("oversight") / "deployment") as served:
        yield served


def as_admin(service: Service) -> dict[str, str]:
    key = service.credential("admin_key")
    return {"COATCHECK_URL": service.url, "COATCHECK_REGION": "eu", "COATCHECK_KEY": key}


def write(folder: Path, **files: str) -> dict[str, str]:
    for name, text in files.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in files}


def shell(service: Service, *words: str) -> Any:
    done = coatcheck_here(*words, "--json", more=as_admin(service))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_cases_in_a_build(tmp_path: Path) -> None:
    """No cell, no service: files alone."""
    at = write(
        tmp_path, cases=CASES, night=NIGHT, default=DEFAULT, schema=SCHEMA, empty="", broken="permit ("
    )
    words = ("policy", "test", at["cases"], "--schema", at["schema"], "--policy")
    good = coatcheck_here(*words, at["night"])
    assert (good.returncode, good.stdout.count("default.permit")) == (0, 1), good.stderr
    assert "night" in good.stdout
    bad = coatcheck_here(*words, at["default"], "--json")
    assert bad.returncode == Exit.CONFLICT
    assert json.loads(bad.stdout)["wrong"] == 1
    assert json.loads(bad.stderr)["code"] == "cases_wrong"
    for cases, rules, code in (
        (at["cases"], at["broken"], "policy_refused"),
        (at["empty"], at["night"], "body_malformed"),
        (at["schema"], at["night"], "body_malformed"),
        (str(tmp_path / "none"), at["night"], "host_permissions"),
    ):
        done = coatcheck_here("policy", "test", cases, "--policy", rules, "--schema", at["schema"])
        assert code in done.stderr
    alone = coatcheck_here("policy", "test", at["cases"], "--schema", at["schema"])
    assert (alone.returncode, "usage" in alone.stderr) == (Exit.USAGE, True)


def test_rules_from_a_plan_to_a_refusal_that_is_explained(service: Service, tmp_path: Path) -> None:
    at = write(tmp_path, closed=CLOSED, default=DEFAULT, wrong=CLOSED + "permit (", cases=CASES)
    made = service.call("POST", "tokenize", {"field": "customer.name", "values": ["Ada"]}).json()
    grant = service.call(
        "POST",
        "grants",
        {
            "agent": "agent:demo",
            "purpose": "support",
            "limits": {"uses": 5},
            "scope": [{"fields": ["customer.name"], "operations": ["reveal"], "delivery": ["plain"]}],
        },
    ).json()["credential"]
    asked = {"purpose": "support", "field": "customer.name", "tokens": made["tokens"]}
    assert service.call("POST", "detokenize", asked, key=grant).json()["values"] == ["Ada"]
    wrong = coatcheck_here("policy", "plan", at["wrong"], more=as_admin(service))
    assert "the text is not one of Cedar policies" in wrong.stderr
    plan = shell(service, "policy", "plan", at["closed"])
    assert plan["added"] == ["closed"]
    asks = coatcheck_here("policy", "apply", at["closed"], more=as_admin(service))
    assert asks.returncode != 0  # nobody is there to say yes
    assert shell(service, "policy", "apply", at["closed"], "--yes")["version"] == 1
    refused = service.call("POST", "detokenize", asked, key=grant)
    document = refused.json()
    assert (refused.status, document["code"], document["policies"]) == (403, "policy_denied", ["closed"])
    told = shell(service, "policy", "explain", document["decision"])
    assert (told["check"], told["policies"], told["actor"]) == ("policy", ["closed"], "agent:demo")
    what_if = ("policy", "explain", "--principal", "agent:demo", "--field", "customer.name", "--action")
    assert shell(service, *what_if, "reveal")["outcome"] == "denied"
    assert shell(service, *what_if, "mask")["outcome"] == "allowed"
    tried = coatcheck_here("policy", "test", at["cases"], more=as_admin(service))
    assert (tried.returncode, "closed" in tried.stdout) == (Exit.CONFLICT, True)
    assert coatcheck_here("policy", "show", more=as_admin(service)).stdout == CLOSED
    assert "entity Field" in coatcheck_here("policy", "show", "--schema", more=as_admin(service)).stdout
    shell(service, "policy", "apply", at["default"], "--yes")
    assert service.call("POST", "detokenize", asked, key=grant).json()["values"] == ["Ada"]
    assert [row["version"] for row in shell(service, "policy", "history")] == [2, 1]
    assert shell(service, "policy", "show", "--version", "1")["policies"] == ["default.permit", "closed"]


def person(service: Service, name: str) -> str:
    admin = service.credential("admin_key")
    body = {"kind": "operator", "name": name, "roles": ["reviewer"]}
    made = service.call("POST", "principals", body, key=admin).json()
    return str(service.call("POST", f"principals/{made['id']}/keys", {}, key=admin).json()["credential"])


def test_a_review_over_http_that_the_worker_ends(service: Service, tmp_path: Path) -> None:
    keys = {f"operator:{name}": person(service, name) for name in ("eve", "joe")}
    admin = service.credential("admin_key")
    body = {"kind": "service", "name": "old", "permissions": ["audit:read", "grant:list", "job:read"]}
    old = service.call("POST", "principals", body, key=admin).json()
    key = service.call("POST", f"principals/{old['id']}/keys", {}, key=admin).json()["credential"]
    due = datetime.now(UTC) + timedelta(seconds=3)
    words = ("--due", due.isoformat().replace("+00:00", "Z"), "--reviewer", "operator:eve")
    review = shell(
        service, "review", "start", *words, "--deputy", "operator:joe", "--principal", "service:old"
    )
    assert (review["total"], review["warning"]) == (4, True)
    items = service.call("GET", f"reviews/{review['id']}", key=admin).json()["items"]
    by_name = {item.get("what") or item["kind"]: item for item in items}
    for named, decision in (("audit:read", "confirm"), ("grant:list", "remove")):
        item = by_name[named]
        more = {**as_admin(service), "COATCHECK_KEY": keys[item["reviewer"]]}
        number = str(item["number"])
        reason = "=HYPERLINK(1)" if decision == "confirm" else "ticket 7"
        done = coatcheck_here(
            "review", "decide", review["id"], number, decision, "--reason", reason, more=more
        )
        assert done.returncode == 0, done.stderr
    assert service.call("GET", "grants", key=key).code == "permission_denied"
    assert service.call("GET", "audit", key=key).status == 200
    service.stop()
    while datetime.now(UTC) < due:  # the ledger's clock is this host's
        time.sleep(0.05)
    done = coatcheck_here("worker", "--once", "--config", service.folder)
    assert done.returncode == 0, done.stderr
    service.start()
    assert service.call("GET", "audit", key=key).code == "credential_invalid"  # its key went too
    shown = shell(service, "review", "show", review["id"])
    assert shown["state"] == "closed"
    assert shown["counts"] == {"confirmed": 1, "expired": 2, "removed": 1}
    sheet = service.call("GET", f"reviews/{review['id']}?format=csv", key=admin)
    assert (sheet.status, sheet.header("content-type")) == (200, "text/csv; charset=utf-8")
    rows = list(csv.DictReader(io.StringIO(sheet.body.decode())))
    assert [row["state"] for row in rows] == [item["state"] for item in shown["items"]]
    assert {row["reason"] for row in rows} == {"'=HYPERLINK(1)", "ticket 7", ""}
    assert service.call("GET", f"reviews/{review['id']}?format=xls", key=admin).code == "parameter_invalid"
    assert [row["id"] for row in shell(service, "review", "list")] == [review["id"]]
    events = service.call("GET", "audit?kind=review.expire", key=admin).json()["items"]
    assert [entry["event"]["actor"] for entry in events] == ["schedule", "schedule"]
