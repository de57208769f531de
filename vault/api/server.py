"""The server: its listeners on one event loop, with a word when they listen, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Final, NamedTuple

import uvloop
from uvicorn.lifespan.on import LifespanOn

from vault.api.app import Api
from vault.api.connections import Bounds, Connections
from vault.api.listener import Listener, listen
from vault.config import Config
from vault.config.certificate import server_context
from vault.errors import CoatcheckError, Internal

# The committer's thread comes back from each fsync wanting the interpreter's lock, which the event loop
# holds; with the default of 5 ms a commit would wait longer for the lock than for the disk.
SWITCH_INTERVAL_S: Final = 0.0005
# A request allocates some hundred objects that live until its group is committed. With the default of 700
# the collector looks for cycles among them again and again; what is loaded by now is never looked at.
GC_THRESHOLDS: Final = (20_000, 20, 50)
ADMIN_CONNECTIONS: Final = 64
OTHER_DESCRIPTORS: Final = 128  # databases, logs, sockets that linger
CLOSING_S: Final = 1.0  # for answers that are written to reach the network
_TICK_S: Final = 0.02
_log = logging.getLogger("coatcheck.server")


class Sockets(NamedTuple):
    """What a process listens on.

    Attributes:
        main: for requests.
        admin: for administrators; None without one.
        tls: how `main` speaks TLS; None: plain HTTP.
    """

    main: socket.socket
    admin: socket.socket | None
    tls: ssl.SSLContext | None

    def close(self) -> None:
        """Lets go of them; processes that were forked have their own."""
        self.main.close()
        if self.admin is not None:
            self.admin.close()


class Server:
    """The listeners of a process.

    Args:
        api: the application, which is told when to drain.
        listeners: the one for requests, and perhaps the one for administrators.
        drain_s: how long requests under way may take once it is told to stop.
        context: reads the certificate anew; None without TLS.
        life: a descriptor; when it ends, so does the parent, and this process with it.
    """

    def __init__(
        self,
        api: Api,
        listeners: list[Listener],
        drain_s: float,
        context: Callable[[], ssl.SSLContext | None] = lambda: None,
        life: int | None = None,
    ) -> None:
        self._api = api
        self._listeners = listeners
        self._drain_s = drain_s
        self._context = context
        self._life = life
        self._told = asyncio.Event()
        self._at_once = asyncio.Event()

    async def serve(self, announce: Callable[[], None]) -> None:
        """Serves until SIGTERM or SIGINT; a second one ends at once. SIGHUP reads the certificate anew.

        Args:
            announce: called once it listens.
        """
        loop = asyncio.get_running_loop()
        main = self._listeners[0]
        lifespan = LifespanOn(main.settings)
        await lifespan.startup()
        if lifespan.should_exit:
            raise Internal("internal")
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        if self._life is not None:
            loop.add_reader(self._life, self._orphaned, loop)
        self._date()
        for listener in self._listeners:
            listener.open(lifespan.state)
        sweeper = loop.create_task(self._sweep())
        try:
            announce()
            await self._told.wait()
            await self._drain(main)
        finally:
            sweeper.cancel()
            for listener in self._listeners:
                listener.close()
                listener.connections.abort()
            # Whoever cancelled tasks waits for them: their verbs end before the cells are closed.
            tasks = [task for listener in self._listeners for task in listener.connections.tasks]
            await asyncio.gather(*tasks, return_exceptions=True)
            await lifespan.shutdown()

    def _orphaned(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._life is not None:
            loop.remove_reader(self._life)
        _log.error("the parent is gone, so this process stops")
        self.stop()

    def stop(self) -> None:
        """Drains; at the second time, ends at once."""
        if self._told.is_set():
            self._at_once.set()
        self._api.draining = True
        self._told.set()

    def reload(self) -> None:
        """Takes the certificate and key that are in their files now; keeps its own if they cannot be used."""
        main = self._listeners[0]
        if main.tls is None:
            return
        try:
            main.tls = self._context()
        except CoatcheckError as problem:
            _log.error("the certificate is not usable, the one before stays", extra={"code": problem.code})
            return
        _log.info("the certificate was read anew")

    async def _drain(self, main: Listener) -> None:
        """Lets what is under way finish. Meanwhile whoever comes is told `draining`."""
        loop = asyncio.get_running_loop()
        under_way = set(main.connections.busy())
        main.connections.drain()
        end = loop.time() + self._drain_s
        await self._until(lambda: under_way.isdisjoint(main.connections.busy()), end)
        main.close()
        main.connections.shutdown()
        await self._until(lambda: not main.connections.all, min(end, loop.time() + CLOSING_S))

    async def _until(self, done: Callable[[], bool], end: float) -> None:
        """Waits until something is done, to a time of the loop at most, and no longer once all shall end."""
        loop = asyncio.get_running_loop()
        while not done() and loop.time() < end and not self._at_once.is_set():  # noqa: ASYNC110 - three ends
            await asyncio.sleep(_TICK_S)

    async def _sweep(self) -> None:
        pause = min(listener.connections.bounds.sweep_s for listener in self._listeners)
        while True:
            await asyncio.sleep(pause)
            self._date()
            self._api.metrics.share()
            for listener in self._listeners:
                listener.sweep()

    def _date(self) -> None:
        """The Date header of the answers to come (RFC 9110, 6.6.1)."""
        headers = [(b"date", formatdate(usegmt=True).encode())]
        for listener in self._listeners:
            listener.connections.default_headers = headers


@contextlib.contextmanager
def bound(config: Config) -> Iterator[Sockets]:
    """The sockets of a deployment, bound, and its certificate, read: what can fail before keys are opened.

    Raises:
        Unavailable: `address_in_use`.
        Misconfigured: `config_invalid`, `host_permissions`.
    """
    tls = server_context(config)
    with contextlib.ExitStack() as stack:
        main = stack.enter_context(listen(*config.host_and_port()))
        admin = config.admin_host_and_port()
        yield Sockets(main, None if admin is None else stack.enter_context(listen(*admin)), tls)


def run(
    api: Api,
    config: Config,
    sockets: Sockets,
    announce: Callable[[], None],
    life: int | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        announce: called once it listens.
        life: as for a server. A process with a parent has others beside it.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    limits = config.limits
    bounds = Bounds(
        descriptors(limits.connections), limits.head_s, limits.body_s, limits.idle_s, limits.answer_s
    )
    main = Listener(
        sockets.main,
        api.application,
        Connections(bounds, api.metrics.refused),
        tls=sockets.tls,
        proxies=config.trusted_proxies(),
        proxies_only=config.proxies_only,
        certificates=config.listen.client_cert_header,
        shared=life is not None,
    )
    listeners = [main]
    if sockets.admin is not None:
        few = Connections(dataclasses.replace(bounds, connections=ADMIN_CONNECTIONS), api.metrics.refused)
        listeners.append(Listener(sockets.admin, api.admin(), few, shared=life is not None))
    api.metrics.watch(
        {"main": main.connections, **({"admin": listeners[1].connections} if listeners[1:] else {})}
    )
    server = Server(api, listeners, limits.drain_s, lambda: server_context(config), life)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(announce))


def descriptors(connections: int) -> int:
    """As many connections as the process may have descriptors for; raises its own bound as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + ADMIN_CONNECTIONS + OTHER_DESCRIPTORS
    if soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    if soft >= wanted:
        return connections
    _log.warning("fewer connections than configured: too few descriptors")
    return max(1, soft - ADMIN_CONNECTIONS - OTHER_DESCRIPTORS)
