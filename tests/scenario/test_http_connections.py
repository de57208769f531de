"""Many clients at once, connections that are used again, requests sent ahead, and clients that go away."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from typing import Any

import pytest

from tests.harness import checks
from tests.harness.doors import Doors, complaints, initialise_doors
from tests.harness.load import Api
from tests.harness.roomy import NAME, PURPOSE, SSN, grant_body
from tests.support.service import PATIENCE_S, Answer, read_answer

CLIENTS = 64


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    service = initialise_doors(tmp_path_factory.mktemp("connections") / "deployment")
    try:
        service.start()
        yield Doors(service)
        assert "Traceback" not in service.log()
    finally:
        service.kill()


def request(doors: Doors, method: str, path: str, body: Any = None, *lines: str) -> bytes:
    """One request as bytes."""
    content = b"" if body is None else json.dumps(body).encode()
    head = [
        f"{method} /v1/eu/{path} HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {doors.all_powerful}",
        *lines,
    ]
    if body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*head, "", ""]).encode() + content


def answers(connection: socket.socket, count: int) -> list[Answer]:
    """The next answers on a connection; what one read ahead is not lost to the next."""
    with connection.makefile("rb") as stream:
        shared = Shared(stream)
        return [read_answer(shared) for _ in range(count)]  # type: ignore[arg-type]


class Shared:
    """A connection that gives the same stream to everybody."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def makefile(self, *_: Any) -> Any:
        return Unclosed(self._stream)


