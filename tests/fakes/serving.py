"""A small HTTP/1.1 server in a thread, over TLS if told to."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes]
Handle = Callable[[str, str, dict[str, str], bytes], Answer]


class Serving:
    """A server on a port of loopback until it is closed.

    Args:
        handle: (method, path, headers in lower case, body) -> (status, body); bodies are JSON.
        tls: speaks TLS with this.
    """

    def __init__(self, handle: Handle, tls: ssl.SSLContext | None = None) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30
            wbufsize = 65_536  # an answer in one piece: in two, each waits for the other's acknowledgement

            def _any(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(size)
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, answer = handle(self.command, self.path, headers, body)
                self.send_response(status)
                if status != 204:
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(answer)))
                self.end_headers()
                if status != 204:
                    self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = do_LIST = _any  # noqa: N815 - the library's names

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: Any) -> None:
                """Clients that go away are what is tested."""

            def finish_request(self, request: Any, client_address: Any) -> None:
                if tls is None:
                    super().finish_request(request, client_address)
                else:  # in the connection's own thread, so that a bad one holds up nobody
                    with tls.wrap_socket(request, server_side=True) as wrapped:
                        super().finish_request(wrapped, client_address)

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
