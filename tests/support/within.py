"""The HTTP door inside this process: requests over ASGI, one loop for all of them, no socket.

with within(tmp_path) as door:
    answer = door.call("POST", "tokenize", {"field": "customer.ssn", "values": ["123-45-6789"]})
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.cells import ADDRESS, BuiltCell, development_deployment
from tests.support.service import Answer
from vault.api.app import Api


class Door:
    """An application over a cell with people in it.

    Attributes:
        built: the cell; `built.service` is whose requests these are unless told otherwise.
    """

    def __init__(self, built: BuiltCell) -> None:
        assert built.deployment is not None
        self.built = built
        self.api = Api(built.deployment.cells, {}, development=True)
        self._application: Any = self.api.litestar()
        self._loop = asyncio.new_event_loop()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A request below `/v1/eu`; a body of bytes is sent as it is, any other as JSON."""
        shown = {"authorization": f"Bearer {self.built.service if key is None else key}"}
        raw = b""
        if body is not None:
            shown["content-type"] = "application/json"
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request(method, f"/v1/eu/{path}", raw, {**shown, **(headers or {})})

    def request(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Any request."""
        sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        return self._loop.run_until_complete(self._answer(method, target, body, sent))

    def together(self, requests: Iterable[tuple[str, str, Any, str]]) -> list[Answer]:
        """The answers to requests (method, path below the region, body, credential) made at once."""

        async def all_() -> list[Answer]:
            return await asyncio.gather(
                *(
                    self._answer(
                        method,
                        f"/v1/eu/{path}",
                        json.dumps(body).encode(),
                        [
                            (b"authorization", f"Bearer {key}".encode()),
                            (b"content-type", b"application/json"),
                        ],
                    )
                    for method, path, body, key in requests
                )
            )

        return self._loop.run_until_complete(all_())

    async def _answer(
        self, method: str, target: str, body: bytes, headers: list[tuple[bytes, bytes]]
    ) -> Answer:
        path, _, query = target.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode("latin-1", "replace"),
            "query_string": query.encode("latin-1", "replace"),
            "root_path": "",
            "headers": headers,
            "client": (ADDRESS, 40_000),
            "server": ("inside", 80),
            "state": {},
        }
        coming = [{"type": "http.request", "body": body, "more_body": False}]
        going: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return coming.pop() if coming else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            going.append(message)

        await self._application(scope, receive, send)
        head, *parts = going
        shown = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in head["headers"]]
        return Answer(head["status"], shown, b"".join(part.get("body", b"") for part in parts))

    def close(self) -> None:
        """Ends the loop; the cell is whoever opened it's to close."""
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@contextmanager
def within(folder: Path) -> Iterator[Door]:
    """An application over a new cell with people in it."""
    with development_deployment(folder) as built:
        door = Door(built)
        try:
            yield door
        finally:
            door.close()
