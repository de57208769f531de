"""The table of routes: each resource's module lists its own; the app, the OpenAPI document and the
reference are made from the lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from vault.errors import BadInput
from vault.services.cell import Cell
from vault.services.gate import Request
from vault.tokens.written import Written

MAX_QUERY = 2_048
_IDEMPOTENCY_KEY: Final = re.compile(rb"[ -~]{1,128}")


class Call(NamedTuple):
    """One request as a verb needs it.

    Attributes:
        written: the route's column, where the body has it empty because it was left as it came.
        form: in which of its forms an answer is wanted, where its route has several.
    """

    cell: Cell
    request: Request
    body: Any
    path: Mapping[str, str]
    query: Mapping[str, str]
    written: Written | None = None
    form: str = "json"


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path under `/v1/{region}`.

    Attributes:
        start: makes the verb of a call.
        answer: the type of its answer; a tuple for one of several.
        rows: the type of the items, where the answer is a listing.
        body: the body's type; None for routes without one.
        body_optional: whether an empty body stands for a body without members.
        form: whether the body is a form, and refusals are as OAuth has them.
        query: query parameters with a line of description each.
        who: `key` (service key or session), `grant` (grant's credential), or both; `session` alone; none:
            it is for whoever has no credential yet, and if it is slow, its verb is run in the lobby.
        batch: whether the body may be as large as a batch.
        sealed: whether the body may come sealed to the cell's key.
        column: a member of texts of a large body that the verb can take as it came; empty for none.
        slow: whether it may read a whole table, however small its body: its steps run in a thread.
        permission: what the caller must hold, for the reference.
        codes: refusals beyond those that every route can give.
        unrepeatable: why it takes no Idempotency-Key; empty if it does. GET never does.
        sheet: whether it answers in CSV too, where the query asks for that.
        printed: whether it answers in CSV and as a page of HTML too, where the Accept header asks for that.
    """

    method: str
    path: str
    summary: str
    start: Callable[[Call], Any]
    answer: Any
    rows: Any = None
    status: int = 200
    body: type[Any] | None = None
    body_optional: bool = False
    form: bool = False
    query: Mapping[str, str] = field(default_factory=dict)
    who: tuple[str, ...] = ("key",)
    batch: bool = False
    sealed: bool = False
    column: str = ""
    slow: bool = False
    permission: str = ""
    codes: tuple[str, ...] = ()
    unrepeatable: str = ""
    sheet: bool = False
    printed: bool = False

    @property
    def repeatable(self) -> bool:
        """Whether it takes an Idempotency-Key."""
        return self.method != "GET" and not self.unrepeatable


def idempotency_key(headers: Iterable[tuple[bytes, bytes]], route: Route) -> str | None:
    """The Idempotency-Key of a request.

    Raises:
        BadInput: `operation_unsupported`: the route takes none, and to ignore it would promise what is not
            kept; `parameter_invalid`: not 1 to 128 printable ASCII characters, or more than one.
    """
    found = [value for name, value in headers if name == b"idempotency-key"]
    if not found:
        return None
    if not route.repeatable:
        raise BadInput("operation_unsupported", member="Idempotency-Key")
    if len(found) > 1 or _IDEMPOTENCY_KEY.fullmatch(found[0]) is None:
        raise BadInput("parameter_invalid", parameter="Idempotency-Key")
    return found[0].decode("ascii")


def parse_query(raw: bytes, known: Mapping[str, str]) -> dict[str, str]:
    """The query parameters.

    Raises:
        BadInput: `parameter_invalid`: too long, not UTF-8, unknown, or named twice.
    """
    if not raw:
        return {}
    if len(raw) > MAX_QUERY:
        raise BadInput("parameter_invalid")
    try:
        text = raw.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise BadInput("parameter_invalid") from None
    found = dict(pairs)
    if len(found) != len(pairs) or not found.keys() <= known.keys():
        raise BadInput("parameter_invalid")
    return found


def number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number of the query, in ASCII digits.

    Raises:
        BadInput: `parameter_invalid`.
    """
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadInput("parameter_invalid", parameter=name)
    return int(text)
