"""Answers as they stand on the wire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from litestar.types import Send

from vault.api.problems import COMMON_HEADERS
from vault.services.report_sheets import POLICY, csv_text

Headers = Iterable[tuple[bytes, bytes]]
JSON: Final = b"application/json"
JSON_HEADERS: Final = ((b"content-type", JSON),)
CSV: Final = b"text/csv"
CSV_HEADERS: Final = (
    (b"content-type", b"text/csv; charset=utf-8"),
    (b"content-disposition", b'attachment; filename="export.csv"'),
)
HTML: Final = b"text/html"
HTML_HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-security-policy", POLICY.encode()),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
_encode: Final = msgspec.json.Encoder().encode


class Sheet(NamedTuple):
    """An answer in rows, which is given as CSV (RFC 4180)."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


class Markup(NamedTuple):
    """An answer as a page of HTML, in which everything is escaped."""

    text: str


def written(answer: Any) -> tuple[Headers, bytes]:
    """An answer as it stands in the body, with the headers that say as what."""
    if isinstance(answer, Markup):
        return HTML_HEADERS, answer.text.encode()
    if isinstance(answer, Sheet):
        return CSV_HEADERS, csv_text(answer.columns, answer.rows).encode()
    return JSON_HEADERS, _encode(answer)


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
