"""What a peer may take, at real sockets: heads, bodies, answers, silence, and the number of connections."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.certificates import authority
from tests.support.service import HOST, PATIENCE_S, Answer, Service, initialise, read_answer, running

HEAD = "POST /v1/eu/tokenize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SETTINGS = {
    "COATCHECK_LIMITS__HEAD_S": "2",
    "COATCHECK_LIMITS__BODY_S": "2",
    "COATCHECK_LIMITS__IDLE_S": "4",
    "COATCHECK_LIMITS__ANSWER_S": "2",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("deadlines") / "deployment", SETTINGS) as service:
        yield service
        assert "Traceback" not in service.log()


def body_of(values: int) -> bytes:
    return json.dumps({"field": "customer.name", "values": ["Ada"] * values}).encode()


def head(service: Service, size: int, *more: str) -> bytes:
    lines = [f"Authorization: Bearer {service.credential()}", f"Content-Length: {size}", *more]
    return (HEAD + "\r\n".join([*lines, "", ""])).encode()


def trickle(connection: socket.socket, data: bytes, pause: float = 0.05) -> None:
    """Sends a byte at a time until the peer has had enough."""
    try:
        for position in range(len(data)):
            connection.sendall(data[position : position + 1])
            time.sleep(pause)
    except OSError:
        return
    raise AssertionError("all of it was taken")


def push(connection: socket.socket, data: bytes) -> None:
    """Sends data over and over, and reads nothing, as long as somebody is there to take it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            connection.sendall(data)


