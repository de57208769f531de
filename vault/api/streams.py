"""Streams: values in, tokens out, line by line, for as long as both sides like (newline-delimited JSON).

The first line of a body is a header; each line after it a value (a text, null, or an object with its
subject). The first line of the answer is a header too; then there is a line for each line, in order, and a
trailer with `done`. Without the trailer the answer is broken off. What comes together is one batch: one
command of the ledger, one event, one commit, before any of its lines is answered, and a credential is looked
at again for each.

Nothing is read while the peer does not take what was written, so a slow reader costs a batch of memory and
no more. Whoever writes without reading stops both.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
from litestar.types import Receive, Send

from vault.api.body import BodyDecoder
from vault.api.bridge import LARGE_BODY_BYTES
from vault.api.exchange import Exchange
from vault.api.problems import COMMON_HEADERS, problem
from vault.api.route import Call
from vault.errors import BadInput, CoatcheckError, Conflict, error
from vault.services.batch import FAIL
from vault.services.detokenize import DetokenizeBody, detokenize
from vault.services.hidden import Hidden
from vault.services.rekey import RekeyBody, rekey
from vault.services.tokenize import TokenizeBody, tokenize

MEDIA_TYPE: Final = b"application/x-ndjson"
_log: Final = logging.getLogger(__name__)
_encode: Final = msgspec.json.Encoder().encode
_encode_lines: Final = msgspec.json.Encoder().encode_lines


class TokenizeHeader(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """The first line of a stream of values."""

    field: str
    on_error: str = FAIL


class DetokenizeHeader(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """The first line of a stream of tokens."""

    purpose: str
    field: str
    operation: str = "reveal"
    mask: str | None = None
    delivery: str = "plain"
    key_version: int | None = None
    on_error: str = FAIL
    conversation: str | None = None
    task: str | None = None


class RekeyHeader(Hidden, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """The first line of a stream of tokens of one key version."""

    field: str
    from_version: int
    on_error: str = FAIL


class ValueLine(Hidden, forbid_unknown_fields=True, frozen=True):
    """A value with its subject."""

    value: str | None
    subject: str | None = None


class BareLine(Hidden, forbid_unknown_fields=True, frozen=True):
    """A token alone; the same as its text."""

    token: str | None


class TokenLine(Hidden, forbid_unknown_fields=True, frozen=True):
    """A token with its subject."""

    token: str | None
    subject: str | None = None


Lines = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream under `/v1/{region}`.

    Attributes:
        header: the type of the first line.
        line: the type of an object among the lines; others are texts and nulls.
        start: makes the verb of some lines, of a call whose body is the header.
        results: what is answered to some lines, of a verb's answer.
        opening: the answer's first line, of the first verb's answer; it says what holds for all lines.
        who, permission: as in `Route`.
    """

    path: str
    summary: str
    header: type[Any]
    line: type[Any]
    start: Callable[[Call, Lines], Any]
    results: Callable[[Any], list[Any]]
    opening: Callable[[Any, Any], dict[str, Any]]
    who: tuple[str, ...] = ("key",)
    permission: str = ""


def _texts(lines: Lines, line: type[Any]) -> tuple[list[str | None], list[str | None] | None]:
    """Values or tokens, and their subjects if one of them has any."""
    if not any(isinstance(one, line) for one in lines):
        return [*lines], None
    member = line.__struct_fields__[0]
    texts = [getattr(one, member) if isinstance(one, line) else one for one in lines]
    return texts, [one.subject if isinstance(one, line) else None for one in lines]


def _tokenize(call: Call, lines: Lines) -> Any:
    values, subjects = _texts(lines, ValueLine)
    body = TokenizeBody(field=call.body.field, values=values, subjects=subjects, on_error=call.body.on_error)
    return tokenize(call.cell, call.request, body)


def _detokenize(call: Call, lines: Lines) -> Any:
    head: DetokenizeHeader = call.body
    tokens, subjects = _texts(lines, TokenLine)
    body = DetokenizeBody(
        purpose=head.purpose,
        operation=head.operation,
        mask=head.mask,
        delivery=head.delivery,
        field=head.field,
        tokens=tokens,
        subjects=subjects,
        key_version=head.key_version,
        on_error=head.on_error,
        conversation=head.conversation,
        task=head.task,
    )
    return detokenize(call.cell, call.request, body)


def _rekey(call: Call, lines: Lines) -> Any:
    tokens = [one.token if isinstance(one, BareLine) else one for one in lines]
    head: RekeyHeader = call.body
    body = RekeyBody(head.field, tokens, head.from_version, head.on_error)
    return rekey(call.cell, call.request, body)


def _tokens_of(answer: Any, header: Any) -> dict[str, Any]:
    version = {} if answer.key_version is None else {"key_version": answer.key_version}
    return {"field": header.field, **version}


STREAMS: Final = (
    Stream(
        "tokenize/stream",
        "Values become tokens, line by line.",
        TokenizeHeader,
        ValueLine,
        _tokenize,
        lambda answer: answer.tokens,
        _tokens_of,
        permission="tokenize:FIELD",
    ),
    Stream(
        "detokenize/stream",
        "Tokens become values or masked values, line by line, under a grant.",
        DetokenizeHeader,
        TokenLine,
        _detokenize,
        lambda answer: answer.values,
        lambda answer, header: {"field": header.field, "grant": answer.grant.id},
        who=("grant",),
    ),
    Stream(
        "rekey/stream",
        "Vaultless tokens of one key version become tokens of the newest, line by line.",
        RekeyHeader,
        BareLine,
        _rekey,
        lambda answer: answer.tokens,
        _tokens_of,
        permission="rekey:FIELD",
    ),
)


