"""Bodies: read within bounds, decoded strictly, never echoed.

msgspec decodes into the route's own type, so an unknown member, a wrong type or deep nesting stops it at
once. What it does not refuse is refused here: members named twice, and lists long enough to cost memory.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from litestar.types import Receive

from vault.errors import BadInput, CoatcheckError
from vault.tokens.written import Written

_MAX_DEPTH: Final = 32
_MAX_COLONS: Final = 64  # of a body whose names are looked up by them
# Strings whole (so that nothing in them counts), with the colon that makes one a name; or structure.
# A string that is never closed is one match to the end: the whole stays linear in the body's length.
_PARTS: Final = re.compile(rb'"((?:[^"\\]|\\.)*+)"?\s*+(:?)|([\[\]{},])', re.DOTALL)
# An object up to the inside of a column, which is its first member or comes after one that is a text
_BEFORE: Final = rb'\s*\{\s*(?:"[a-z_]{1,32}"\s*:\s*"[^"\\]{0,256}"\s*,\s*)?"%b"\s*:\s*\['
_PATH: Final = re.compile(r" - at `(\$[\w.\[\]]*)`")


async def read_body(
    receive: Receive, declared: bytes | None, limit: int, whole: bytes | None = None
) -> bytes:
    """The body's bytes.

    Args:
        whole: the body, where the server has all of it already.

    Raises:
        BadInput: `body_too_large`: declared or found larger than `limit` bytes; `body_malformed`: the
            client went away; one that is too slow is ended by the connection.
    """
    if declared is not None and declared.isdigit() and int(declared[:20]) > limit:
        raise BadInput("body_too_large", most=limit)
    if whole is not None:
        if len(whole) > limit:
            raise BadInput("body_too_large", most=limit)
        return whole
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message: Any = await receive()
        if message["type"] != "http.request":
            raise BadInput("body_malformed", reason="incomplete")
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
        size += len(parts[-1])
        if size > limit:
            raise BadInput("body_too_large", most=limit)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class BodyDecoder:
    """Decodes JSON bodies into one type.

    Args:
        type_: a msgspec struct that forbids unknown members.
        max_items: most elements of all lists together; more structure than they need is refused before
            anything is built of it.
        column: a member of texts that may be left where it is (`in_place`).
    """

    def __init__(self, type_: type[Any], max_items: int, column: str = "") -> None:
        self._decode = msgspec.json.Decoder(type_).decode
        self._max_items = max_items
        self._before = re.compile(_BEFORE % column.encode()) if column else None

    def in_place(self, body: bytes) -> tuple[Any, Written | None]:
        """The body, decoded, but for its column of plain texts, which is empty there and comes beside it.

        Bodies that are written in another way come whole: they are decoded as ever, with all that is refused.
        """
        before = self._before.match(body) if self._before else None
        end = body.rfind(b"]")
        if before is None or end < before.end():
            return self(body), None
        written = Written.of(body[before.end() : end], self._max_items)
        if written is None:
            return self(body), None
        return self(body[: before.end()] + body[end:]), written

    def __call__(self, body: bytes) -> Any:
        """The body, decoded.

        Raises:
            BadInput: `body_malformed`, `member_unknown`, `member_missing`, `member_duplicate`,
                `batch_too_large`.
        """
        # An element costs a few dozen bytes of memory and two of the body, so lists are bounded before
        # they are built. A comma inside a value only costs the slower look.
        if body.count(b",") > self._max_items:
            self._check_structure(body)
        try:
            decoded = self._decode(body)
        except msgspec.ValidationError as problem:
            raise _refusal(str(problem)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            raise BadInput("body_malformed") from None
        _check_names(body)
        return decoded

    def _check_structure(self, body: bytes) -> None:
        commas = 0
        # A row has at most four members, so four commas an item and a few for the top.
        most = 5 * self._max_items + 64
        for match in _PARTS.finditer(body):
            if match[3] == b",":
                commas += 1
                if commas > most:
                    raise BadInput("batch_too_large", most=self._max_items)


def _check_names(body: bytes) -> None:
    """Refuses an object that names a member twice (RFC 8259, 4, leaves that open; we do not).

    Names are compared as written: the decoder knows only plain names, so one written with an escape
    can collide with another only if both decode to the same member, and escapes in names are refused.
    """
    shallow = body.count(b"{") + body.count(b"[") <= _MAX_DEPTH
    if shallow and b"\\" not in body and body.count(b":") <= _MAX_COLONS:
        names = _before_colons(body)
        if len(set(names)) == len(names):
            return
    stack: list[set[bytes]] = []
    for match in _PARTS.finditer(body):
        if match[3] is not None:
            if match[3] == b"{":
                stack.append(set())
            elif match[3] == b"[":
                stack.append(_LIST)
            elif match[3] != b"," and stack:
                stack.pop()
            if len(stack) > _MAX_DEPTH:
                raise BadInput("body_malformed")
        elif match[2] and stack and stack[-1] is not _LIST:
            name = match[1]
            if b"\\" in name:
                raise BadInput("member_unknown")
            if name in stack[-1]:
                raise BadInput("member_duplicate")
            stack[-1].add(name)


def _before_colons(body: bytes) -> list[bytes]:
    """The ends of all members' names, and of values that look like names; equal names have equal ends.

    Args:
        body: without an escape.
    """
    parts = (part.rstrip(b" \t\r\n") for part in body.split(b":")[:-1])
    return [part[:-1].rpartition(b'"')[2] for part in parts if part.endswith(b'"')]


_LIST: Final[set[bytes]] = set()


def _refusal(message: str) -> CoatcheckError:
    """The refusal behind a message of msgspec: its kind, and the place by our own names and indices."""
    code = "body_malformed"
    if message.startswith("Object contains unknown field"):
        code = "member_unknown"
    elif message.startswith("Object missing required field"):
        code = "member_missing"
    place = _PATH.search(message)
    facts = {"pointer": place[1]} if place else {}
    if code == "member_missing":
        # The missing member is one of our own names.
        facts["member"] = message.split("`")[1]
    return BadInput(code, **facts)
