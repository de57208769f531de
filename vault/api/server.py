"""The server: uvicorn on a bound socket, with a word when it listens, until it is told to stop."""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Final

import uvicorn

from vault.api.app import Api
from vault.api.protocol import Protocol
from vault.errors import Unavailable

GRACE_S: Final = 20
# The committer's thread comes back from each fsync wanting the interpreter's lock, which the event loop
# holds; with the default of 5 ms a commit would wait longer for the lock than for the disk.
SWITCH_INTERVAL_S: Final = 0.0005
# A request allocates some hundred objects that live until its group is committed. With the default of 700
# a sixth of all time went into looking for cycles among them; what is loaded by now is never looked at.
GC_THRESHOLDS: Final = (20_000, 20, 50)


class Server(uvicorn.Server):
    """uvicorn, with a word when it listens, and draining from the first signal on."""

    def __init__(self, config: uvicorn.Config, api: Api, announcement: str) -> None:
        super().__init__(config)
        self._api = api
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts listening."""
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(self._announcement)
            sys.stdout.flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT drain; unlike uvicorn's own, they are not raised again afterwards, so that
        the cells are closed in order."""
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._drain) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _drain(self, number: int, frame: object) -> None:
        self._api.draining = True
        self.handle_exit(number, None)


def run(api: Api, listener: socket.socket, announcement: str) -> None:
    """Runs the server on a bound socket until SIGTERM or SIGINT.

    Args:
        announcement: printed once it listens.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    settings = uvicorn.Config(
        api.application,
        interface="asgi3",
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    Server(settings, api, announcement).run(sockets=[listener])


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
        listener.listen(2048)
    except OSError:
        listener.close()
        raise Unavailable("address_in_use", address=f"{host}:{port}") from None
    return listener