class Reader:
    """The lines of a body, as they come.

    Args:
        most_bytes: of a line.
        most_lines: that are given together.
    """

    def __init__(self, receive: Receive, most_bytes: int, most_lines: int) -> None:
        self._receive = receive
        self._most_bytes = most_bytes
        self._most_lines = most_lines
        self._rest = b""
        self._more = True

    async def first(self) -> bytes:
        """The first line.

        Raises:
            BadInput: as `batches`; `body_malformed`: there is none.
        """
        while b"\n" not in self._rest and self._more:
            await self._read()
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    async def batches(self) -> AsyncIterator[list[bytes]]:
        """The lines that are there, whenever there are some. Empty ones count for nothing.

        Raises:
            BadInput: `body_too_large`: a line is; `body_malformed`: the peer went away.
        """
        while True:
            whole, found, rest = self._rest.rpartition(b"\n")
            if not self._more and rest:
                whole, found, rest = self._rest, b"\n", b""
            self._rest = rest
            if found:
                lines = [line for line in whole.split(b"\n") if line.strip(b" \t\r")]
                for at in range(0, len(lines), self._most_lines):
                    yield lines[at : at + self._most_lines]
            if not self._more:
                return
            await self._read()

    async def _read(self) -> None:
        message: Any = await self._receive()
        if message["type"] != "http.request":
            raise BadInput("body_malformed", reason="incomplete")
        self._rest += message.get("body", b"")
        self._more = message.get("more_body", False)
        if len(self._rest) - self._rest.rfind(b"\n") - 1 > self._most_bytes:
            raise BadInput("body_too_large", most=self._most_bytes)


class Writer:
    """The lines of an answer. The head goes out with the first of them."""

    def __init__(self, send: Send, request: str, exchange: Exchange | None) -> None:
        self.started = False
        self._send = send
        self._request = request
        self._exchange = exchange

    async def write(self, lines: bytes, *, last: bool = False) -> None:
        """Writes some lines, and returns when the peer has taken most of what it was sent."""
        if not self.started:
            self.started = True
            headers = [
                (b"content-type", MEDIA_TYPE),
                (b"x-request-id", self._request.encode()),
                *COMMON_HEADERS,
            ]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": lines, "more_body": not last})
        if self._exchange is not None:
            self._exchange.taken += 1


class Streaming:
    """One stream under way.

    Args:
        call: of the request, without a body.
        again: makes the request anew, its credential looked at again.
        perform: runs a verb, in a thread if told so.
        check: raises where the stream may not go on.
    """

    def __init__(
        self,
        stream: Stream,
        call: Call,
        again: Callable[[], Any],
        perform: Callable[[Callable[[], Any], bool], Awaitable[Any]],
        check: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._call = call
        self._again = again
        self._perform = perform
        self._check = check
        self._text = msgspec.json.Decoder(str | None).decode
        self._object = BodyDecoder(stream.line, call.cell.limits.items)
        self._opening: dict[str, Any] = {}
        self.count = self.failed = 0

    async def run(self, reader: Reader, writer: Writer) -> str:
        """Answers all lines.

        Returns:
            The code of what ended it early; empty if nothing did.

        Raises:
            CoatcheckError: what is refused before anything was answered.
        """
        try:
            await self._all(reader, writer)
        except Exception as failure:
            if not writer.started:
                raise
            ended = failure if isinstance(failure, CoatcheckError) else error("internal")
            if ended is not failure:
                _log.exception("failed", extra={"request": self._call.request.origin.request})
            document = problem(ended, self._call.request.origin.request)
            await writer.write(_encode({"error": document}) + b"\n", last=True)
            return ended.code
        return ""

    async def _all(self, reader: Reader, writer: Writer) -> None:
        items = self._call.cell.limits.items
        header = BodyDecoder(self._stream.header, items)(await reader.first())
        self._call = self._call._replace(body=header)
        async for lines in reader.batches():
            self._check()
            answer, results = await self._batch(lines)
            opening = self._stream.opening(answer, header)
            head = b""
            if not writer.started:
                self._opening, head = opening, _encode(opening) + b"\n"
            elif opening != self._opening:
                raise Conflict("version_conflict", count=self.count)
            self.count += len(results)
            self.failed += answer.failed or 0
            await writer.write(head + _encode_lines(results))
        head = b"" if writer.started else _encode({"field": header.field}) + b"\n"
        trailer = {"done": True, "count": self.count, "failed": self.failed}
        await writer.write(head + _encode(trailer) + b"\n", last=True)

    async def _batch(self, lines: list[bytes]) -> tuple[Any, list[Any]]:
        decoded = [self._line(index, line) for index, line in enumerate(lines, self.count)]
        call = self._call._replace(request=self._again())
        size = sum(map(len, lines))
        try:
            answer = await self._perform(partial(self._stream.start, call, decoded), size > LARGE_BODY_BYTES)
        except CoatcheckError as refusal:
            errors: Any = refusal.facts.get("errors", ())
            for entry in errors:  # they count in the batch; the peer counts in the stream
                entry["index"] += self.count
            raise
        return answer, self._stream.results(answer)

    def _line(self, index: int, line: bytes) -> Any:
        try:
            if line.lstrip(b" \t\r").startswith(b"{"):
                return self._object(line)
            return self._text(line)
        except CoatcheckError as refusal:
            refusal.facts["index"] = index
            raise
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            raise BadInput("body_malformed", index=index) from None
