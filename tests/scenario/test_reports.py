"""Reports as people get them: over HTTP and from the shell, in three forms."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.hosted import Hosted
from tests.support.servers import PostgreSQL, server
from tests.support.service import Answer, Service, coatcheck_here, running
from vault.codes import Exit

NAME = "customer.name"
PERSON = "cust-1 <b>"
FORMS = {"json": "application/json", "csv": "text/csv; charset=utf-8", "html": "text/html; charset=utf-8"}
REPORTS: dict[str, tuple[str, str, Any]] = {
    "processing": ("GET", "reports/processing", None),
    "retention": ("GET", "reports/retention?until=2099-01-01T00:00:00Z", None),
    "disclosures": ("POST", "reports/disclosures", {"subject": PERSON}),
}


def use(service: Service) -> None:
    """Keeps a value of a person, and shows it twice."""
    made = service.call(
        "POST", "tokenize", {"field": NAME, "values": ["Ada <i>"], "subjects": [PERSON]}
    ).json()
    grant = {
        "agent": "agent:demo", "purpose": "support", "limits": {"uses": 5}, "on_behalf_of": "=HYPERLINK(1)",
        "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}],
    }  # fmt: skip
    credential = service.call("POST", "grants", grant).json()["credential"]
    for _ in range(2):
        asked = {"purpose": "support", "field": NAME, "tokens": made["tokens"]}
        assert service.call("POST", "detokenize", asked, key=credential).status == 200


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("reports") / "deployment") as served:
        use(served)
        yield served


def ask(service: Service, name: str, accept: str | None = None, key: str | None = None) -> Answer:
    method, path, body = REPORTS[name]
    headers = {"authorization": f"Bearer {key or service.credential('admin_key')}"}
    headers |= {"accept": accept} if accept is not None else {}
    headers |= {"content-type": "application/json"} if body is not None else {}
    raw = None if body is None else json.dumps(body).encode()
    return service.request(method, f"/v1/eu/{path}", raw, headers)


def shell(service: Service, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
    key = service.credential("admin_key")
    there = {"COATCHECK_URL": service.url, "COATCHECK_REGION": "eu", "COATCHECK_KEY": key}
    return coatcheck_here("report", *words, given=given, more=there)


@pytest.mark.parametrize("name", REPORTS)
def test_over_http_in_three_forms(service: Service, name: str) -> None:
    for accept, form in ((None, "json"), ("*/*", "json"), ("text/csv", "csv"), ("text/html", "html")):
        answer = ask(service, name, accept)
        assert (answer.status, answer.header("content-type")) == (200, FORMS[form]), answer.body
        assert answer.header("cache-control") == "no-store"
        assert (answer.header("content-security-policy") is not None) == (form == "html")
        assert (answer.header("content-disposition") is not None) == (form == "csv")
        assert b"Ada" not in answer.body  # no value, in any form
        assert b"cust-1" not in answer.body  # and not how the caller names the person


def test_who_saw_a_person(service: Service) -> None:
    [line] = ask(service, "disclosures").json()["disclosures"]
    assert (line["recipient"], line["count"], line["fields"]) == ("agent:demo", 2, [NAME])
    assert (line["purpose"], line["on_behalf_of"]) == ("support", "=HYPERLINK(1)")
    text = ask(service, "disclosures", "text/csv").body.decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    [row] = [row for row in rows if row["table"] == "disclosures"]
    assert (row["recipient"], row["count"], row["on_behalf_of"]) == ("agent:demo", "2", "'=HYPERLINK(1)")
    page = ask(service, "disclosures", "text/html").body.decode()
    assert f"<td>{NAME}</td>" in page


def test_what_is_kept_and_until_when(service: Service) -> None:
    kept = ask(service, "retention").json()
    assert [(line["class"], line["values"], line["falls_due"]) for line in kept["periods"]] == [
        ("customer", 1, True)
    ]
    record = ask(service, "processing").json()
    assert {line["field"]: line["values"] for line in record["fields"]}[NAME] == 1
    assert (record["people"], record["complete"]) == (1, True)


@pytest.mark.parametrize("name", REPORTS)
def test_refusals_are_problems_in_whatever_form(service: Service, name: str) -> None:
    refused = ask(service, name, "text/html", key=service.credential("service_key"))
    assert (refused.status, refused.code) == (403, "permission_denied")
    assert refused.header("content-type") == "application/problem+json"
    admin = service.credential("admin_key")
    for path in ("reports/retention?limit=5001", "reports/retention?cursor=x", "reports/retention?until=x"):
        answer = service.call("GET", path, key=admin)
        assert (answer.status, answer.code) == (400, "parameter_invalid")
    for body, code in (
        ({"subject": ""}, "subject_invalid"),
        ({"subject": PERSON, "since": "x"}, "member_unknown"),
        ({"subject": PERSON, "from": "x"}, "validity_invalid"),
        ({}, "member_missing"),
    ):
        assert service.call("POST", "reports/disclosures", body, key=admin).code == code


@pytest.mark.parametrize("name", REPORTS)
def test_from_the_shell_it_is_the_same(service: Service, name: str) -> None:
    given = f"{PERSON}\n" if name == "disclosures" else ""
    words = ["--until", "2099-01-01T00:00:00Z"] if name == "retention" else []
    for form in FORMS:
        done = shell(service, name, *words, "--format", form, given=given)
        assert done.returncode == 0, done.stderr
        told = ask(service, name, FORMS[form]).body.decode()
        if form == "json":
            printed, answered = json.loads(done.stdout), json.loads(told)
            assert printed.pop("as_of") != answered.pop("as_of")
            assert printed == answered
        else:
            assert without_time(done.stdout) == without_time(told)


def without_time(text: str) -> list[str]:
    return [line for line in text.replace("\r\n", "\n").split("\n") if "as_of" not in line]


def test_the_shell_says_that_there_is_more(service: Service) -> None:
    item = {"field": "conversation.text", "value": "hello", "subject": PERSON}
    assert service.call("POST", "encrypt", {"items": [item]}).status == 200
    one = shell(service, "retention", "--limit", "1")
    following = json.loads(one.stdout)["next"]
    assert f"more: --cursor {following}" in one.stderr
    other = shell(service, "retention", "--limit", "1", "--cursor", following)
    assert "more" not in other.stderr
    classes = [json.loads(done.stdout)["periods"][0]["class"] for done in (one, other)]
    assert classes == ["conversation", "customer"]
    wrong = shell(service, "retention", "--limit", "0")
    assert (wrong.returncode, "parameter_invalid" in wrong.stderr) == (Exit.BAD_INPUT, True)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgreSQL]:
    with server() as made:
        yield made


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_on_the_host(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    database = "sqlite:///eu.db"
    if kind == "postgresql":
        database = request.getfixturevalue("postgres").database("reports")
    host = Hosted.new(tmp_path / "one", database)
    (tmp_path / "who").write_text(f"{PERSON}\n")
    with host.opened() as built:
        token = built.token(NAME, "Ada", PERSON)
        built.reveal(built.grant(NAME), NAME, token)
    who = ("report", "disclosures", "--in", tmp_path / "who")
    assert [line["count"] for line in host.answer(*who)["disclosures"]] == [1]
    assert host.answer("report", "processing")["people"] == 1
    kept = host.answer("report", "retention", "--until", "2099-01-01T00:00:00Z")
    assert (kept["due_keys"], kept["due_values"]) == (1, 1)
    page = host("report", "processing", "--format", "html").stdout
    assert (page.startswith("<!doctype html>"), "Record of processing" in page) == (True, True)
    host.answer("erasure", "request", "--grounds", "objection", "--in", tmp_path / "who", "--yes")
    told = host.answer(*who)
    assert (told["known"], told["disclosures"]) == (False, [])
    assert host.answer("report", "processing")["levels"] == [{"level": "keys_removed", "erasures": 1}]
    assert host.refusal(*who, "--from", "x")["code"] == "validity_invalid"
