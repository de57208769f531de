"""Answers as they stand on the wire."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from litestar.types import Send

from vault.api.problems import COMMON_HEADERS

Headers = Iterable[tuple[bytes, bytes]]
JSON: Final = b"application/json"
JSON_HEADERS: Final = ((b"content-type", JSON),)
CSV: Final = b"text/csv"
CSV_HEADERS: Final = (
    (b"content-type", b"text/csv; charset=utf-8"),
    (b"content-disposition", b'attachment; filename="export.csv"'),
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # how cells begin that spreadsheets compute
_encode: Final = msgspec.json.Encoder().encode


class Sheet(NamedTuple):
    """An answer in rows, which is given as CSV (RFC 4180)."""

    columns: Sequence[str]
    rows: Iterable[Sequence[Any]]


def written(answer: Any) -> tuple[Headers, bytes]:
    """An answer as it stands in the body, with the headers that say as what."""
    if not isinstance(answer, Sheet):
        return JSON_HEADERS, _encode(answer)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(answer.columns)
    for row in answer.rows:
        writer.writerow([_cell(value) for value in row])
    return CSV_HEADERS, out.getvalue().encode()


def _cell(value: Any) -> str:
    """A value that no spreadsheet takes for a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


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
