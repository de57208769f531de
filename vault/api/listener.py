"""A listening socket: who is let in, how many at a time, and through TLS or not.

Whom nobody will answer is refused before anything is read, and before a handshake costs anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import uvicorn

from vault.api.connections import EVICT_AFTER_S, Connections
from vault.api.forwarded import is_trusted
from vault.api.protocol import LINGER_S, Protocol, refusal
from vault.config.settings import Network
from vault.errors import CoatcheckError, Unavailable, error

BACKLOG: Final = 2048
ACCEPTED_AT_ONCE: Final = 64  # then whoever is connected has a turn
ACCEPT_PAUSE_S: Final = 0.2  # when the process has no descriptor left
MAX_LINGERING: Final = 64  # refused connections that are kept open for their peers to read why
_log = logging.getLogger("coatcheck.listener")


class Listener:
    """One bound socket and the application behind it.

    Args:
        bound: the socket.
        application: an ASGI application.
        connections: the connections that come of it, with their bounds.
        tls: the context of TLS; None: plain HTTP.
        proxies: whose forwarding headers are believed.
        proxies_only: whether nobody else is answered.
        certificates: whether the proxies say whose certificate they saw.
        shared: whether other processes accept too. Then one connection is taken at a time, so that whoever
            has less to do takes more of them.
    """

    def __init__(
        self,
        bound: socket.socket,
        application: Any,
        connections: Connections,
        *,
        tls: ssl.SSLContext | None = None,
        proxies: Sequence[Network] = (),
        proxies_only: bool = False,
        certificates: bool = False,
        shared: bool = False,
    ) -> None:
        self._at_once = 1 if shared else ACCEPTED_AT_ONCE
        self.connections = connections
        self.tls = tls
        self.settings = uvicorn.Config(
            application,
            interface="asgi3",
            loop="none",
            http=Protocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
        )
        self.settings.load()
        self._socket = bound
        self._proxies = proxies
        self._proxies_only = proxies_only
        self._certificates = certificates
        self._entering: dict[asyncio.Task[Any], float] = {}
        self._lingering: deque[tuple[float, socket.socket]] = deque()
        self._open = False
        self._freed = 0  # places of connections that were closed, and are still counted
        self._state: dict[str, Any] = {}

    def open(self, state: dict[str, Any]) -> None:
        """Begins to accept, on the running loop."""
        self._state = state
        self._open = True
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Accepts nobody any more, and frees the address."""
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
        for task in list(self._entering):
            task.cancel()
        while self._lingering:
            self._lingering.popleft()[1].close()

    def sweep(self) -> None:
        """Ends what took too long."""
        self.connections.sweep()
        now = self.connections.now()
        while self._lingering and self._lingering[0][0] < now:
            self._lingering.popleft()[1].close()

    def _accept(self) -> None:
        """Takes whoever has connected."""
        for _ in range(self._at_once):
            try:
                connection, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # gone before it was taken
            except OSError:
                self._pause()
                return
            connection.setblocking(False)
            self._admit(connection, str(peer[0]))

    def _pause(self) -> None:
        """Without a descriptor nobody can be taken: room is made, and the socket left alone for a moment."""
        _log.error("no connection can be accepted")
        while self._lingering:
            self._lingering.popleft()[1].close()
        self.connections.evict()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket.fileno())
        loop.call_later(ACCEPT_PAUSE_S, self._resume)

    def _resume(self) -> None:
        if self._open:
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._accept)

    def _admit(self, connection: socket.socket, peer: str) -> None:
        if self._proxies_only and not is_trusted(peer, self._proxies):
            self._refuse(connection, error("proxy_required"))
        elif not self._has_room():
            self._refuse(connection, Unavailable("too_busy", retry_after=1))
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.get_running_loop().create_task(self._enter(connection))
            self._entering[task] = self.connections.now()
            task.add_done_callback(self._entered)

    def _has_room(self) -> bool:
        """Whether one more fits; those who only wait make room."""
        if len(self.connections) + len(self._entering) < self.connections.bounds.connections:
            self._freed = 0
            return True
        if self._end_handshake(EVICT_AFTER_S):
            return True
        if not self._freed:
            self._freed = self.connections.evict()  # they are gone at the loop's next turn
        if self._freed:
            self._freed -= 1
            return True
        return self._end_handshake(0.0)

    def _end_handshake(self, age: float) -> bool:
        """Gives up the oldest handshake, if it is so old; whether there was one."""
        task, began = next(iter(self._entering.items()), (None, 0.0))
        if task is None or self.tls is None or self.connections.now() - began < age:
            return False
        del self._entering[task]
        return task.cancel()

    async def _enter(self, connection: socket.socket) -> None:
        """Makes a connection of it, through the handshake if there is one."""
        limits: dict[str, Any] = {}
        if self.tls is not None:
            bounds = self.connections.bounds
            limits = {"ssl_handshake_timeout": bounds.head_s, "ssl_shutdown_timeout": bounds.answer_s}
        try:
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(self._protocol, connection, ssl=self.tls, **limits)
        except (OSError, ssl.SSLError, asyncio.CancelledError):
            self.connections.refused("handshake_failed")
            connection.close()
            raise

    def _entered(self, task: asyncio.Task[Any]) -> None:
        self._entering.pop(task, None)
        if not task.cancelled() and isinstance(task.exception(), Exception):
            return  # counted; what a peer's handshake looks like is no line of our log

    def _protocol(self) -> Protocol:
        return Protocol(
            self.settings, self.connections, self._state, self._proxies, certificates=self._certificates
        )

    def _refuse(self, connection: socket.socket, problem: CoatcheckError) -> None:
        """Says why, where that costs no handshake, and closes once the peer could read it."""
        self.connections.refused(problem.code)
        if self.tls is not None:
            connection.close()
            return
        with contextlib.suppress(OSError):
            connection.send(refusal(problem, self.connections.default_headers))
            connection.shutdown(socket.SHUT_WR)
        if len(self._lingering) >= MAX_LINGERING:
            self._lingering.popleft()[1].close()
        self._lingering.append((self.connections.now() + LINGER_S, connection))


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address.

    Raises:
        Unavailable: `address_in_use`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise Unavailable("address_in_use", address=f"{host}:{port}") from None
    return listener
