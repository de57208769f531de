"""The application inside this process: requests over ASGI, and its log as text."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.cells import BuiltCell, development_deployment
from vault.api.app import Api
from vault.api.log import JsonFormatter


@dataclass
class Inside:
    """An application over a cell with people in it."""

    api: Api
    built: BuiltCell
    log: io.StringIO

    def call(self, method: str, path: str, body: Any = None, by: str | None = None) -> httpx.Response:
        """A request below `/v1/eu`, as the service unless told otherwise."""
        credential = self.built.service if by is None else by
        headers = {"authorization": f"Bearer {credential}"}
        return self.calls((method, f"/v1/eu/{path}", body, headers))[0]

    def calls(self, *requests: tuple[str, str, Any, dict[str, str]]) -> list[httpx.Response]:
        """Requests at the same time, on one loop."""

        async def together() -> list[httpx.Response]:
            transport = httpx.ASGITransport(app=self.api.litestar(), raise_app_exceptions=False)  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://inside") as client:
                coming = [
                    client.request(method, path, headers=headers, **({} if body is None else {"json": body}))
                    for method, path, body, headers in requests
                ]
                return list(await asyncio.gather(*coming))

        self.api._bridges.clear()  # they belong to the loop of the calls before
        return asyncio.run(together())


@contextmanager
def inside(folder: Path) -> Iterator[Inside]:
    """An application over a new cell; all that it logs, at any level, is kept."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with development_deployment(folder) as built:
        assert built.deployment is not None
        root.handlers[:], root.level = [handler], logging.DEBUG
        try:
            yield Inside(Api(built.deployment.cells, {}, development=True), built, log)
        finally:
            root.handlers[:], root.level = before
