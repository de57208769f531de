"""HTTP/1.1 on a connection: uvicorn's protocol, with bounds on what comes before a request is understood,
deadlines for all that a peer does, and problem documents where the bytes are no request at all.

Nothing of a head is shown, not even in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from vault.api.connections import Connections
from vault.api.exchange import EXTENSION, Exchange
from vault.api.forwarded import client_address, is_trusted
from vault.api.presented import CERTIFICATE
from vault.api.problems import COMMON_HEADERS, problem_response
from vault.authn.certificates import from_header
from vault.config.addresses import plain_address
from vault.config.settings import Network
from vault.errors import CoatcheckError, error
from vault.identifiers import new_id

MAX_HEAD_BYTES: Final = 64 * 1024  # request line and headers; a read of the socket more may be held
CLIENT_CERT: Final = b"client-cert"  # RFC 9440, 2.2
LINGER_S: Final = 2.0  # for the peer to read why it is refused, before the connection is gone
# What is read now: nothing yet, a head, or a body.
_IDLE, _HEAD, _BODY = range(3)


class HeadRefused(Exception):
    """A head that is too large, or that asks for another protocol."""


class Protocol(HttpToolsProtocol):
    """One connection.

    Args:
        config: uvicorn's.
        connections: all connections of the listener, and their bounds.
        state: the application's.
        proxies: whose forwarding headers are believed.
        certificates: whether they say whose certificate they saw (RFC 9440).
    """

    server_state: Connections

    def __init__(
        self,
        config: uvicorn.Config,
        connections: Connections,
        state: dict[str, Any],
        proxies: Sequence[Network] = (),
        *,
        certificates: bool = False,
    ) -> None:
        super().__init__(config, connections, state)
        self._certificates = certificates
        self._certificate: bytes | None = None
        self._proxies = proxies
        self._bounds = connections.bounds
        self._now = connections.now
        self._phase = _IDLE
        self._since = self._now()
        self.unused = True
        self._trusted = False
        self._head_bytes = 0
        self._read_bytes = 0  # of the read under way
        self._most_head_bytes = 0  # of this head, and of what else came in its reads
        self._refused = False
        self._ending: float | None = None
        self._unsent: tuple[float, object] | None = None
        self._exchange: Exchange | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A peer connected: its first request is expected."""
        super().connection_made(transport)
        self._since = self._now()
        if self.client is not None:
            plain = plain_address(self.client[0])
            if plain is not None:
                self.client = (str(plain), self.client[1])
            self._trusted = bool(self._proxies) and is_trusted(self.client[0], self._proxies)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._certificate = tls.getpeercert(binary_form=True)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._refused:
            return
        self._read_bytes = len(data)
        if self._exchange is not None and self._exchange.streaming:
            self._since = self._now()  # each part of a stream has its own time
        if self._phase != _BODY:
            self._head_bytes += self._read_bytes
            self._most_head_bytes += self._read_bytes
        super().data_received(data)
        if self._phase == _HEAD and self._head_bytes > MAX_HEAD_BYTES and not self._refused:
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """The first bytes of a request."""
        super().on_message_begin()
        self._phase, self._head_bytes, self._most_head_bytes = _HEAD, 0, self._read_bytes
        self._since = self._now()
        self.unused = False

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._phase = _BODY
        self._since = self._now()
        # The parser skips the body of a request that asks for an upgrade, and would read what follows as
        # the next request: whoever writes bodies behind a proxy could write requests.
        if self.parser.should_upgrade():
            raise HeadRefused
        if self._most_head_bytes > MAX_HEAD_BYTES:
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > MAX_HEAD_BYTES:
                raise HeadRefused
        if self._trusted and self.client is not None:
            address = client_address(self.client[0], self.headers, self._proxies)
            self.scope["client"] = (address, 0)
        certificate = self._certificate
        if self._certificates and self._trusted:  # what the proxy itself has shown is its own
            certificate = from_header([value for name, value in self.headers if name == CLIENT_CERT])
        if certificate is not None:
            self.scope[CERTIFICATE] = certificate  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()
        if self.server_state.draining:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        self._phase, self._head_bytes = _IDLE, 0
        self._since = self._now()

    def on_response_complete(self) -> None:
        """An answer was handed over: the next request is served, or waited for."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._phase == _IDLE:
            self._since = self._now()
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    @property
    def waiting_since(self) -> float | None:
        """Since when it waits for a request; None while one is under way, or once it is closing."""
        if self._phase == _BODY or self._answering() or self.transport.is_closing():
            return None
        return self._since

    def sweep(self, now: float) -> None:
        """Ends what took too long."""
        if self.transport.is_closing() or self._ending is not None:
            self._finish(now)
            return
        if self._is_stuck(now):
            self.abort()
            return
        passed = now - self._since
        if self._phase == _BODY:
            if self.flow.read_paused:
                self._since = now  # we are slow, not the peer
            elif passed > self._bounds.body_s:
                self._refuse(error("request_timeout"))
        elif self._phase == _HEAD or self.unused:
            if passed > self._bounds.head_s:
                self.shutdown()
        elif not self._answering() and passed > self._bounds.idle_s:
            self.end()

    def end(self) -> None:
        """Closes it; nothing is under way."""
        self.transport.close()

    def abort(self) -> None:
        """Closes it at once."""
        self.transport.abort()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._exchange = Exchange(cycle)
        cycle.scope["extensions"] = {EXTENSION: self._exchange}  # type: ignore[dict-item]
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Refuses what cannot be read as a request."""
        self._refuse(error("request_malformed"))

    def _refuse(self, problem: CoatcheckError) -> None:
        """Refuses what was sent, and ends the connection.

        An answer that is still being made belongs to a request before it: that one is sent, and no more.
        """
        self._refused = True
        cycle = self._newest()
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            return
        if self.pipeline or (cycle is not None and cycle.response_started and cycle.more_body):
            self.end()  # an answer now would be taken for the one to another request
            return
        self.server_state.refused(problem.code)
        self.transport.write(refusal(problem, self.server_state.default_headers))
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True  # its body broke off: this was its answer
            cycle.message_event.set()
        # Closing with bytes unread resets the connection, and the peer would lose the answer.
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._ending = self._now() + LINGER_S
        else:
            self.end()

    def _answering(self) -> bool:
        """Whether an answer is being made."""
        cycle = self._newest()
        return cycle is not None and not cycle.response_complete

    def _newest(self) -> RequestResponseCycle | None:
        """The newest request whose head was read; None before the first."""
        return self.cycle

    def _finish(self, now: float) -> None:
        """Closes what was refused, and ends at last what does not close because nobody reads."""
        if self._ending is None:
            self._ending = now + self._bounds.answer_s
        elif now < self._ending:
            return
        elif self.transport.is_closing():
            self.abort()
        else:
            self._ending = None
            self.end()

    def _is_stuck(self, now: float) -> bool:
        """Whether the peer has not taken an answer for too long."""
        if not self.transport.get_write_buffer_size():
            self._unsent = None
            return False
        answer = (self.cycle, self._exchange.taken if self._exchange is not None else 0)
        if self._unsent is None or self._unsent[1] != answer:
            self._unsent = (now, answer)  # each answer, and each part of a stream, has its own time
        return now - self._unsent[0] > self._bounds.answer_s


def refusal(problem: CoatcheckError, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """A whole answer that no request led to; the connection ends behind it."""
    request = new_id("req")
    status, own, body = problem_response(problem, request)
    lines = [
        *headers,
        *own,
        *COMMON_HEADERS,
        (b"x-request-id", request.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    return (
        STATUS_LINE[status]
        + b"".join(name + b": " + value + b"\r\n" for name, value in lines)
        + b"\r\n"
        + body
    )
