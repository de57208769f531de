"""A relay that keeps every byte which passes: what a look at the wire would see.

with Relay(service.port) as relay:
    ...                      # whoever connects to relay.url speaks to the service
    relay.passed             # all bytes, both ways; relay.connections counts who connected
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

HOST: Final = "127.0.0.1"
PIECE: Final = 65_536


class Relay:
    """Listens, and passes on to a port of this host.

    Args:
        port: whose; 0 until it is known, as long as nobody connects.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.passed = bytearray()
        self.connections = 0
        self._listener = socket.create_server((HOST, 0))
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                self.connections += 1
                there = socket.create_connection((HOST, self.port))
                for pair in ((here, there), (there, here)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(PIECE):
                with self._lock:
                    self.passed += piece
                other.sendall(piece)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)
