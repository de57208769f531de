"""An answer in one write says on the wire what ASGI's two messages say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import uvicorn

from vault.api.connections import Bounds, Connections
from vault.api.exchange import exchange_of
from vault.api.protocol import Protocol

HEAD = b"content-type: text/plain\r\ncontent-length: 5\r\n"
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"5")]


async def at_once(scope: Any, receive: Any, send: Any) -> None:
    exchange = exchange_of(scope)
    assert exchange is not None
    early = exchange.body()
    whole = b""
    more = True
    while more:
        message = await receive()
        whole += message["body"]
        more = message.get("more_body")
    assert early in (None, whole)
    await exchange.answer(202 if early is None else 200, HEAD, b"hello")


async def by_asgi(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"hello"})


async def answer_to(app: Any, *parts: bytes) -> list[bytes]:
    """What comes back for a request sent in parts, one element a packet that was seen."""
    config = uvicorn.Config(app, http=Protocol, ws="none", lifespan="off", log_config=None)
    config.load()
    state = Connections(Bounds())
    state.default_headers = [(b"date", b"today")]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Protocol(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    seen = []
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.05)
    writer.write_eof()
    while data := await reader.read(65_536):
        seen.append(data)
    writer.close()
    server.close()
    await asyncio.sleep(0.01)
    return seen


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: x\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
    ],
)
def test_the_bytes_are_the_same(request_: bytes) -> None:
    ours = asyncio.run(answer_to(at_once, request_))
    assert b"".join(ours) == b"".join(asyncio.run(answer_to(by_asgi, request_)))
    assert len(ours) == 1


def test_a_body_may_come_later() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc"
    assert asyncio.run(answer_to(at_once, head, b"def"))[0].startswith(b"HTTP/1.1 202 ")


def test_nothing_is_written_to_a_peer_that_is_gone() -> None:
    async def late(scope: Any, receive: Any, send: Any) -> None:
        exchange: Any = exchange_of(scope)
        exchange._cycle.disconnected = True
        await exchange.answer(200, HEAD, b"hello")
        assert not exchange._cycle.response_started
        exchange._cycle.transport.close()

    assert asyncio.run(answer_to(late, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")) == []


def test_a_peer_that_does_not_read_is_waited_for() -> None:
    """The connection's buffer is full when the answer is ready: it is sent when there is room."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        exchange: Any = exchange_of(scope)
        flow = exchange._cycle.flow
        flow.pause_writing()
        asyncio.get_running_loop().call_later(0.05, flow.resume_writing)
        await exchange.answer(200, HEAD, b"hello")
        assert not flow.write_paused

    assert asyncio.run(answer_to(slow, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))[0].endswith(b"hello")


def test_another_server_has_none() -> None:
    assert exchange_of({"type": "http"}) is None
    assert exchange_of({"type": "http", "extensions": {}}) is None