class Unclosed:
    """A stream that http.client may close as often as it likes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return (lambda: None) if name == "close" else getattr(self._stream, name)


def test_64_clients_each_get_their_own(doors: Doors) -> None:
    """Every client tokenizes its own values and opens them under its own grant, all at the same time."""
    wrong: list[str] = []
    decisions: list[str] = []
    gate = threading.Barrier(CLIENTS)

    def work(number: int) -> None:
        api = Api(doors.service.port, doors.all_powerful)
        gate.wait(PATIENCE_S)
        for turn in range(3):
            values = [f"client {number} turn {turn} value {index}" for index in range(5)]
            status, made = api.call("POST", "tokenize", {"field": NAME, "values": values})
            _, grant = api.call("POST", "grants", grant_body([NAME], 5))
            body = {"purpose": PURPOSE, "field": NAME, "tokens": made.get("tokens", [])}
            _, opened = api.call("POST", "detokenize", body, by=grant.get("credential"))
            if status != 200 or opened.get("values") != values:
                wrong.append(f"client {number}: {status} {opened.get('code')}")
            decisions.extend(answer.get("decision", "") for answer in (made, grant, opened))
        api.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert wrong == []
    assert len(set(decisions)) == CLIENTS * 3 * 3
    log = checks.events(doors.service.folder / "eu.db")
    assert {event.get("decision") for event in log} >= set(decisions)


def test_one_grant_between_64_clients_gives_no_more_than_its_uses(doors: Doors) -> None:
    made = doors.service.call("POST", "tokenize", {"field": NAME, "values": ["Ada"]}, key=doors.all_powerful)
    grant = doors.service.call("POST", "grants", grant_body([NAME], 20), key=doors.all_powerful).json()
    body = {"purpose": PURPOSE, "field": NAME, "tokens": made.json()["tokens"]}
    statuses: list[int] = []
    gate = threading.Barrier(CLIENTS)

    def work() -> None:
        gate.wait(PATIENCE_S)
        statuses.append(doors.service.call("POST", "detokenize", body, key=grant["credential"]).status)

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(statuses) == [200] * 20 + [403] * (CLIENTS - 20)


def test_a_connection_survives_refusals(doors: Doors) -> None:
    """Refusals of every kind, also those that leave a body unread, and then a request that succeeds."""
    refused = [
        request(doors, "GET", "no/such/path"),
        request(doors, "PUT", "whoami"),
        request(doors, "GET", "grants?x=1"),
        request(doors, "POST", "tokenize", {"field": SSN, "values": ["x"]}),
        request(doors, "POST", "tokenize", {"unknown": 1}),
        request(doors, "POST", "tokenize", {"field": "x" * 300_000}).replace(
            b"application/json", b"text/plain"
        ),
        request(doors, "POST", "grants", {"agent": "x" * 300_000}),
        request(doors, "POST", "tokenize", {"field": "x" * 9_000_000}),
        request(doors, "POST", "tokenize", {"field": "x" * 100_000}).replace(b"Bearer ck", b"Bearer xx"),
        request(doors, "POST", "tokenize", {"field": "x" * 100_000}).replace(b"/v1/eu", b"/v1/us"),
    ]
    expected = [404, 405, 400, 422, 400, 415, 413, 413, 401, 421]
    good = request(doors, "GET", "whoami")
    with doors.service.connect() as connection:
        for data, status in zip(refused, expected, strict=True):
            connection.sendall(data)
            assert read_answer(connection).status == status
            connection.sendall(good)
            answer = read_answer(connection)
            assert answer.status == 200
            assert answer.json()["name"] == "service:all"


def test_requests_sent_ahead_are_answered_in_order(doors: Doors) -> None:
    paths = ["whoami", "nothing", "fields/customer.ssn", "grants?x=1", "whoami", "fields/customer.name"]
    sent = b"".join(request(doors, "GET", path) for path in paths)
    with doors.service.connect() as connection:
        connection.sendall(sent)
        got = answers(connection, len(paths))
    assert [answer.status for answer in got] == [200, 404, 200, 400, 200, 200]
    assert (got[2].json()["name"], got[5].json()["name"]) == ("customer.ssn", "customer.name")
    assert len({answer.header("x-request-id") for answer in got}) == len(paths)


def test_bodies_sent_ahead_are_told_apart(doors: Doors) -> None:
    values = [[f"value {number}"] * (1 + number % 7) for number in range(40)]
    sent = b"".join(request(doors, "POST", "tokenize", {"field": NAME, "values": those}) for those in values)
    with doors.service.connect() as connection:
        connection.sendall(sent)
        got = answers(connection, len(values))
    tokens = [answer.json()["tokens"] for answer in got]
    assert [len(those) for those in tokens] == [len(those) for those in values]
    body = {"purpose": PURPOSE, "field": NAME, "tokens": list(chain.from_iterable(tokens))}
    opened = doors.service.call("POST", "detokenize", body, key=doors.grant).json()["values"]
    assert opened == list(chain.from_iterable(values))


def test_what_follows_a_request_and_is_none_does_not_take_its_answer(doors: Doors) -> None:
    with doors.service.connect() as connection:
        connection.sendall(request(doors, "GET", "whoami") + b"\xff\xff not a request\r\n\r\n")
        first = read_answer(connection)
        assert first.status == 200
        assert first.header("connection") == "close"


def test_a_connection_is_closed_when_asked(doors: Doors) -> None:
    with doors.service.connect() as connection:
        connection.sendall(request(doors, "GET", "whoami", None, "Connection: close"))
        assert read_answer(connection).header("connection") == "close"
        assert connection.recv(1) == b""
    with doors.service.connect() as connection:
        connection.sendall(request(doors, "GET", "whoami").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert read_answer(connection).status == 200
        assert connection.recv(1) == b""


def newest(doors: Doors) -> int:
    return int(
        doors.service.call("GET", "audit?limit=1", key=doors.all_powerful).json()["items"][0]["number"]
    )


def settled(doors: Doors) -> int:
    """The newest event's number, once it has stopped growing."""
    end = time.monotonic() + PATIENCE_S
    last = -1
    while (number := newest(doors)) != last and time.monotonic() < end:
        last = number
        time.sleep(0.3)
    return last


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 0.999])
def test_a_client_that_leaves_before_its_request_is_whole_leaves_nothing(doors: Doors, part: float) -> None:
    before = settled(doors)
    body = {"field": NAME, "values": [f"value {number}" for number in range(3000)]}
    data = request(doors, "POST", "tokenize", body)
    for _ in range(10):
        with doors.service.connect() as connection:
            connection.sendall(data[: int(len(data) * part)])
    assert settled(doors) == before
    assert complaints(doors.service.get("/livez")) == []


def test_a_client_that_leaves_before_its_answer_leaves_something_whole(doors: Doors) -> None:
    """Either all of a request happened, with its event, or nothing of it."""
    database = doors.service.folder / "eu.db"
    body = {"field": NAME, "values": [f"value {n}" for n in range(900)], "subjects": ["p1", "p2"] * 450}
    data = request(doors, "POST", "tokenize", body)
    before = settled(doors)
    for _ in range(15):
        with doors.service.connect() as connection:
            connection.sendall(data)
    settled(doors)
    log = checks.events(database)
    assert checks.halves(database, log) == []
    for event in log[before + 1 :]:
        if event["kind"] == "tokenize":
            assert event["fields"] == [{"field": NAME, "protection": "vaulted", "values": 900}]


def test_many_connections_that_do_nothing_stop_nobody(doors: Doors) -> None:
    with ExitStack() as open_:
        for _ in range(200):
            open_.enter_context(doors.service.connect()).sendall(b"POST /v1/eu/tokenize HTTP/1.1\r\nHos")
        assert doors.service.call("GET", "whoami").status == 200
