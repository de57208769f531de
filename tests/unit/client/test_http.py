"""The client: refusals become errors of their family, and nothing it is told makes it fall over."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from vault.client.approvals import ApprovalRequired
from vault.client.http import Client
from vault.codes import CODES
from vault.errors import FAMILIES, CoatcheckError, Unauthenticated, Unavailable

KEY = "ck_01M84HD64DFW18BYTQYF0BJRJQ_" + "a" * 43


class Told(http.server.BaseHTTPRequestHandler):
    """Answers what it is told to."""

    status = 200
    body = b"{}"
    seen: tuple[str, str, str | None, bytes] = ("", "", None, b"")

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        Told.seen = (self.command, self.path, self.headers.get("authorization"), body)
        self.send_response(Told.status)
        self.send_header("location", "http://127.0.0.1:9/elsewhere")
        self.send_header("content-length", str(len(Told.body)))
        self.end_headers()
        self.wfile.write(Told.body)

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names of the base class

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Told)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(url: str, status: int = 200, answer: Any = None, **more: Any) -> Any:
    Told.status = status
    Told.body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    client = Client(url, more.pop("region", "eu"), more.pop("credential", KEY))
    try:
        return client.request(more.pop("method", "GET"), more.pop("path", "whoami"), **more)
    finally:
        client.close()


def refusal(url: str, status: int, body: Any) -> CoatcheckError:
    with pytest.raises(CoatcheckError) as caught:
        ask(url, status, body)
    return caught.value


def test_a_request(url: str) -> None:
    assert ask(url, answer={"a": 1}, path="grants", query={"limit": 3}) == {"a": 1}
    assert Told.seen == ("GET", "/v1/eu/grants?limit=3", f"Bearer {KEY}", b"")
    ask(url, 201, {}, method="POST", path="grants", body={"b": [None]})
    method, _, _, sent = Told.seen
    assert (method, sent) == ("POST", b'{"b":[null]}')


def test_a_trailing_slash_is_no_matter(url: str) -> None:
    ask(url + "/", body={})
    assert Told.seen[1] == "/v1/eu/whoami"


@pytest.mark.parametrize(("region", "path"), [("../us", "..%2Fus"), ("eu?x", "eu%3Fx"), ("é", "%C3%A9")])
def test_a_region_is_one_segment(url: str, region: str, path: str) -> None:
    ask(url, answer={}, region=region)
    assert Told.seen[1] == f"/v1/{path}/whoami"


@pytest.mark.parametrize("code", [code for code, row in CODES.items() if row.status])
def test_a_refusal_is_of_its_family(url: str, code: str) -> None:
    problem = {
        "type": "x",
        "code": code,
        "title": "x",
        "status": 400,
        "retry": "never",
        "request": "req_1",
        "n": 3,
    }
    found = refusal(url, CODES[code].status, problem)
    family = ApprovalRequired if code == "approval_required" else FAMILIES[CODES[code].exit]
    assert type(found) is family
    assert (found.code, found.facts) == (code, {"request": "req_1", "n": 3})


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        1,
        "text",
        {"code": "no_such_code"},
        {"code": None},
        {"code": []},
        {"code": {}},
        {"code": 1},
    ],
)
def test_what_is_no_problem_document(url: str, body: Any) -> None:
    found = refusal(url, 500, body)
    assert isinstance(found, Unavailable)
    assert (found.code, found.facts) == ("service_unreachable", {"status": 500})


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"{", b"[" * 100_000])
@pytest.mark.parametrize("status", [200, 404, 502])
def test_what_is_no_json(url: str, body: bytes, status: int) -> None:
    assert refusal(url, status, body).facts == {"status": status}


def test_it_follows_nobody_elsewhere(url: str) -> None:
    """A redirection is no answer, and the credential goes to nobody else."""
    assert refusal(url, 307, {"x": 1}).code == "service_unreachable"


def test_it_asks_no_proxy(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(url, answer={"a": 1}) == {"a": 1}


@pytest.mark.parametrize("credential", ["", "a b", "a\nb", "a\r\nX: y", "é", "a\x7f", "a\0", "a\t"])
def test_a_credential_that_no_header_can_hold(url: str, credential: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        Client(url, "eu", credential)
    assert caught.value.code == "credential_invalid"


@pytest.mark.parametrize(
    "url", ["", "x", "http://", "ftp://127.0.0.1", "http://[", "http://127.0.0.1:9", "http://\0"]
)  # fmt: skip
def test_where_nobody_is(url: str) -> None:
    with pytest.raises(Unavailable) as caught:
        Client(url, "eu", KEY, timeout=5).request("GET", "whoami")
    assert (caught.value.code, caught.value.facts) == ("service_unreachable", {})


def test_it_does_not_show_its_credential(url: str) -> None:
    client = Client(url, "eu", KEY)
    assert KEY not in repr(client) + str(client)
    client.close()
