"""A network between a client and a server that can be made to misbehave."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Final

MODES: Final = ("refuse", "reset", "hang", "drip", "garbage")
DRIP_S: Final = 0.3


class Trouble:
    """Passes bytes on to a port of loopback, or does not.

    Attributes:
        mode: empty, or one of `MODES`: refuses connections; resets them in the middle of the answer; accepts
            and says nothing; passes the answer on a byte at a time; answers what is no JSON.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.mode = ""
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()

    def begin(self, mode: str) -> None:
        """From now on, for new connections and old ones."""
        assert mode in MODES
        self.mode = mode
        if mode == "refuse" and self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self._cut()

    def heal(self) -> None:
        self.mode = ""
        self._cut()
        if self._listener is None:
            self._listen()

    def close(self) -> None:
        self.begin("refuse")

    def _cut(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self._target))
        self._open |= {client, server}
        try:
            threading.Thread(target=self._pass, args=(client, server), daemon=True).start()
            with contextlib.suppress(OSError):
                while answer := server.recv(65_536):
                    self._answer(client, answer)
        finally:
            self._open -= {client, server}
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _pass(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := client.recv(65_536):
                if self.mode == "hang":
                    continue
                server.sendall(request)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, answer: bytes) -> None:
        if self.mode == "reset":
            client.sendall(answer[: len(answer) // 2])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            raise ConnectionResetError
        if self.mode == "garbage":
            text = b"<html>Bad gateway"
            client.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(text)
            )
            client.sendall(text)
        elif self.mode == "drip":
            for byte in answer:
                client.sendall(bytes((byte,)))
                time.sleep(DRIP_S)
        else:
            client.sendall(answer)
