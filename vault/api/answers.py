"""Answers as they stand on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from litestar.types import Send

from vault.api.problems import COMMON_HEADERS

Headers = Iterable[tuple[bytes, bytes]]
JSON: Final = b"application/json"
JSON_HEADERS: Final = ((b"content-type", JSON),)


def head(headers: Headers, body: bytes, request: str) -> bytes:
    """The headers of an answer as they stand on the wire."""
    first = _JSON_LINES if headers is JSON_HEADERS else _lines(headers)
    return b"%bcontent-length: %d\r\nx-request-id: %b\r\n%b" % (
        first,
        len(body),
        request.encode(),
        _COMMON_LINES,
    )


def _lines(headers: Headers) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


_JSON_LINES: Final = _lines(JSON_HEADERS)
_COMMON_LINES: Final = _lines(COMMON_HEADERS)


async def send_answer(send: Send, status: int, headers: Headers, body: bytes, request: str) -> None:
    """Sends an answer in the events of ASGI."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                *headers,
                (b"content-length", str(len(body)).encode()),
                (b"x-request-id", request.encode()),
                *COMMON_HEADERS,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
