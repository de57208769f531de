"""Connections: bounds in bytes and in time, on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vault.api.connections import Bounds, Connections
from vault.api.protocol import MAX_HEAD_BYTES, Protocol

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
LARGE = 20_000_000  # more than the kernel holds for a peer that does not read
SOON = 0.4  # long enough for a busy machine to read what was sent
ROOMY = Bounds(head_s=30)
Talk = Callable[[Reader, Writer], Coroutine[Any, Any, Any]]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the path, after the body, or before it where the path says so."""
    if "early" not in scope["path"]:
        while (await receive()).get("more_body"):
            pass
    if "slow" in scope["path"]:
        await asyncio.sleep(1)
    body = b"x" * LARGE if "large" in scope["path"] else scope["path"].encode()
    head = [(b"content-length", str(len(body)).encode())]
    with contextlib.suppress(RuntimeError):
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})


def talk(what: Talk, bounds: Bounds = ROOMY, kind: type[Any] = Protocol) -> Any:
    """Runs one client against a server; what it returns."""

    async def sweep(connections: Connections) -> None:
        while True:
            await asyncio.sleep(bounds.sweep_s)
            connections.sweep()

    async def run() -> Any:
        loop = asyncio.get_running_loop()
        config = uvicorn.Config(app, http=kind, ws="none", lifespan="off", log_config=None)
        config.load()
        state = Connections(bounds)
        sweeper = loop.create_task(sweep(state))
        server = await loop.create_server(lambda: kind(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        try:
            return await asyncio.wait_for(what(reader, writer), 60)
        finally:
            sweeper.cancel()
            writer.close()
            server.close()
            for connection in list(state.connections):
                connection.transport.abort()
            for task in list(state.tasks):
                await asyncio.wait_for(task, 60)
            await asyncio.sleep(0.01)  # so that what was closed is let go of

    return asyncio.run(run())


def answers(data: bytes) -> int:
    """How many answers bytes begin."""
    return len(re.findall(rb"HTTP/1\.1 \d", data))


async def rest(reader: Reader) -> bytes:
    """All that comes until the server closes."""
    with contextlib.suppress(ConnectionResetError):
        return await reader.read()
    return b""


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nA: b"])
def test_a_head_that_never_ends_is_given_up(sent: bytes) -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(sent)
        return await rest(reader)

    assert talk(client, Bounds(head_s=SOON)) == b""


def test_so_is_the_head_of_a_later_request() -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"/first")
        writer.write(b"GET /second HTTP/1.1\r\nHos")
        return await rest(reader)

    assert talk(client, Bounds(head_s=SOON)) == b""


def test_the_deadline_does_not_cut_an_answer() -> None:
    """Half a request is waiting behind one that is still being answered."""

    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET /half HT")
        return await rest(reader)

    answer = talk(client, Bounds(head_s=SOON))
    assert answer.endswith(b"/slow")
    assert b"connection: close" in answer


@pytest.mark.parametrize("size", [MAX_HEAD_BYTES - 100, MAX_HEAD_BYTES, 4 * MAX_HEAD_BYTES])
@pytest.mark.parametrize("form", [b"GET /%s HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nA: %s\r\n\r\n"])
def test_the_size_of_a_head(size: int, form: bytes) -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(form % (b"a" * size))
        return await reader.readline()

    small = size < MAX_HEAD_BYTES
    assert talk(client) == (b"HTTP/1.1 200 OK\r\n" if small else b"HTTP/1.1 400 Bad Request\r\n")


def test_an_endless_head_is_not_kept() -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                writer.write(b"a" * 65_536 if _ else b"GET / HTTP/1.1\r\nA: ")
                await writer.drain()
        return await rest(reader)

    answer = talk(client)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


def test_what_is_no_request_is_refused_once() -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(b"nonsense\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"GET / HTTP/1.1\r\n\r\n" * 3)
        return await rest(reader)

    answer = talk(client)
    assert answers(answer) == 1
    assert b'"code":"request_malformed"' in answer
    assert b"nonsense" not in answer


def test_an_answer_before_the_body_is_the_only_one() -> None:
    """A body that turns out to be broken after its request was answered gets no second answer."""

    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        first = await reader.readuntil(b"/early")
        writer.write(b"no chunk\r\n")
        return first + await rest(reader)

    assert answers(talk(client)) == 1


def test_a_body_that_breaks_off_is_the_requests_answer() -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"no chunk\r\n")
        return await rest(reader)

    answer = talk(client)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answers(answer) == 1


def test_a_body_that_never_ends_is_answered() -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        return await rest(reader)

    answer = talk(client, Bounds(body_s=SOON))
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b'"code":"request_timeout"' in answer
    assert answers(answer) == 1


def test_so_is_one_that_trickles() -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")

        async def trickle() -> None:
            with contextlib.suppress(ConnectionError):
                for _ in range(1000):
                    writer.write(b"a")
                    await writer.drain()
                    await asyncio.sleep(0.02)

        trickling = asyncio.ensure_future(trickle())
        try:
            return await rest(reader)
        finally:
            trickling.cancel()

    assert talk(client, Bounds(body_s=SOON)).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_never_ends_after_its_answer_is_given_up() -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        return await rest(reader)

    answer = talk(client, Bounds(body_s=SOON))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answers(answer) == 1


def test_the_deadline_of_a_body_is_not_that_of_its_answer() -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\na")
        return await rest(reader)

    assert talk(client, Bounds(body_s=0.1, head_s=0.1, idle_s=0.1)).startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_is_closed_after_its_time_and_not_before() -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        for _ in range(4):
            writer.write(b"GET /again HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"/again")
            await asyncio.sleep(SOON / 2)
        return await rest(reader)

    assert talk(client, Bounds(idle_s=SOON, head_s=30)) == b""


def test_a_peer_that_does_not_read_is_cut_off() -> None:
    async def client(reader: Reader, writer: Writer) -> bool:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(4 * SOON)
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        try:
            return len(await reader.read(2 * LARGE)) < LARGE
        except ConnectionResetError:
            return True

    assert talk(client, Bounds(answer_s=SOON, idle_s=30))


def test_a_peer_that_reads_slowly_is_not() -> None:
    async def client(reader: Reader, writer: Writer) -> int:
        size = 0
        for _ in range(4):
            writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"200 OK" in head
            await asyncio.sleep(0.8)
            size += len(await reader.readexactly(LARGE))
        return size

    assert talk(client, Bounds(answer_s=3, idle_s=30)) == 4 * LARGE


def test_the_control_waits_for_a_body_too() -> None:
    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        try:
            return await asyncio.wait_for(reader.read(1), 3 * SOON)
        except TimeoutError:
            return b"still waiting"

    assert talk(client, Bounds(body_s=30)) == b"still waiting"


def test_the_control_waits_for_ever() -> None:
    """What uvicorn does by itself: half a head is waited for, and any size of it is kept."""

    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nA: " + b"a" * 10 * MAX_HEAD_BYTES)
        try:
            return await asyncio.wait_for(reader.read(1), 0.3)
        except TimeoutError:
            return b"still waiting"

    assert talk(client, kind=HttpToolsProtocol) == b"still waiting"