def ended(connection: socket.socket) -> bool:
    """Whether the service ended a connection, without a word."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


class TestSlow:
    def test_heads(self, service: Service) -> None:
        """A byte now and then keeps no connection."""
        with ExitStack() as stack, ThreadPoolExecutor(20) as pool:
            open_ = [stack.enter_context(service.connect()) for _ in range(20)]
            began = time.monotonic()
            list(pool.map(lambda each: trickle(each, head(service, 10) + b"A" * 1000), open_))
            assert time.monotonic() - began < PATIENCE_S / 2
            assert all(map(ended, open_))

    @pytest.mark.parametrize("known", [True, False])
    def test_bodies(self, service: Service, known: bool) -> None:
        sent = head(service, 1000)
        if not known:
            sent = sent.replace(b"Bearer ck_", b"Bearer cg_")
        with service.connect() as connection:
            connection.sendall(sent)
            trickle(connection, b" " * 1000)
            answer = read_answer(connection)
            assert (answer.status, answer.code) == ((408, "request_timeout") if known else (401, answer.code))
            assert ended(connection)

    def test_a_body_that_stops(self, service: Service) -> None:
        with service.connect() as connection:
            connection.sendall(head(service, 1000) + b'{"field":"canary-7f3a91"')
            answer = read_answer(connection)
        assert (answer.status, answer.code) == (408, "request_timeout")
        assert answer.header("connection") == "close"
        assert b"canary" not in answer.body
        assert "canary" not in service.log()

    def test_chunks(self, service: Service) -> None:
        with service.connect() as connection:
            sent = head(service, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
            connection.sendall(sent + b"3\r\nabc\r\n")
            assert read_answer(connection).status == 408

    def test_one_that_arrives_in_time_is_served(self, service: Service) -> None:
        body = body_of(100)
        with service.connect() as connection:
            for part in (head(service, len(body)), body[:10], body[10:-1], body[-1:]):
                connection.sendall(part)
                time.sleep(0.3)
            assert read_answer(connection).status == 200

    def test_silence(self, service: Service) -> None:
        with service.connect() as first, service.connect() as used:
            used.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(used).status == 200
            began = time.monotonic()
            assert ended(first)
            early = time.monotonic() - began
            assert ended(used)
            assert early < time.monotonic() - began  # who has been served may be silent for longer

    def test_whoever_does_not_read(self, service: Service) -> None:
        """Answers of 10,000 tokens, one after the other, to somebody who takes none of them."""
        request = head(service, len(body_of(10_000))) + body_of(10_000)
        before = service.memory()
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(1)
            connection.connect((HOST, service.port))
            with pytest.raises(ConnectionError):
                push(connection, request)
        assert service.memory() - before < 64 * 1024 * 1024
        assert service.get("/livez").status == 200


def test_thousands_of_idle_connections_stop_nobody(tmp_path: Path) -> None:
    """3,000 where 500 fit: who is idle longest makes room, and who asks is answered."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    settings = {"COATCHECK_LIMITS__CONNECTIONS": "500", "COATCHECK_LIMITS__HEAD_S": "60"}
    with running(tmp_path / "deployment", settings) as service, ExitStack() as stack:
        before = service.memory()
        answered = refused = 0
        for number in range(3_000):
            connection = stack.enter_context(service.connect())
            if number % 3 == 0:
                connection.sendall(b"POST /v1/eu/tokenize HTTP/1.1\r\nHos")
            if number % 100 == 99:
                answer = asked(service)
                answered += answer.status == 200
                refused += answer.status == 503
        assert answered + refused == 30
        time.sleep(1.1)  # those that came last may make room now
        assert asked(service).status == 200
        assert connections(service) <= 500
        assert service.memory() - before < 64 * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def asked(service: Service) -> Answer:
    """A request of somebody who comes now."""
    with service.connect() as connection:
        key = service.credential()
        connection.sendall(
            f"GET /v1/eu/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        )
        return read_answer(connection)


def connections(service: Service) -> int:
    """How many the service says it has."""
    [line] = [
        line
        for line in service.get("/metrics").body.decode().splitlines()
        if line.startswith('coatcheck_connections{listener="main"}')
    ]
    return int(float(line.split()[1]))


def test_when_all_are_busy_one_more_is_told(tmp_path: Path) -> None:
    settings = {"COATCHECK_LIMITS__CONNECTIONS": "5", "COATCHECK_LIMITS__BODY_S": "600"}
    with running(tmp_path / "deployment", settings) as service, ExitStack() as stack:
        body = body_of(1)
        while connections(service) > 1:  # what asked whether it is up is not yet gone
            time.sleep(0.02)
        time.sleep(0.2)
        busy = [stack.enter_context(service.connect()) for _ in range(5)]
        for connection in busy:
            connection.sendall(head(service, len(body), "Expect: 100-continue"))
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        time.sleep(1.1)
        for _ in range(3):
            answer = asked(service)
            assert (answer.status, answer.code) == (503, "too_busy")
            assert answer.header("retry-after") == "1"
            assert answer.header("connection") == "close"
        for connection in busy:
            connection.sendall(body)
            assert read_answer(connection).status == 200
        time.sleep(1.1)
        assert asked(service).status == 200  # and now there are idle ones
        assert service.stop() == 0


def test_handshakes_that_are_not_meant_take_nobodys_place(tmp_path: Path) -> None:
    folder = tmp_path / "deployment"
    initialise(folder)
    signer = authority(folder / "ca")
    signer.issue("tls")
    path = folder / "coatcheck.toml"
    tls = "[tls]\ncertificate = 'ca/tls.crt'\nkey = 'ca/tls.key'\n"
    path.write_text(path.read_text(encoding="utf-8") + tls, encoding="utf-8")
    settings = {"COATCHECK_LIMITS__CONNECTIONS": "50", "COATCHECK_LIMITS__HEAD_S": "600"}
    with running(folder, settings, ca=signer.path) as service, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(service.connect()).sendall(b"\x16\x03\x01\x02\x00\x01")
        for _ in range(5):
            assert service.call("GET", "whoami").status == 200
        assert len(list(Path(f"/proc/{service.pid}/fd").iterdir())) < 150
        assert "Traceback" not in service.log()
        assert service.stop() == 0


def test_a_full_queue_is_said_and_gets_empty(tmp_path: Path) -> None:
    """`ledger.queue` of one: of many at once some are refused, with when to try again, and none is lost."""
    settings = {"COATCHECK_LEDGER__QUEUE": "1", "COATCHECK_LEDGER__MAX_COMMANDS": "1"}
    with running(tmp_path / "deployment", settings) as service, ThreadPoolExecutor(32) as pool:
        body = {"field": "customer.name", "values": ["Ada"]}
        answers = list(pool.map(lambda _: service.call("POST", "tokenize", body), range(300)))
        by_status = {status: [a for a in answers if a.status == status] for status in (200, 503)}
        assert len(by_status[200]) + len(by_status[503]) == 300
        assert by_status[503], "the queue was never full"
        for answer in by_status[503]:
            assert answer.code == "too_busy"
            assert answer.header("retry-after") == "1"
        kept = {answer.json()["tokens"][0] for answer in by_status[200]}
        assert len(kept) == len(by_status[200])
        assert service.call("POST", "tokenize", body).status == 200
        assert "Traceback" not in service.log()
