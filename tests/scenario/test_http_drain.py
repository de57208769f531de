"""SIGTERM and SIGINT drain: what is under way is answered, whoever comes is told, the cells are closed."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.harness import checks
from tests.support.service import PATIENCE_S, Service, coatcheck, read_answer, running

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def halfway(service: Service, size: int) -> tuple[socket.socket, bytes]:
    """A connection on which a request is half sent and being read, and the other half."""
    body = json.dumps({"field": "customer.name", "values": ["Ada Lovelace"] * size}).encode()
    connection = service.connect()
    head = (
        f"POST /v1/eu/tokenize HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.credential()}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    connection.sendall(head.encode())
    assert connection.recv(len(CONTINUE), socket.MSG_WAITALL) == CONTINUE
    connection.sendall(body[: len(body) // 2])
    return connection, body[len(body) // 2 :]


def wait_until_draining(service: Service) -> None:
    """Waits until whoever comes is told that the service is going."""
    end = time.monotonic() + PATIENCE_S
    while service.call("GET", "whoami").status == 200:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_under_way_is_answered(number: signal.Signals, tmp_path: Path) -> None:
    with running(tmp_path / "deployment") as service, ExitStack() as open_:
        assert service.process is not None
        idle = open_.enter_context(service.connect())
        pending = [halfway(service, size) for size in (1, 3, 2_000, 10_000)]
        for connection, _ in pending:
            open_.enter_context(connection)
        service.process.send_signal(number)
        wait_until_draining(service)
        assert service.process.poll() is None
        decisions = []
        for connection, rest in pending:
            connection.sendall(rest)
        for connection, _ in pending:
            answer = read_answer(connection)
            assert answer.status == 200
            assert answer.header("connection") == "close"
            decisions.append(answer.json()["decision"])
            assert connection.recv(1) == b""
        assert service.process.wait(PATIENCE_S) == 0
        assert idle.recv(1) == b""
        assert "Traceback" not in service.log()
        log = checks.events(service.folder / "eu.db")
        assert {event.get("decision") for event in log} >= set(decisions)


def test_the_cells_are_closed(tmp_path: Path) -> None:
    with running(tmp_path / "deployment") as service:
        held = coatcheck("schema", "show", "--config", service.folder, "--region", "eu")
        assert held.returncode == 7
        assert f"pid: {service.pid}" in held.stderr
        token = service.call("POST", "tokenize", {"field": "customer.name", "values": ["Ada"]})
        assert token.status == 200
        assert service.stop() == 0
        # Closing the last connection folds the write-ahead log into the file and removes it.
        assert [path.name for path in service.folder.glob("*.db-wal")] == []
        free = coatcheck("schema", "show", "--config", service.folder, "--region", "eu")
        assert free.returncode == 0, free.stderr
        service.start()
        assert service.stop() == 0


def test_new_requests_are_refused_while_draining(tmp_path: Path) -> None:
    with running(tmp_path / "deployment") as service:
        assert service.process is not None
        connection, rest = halfway(service, 1)
        early = service.connect()  # came before the signal, and asks after it
        assert service.get("/livez").status == 200
        service.process.send_signal(signal.SIGTERM)
        wait_until_draining(service)
        with early:
            early.sendall(b"GET /v1/eu/whoami HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(early).code == "draining"
        for _ in range(3):
            refused = service.call("GET", "whoami")
            assert (refused.status, refused.code) == (503, "draining")
            assert refused.header("retry-after") == "1"
            assert refused.header("connection") == "close"
        ready = service.get("/readyz")
        assert (ready.status, ready.json()["status"]) == (503, "draining")
        assert service.get("/livez").status == 200
        late = (
            f"GET /v1/eu/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.credential()}\r\n\r\n"
        )
        with connection:
            connection.sendall(rest + late.encode())
            assert read_answer(connection).status == 200
            assert connection.recv(1) == b""  # nothing of the request that came too late
        assert service.process.wait(PATIENCE_S) == 0


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with running(tmp_path / "deployment", {"COATCHECK_LIMITS__DRAIN_S": "600"}) as service:
        assert service.process is not None
        connection, _ = halfway(service, 1)
        service.process.send_signal(signal.SIGTERM)
        wait_until_draining(service)
        assert service.process.poll() is None
        service.process.send_signal(signal.SIGTERM)
        with connection:
            assert service.process.wait(PATIENCE_S) == 0
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        assert "Traceback" not in service.log()
        assert [path.name for path in service.folder.glob("*.db-wal")] == []  # and the cells are closed


def test_who_never_finishes_is_waited_for_so_long(tmp_path: Path) -> None:
    settings = {"COATCHECK_LIMITS__DRAIN_S": "1", "COATCHECK_LIMITS__BODY_S": "600"}
    with running(tmp_path / "deployment", settings) as service:
        connection, _ = halfway(service, 1)
        with connection:
            assert service.stop() == 0
        assert "Traceback" not in service.log()


def test_unauthenticated_failures_are_on_record_when_it_stops(tmp_path: Path) -> None:
    with running(tmp_path / "deployment") as service:
        for _ in range(3):
            assert service.request("GET", "/v1/eu/whoami", None, {}).status == 401
        assert service.stop() == 0
        [event] = [e for e in checks.events(service.folder / "eu.db") if e["kind"] == "unauthenticated"]
        assert event["counts"] == {"credential_missing": 3}
