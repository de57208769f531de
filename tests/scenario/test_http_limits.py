"""Rates and bounds at the door: strangers of a network, each principal, each tenant, sessions elsewhere.

127.0.0.2 is the proxy here, whose word counts for where somebody is.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import checks
from tests.scenario.test_http_proxies import PROXY, behind
from tests.support.operators import PASSWORD
from tests.support.service import HOST, PATIENCE_S, Answer, Service, running

LIMITS = """
[limits.network]
count = 1
per_s = 3600
burst = 5

[limits.principal]
count = 1
per_s = 3600
burst = 30
"""
BURST = 30
STRANGER, NEIGHBOUR, ELSEWHERE = "198.51.100.7", "198.51.100.99", "203.0.113.7"
THIRD, FOURTH = "192.0.2.7", "10.1.2.3"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = behind(tmp_path_factory.mktemp("limits") / "deployment", "127.0.0.1:8700")
    path = folder / "coatcheck.toml"
    path.write_text(path.read_text(encoding="utf-8") + LIMITS, encoding="utf-8")
    with running(folder) as running_:
        yield running_


def ask(service: Service, authorization: str, address: str, path: str = "whoami", body: Any = None) -> Answer:
    client = http.client.HTTPConnection(HOST, service.port, timeout=PATIENCE_S, source_address=(PROXY, 0))
    headers = {"x-forwarded-for": address, "content-type": "application/json"}
    if authorization:
        headers["authorization"] = authorization
    try:
        raw = None if body is None else json.dumps(body).encode()
        client.request("GET" if body is None else "POST", f"/v1/eu/{path}", raw, headers)
        response = client.getresponse()
        shown = [(name.lower(), value) for name, value in response.getheaders()]
        return Answer(response.status, shown, response.read())
    finally:
        client.close()


def new_key(service: Service, name: str, permission: str = "tokenize:customer.name") -> str:
    admin = service.credential("admin_key")
    body = {"kind": "service", "name": name, "permissions": [permission]}
    made = service.call("POST", "principals", body, key=admin)
    assert made.status == 201, made.body
    path = f"principals/{made.json()['id']}/keys"
    return str(service.call("POST", path, {}, key=admin).json()["credential"])


def exhaust(service: Service, address: str) -> None:
    """Fails there until strangers have to wait."""
    for _ in range(6):
        if ask(service, "Bearer nonsense", address).status == 429:
            return
    raise AssertionError("nobody has to wait")


class TestStrangers:
    def test_they_fail_so_often_and_wait_then(self, service: Service) -> None:
        mine, later = new_key(service, "mine"), new_key(service, "later")
        assert ask(service, f"Bearer {mine}", STRANGER).status == 200
        wrong = [ask(service, f"Bearer {mine[:-1]}{'0' if mine[-1] != '0' else '1'}", STRANGER)]
        wrong += [ask(service, "", STRANGER), ask(service, "Bearer nonsense", NEIGHBOUR)]
        wrong += [ask(service, "Grant gr_0", STRANGER, "detokenize", {}) for _ in range(2)]
        assert [answer.status for answer in wrong] == [401] * 5

        refused = ask(service, "Bearer nonsense", STRANGER)
        assert (refused.status, refused.json()["code"]) == (429, "rate_limited")
        assert 0 < int(refused.header("retry-after") or 0) <= 3600
        # Whoever was known before comes in, whoever shares its network.
        assert ask(service, f"Bearer {mine}", NEIGHBOUR).status == 200
        # A valid credential that was never seen waits there, and not elsewhere; then it is known there too.
        assert ask(service, f"Bearer {later}", STRANGER).status == 429
        assert ask(service, f"Bearer {later}", ELSEWHERE).status == 200
        assert ask(service, f"Bearer {later}", STRANGER).status == 200

    def test_nothing_tells_a_right_credential_from_a_wrong_one_there(self, service: Service) -> None:
        unknown = new_key(service, "unknown")
        exhaust(service, THIRD)
        right, wrong = (ask(service, f"Bearer {key}", THIRD) for key in (unknown, "nonsense"))
        for member in ("code", "status", "detail", "type"):
            assert right.json().get(member) == wrong.json().get(member)

    def test_a_name_that_never_signed_in_from_there_waits_too(self, service: Service) -> None:
        body = {"name": "nobody", "password": PASSWORD}
        exhaust(service, FOURTH)
        assert ask(service, "", FOURTH, "sessions", body).status == 429
        assert ask(service, "", ELSEWHERE, "sessions", body).status == 401

    def test_this_host_never_waits(self, service: Service) -> None:
        for _ in range(8):
            assert service.call("GET", "whoami", key="nonsense").status == 401
        assert service.call("GET", "whoami").status == 200


def test_a_principal_comes_so_often_and_others_are_not_touched(service: Service) -> None:
    key, other = new_key(service, "often"), new_key(service, "seldom")
    body = {"field": "customer.name", "values": ["Ada"]}
    answers = [service.call("POST", "tokenize", body, key=key) for _ in range(BURST + 2)]
    assert [answer.status for answer in answers] == [200] * BURST + [429] * 2
    assert answers[-1].json()["code"] == "rate_limited"
    assert answers[-1].json()["retry"] == "after_seconds"
    assert int(answers[-1].header("retry-after") or 0) > 0
    assert service.call("POST", "tokenize", body, key=other).status == 200
    # What is not answered is not done, and has no event of its own.
    events = [e for e in checks.events(service.folder / "eu.db") if e["kind"] == "tokenize"]
    assert sum(event["actor"] == "service:often" for event in events) == BURST


def test_what_is_refused_is_counted_and_its_body_not_taken(service: Service) -> None:
    key = new_key(service, "large")
    for _ in range(BURST):
        assert service.call("GET", "whoami", key=key).status == 200
    head = f"POST /v1/eu/tokenize HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    answer = service.raw(head.encode() + b" " * 1000)
    assert answer is not None
    assert answer.status == 429
    metrics = service.get("/metrics").body.decode()
    assert 'coatcheck_limited_total{bound="principal",region="eu"}' in metrics


def test_a_stream_is_one_request(service: Service) -> None:
    """However many lines it has; and the rate is asked before its first."""
    key = new_key(service, "streamer")
    lines = "".join(json.dumps({"value": f"Ada {n}"}) + "\n" for n in range(300))
    sent = (json.dumps({"field": "customer.name"}) + "\n" + lines).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/x-ndjson"}
    for status in [200] * BURST + [429]:
        answer = service.request("POST", "/v1/eu/tokenize/stream", sent, headers)
        assert answer.status == status
    assert b'"done":true' not in answer.body


def test_so_many_of_one_principal_are_under_way(tmp_path: Path) -> None:
    """A body that does not end keeps its request under way."""
    folder = behind(tmp_path / "deployment", "127.0.0.1:8700")
    with running(folder, {"COATCHECK_LIMITS__AT_ONCE": "3"}) as service:
        key = service.credential()
        head = f"POST /v1/eu/tokenize HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        held = [service.connect() for _ in range(3)]
        try:
            for connection in held:
                connection.sendall(head.encode())
            patience = threading.Event()
            for _ in range(200):  # until all three have come so far
                answer = service.call("GET", "whoami")
                if answer.status == 429:
                    break
                patience.wait(0.05)
            assert answer.status == 429
            assert answer.header("retry-after") == "1"
            assert service.call("GET", "whoami", key=service.credential("admin_key")).status == 200
        finally:
            for connection in held:
                connection.close()
        for _ in range(200):
            if service.call("GET", "whoami").status == 200:
                break
            patience.wait(0.05)
        assert service.call("GET", "whoami").status == 200
