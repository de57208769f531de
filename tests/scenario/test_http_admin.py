"""The administrators' listener: what it shows, and that it is no door to any value."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.service import HOST, PATIENCE_S, Answer, Service, coatcheck_here, free_port
from vault.cli.templates import PRODUCTION


class Deployment:
    """A production deployment with an administrators' listener."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "secret").write_text("correct horse battery staple\n", encoding="utf-8")
        text = PRODUCTION.format(region="eu", passphrase='passphrase_file = "secret"\n')
        (folder / "coatcheck.toml").write_text(text, encoding="utf-8")
        done = coatcheck_here("init", folder)
        assert done.returncode == 0, done.stderr
        self.port = free_port()
        self.service = Service(folder, {"COATCHECK_LISTEN__ADMIN_ADDRESS": f"{HOST}:{self.port}"})
        self.service.start()

    def get(self, path: str, method: str = "GET") -> Answer:
        client = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE_S)
        try:
            client.request(method, path)
            response = client.getresponse()
            return Answer(
                response.status, [(k.lower(), v) for k, v in response.getheaders()], response.read()
            )
        finally:
            client.close()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("admin") / "deployment")
    try:
        yield made
        assert "Traceback" not in made.service.log()
    finally:
        made.service.kill()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/openapi.json", "/metrics", "/docs"])
def test_pages(deployment: Deployment, path: str) -> None:
    answer = deployment.get(path)
    assert answer.status == 200
    assert answer.header("cache-control") == "no-store"
    assert deployment.get(path, "POST").status == 405


@pytest.mark.parametrize("path", ["/metrics", "/docs"])
def test_they_are_not_on_the_other(deployment: Deployment, path: str) -> None:
    assert deployment.service.get(path).status == 404


def test_details_are_here_only(deployment: Deployment) -> None:
    assert deployment.get("/readyz").json() == {"status": "ready", "cells": {"eu": "ready"}}
    assert deployment.service.get("/readyz").json() == {"status": "ready"}


@pytest.mark.parametrize("path", ["/v1/eu/whoami", "/v1/eu/tokenize", "/v1", "/", "/metricsx"])
def test_there_is_no_door(deployment: Deployment, path: str) -> None:
    for method in ("GET", "POST"):
        assert deployment.get(path, method).status in (404, 405)


def test_it_counts_what_the_other_answers(deployment: Deployment) -> None:
    deployment.service.get("/v1/eu/whoami")
    text = deployment.get("/metrics").body.decode()
    assert 'coatcheck_requests_total{code="credential_missing"' in text
    assert 'coatcheck_connections{listener="admin"} 1.0' in text
    deployment.service.raw(b"nonsense\r\n\r\n")
    assert 'refused_total{code="request_malformed"}' in deployment.get("/metrics").body.decode()


def test_it_has_bounds_of_its_own(deployment: Deployment) -> None:
    """Many idle connections there take no place here, nor do they keep administrators out."""
    with ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection((HOST, deployment.port), PATIENCE_S))
        assert deployment.service.get("/livez").status == 200


def test_an_address_in_use(deployment: Deployment) -> None:
    more = {"COATCHECK_LISTEN__ADMIN_ADDRESS": f"{HOST}:{deployment.port}", "COATCHECK_PORT": "0"}
    done = coatcheck_here("serve", "--config", deployment.service.folder, more=more)
    assert done.returncode == 9
    assert f"address: {HOST}:{deployment.port}" in done.stderr
