"""Streams over HTTP: a line in, a line out, bounded, and never a trailer that says more than was done."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.service import PATIENCE_S, Service, running

MIB = 1024 * 1024
NDJSON = "application/x-ndjson"
SSN = "customer.ssn"
NAME = "customer.name"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("streams") / "deployment") as made:
        yield made


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


class Peer:
    """A client that writes and reads as it likes."""

    def __init__(
        self, service: Service, path: str, key: str | None = None, media: str = NDJSON, more: str = ""
    ) -> None:
        self.socket: socket.socket = service.connect()
        head = (
            f"POST /v1/eu/{path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media}\r\n{more}"
            f"authorization: Bearer {key or service.credential()}\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self.socket.sendall(head.encode())
        self.file = self.socket.makefile("rb")
        self.status = 0
        self.rest = b""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def write(self, data: bytes) -> None:
        self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self.socket.sendall(b"0\r\n\r\n")

    def head(self) -> int:
        """Reads the head of the answer: its status."""
        self.status = int(self.file.readline().split()[1])
        self.headers = dict(
            line.decode().rstrip().split(": ", 1) for line in iter(self.file.readline, b"\r\n")
        )
        return self.status

    def line(self) -> Any:
        """The next line of the answer; None at its end."""
        if not self.status:
            self.head()
        while b"\n" not in self.rest:
            size = int(self.file.readline() or b"0", 16)
            part = self.file.read(size)
            self.file.readline()
            if not size:
                assert not self.rest
                return None
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\n")
        return {"line": json.loads(line)}

    def all(self) -> list[Any]:
        """All lines that are left."""
        return [line["line"] for line in iter(self.line, None)]

    def problem(self) -> tuple[int, str]:
        self.head()
        assert self.headers["content-type"] == "application/problem+json"
        body = self.file.read(int(self.headers["content-length"]))
        return self.status, json.loads(body)["code"]


def stream(service: Service, path: str, body: bytes, key: str | None = None) -> list[Any]:
    with Peer(service, path, key) as peer:
        peer.write(body)
        peer.end()
        return peer.all()


def grant(service: Service, *fields: str, uses: int = 50) -> str:
    scope = [{"fields": fields, "operations": ["reveal"], "delivery": ["plain"]}]
    body = {"agent": "agent:demo", "purpose": "support", "scope": scope, "limits": {"uses": uses}}
    answer = service.call("POST", "grants", body)
    assert answer.status == 201, answer.body
    return str(answer.json()["credential"])


def test_values_become_tokens_and_values_again(service: Service) -> None:
    values = ["123-45-6789", None, "123456780", "078-05-1120"]
    made = stream(service, "tokenize/stream", lines({"field": SSN}, *values))
    head, *tokens, trailer = made
    assert head == {"field": SSN, "key_version": 1}
    assert trailer == {"done": True, "count": 4, "failed": 0}
    answer = service.call("POST", "tokenize", {"field": SSN, "values": values})
    assert tokens == answer.json()["tokens"]

    credential = grant(service, SSN)
    asked = lines({"purpose": "support", "field": SSN, "key_version": 1}, *tokens)
    head, *back, trailer = stream(service, "detokenize/stream", asked, credential)
    assert (head["field"], back) == (SSN, values)
    assert trailer["done"]
    left = service.call("POST", "detokenize", {"purpose": "support", "items": []}, key=credential)
    assert left.status == 400


def test_vaulted_values_have_subjects(service: Service) -> None:
    given = [{"value": "Ada", "subject": "c1"}, {"value": "Eve"}, "Bob"]
    _, *tokens, _ = stream(service, "tokenize/stream", lines({"field": NAME}, *given))
    assert all(token.startswith("tok_") for token in tokens)
    asked = [{"token": tokens[0], "subject": "c1"}, {"token": tokens[1], "subject": "c2"}]
    head = {"purpose": "support", "field": NAME, "on_error": "report"}
    _, *back, trailer = stream(service, "detokenize/stream", lines(head, *asked), grant(service, NAME))
    assert back == ["Ada", {"error": {"code": "token_unknown"}}]
    assert trailer == {"done": True, "count": 2, "failed": 1}


def test_lines_are_answered_while_the_body_is_open(service: Service) -> None:
    with Peer(service, "tokenize/stream") as peer:
        peer.write(lines({"field": SSN}))
        for number in range(3):
            peer.write(lines(f"12345678{number}")[:-4])
            peer.write(lines(f"12345678{number}")[-4:])
            if not number:
                assert peer.line()["line"] == {"field": SSN, "key_version": 1}
            assert len(peer.line()["line"]) == 9
        peer.end()
        assert peer.line()["line"] == {"done": True, "count": 3, "failed": 0}
        assert peer.line() is None


def test_a_bad_line_ends_the_stream_without_a_trailer(service: Service) -> None:
    with Peer(service, "tokenize/stream") as peer:
        peer.write(lines({"field": SSN}, "123456789", "123456780"))
        assert peer.line()["line"]["field"] == SSN
        first = [peer.line()["line"], peer.line()["line"]]
        peer.write(lines("123456781", "secret-value"))
        (last,) = peer.all()
    assert all(len(token) == 9 for token in first)
    assert last["error"]["code"] == "value_length"
    assert last["error"]["errors"] == [{"index": 3, "code": "value_length"}]
    assert "secret" not in json.dumps(last)


def test_bad_lines_are_told_in_their_places(service: Service) -> None:
    head = {"field": SSN, "on_error": "report"}
    _, *made, trailer = stream(service, "tokenize/stream", lines(head, "1", "123456789", "x"))
    assert [isinstance(one, dict) for one in made] == [True, False, True]
    assert trailer == {"done": True, "count": 3, "failed": 2}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"12", "body_malformed"),
        (b"[]", "body_malformed"),
        (b'"a" "b"', "body_malformed"),
        (b'"123456780","123456781"', "body_malformed"),
        (b'"\xff"', "body_malformed"),
        (b'"123', "body_malformed"),
        (b'{"value":"123456780","value":"123456781"}', "member_duplicate"),
        (b'{"value":"123456780","x":1}', "member_unknown"),
        (b"{}", "member_missing"),
        (b'{"value":"123456780","subject":"c1"}', "subjects_unenforceable"),
        (b'{"field":"customer.ssn"}', "member_unknown"),
    ],
)
def test_a_line_that_is_none_is_told_by_its_place(service: Service, line: bytes, code: str) -> None:
    with Peer(service, "tokenize/stream") as peer:
        peer.write(lines({"field": SSN}, "123456789"))
        peer.line()
        peer.line()
        peer.write(line + b"\n")
        (last,) = peer.all()
    assert last["error"]["code"] == code
    places = [last["error"].get("index"), *(one["index"] for one in last["error"].get("errors", []))]
    assert 1 in places


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "body_malformed"),
        (b"\n", 400, "body_malformed"),
        (b"{}\n", 400, "member_missing"),
        (b'{"field":"customer.ssn","x":1}\n', 400, "member_unknown"),
        (b'{"field":"customer.ssn","field":"customer.ssn"}\n', 400, "member_duplicate"),
        (b'{"field":"no.such"}\n"a"\n', 403, "permission_denied"),
        (b'{"field":"customer.ssn"}\n"a"\n', 422, "value_length"),
        (b'{"field":"customer.ssn"}\n7\n', 400, "body_malformed"),
        (b'{"field":"customer.ssn","on_error":"x"}\n"a"\n', 422, "operation_unsupported"),
        (b'{"field":"' + b"a" * 300_000, 413, "body_too_large"),
        (b'{"field":"customer.ssn"}\n"' + b"a" * 300_000, 413, "body_too_large"),
    ],
)
def test_what_is_refused_at_once_has_a_status(service: Service, body: bytes, status: int, code: str) -> None:
    with Peer(service, "tokenize/stream") as peer:
        if body:
            peer.write(body)
        peer.end()
        assert peer.problem() == (status, code)


def test_nobody_unknown_is_listened_to(service: Service) -> None:
    for path, key in (("tokenize/stream", "ck_unknown_x"), ("detokenize/stream", service.credential())):
        with Peer(service, path, key) as peer:
            assert peer.problem()[0] == 401
    with Peer(service, "tokenize/stream", media="application/json") as peer:
        assert peer.problem() == (415, "media_type_unsupported")
    with Peer(service, "tokenize/stream", more="idempotency-key: a\r\n") as peer:
        assert peer.problem() == (422, "operation_unsupported")
    with Peer(service, "tokenize/stream?x=1") as peer:
        assert peer.problem() == (400, "parameter_invalid")
    assert service.get("/v1/eu/tokenize/stream").status == 405


def test_an_empty_stream_is_whole(service: Service) -> None:
    for body in (lines({"field": SSN}), lines({"field": SSN}) + b"\n \n", lines({"field": SSN}).rstrip()):
        assert stream(service, "tokenize/stream", body) == [
            {"field": SSN},
            {"done": True, "count": 0, "failed": 0},
        ]


def test_the_last_line_needs_no_end(service: Service) -> None:
    made = stream(service, "tokenize/stream", lines({"field": SSN}, "123456789").rstrip())
    assert made[-1] == {"done": True, "count": 1, "failed": 0}


def test_a_body_that_breaks_off_has_no_trailer(service: Service) -> None:
    with Peer(service, "tokenize/stream") as peer:
        peer.write(lines({"field": SSN}, "123456789"))
        assert len([peer.line(), peer.line()]) == 2
        peer.socket.shutdown(socket.SHUT_WR)
        left = peer.file.read()
    assert b"done" not in left


def test_a_grant_that_is_used_up_ends_the_stream(service: Service) -> None:
    _, *tokens, _ = stream(service, "tokenize/stream", lines({"field": SSN}, *["123456789"] * 3))
    credential = grant(service, SSN, uses=2)
    with Peer(service, "detokenize/stream", credential) as peer:
        peer.write(lines({"purpose": "support", "field": SSN, "key_version": 1}, *tokens[:2]))
        assert [peer.line()["line"] for _ in range(3)][1:] == ["123456789"] * 2
        peer.write(lines(tokens[2]))
        (last,) = peer.all()
    assert last["error"]["code"] == "budget_exhausted"


def test_a_revoked_grant_ends_the_stream(service: Service) -> None:
    (_, token, _) = stream(service, "tokenize/stream", lines({"field": SSN}, "123456789"))
    credential = grant(service, SSN)
    with Peer(service, "detokenize/stream", credential) as peer:
        peer.write(lines({"purpose": "support", "field": SSN, "key_version": 1}, token))
        assert [peer.line()["line"] for _ in range(2)][1] == "123456789"
        id_ = "gr_" + credential.split("_")[1]
        revoked = service.call("POST", f"grants/{id_}/revoke", {"reason": "test"})
        assert revoked.status == 200, revoked.body
        peer.write(lines(token))
        (last,) = peer.all()
    assert last["error"]["code"] == "grant_invalid"


def test_a_reader_that_does_not_read_costs_no_memory(service: Service) -> None:
    """The peer writes as much as is taken, and reads nothing for a while: neither side gathers."""
    some = lines(*(f"{number:09d}" for number in range(10_000)))
    stream(service, "tokenize/stream", lines({"field": SSN}) + some)
    idle = service.memory()
    service.forget_peak()
    with Peer(service, "tokenize/stream") as peer:
        peer.write(lines({"field": SSN}))
        peer.socket.settimeout(2.0)
        taken = 0
        stalled = False
        for _ in range(600):
            try:
                peer.write(some)
            except TimeoutError:
                stalled = True
                break
            taken += len(some)
        risen = service.memory("VmHWM") - idle
    assert stalled  # it was not simply read and kept
    assert taken < 40 * MIB
    assert risen < 32 * MIB, f"{risen // MIB} MiB"
    assert service.get("/livez").status == 200


def test_a_slow_reader_gets_everything(service: Service) -> None:
    count = 200_000
    with Peer(service, "tokenize/stream") as peer:
        peer.socket.settimeout(PATIENCE_S)

        def write() -> None:
            peer.write(lines({"field": SSN}))
            for start in range(0, count, 10_000):
                peer.write(lines(*(f"{number:09d}" for number in range(start, start + 10_000))))
            peer.end()

        writer = threading.Thread(target=write)
        writer.start()
        made = peer.all()
        writer.join(PATIENCE_S)
    assert made[-1] == {"done": True, "count": count, "failed": 0}
    assert len(set(made[1:-1])) == count
