"""The application: every route of the table as an ASGI handler inside Litestar."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, Final

import msgspec
from litestar import Litestar, Response, asgi
from litestar import Request as LitestarRequest
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from vault.api import hosted, oauth, openapi, routes
from vault.api.accept import wanted
from vault.api.answers import JSON, Headers, head, send_answer, written
from vault.api.body import BodyDecoder, read_body
from vault.api.bridge import LARGE_BODY_BYTES, Bridge
from vault.api.exchange import exchange_of
from vault.api.forms import decode_form, refused
from vault.api.lobby import MAX_BODY, Lobby
from vault.api.metrics import CONTENT_TYPE, Metrics
from vault.api.presented import authorization_of, presented_of
from vault.api.problems import COMMON_HEADERS, problem_response
from vault.api.readiness import readiness
from vault.api.route import Call, Route, idempotency_key, parse_query
from vault.api.router import Resource, Router
from vault.api.streams import MEDIA_TYPE, STREAMS, Reader, Stream, Streaming, Writer
from vault.errors import BadInput, CoatcheckError, Unavailable, Unknown, error
from vault.identifiers import new_id
from vault.services import intake
from vault.services.cell import Cell, Origin
from vault.services.gate import Request, is_proven, recognise, takes_no_stream, under_way

ROUTES: Final = routes.ROUTES
_EXPECTED: Final = frozenset({"draining", "too_busy"})  # answered by design, and counted
_log = logging.getLogger("coatcheck.http")
_encode = msgspec.json.Encoder().encode
_NO_PARAMETERS: Final[Mapping[str, str]] = {}
_Handler = Callable[[Scope, Receive, Send], Awaitable[None]]
_Pages = dict[str, Callable[[], tuple[int, bytes, bytes]]]


class Api:
    """What the handlers share: cells, bridges, decoders, metrics.

    Args:
        cells: the regions that this process hosts.
        elsewhere: the addresses of other regions, for 421.
        metrics: those of this process among others; None: it is alone.
        development: whether `/metrics` and `/docs` are on this listener.
    """

    def __init__(
        self,
        cells: Mapping[str, Cell],
        elsewhere: Mapping[str, str],
        metrics: Metrics | None = None,
        *,
        development: bool,
    ) -> None:
        self.cells = cells
        self.elsewhere = elsewhere
        self.development = development
        self.metrics = metrics or Metrics(cells)
        self.draining = False
        self._router = Router((*ROUTES, *oauth.FACE))
        self._paths = {
            f"/v1/{region}/{path}".encode(): (cell, resource, _NO_PARAMETERS)
            for region, cell in cells.items()
            for path, resource in self._router.plain.items()
        }
        self._streams = {
            f"/v1/{region}/{stream.path}".encode(): (cell, stream)
            for region, cell in cells.items()
            for stream in STREAMS
        }
        self._outer: Litestar | None = None
        self._document = _encode(openapi.document(ROUTES))
        self._bridges: dict[str, Bridge] = {}
        # One thread for large bodies: their steps compute, and two would only take the interpreter's lock
        # from each other. What is slow waits for the database.
        self._batch = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._slow = ThreadPoolExecutor(2, thread_name_prefix="slow")
        self._lobby = Lobby()
        items = max((cell.limits.items for cell in cells.values()), default=0)
        self._decoders: dict[type[Any] | None, BodyDecoder] = {
            route.body: BodyDecoder(route.body, items, route.column) for route in ROUTES if route.body
        }

    async def application(self, scope: Any, receive: Receive, send: Send) -> None:
        """The application as the server runs it: `/v1/` comes here at once, the rest by Litestar."""
        if scope["type"] == "http" and scope["raw_path"].startswith(b"/v1/"):
            try:
                await self._v1(scope, receive, send)
            except asyncio.CancelledError:
                return  # the process ends before the answer: nobody is left to be told, and it is no error
            return
        if self._outer is None:
            self._outer = self.litestar()
        await self._outer(scope, receive, send)

    def litestar(self) -> Litestar:
        """The Litestar application of the listener for requests."""
        pages: _Pages = {"/livez": self._livez, "/readyz": self._readyz, "/openapi.json": self._openapi}
        if self.development:
            pages |= {"/readyz": self._readyz_in_detail, "/metrics": self._metrics, "/docs": self._docs}
        pages |= hosted.pages(self.cells)
        pages |= oauth.well_known(self.cells)
        return self._application(pages, [asgi("/v1", is_mount=True, copy_scope=False)(self._v1)])

    def admin(self) -> Litestar:
        """The Litestar application of the administrators' listener: pages, and no door to any value."""
        return self._application(
            {
                "/livez": self._livez,
                "/readyz": self._readyz_in_detail,
                "/openapi.json": self._openapi,
                "/metrics": self._metrics,
                "/docs": self._docs,
            },
            [],
        )

    def _application(self, pages: _Pages, handlers: list[ASGIRouteHandler]) -> Litestar:
        return Litestar(
            [
                *handlers,
                *(asgi(path, copy_scope=False)(self._page(page, path)) for path, page in pages.items()),
            ],
            openapi_config=None,
            logging_config=None,
            exception_handlers={Exception: self._outside},
            on_shutdown=[self._shutdown],
        )

    async def _v1(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything under `/v1`: finds the route, answers, counts, logs."""
        started = time.perf_counter()
        request = new_id("req")
        exchange = exchange_of(scope)
        name, code = "other", ""
        cell, route = None, None
        headers: Headers
        try:
            method = str(scope.get("method", ""))
            stream = self._streams.get(scope["raw_path"])
            if stream is not None:
                cell, name = stream[0], f"POST {stream[1].path}"
                code = await self._stream(*stream, method, scope, receive, send, request)
                self.metrics.answered(name, 200, code, time.perf_counter() - started)
                return
            cell, resource, parameters = self._find(scope["raw_path"])
            route = resource.routes.get(method)
            if route is None:
                raise BadInput("method_not_allowed", allow=resource.allow.decode())
            name = resource.names[method]
            answer = await self._answer(route, cell, parameters, scope, receive, request)
            status, (headers, body) = route.status, written(answer)
        except CoatcheckError as refusal:
            code = refusal.code
            status, headers, body = refused(refusal, request, cell, route)
            if status >= 500 and code not in _EXPECTED:
                _log.error("refused", extra={"request": request, "code": code, "route": name})
        except Exception:  # noqa: BLE001 - a defect of ours answers 500 and is logged by its place
            code = "internal"
            _log.exception("failed", extra={"request": request, "route": name})
            status, headers, body = problem_response(error("internal"), request)
        if exchange is not None:
            await exchange.answer(status, head(headers, body, request), body)
        else:
            await send_answer(send, status, headers, body, request)
        self.metrics.answered(name, status, code, time.perf_counter() - started)

    def _find(self, raw: bytes) -> tuple[Cell, Resource, Mapping[str, str]]:
        """Cell, resource and parameters of a path, which has one spelling here: as it was sent, without
        escapes and doubled slashes.

        Raises:
            Unavailable: `draining`, `misdirected_region`.
            Unknown: `not_found`.
        """
        known = self._paths.get(raw)
        if known is not None and not self.draining:
            return known
        region, _, path = raw.decode("latin-1").removeprefix("/v1/").partition("/")
        cell = self._cell(region)
        found = self._router.find(path)
        if found is None:
            raise Unknown("not_found")
        return cell, *found

    async def _answer(
        self,
        route: Route,
        cell: Cell,
        path: Mapping[str, str],
        scope: Scope,
        receive: Receive,
        request_id: str,
    ) -> Any:
        headers = dict(scope["headers"])
        once = idempotency_key(scope["headers"], route) if b"idempotency-key" in headers else None
        # Nobody's body is read, let alone decoded, before somebody we know stands behind it, but for the
        # small ones of those who sign in.
        request = self._request(cell, route.who, headers, scope, request_id, once)
        query = parse_query(scope.get("query_string", b""), route.query)
        form = wanted(headers.get(b"accept", b"")) if route.printed else "json"
        call = Call(cell, request, None, path, query, form=form)
        with under_way(cell, request):
            return await self._perform(route, call, headers, scope, receive)

    async def _perform(
        self, route: Route, call: Call, headers: Mapping[bytes, bytes], scope: Scope, receive: Receive
    ) -> Any:
        cell, request = call.cell, call.request
        pool = self._slow if route.slow else None
        start = partial(route.start, call)
        if route.body is not None:
            limit = cell.limits.batch_bytes if route.batch else cell.limits.body_bytes
            if not route.who:
                limit = min(limit, MAX_BODY)
            exchange = exchange_of(scope)
            whole = exchange.body() if exchange is not None else None
            raw = await read_body(receive, headers.get(b"content-length"), limit, whole)
            if request.presented is not None:
                request.presented.body = raw
            decode = partial(self._decode, route, headers.get(b"content-type", b""), raw, call)
            if len(raw) > LARGE_BODY_BYTES and route.who:
                pool, decoded = pool or self._batch, cache(decode)
                return await self._bridge(cell).perform(lambda: route.start(decoded()), pool)
            start = partial(route.start, decode())
        if route.slow and not route.who and not route.form:
            return await self._lobby.perform(self._bridge(cell), start)
        return await self._bridge(cell).perform(start, pool)

    async def _stream(
        self,
        cell: Cell,
        stream: Stream,
        method: str,
        scope: Scope,
        receive: Receive,
        send: Send,
        request_id: str,
    ) -> str:
        """Answers a stream, as far as it goes; the code of what ended it early."""
        self._check_open()
        if method != "POST":
            raise BadInput("method_not_allowed", allow="POST")
        headers = dict(scope["headers"])
        if b"idempotency-key" in headers:
            raise BadInput("operation_unsupported", member="Idempotency-Key")
        if takes_no_stream(authorization_of(headers)):  # a proof is of one request, which a stream is not
            raise BadInput("operation_unsupported", member="Authorization")
        parse_query(scope.get("query_string", b""), {})
        asked = partial(self._request, cell, stream.who, headers, scope, request_id)
        request = asked()
        if headers.get(b"content-type", b"").split(b";")[0].strip().lower() != MEDIA_TYPE:
            raise BadInput("media_type_unsupported")
        exchange = exchange_of(scope)
        bridge = self._bridge(cell)

        def perform(start: Callable[[], Any], large: bool) -> Awaitable[Any]:
            return bridge.perform(start, self._batch if large else None)

        call = Call(cell, request, None, _NO_PARAMETERS, _NO_PARAMETERS)
        reader = Reader(receive, cell.limits.body_bytes, cell.limits.items)
        writer = Writer(send, request_id, exchange)
        if exchange is not None:
            exchange.streaming = True
        try:
            with under_way(cell, request):
                return await Streaming(stream, call, asked, perform, self._check_open).run(reader, writer)
        finally:
            if exchange is not None:
                exchange.streaming = False

    def _check_open(self) -> None:
        if self.draining:
            raise Unavailable("draining")

    def _request(
        self,
        cell: Cell,
        who: tuple[str, ...],
        headers: Mapping[bytes, bytes],
        scope: Scope,
        request_id: str,
        once: str | None = None,
    ) -> Request:
        """A request of somebody known, who is looked up each time.

        Raises:
            Unauthenticated: counted.
        """
        client = scope.get("client")
        authorization = authorization_of(headers)
        request = Request(
            authorization,
            Origin(client[0] if client else "", request_id),
            idempotency=once,
            presented=presented_of(cell, scope, headers) if not who or is_proven(authorization) else None,
        )
        recognise(cell, request, who)
        return request

    def _decode(self, route: Route, media_type: bytes, raw: bytes, call: Call) -> Call:
        """The call with its body."""
        if route.form and route.body is not None:
            return call._replace(body=decode_form(route.body, raw, media_type))
        decode = self._decoders[route.body]
        if not raw and route.body_optional:
            return call._replace(body=decode(b"{}"))
        if route.sealed and media_type == intake.MEDIA_TYPE:
            raw, media_type = intake.open_body(call.cell, call.request, route.path, raw), JSON
        if media_type != JSON and media_type.split(b";")[0].strip().lower() != JSON:
            raise BadInput("media_type_unsupported")
        if len(raw) <= LARGE_BODY_BYTES:
            return call._replace(body=decode(raw))
        body, written = decode.in_place(raw)
        return call._replace(body=body, written=written)

    def _cell(self, region: str) -> Cell:
        """The cell of a region.

        Raises:
            Unavailable: `misdirected_region` with the address of who hosts it, if that is known;
                `draining`.
        """
        self._check_open()
        cell = self.cells.get(region)
        if cell is None:
            url = self.elsewhere.get(region)
            # The name is repeated only when it is one of the configuration's, never as it came.
            raise Unavailable("misdirected_region", **({"region": region, "url": url} if url else {}))
        return cell

    def _bridge(self, cell: Cell) -> Bridge:
        bridge = self._bridges.get(cell.region)
        if bridge is None:
            bridge = self._bridges[cell.region] = Bridge(cell, asyncio.get_running_loop())
        return bridge

    def _page(self, page: Callable[[], tuple[int, bytes, bytes]], path: str) -> _Handler:
        guards = hosted.guards(path)

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            request = new_id("req")
            if scope.get("method") not in ("GET", "HEAD"):
                status, headers, body = problem_response(error("method_not_allowed", allow="GET"), request)
                await send_answer(send, status, headers, body, request)
                return
            status, media_type, body = page()
            await send_answer(send, status, ((b"content-type", media_type), *guards), body, request)

        return handle

    def _livez(self) -> tuple[int, bytes, bytes]:
        return 200, b"application/json", b'{"status":"alive"}'

    def _readyz(self) -> tuple[int, bytes, bytes]:
        """Ready when not draining, every cell's database answers, and its keys are held."""
        return readiness(self.cells, draining=self.draining, in_detail=False)

    def _readyz_in_detail(self) -> tuple[int, bytes, bytes]:
        """The same, with each cell's state by the code of what is wrong."""
        return readiness(self.cells, draining=self.draining, in_detail=True)

    def _openapi(self) -> tuple[int, bytes, bytes]:
        return 200, b"application/json", self._document

    def _docs(self) -> tuple[int, bytes, bytes]:
        return 200, b"text/html; charset=utf-8", openapi.page(ROUTES).encode()

    def _metrics(self) -> tuple[int, bytes, bytes]:
        return 200, CONTENT_TYPE, self.metrics.render()

    def _outside(self, request: LitestarRequest[Any, Any, Any], problem: Exception) -> Response[bytes]:
        """What Litestar itself refuses: paths that no route has."""
        request_id = new_id("req")
        status = getattr(problem, "status_code", 500)
        code = {404: "not_found", 405: "method_not_allowed"}.get(status, "internal")
        if code == "internal":
            extra = {"request": request_id, "error": type(problem).__name__}
            _log.error("failed outside the routes", extra=extra)
        status, headers, body = problem_response(error(code), request_id)
        shown = {name.decode(): value.decode() for name, value in (*headers, *COMMON_HEADERS)}
        media_type = shown.pop("content-type")
        shown |= {"x-request-id": request_id}
        return Response(body, status_code=status, headers=shown, media_type=media_type)

    async def _shutdown(self) -> None:
        self.draining = True
        self._batch.shutdown(wait=True)
        self._slow.shutdown(wait=True)
        self._lobby.close()
