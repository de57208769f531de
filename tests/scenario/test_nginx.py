"""The nginx configuration of docs/deploy, run: a real nginx in front of the service, with TLS of its own."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority, authority
from tests.support.service import HOST, PATIENCE_S, ROOT, Service, initialise

CONFIGURATION = ROOT / "docs" / "deploy" / "nginx.conf"
SSN = "customer.ssn"
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        return int(listening.getsockname()[1])


class Front:
    """nginx before a service, on a port of its own."""

    def __init__(self, folder: Path, service: Service, trusted: Authority) -> None:
        self.port = free_port()
        self.context = ssl.create_default_context(cafile=str(trusted.path))
        text = CONFIGURATION.read_text(encoding="utf-8")
        for written, here in (
            ("127.0.0.1:8700", f"{HOST}:{service.port}"),
            ("listen 443 ssl", f"listen {HOST}:{self.port} ssl"),
            ("/etc/ssl/coatcheck", str(trusted.folder / "tls")),
        ):
            assert written in text
            text = text.replace(written, here)
        paths = "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (folder / "nginx.conf").write_text(
            f"daemon off;\nuser root;\npid {folder}/pid;\nerror_log {folder}/errors;\nworker_processes 1;\n"
            f"events {{}}\nhttp {{\n{paths}{text}}}\n"
        )
        assert NGINX is not None
        command = [NGINX, "-c", str(folder / "nginx.conf"), "-e", str(folder / "errors")]
        self.process = subprocess.Popen(command)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                socket.create_connection((HOST, self.port), timeout=1).close()
            except OSError:
                assert self.process.poll() is None, (folder / "errors").read_text()
                time.sleep(0.05)
            else:
                return

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(HOST, self.port, context=self.context, timeout=PATIENCE_S)

    def ask(
        self, method: str, path: str, body: Any = None, key: str = "", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = self.connect()
        try:
            raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
            named = {"content-type": "application/json", "authorization": f"Bearer {key}", **headers}
            connection.request(method, path, raw, named)
            answer = connection.getresponse()
            return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Front]]:
    folder = tmp_path_factory.mktemp("nginx")
    initialise(folder / "deployment")
    trusted = authority(folder / "certificates")
    trusted.issue()
    service = Service(folder / "deployment", {"COATCHECK_LISTEN__TRUSTED_PROXIES": '["127.0.0.1"]'})
    service.start()
    try:
        front = Front(folder, service, trusted)
        try:
            yield service, front
        finally:
            front.stop()
    finally:
        service.kill()


def test_values_go_through(both: tuple[Service, Front]) -> None:
    service, front = both
    body = {"field": SSN, "values": ["123-45-6789"]}
    status, headers, raw = front.ask("POST", "/v1/eu/tokenize", body, service.credential())
    assert status == 200, raw
    assert headers["cache-control"] == "no-store"
    assert headers["x-request-id"].startswith("req_")
    assert json.loads(raw)["tokens"] == service.call("POST", "tokenize", body).json()["tokens"]
    status, headers, raw = front.ask("POST", "/v1/eu/tokenize", body, "ck_nobody")
    assert (status, json.loads(raw)["code"]) == (401, "credential_invalid")


def test_whatever_address_a_client_claims_the_log_has_its_own(both: tuple[Service, Front]) -> None:
    service, front = both
    forged = {"x-forwarded-for": "203.0.113.9, 203.0.113.10", "forwarded": "for=203.0.113.11"}
    body = {"field": SSN, "values": ["123-45-6789"]}
    assert front.ask("POST", "/v1/eu/tokenize", body, service.credential(), **forged)[0] == 200
    events = service.call("GET", "audit?kind=tokenize", key=service.credential("admin_key")).json()["items"]
    assert "203.0.113" not in json.dumps(events)
    assert events[0]["event"]["address"] == HOST
    # the control: whom the service trusts it believes, so what nginx does is what protects
    raw = json.dumps(body).encode()
    headers = {"authorization": f"Bearer {service.credential()}", "content-type": "application/json"}
    service.request("POST", "/v1/eu/tokenize", raw, headers | {"x-forwarded-for": "203.0.113.9"})
    events = service.call("GET", "audit?kind=tokenize", key=service.credential("admin_key")).json()["items"]
    assert events[0]["event"]["address"] == "203.0.113.9"


def test_a_stream_is_answered_while_it_is_open(both: tuple[Service, Front]) -> None:
    service, front = both
    connection = front.connect()
    connection.putrequest("POST", "/v1/eu/tokenize/stream")
    for name, text in (
        ("content-type", "application/x-ndjson"),
        ("authorization", f"Bearer {service.credential()}"),
        ("transfer-encoding", "chunked"),
    ):
        connection.putheader(name, text)
    connection.endheaders()

    def write(*lines: Any) -> None:
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        connection.send(b"%x\r\n%b\r\n" % (len(data), data))

    write({"field": SSN}, "123-45-6789")
    answer = connection.getresponse()
    assert answer.status == 200
    assert json.loads(answer.readline())["field"] == SSN
    token = json.loads(answer.readline())  # the request is not over yet
    write("123-45-6789")
    assert json.loads(answer.readline()) == token
    connection.send(b"0\r\n\r\n")
    assert json.loads(answer.readline()) == {"done": True, "count": 2, "failed": 0}
    connection.close()


def test_what_is_not_for_clients_is_not_there(both: tuple[Service, Front]) -> None:
    _, front = both
    for path in ("/metrics", "/docs", "/openapi.json", "/readyz", "/", "/v2/eu/tokenize"):
        assert front.ask("GET", path)[0] == 404, path
    assert front.ask("GET", "/livez")[0] == 200


def test_what_is_too_large_is_refused_before_it_is_passed_on(both: tuple[Service, Front]) -> None:
    service, front = both
    status, _, _ = front.ask("POST", "/v1/eu/tokenize", b" " * (9 << 20), service.credential())
    assert status == 413


def test_older_versions_of_tls_are_refused(both: tuple[Service, Front]) -> None:
    _, front = both
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection((HOST, front.port)) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=HOST)


def test_a_client_that_hammers_is_slowed_down(both: tuple[Service, Front]) -> None:
    """Last: it uses up the bucket."""
    _, front = both
    connection = front.connect()
    statuses = []
    for _ in range(600):
        connection.request("GET", "/v1/eu/whoami")
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
        if answer.status == 429:
            break
    connection.close()
    assert statuses[-1] == 429
    assert set(statuses) == {401, 429}
