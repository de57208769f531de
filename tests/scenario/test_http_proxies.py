"""Behind proxies: who is answered over plain HTTP beyond loopback, and whose word counts for an address.

127.0.0.2 is the proxy here, and every other address of loopback is somebody else.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from tests.harness import checks
from tests.support.service import HOST, PATIENCE_S, Answer, Service, initialise, read_answer, running

PROXY = "127.0.0.2"
ELSEWHERE = "203.0.113.0/24"
CLIENT = "203.0.113.9"


def behind(folder: Path, address: str) -> Path:
    """A development deployment that listens there, behind the proxy."""
    initialise(folder)
    path = folder / "coatcheck.toml"
    listen = f'address = "{address}"\ntrusted_proxies = ["{PROXY}"]\n'
    path.write_text(path.read_text(encoding="utf-8").replace("address =", f"{listen}#", 1), encoding="utf-8")
    return folder


class ByTheProxy(Service):
    """The service as it is reached from the proxy's address."""

    def request(self, method: str, path: str, body: bytes | None, headers: Any) -> Answer:
        client = http.client.HTTPConnection(HOST, self.port, timeout=PATIENCE_S, source_address=(PROXY, 0))
        try:
            client.request(method, path, body, dict(headers))
            response = client.getresponse()
            shown = [(name.lower(), value) for name, value in response.getheaders()]
            return Answer(response.status, shown, response.read())
        finally:
            client.close()


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Plain HTTP on every address of this host."""
    folder = behind(tmp_path_factory.mktemp("exposed") / "deployment", "0.0.0.0:8700")
    service = ByTheProxy(folder, {"COATCHECK_LIMITS__CONNECTIONS": "50"})
    try:
        service.start()
        yield service
        assert "Traceback" not in service.log()
    finally:
        service.kill()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Plain HTTP on loopback, with the proxy on the same host."""
    with running(behind(tmp_path_factory.mktemp("local") / "deployment", "127.0.0.1:8700")) as service:
        yield service


def directly(service: Service, sent: bytes, source: str = HOST) -> Answer:
    with socket.create_connection((HOST, service.port), PATIENCE_S, source_address=(source, 0)) as connection:
        connection.sendall(sent)
        answer = read_answer(connection)
        assert connection.recv(1) == b""  # and no more is taken
        return answer


def bound_key(service: Service, networks: list[str]) -> str:
    """A key of a new service that may be used from these networks only."""
    admin = service.credential("admin_key")
    name = f"bound{len(checks.events(service.folder / 'eu.db'))}"
    body = {"kind": "service", "name": name, "permissions": ["tokenize:customer.name"]}
    made = service.call("POST", "principals", body, key=admin)
    assert made.status == 201, made.body
    path = f"principals/{made.json()['id']}/keys"
    return str(service.call("POST", path, {"networks": networks}, key=admin).json()["credential"])


def ask(service: Service, key: str, headers: dict[str, str], source: str) -> Answer:
    client = http.client.HTTPConnection(HOST, service.port, timeout=PATIENCE_S, source_address=(source, 0))
    body = json.dumps({"field": "customer.name", "values": ["Ada"]}).encode()
    own = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        client.request("POST", "/v1/eu/tokenize", body, own | headers)
        response = client.getresponse()
        return Answer(response.status, [], response.read())
    finally:
        client.close()


def last_address(service: Service) -> str:
    return str(checks.events(service.folder / "eu.db")[-1]["address"])


@pytest.fixture(scope="module")
def key(local: Service) -> str:
    """A key that is bound to where `CLIENT` is."""
    return bound_key(local, [ELSEWHERE])


