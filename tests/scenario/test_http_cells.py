"""Two regions in one process share nothing; pages; what production leaves out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.harness.doors import complaints
from tests.support.service import Service, coatcheck_here, running

NAME = "customer.name"
SSN = "customer.ssn"
GRANT = {
    "agent": "agent:demo",
    "purpose": "support",
    "limits": {"uses": 9},
    "scope": [{"fields": [NAME, SSN], "operations": ["reveal"], "delivery": ["plain"]}],
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("cells") / "deployment") as service:
        yield service


def made(service: Service, region: str, path: str, body: Any, key: str | None = None) -> Any:
    answer = service.call("POST", path, body, region=region, key=key)
    assert answer.status in (200, 201), answer.body
    return answer.json()


@pytest.mark.parametrize(("home", "away"), [("eu", "us"), ("us", "eu")])
def test_nothing_of_one_region_works_in_the_other(service: Service, home: str, away: str) -> None:
    tokens = made(service, home, "tokenize", {"field": NAME, "values": ["Ada"]})["tokens"]
    grant = made(service, home, "grants", GRANT)
    there = made(service, away, "grants", GRANT)["credential"]
    ask = {"purpose": "support", "field": NAME, "tokens": tokens}
    assert made(service, home, "detokenize", ask, grant["credential"])["values"] == ["Ada"]
    for key in (service.credential(region=home), service.credential("admin_key", home)):
        answer = service.call("GET", "whoami", region=away, key=key)
        assert (answer.status, answer.code) == (401, "credential_invalid")
    answer = service.call("POST", "detokenize", ask, region=away, key=grant["credential"])
    assert (answer.status, answer.code) == (401, "grant_invalid")
    answer = service.call("POST", "detokenize", ask, region=away, key=there)
    assert answer.json()["errors"] == [{"index": 0, "code": "token_unknown"}]
    answer = service.call(
        "GET", f"grants/{grant['id']}", region=away, key=service.credential("admin_key", away)
    )
    assert (answer.status, answer.code) == (404, "not_found")
    assert complaints(answer) == []


def test_a_vaultless_token_of_one_region_is_another_value_in_the_other(service: Service) -> None:
    """Keys differ, so the same value has other tokens; nothing tells a token's region."""
    body = {"field": SSN, "values": ["123-45-6789"]}
    tokens = {region: made(service, region, "tokenize", body)["tokens"][0] for region in ("eu", "us")}
    assert tokens["eu"] != tokens["us"]
    grant = made(service, "us", "grants", GRANT)["credential"]
    ask = {"purpose": "support", "field": SSN, "tokens": [tokens["eu"]], "key_version": 1}
    assert made(service, "us", "detokenize", ask, grant)["values"] != ["123-45-6789"]


def test_their_logs_count_on_their_own(service: Service) -> None:
    for region, other in (("eu", "us"), ("us", "eu")):
        before = head(service, other)
        made(service, region, "tokenize", {"field": NAME, "values": ["Ada"]})
        assert head(service, other) == before


def head(service: Service, region: str) -> int:
    path = service.folder / f"{region}.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT next FROM re_head").fetchone()[0])


def test_pages(service: Service) -> None:
    for path, text in (
        ("/livez", '{"status":"alive"}'),
        ("/readyz", '{"status":"ready","cells":{"eu":"ready","us":"ready"}}'),
        ("/metrics", "coatcheck_requests_total"),
        ("/docs", "<h1>Coatcheck API"),
        ("/openapi.json", '"openapi":"3.1.0"'),
    ):
        answer = service.get(path)
        assert answer.status == 200
        assert text in answer.body.decode()
        assert complaints(answer) == []


def test_metrics_count_by_our_own_names_only(service: Service) -> None:
    service.get("/v1/eu/surprise-in-a-path")
    service.call("GET", "grants?surprise=1")
    service.call("GET", "grants/gr_surprise")
    service.call("GET", "whoami")
    page = service.get("/metrics").body.decode()
    assert "surprise" not in page
    assert 'route="GET whoami",status="200"' in page
    assert 'route="other",status="404"' in page
    assert 'code="not_found"' in page
    assert "service:demo" not in page
    assert "_01" not in page  # no id


def test_it_is_not_ready_without_its_database(tmp_path: Path) -> None:
    with running(tmp_path / "deployment") as service:
        with closing(sqlite3.connect(service.folder / "us.db")) as database:
            database.execute("ALTER TABLE re_head RENAME TO re_head_gone")
            database.commit()
        answer = service.get("/readyz")
        assert (answer.status, answer.json()) == (
            503,
            {"status": "not ready", "cells": {"eu": "ready", "us": "database_unavailable"}},
        )
        assert service.get("/livez").status == 200
        answer = service.call("POST", "tokenize", {"field": NAME, "values": ["Ada"]}, region="us")
        assert (answer.status, answer.code) == (503, "database_unavailable")
        assert answer.header("retry-after") == "1"
        assert service.call("GET", "whoami", region="eu").status == 200


def test_production_has_no_metrics_and_no_docs_on_its_listener(tmp_path: Path) -> None:
    folder = tmp_path / "production"
    folder.mkdir()
    (folder / "passphrase").write_text("correct horse battery staple\n", encoding="utf-8")
    done = coatcheck_here("init", folder, "--passphrase-file", folder / "passphrase", "--region", "eu")
    assert done.returncode == 0, done.stderr
    service = Service(folder)
    try:
        service.start()
        for path in ("/metrics", "/docs"):
            answer = service.get(path)
            assert (answer.status, answer.code) == (404, "not_found")
            assert complaints(answer) == []
        for path in ("/livez", "/readyz", "/openapi.json"):
            assert service.get(path).status == 200
        assert "Coatcheck is listening" in service.log()
        assert "curl" not in service.log()
        assert service.stop() == 0
    finally:
        service.kill()
