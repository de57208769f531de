"""HTTP/1.1 on a connection: uvicorn's protocol, with bounds on what comes before a request is understood,
and with problem documents where the bytes are no request at all.

Nothing of a head is shown, not even in the log.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from vault.api.exchange import EXTENSION, Exchange
from vault.api.problems import COMMON_HEADERS, problem_response
from vault.errors import error
from vault.identifiers import new_id

MAX_HEAD_BYTES: Final = 64 * 1024  # request line and headers; a read of the socket more may be held
HEAD_DEADLINE_S: Final = 30.0  # from the connection, or from the first byte of a later request
LINGER_S: Final = 2.0  # for the peer to read why it is refused, before the connection is gone


class HeadRefused(Exception):
    """A head that is too large, or that asks for another protocol."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    head_deadline_s: float = HEAD_DEADLINE_S
    _in_head = True
    _head_bytes = 0
    _newest = 0  # bytes of the read under way
    _most_head_bytes = 0  # of this head, and of what else came in its reads
    _refused = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A peer connected: its first request is expected."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self._settle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._refused:
            return
        self._newest = len(data)
        if self._in_head:
            self._head_bytes += self._newest
            self._most_head_bytes += self._newest
        super().data_received(data)
        if not self._in_head or self._refused:
            return
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("")
        elif self._deadline is None:
            self._expect()

    def on_message_begin(self) -> None:
        """The first bytes of a request."""
        super().on_message_begin()
        self._in_head, self._head_bytes, self._most_head_bytes = True, 0, self._newest

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._settle()
        self._in_head = False
        # The parser skips the body of a request that asks for an upgrade, and would read what follows as
        # the next request: whoever writes bodies behind a proxy could write requests.
        if self.parser.should_upgrade():
            raise HeadRefused
        if self._most_head_bytes > MAX_HEAD_BYTES:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > MAX_HEAD_BYTES:
                raise HeadRefused
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        cycle.scope["extensions"] = {EXTENSION: Exchange(cycle)}  # type: ignore[dict-item]
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Refuses what cannot be read as a request, and ends the connection.

        An answer that is still being made belongs to a request before it: that one is sent, and no more.
        """
        self._refused = True
        self._settle()
        cycle = self._answering()
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            return
        if self.pipeline or (cycle is not None and cycle.response_complete and cycle.more_body):
            self.transport.close()  # an answer now would be taken for the one to another request
            return
        request = new_id("req")
        status, headers, body = problem_response(error("request_malformed"), request)
        headers += [
            *self.server_state.default_headers,
            *COMMON_HEADERS,
            (b"x-request-id", request.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + body)
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # its body broke off: this was its answer
            cycle.message_event.set()
        # Closing with bytes unread resets the connection, and the peer would lose the answer.
        self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER_S, self.transport.close)

    def _answering(self) -> RequestResponseCycle | None:
        """The newest request whose head was read; None before the first."""
        return self.cycle

    def _expect(self) -> None:
        """A head is expected within the deadline."""
        self._settle()
        self._deadline = self.loop.call_later(self.head_deadline_s, self._too_slow)

    def _settle(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        cycle = self._answering()
        if cycle is None or cycle.response_complete:
            self.transport.close()
        else:
            cycle.keep_alive = False