class TestBeyondLoopback:
    def test_the_proxy_is_answered(self, exposed: Service) -> None:
        assert exposed.get("/readyz").status == 200
        assert exposed.call("GET", "whoami").status == 200

    @pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.3", "127.1.2.3"])
    @pytest.mark.parametrize(
        "sent",
        [
            b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.2\r\n\r\n",
            b"POST /v1/eu/tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
            b"POST / HT",
            b"",
        ],
    )
    def test_nobody_else_is(self, exposed: Service, source: str, sent: bytes) -> None:
        """Before a head is read, let alone a body or a credential in it."""
        answer = directly(exposed, sent, source)
        assert (answer.status, answer.code) == (403, "proxy_required")
        assert answer.header("connection") == "close"

    def test_they_take_nobodys_place(self, exposed: Service) -> None:
        """Refused connections are not counted against the bound on connections."""
        kept = [socket.create_connection((HOST, exposed.port), PATIENCE_S) for _ in range(200)]
        try:
            assert exposed.get("/livez").status == 200
        finally:
            for connection in kept:
                connection.close()

    def test_refusals_are_counted(self, exposed: Service) -> None:
        directly(exposed, b"")
        text = exposed.get("/metrics").body.decode()
        assert 'coatcheck_connections_refused_total{code="proxy_required"}' in text


class TestWhoseWordCounts:
    """A key that is bound to 203.0.113.0/24, and everybody who would like to come from there."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"x-forwarded-for": CLIENT},
            {"x-forwarded-for": f"198.51.100.1, {CLIENT}"},
            {"x-forwarded-for": f"{CLIENT}, {PROXY}"},
            {"forwarded": f"for={CLIENT};proto=https"},
            {"forwarded": f"for={CLIENT}", "x-forwarded-for": CLIENT},
        ],
    )
    def test_the_proxys_does(self, local: Service, key: str, headers: dict[str, str]) -> None:
        assert ask(local, key, headers, PROXY).status == 200
        assert last_address(local) == CLIENT

    @pytest.mark.parametrize(
        ("headers", "address"),
        [
            ({}, PROXY),
            ({"x-forwarded-for": f"{CLIENT}, 198.51.100.1"}, "198.51.100.1"),
            ({"x-forwarded-for": f"{CLIENT}, 198.51.100.1, {PROXY}"}, "198.51.100.1"),
            ({"x-forwarded-for": f"{CLIENT},"}, "unknown"),
            ({"x-forwarded-for": f"{CLIENT}, nonsense"}, "unknown"),
            ({"x-forwarded-for": f"{CLIENT} 198.51.100.1"}, "unknown"),
            ({"forwarded": f"for={CLIENT}", "x-forwarded-for": "198.51.100.1"}, "unknown"),
            ({"x-real-ip": CLIENT}, PROXY),
            ({"x-client-ip": CLIENT, "true-client-ip": CLIENT}, PROXY),
        ],
    )
    def test_what_stands_before_its_word_does_not(
        self, local: Service, key: str, headers: dict[str, str], address: str
    ) -> None:
        answer = ask(local, key, headers, PROXY)
        assert (answer.status, answer.code) == (403, "network_denied")
        assert last_address(local) == address

    @pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.3"])
    @pytest.mark.parametrize("name", ["x-forwarded-for", "forwarded"])
    def test_nobody_elses_does(self, local: Service, key: str, source: str, name: str) -> None:
        value = CLIENT if name == "x-forwarded-for" else f"for={CLIENT}"
        answer = ask(local, key, {name: value}, source)
        assert (answer.status, answer.code) == (403, "network_denied")
        assert last_address(local) == source

    def test_a_client_cannot_be_the_proxy(self, local: Service) -> None:
        """A key that is bound to the proxy's own address does not open by naming no address."""
        key = bound_key(local, [PROXY + "/32"])
        for value in ("", "unknown", "nonsense", CLIENT):
            assert ask(local, key, {"x-forwarded-for": value}, PROXY).status == 403
        assert ask(local, key, {"x-forwarded-for": PROXY}, "127.0.0.3").status == 403
        assert ask(local, key, {}, PROXY).status == 200  # it is the proxy itself


def test_the_control_believes_everybody() -> None:
    """What a server does that believes the first address named: uvicorn's own, told to trust all."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    headers = [(b"x-forwarded-for", f"{CLIENT}, 198.51.100.1".encode())]
    scope: Any = {"type": "http", "client": ("127.0.0.3", 1), "headers": headers, "scheme": "http"}
    asyncio.run(ProxyHeadersMiddleware(app, trusted_hosts="*")(scope, None, None))  # type: ignore[arg-type]
    assert seen == [CLIENT]
