"""P14: hostile paths, queries, methods, headers and framing are refused in the same way as bodies."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import quote

import pytest

from tests.harness.doors import BY_NAME, FOR_NOBODY, WITH_BODY, Doors, complaints, initialise_doors, path_of
from tests.harness.hostile import MARK, found, mark
from tests.support.service import Answer, read_answer

US = "https://us.vault.example"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "PURGE", "QUERY")
PAGES = ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs")
QUERIED = [name for name, route in BY_NAME.items() if route.query]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("heads") / "deployment"
    service = initialise_doors(folder, f'[region.us]\nurl = "{US}"\n')
    try:
        service.start()
        yield Doors(service)
        assert service.process is not None
        assert service.process.poll() is None
        assert not found(service.log())
        assert "Traceback" not in service.log()
    finally:
        service.kill()


def sent(doors: Doors, request: bytes, *, then_close: bool = False) -> Answer:
    """The answer to bytes as they stand, once nothing is wrong with it."""
    answer = doors.service.raw(request, then_close=then_close)
    assert answer is not None, request[:100]
    assert complaints(answer, request.partition(b" ")[0].decode("latin-1")) == [], request[:100]
    return answer


def head(doors: Doors, target: str | bytes, method: str = "GET", *lines: str | bytes) -> bytes:
    """A request of somebody who may do everything, without a body."""
    raw = target.encode() if isinstance(target, str) else target
    first = [method.encode() + b" " + raw + b" HTTP/1.1", b"Host: x"]
    given = [line.encode() if isinstance(line, str) else line for line in lines]
    if not any(line.lower().startswith(b"authorization") for line in given):
        given.append(b"Authorization: Bearer " + doors.all_powerful.encode())
    return b"\r\n".join([*first, *given, b"", b""])


@pytest.mark.parametrize("path", sorted({route.path for route in BY_NAME.values()}))
def test_other_methods_are_refused_with_those_that_there_are(doors: Doors, path: str) -> None:
    routes = {route.method: route for route in BY_NAME.values() if route.path == path}
    target = f"/v1/eu/{path_of(next(iter(routes.values())))}?{mark()}=1"
    for method in METHODS:
        if method not in routes:
            answer = sent(doors, head(doors, target, method))
            assert answer.status == 405
            assert answer.header("allow") == ", ".join(sorted(routes))


@pytest.mark.parametrize("method", ["FOO", "get", "Post", "GÉT", "G\0T", "", "CONNECT", "A" * 10_000])
def test_what_is_no_method_is_no_request(doors: Doors, method: str) -> None:
    answer = sent(doors, head(doors, f"/v1/eu/whoami?{mark()}", method))
    assert (answer.status, answer.code) == (400, "request_malformed")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("method", METHODS)
def test_a_page_is_only_read(doors: Doors, page: str, method: str) -> None:
    answer = sent(doors, head(doors, f"{page}?{mark()}={mark()}", method, "Authorization: x"))
    if method in ("GET", "HEAD"):
        assert answer.status == 200
        assert not found(answer.body.decode())
    else:
        assert (answer.status, answer.header("allow")) == (405, "GET")


def paths() -> list[str]:
    """Paths that lead nowhere."""
    m = mark()
    ids = [
        "%00", "gr_%00", f"gr_{m}", "gr_" + "0" * 26, "gr_" + "z" * 26, "gr_01M84HD64DFW18BYTQYF0BJRJ",
        "GR_01M84HD64DFW18BYTQYF0BJRJQ", "gr_０１Ｍ８４", "..", ".", "*", "~", "gr_;x=1", "gr_+", "%2e%2e%2f",
        "'", "%27%20OR%201=1", "%ff", "%ed%a0%80", "%", "%g0", "%u0000", "{id}", "null", m * 1000,
    ]  # fmt: skip
    found_ids = [quote(text, safe="%/.;+*'=~{}") for text in ids]
    prefixed = [f"/v1/eu/{room}/{id_}" for room in ("grants", "fields") for id_ in found_ids]
    return [
        *prefixed,
        "/", f"/{m}", f"//{m}", f"/{m}/../v1/eu/whoami", "/v1", "/v1/", "/v1/eu", "/v1/eu/", f"/v1/eu/{m}",
        "//v1/eu/whoami", "/v1//eu/whoami", "/v1/eu//whoami", "/v1/eu/whoami/", "/v1/eu%2fwhoami",
        "/v1/%65%75/whoami", "/v1/eu/./whoami", "/v1/us/../eu/whoami", "/v1/eu/..%2feu/whoami",
        "/v1/eu/whoami%00", f"/v1/eu/whoami%0d%0ax:{m}", "/V1/eu/whoami", "/v1/EU/whoami", "/v2/eu/whoami",
        "/v1/eu/whoami;v=1", "/v1/eu/whoami.json", "/v1/ｅｕ/whoami", "/v1/e%CC%81u/whoami",
        f"/v1/eu/{'a/' * 5000}", f"/v1/eu/{m * 800}", f"/v1/{m * 800}/whoami", "/v1/eu/" + "%00" * 3000,
        f"/v1/{m}%00%0d%0a<script>/whoami", f"/v1/%E2%80%AE{m}/whoami", f"/docs/{m}", f"/metrics/{m}",
        f"http://{m}.example/{m}", "*",
    ]  # fmt: skip


@pytest.mark.parametrize("path", paths(), ids=lambda path: path[:40].encode("ascii", "replace").decode())
def test_a_path_that_leads_nowhere(doors: Doors, path: str) -> None:
    answer = sent(doors, head(doors, quote(path, safe="%/.;+*'=~{}:<>")))
    assert answer.status in (400, 404, 405, 421)


@pytest.mark.parametrize("path", [b"/v1/\xff", b"/v1/eu/\xc3\xa9", b"/v1/eu/grants/\xef\xbc\x91", b"/a b"])
def test_a_path_that_is_no_path(doors: Doors, path: bytes) -> None:
    answer = sent(doors, head(doors, path))
    assert (answer.status, answer.code) == (400, "request_malformed")


def test_a_region_hosted_elsewhere_is_named_from_the_path_alone(doors: Doors) -> None:
    for request in (
        b"GET /v1/us/whoami HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/us/tokenize HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n",
        b"POST /v1/us/no/such HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"BREW".replace(b"BREW", b"PUT") + b" /v1/us HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
    ):
        answer = sent(doors, request)
        assert (answer.status, answer.code) == (421, "misdirected_region")
        assert answer.json()["region"] == "us"
        assert answer.json()["url"] == US


@pytest.mark.parametrize("region", ["mars", "US", "us%20", "u", "eu.us", "..", "%75s", "us%00"])
def test_a_region_nobody_knows_is_not_repeated(doors: Doors, region: str) -> None:
    answer = sent(doors, f"GET /v1/{region}/whoami HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (answer.status, answer.code) == (421, "misdirected_region")
    assert answer.json().keys().isdisjoint({"region", "url"})
    assert region not in answer.body.decode().replace("misdirected", "").replace("urn", "") or region == "u"


def queries() -> list[str]:
    """Queries that no route takes."""
    m = mark()
    numbers = ["0", "501", "-1", "+1", "1.0", "1e2", " 1", "１", "%EF%BC%91", "1_0", "0x10", "", m, "1" * 19,
               "9" * 2000, "1%00", "%00", "null", "²"]  # fmt: skip
    return [f"limit={quote(text, safe='%+')}" for text in numbers] + [
        m, f"{m}={m}", f"limit=1&{m}=1", "limit=1&limit=1", "limit=1&limit=2", "limit", "&", "&&", "=", "=1",
        "limit=1&", "limit=%", "limit=%zz", "limit=%ff", "%ff=1", "%00=1", "lim%69t=0", "LIMIT=1",
        "limit[]=1",
        "limit=1;cursor=2", f"cursor={m}", "cursor=%00", "cursor=" + "%F0%9F%98%80" * 50, f"cursor={m * 400}",
        "&".join(f"{m}{number}=1" for number in range(3000)), "&".join(["limit=1"] * 200), "a=1&" * 10_000,
        "limit=1#" + m, "limit=%ED%A0%80", "limit=1%E2%80%8B",
    ]  # fmt: skip


@pytest.mark.parametrize("name", list(BY_NAME))
def test_a_query_that_is_not_taken(doors: Doors, name: str) -> None:
    route = BY_NAME[name]
    # A cursor of `fields` is a name, and a name that no field has stands between two that have.
    taken = ["limit=1#"] * bool(route.query) + [f"cursor={MARK}"] * (name == "GET fields")
    for query in queries():
        if not query and name == "DELETE sessions/current":
            continue  # the others need it
        request = head(doors, f"/v1/eu/{path_of(route)}?{query}", route.method)
        if "key" not in route.who:
            request = request.replace(doors.all_powerful.encode(), doors.credential(route).encode())
        answer = sent(doors, request)
        if not any(query.startswith(start) for start in taken) and query:
            assert answer.status in (400, 404), query[:60]
            if answer.status == 400:
                assert answer.code in ("parameter_invalid", "request_malformed"), query[:60]


@pytest.mark.parametrize("name", [name for name in QUERIED if "limit" in BY_NAME[name].query])
def test_a_query_that_is_taken(doors: Doors, name: str) -> None:
    target = f"/v1/eu/{path_of(BY_NAME[name])}"
    for query in ("", "?", "?limit=1", "?limit=500", "?limit=001", "?%6Cimit=1"):
        credential = f"Authorization: Bearer {doors.credential(BY_NAME[name])}"
        answer = sent(doors, head(doors, target + query, "GET", credential))
        # What is taken of a thing that is not there is told so.
        assert answer.status == (404 if name == "GET transfers/{id}/tokens" else 200)


def authorizations() -> list[bytes]:
    """What is no credential."""
    m = mark().encode()
    id_ = b"01M84HD64DFW18BYTQYF0BJRJQ"
    secret = b"a" * 43
    return [
        b"", b" ", m, b"Bearer", b"Bearer ", b"Bearer  x", b"Basic " + m, b"Bearer " + m, b"Token " + m,
        b"DPoP " + m, b"Grant gr_" + id_, b"bearer ck_" + id_ + b"_" + secret, b"Bearer\tck_" + id_,
        b"Bearer ck_" + id_, b"Bearer ck_" + id_ + b"_", b"Bearer ck_" + id_ + b"_" + secret[1:],
        b"Bearer ck_" + id_ + b"_" + secret + b"a", b"Bearer ck_" + id_.lower() + b"_" + secret,
        b"Bearer ck_" + id_ + b"_" + b"-" * 43, b"Bearer ck_" + id_ + b"__" + secret[1:],
        b"Bearer cg_" + id_ + b"_" + secret, b"Bearer cs_" + id_ + b"_" + secret, b"Bearer ck_" + m,
        b"Bearer ck_8" + id_[1:] + b"_" + secret, b"Bearer ck_" + id_ + b"_" + b"\xc3\xa9" * 21 + b"a",
        b"Bearer \xef\xbc\x91" + m, b"Bearer \xff\xfe" + m, b"\xe9" * 20, b"Bearer " + m * 30,
        b"Bearer ck_" + id_ + b"_" + secret + b", Bearer " + m, b"Bearer " + b"a" * 60_000,
        b"Bearer eyJhbGciOiJub25lIn0.e30." + m,
    ]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in FOR_NOBODY])
def test_what_is_no_credential(doors: Doors, name: str) -> None:
    route = BY_NAME[name]
    target = f"/v1/eu/{path_of(route)}"
    for value in authorizations():
        answer = sent(doors, head(doors, target, route.method, b"Authorization: " + value))
        assert answer.status == 401, value[:60]
        assert answer.code in ("credential_missing", "credential_invalid", "grant_invalid", "proof_invalid")
        keyed = value.startswith(b"Grant") and "grant" in route.who
        assert (answer.code == "proof_invalid") is keyed
        scheme = "DPoP" if keyed else "Bearer"
        assert str(answer.header("www-authenticate")).startswith(f'{scheme} realm="coatcheck"')
    missing = head(doors, target, route.method, "Authorization2: x")
    assert sent(doors, missing.replace(b"Authorization:", b"X-Nothing:")).code == "credential_missing"


@pytest.mark.parametrize(
    "line",
    [
        b"A: " + b"a" * 70_000,
        b"A" * 70_000 + b": a",
        b"\r\n".join(b"A%d: a" % number for number in range(20_000)),
        b"Authorization: Bearer " + b"a" * 65_536,
        b"A",
        b"A b: c",
        b": a",
        b"A\0: a",
        b"A: a\0b",
        b"A: a\r\n continued",
        b"Content-Length: -1",
        b"Content-Length: +1",
        b"Content-Length: 1.0",
        b"Content-Length: 0x10",
        b"Content-Length: one",
        b"Content-Length: \xef\xbc\x91",
        b"Content-Length: " + b"9" * 30,
        b"Content-Length: 1\r\nContent-Length: 2",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Connection: upgrade\r\nUpgrade: websocket",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    ],
    ids=lambda line: line[:40].decode("latin-1"),
)
def test_a_head_that_cannot_be_read(doors: Doors, line: bytes) -> None:
    answer = sent(doors, head(doors, "/v1/eu/tokenize", "POST", line, b"X-Mark: " + mark().encode()))
    assert (answer.status, answer.code) == (400, "request_malformed")
    assert answer.header("connection") == "close"


def test_a_head_without_an_end_is_given_up(doors: Doors) -> None:
    """The service does not go on reading: a mebibyte of header is refused while it still comes."""
    with doors.service.connect() as connection:
        with suppress(OSError):
            connection.sendall(b"GET /v1/eu/whoami HTTP/1.1\r\nA: " + b"a" * 2**20)
        assert read_answer(connection).status == 400


@pytest.mark.parametrize("name", WITH_BODY)
@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Content-Type: text/plain"],
        ["Content-Type: application/jsonx"],
        ["Content-Type: application/json-patch+json"],
        ["Content-Type: application/x-www-form-urlencoded"],
        ["Content-Type: "],
        ["Content-Type: application"],
        [f"Content-Type: {mark()}"],
        ["Content-Type: application/json", "Content-Type: text/plain"],
        ["Content-Type: multipart/form-data; boundary=x"],
    ],
    ids=repr,
)
def test_another_media_type_is_refused(doors: Doors, name: str, lines: list[str]) -> None:
    route = BY_NAME[name]
    body = b'{"a":1}'
    credential = f"Authorization: Bearer {doors.credential(route)}"
    request = head(
        doors, f"/v1/eu/{path_of(route)}", route.method, credential, f"Content-Length: {len(body)}", *lines
    )
    answer = sent(doors, request + body)
    assert (answer.status, answer.code) == (415, "media_type_unsupported")


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Type: application/json"],
        ["content-type: APPLICATION/JSON ; charset=utf-8"],
        ["Content-Type: application/json", "Accept: text/html", f"X-Request-Id: {mark()}"],
        ["Content-Type: application/json", "Accept-Encoding: gzip", f"Cookie: {mark()}", f"Origin: {mark()}"],
        ["Content-Type: application/json", "Connection: keep-alive", "Upgrade: h2c"],
        ["Content-Type: application/json", "X-Forwarded-For: 203.0.113.9", "Forwarded: for=203.0.113.9"],
        ["Content-Type: application/json", "X-HTTP-Method-Override: DELETE"],
    ],
    ids=repr,
)
def test_headers_that_mean_nothing_here(doors: Doors, lines: list[str]) -> None:
    body = b'{"field":"customer.name","values":["Ada"]}'
    answer = sent(
        doors, head(doors, "/v1/eu/tokenize", "POST", f"Content-Length: {len(body)}", *lines) + body
    )
    assert answer.status == 200
    assert not found(repr(answer.headers))


FIRST = b'{"field":"customer.name","values":["Ada"]}'


def test_a_body_longer_than_it_says_ends_the_connection(doors: Doors) -> None:
    length = f"Content-Length: {len(FIRST) - 1}"
    lines = ("Content-Type: application/json", length)
    with doors.service.connect() as connection:
        connection.sendall(head(doors, "/v1/eu/tokenize", "POST", *lines) + FIRST + mark().encode())
        answer = read_answer(connection)
        assert (answer.status, answer.code) == (400, "body_malformed")
        rest = connection.makefile("rb").read()
        assert rest == b"" or b" 400 " in rest.partition(b"\r\n")[0]
        assert not found(rest.decode())


def test_a_body_shorter_than_it_says_is_not_taken(doors: Doors) -> None:
    lines = ("Content-Type: application/json", f"Content-Length: {len(FIRST) + 1}")
    request = head(doors, "/v1/eu/tokenize", "POST", *lines) + FIRST
    before = doors.service.call("GET", "audit?limit=1", key=doors.all_powerful).json()["items"][0]["number"]
    assert doors.service.raw(request, then_close=True) is None
    after = doors.service.call("GET", "audit?limit=1", key=doors.all_powerful).json()["items"][0]["number"]
    assert after == before


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        (b"%x\r\n" % len(FIRST) + FIRST + b"\r\n0\r\n\r\n", 200),
        (b"".join(b"1\r\n%c\r\n" % byte for byte in FIRST) + b"0\r\n\r\n", 200),
        (b"%x;a=b\r\n" % len(FIRST) + FIRST + b"\r\n0\r\nTrailer: x\r\n\r\n", 200),
        (b"0\r\n\r\n", 400),
        (b"zz\r\n" + FIRST, 400),
        (b"-1\r\n" + FIRST, 400),
        (b"ffffffffffffffffff\r\n" + FIRST, 400),
        (b"1\r\n" + FIRST, 400),
        (b"\xef\xbc\x91\r\n" + FIRST, 400),
        (b"%x\r\n" % len(FIRST) + FIRST + b"0\r\n\r\n", 400),
    ],
    ids=lambda part: repr(part)[:30],
)
def test_chunks(doors: Doors, chunks: bytes, status: int) -> None:
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    answer = sent(doors, head(doors, "/v1/eu/tokenize", "POST", *lines) + chunks)
    assert answer.status == status


def test_a_connection_that_says_nothing_does_no_harm(doors: Doors) -> None:
    silent = [socket.create_connection(("127.0.0.1", doors.service.port)) for _ in range(50)]
    try:
        for connection in silent[::2]:
            connection.sendall(b"GET /v1/eu/who")
        assert doors.service.call("GET", "whoami").status == 200
    finally:
        for connection in silent:
            connection.close()


@pytest.mark.parametrize("upgrade", ["websocket", "h2c", "x"])
def test_a_body_is_never_read_as_the_next_request(doors: Doors, upgrade: str) -> None:
    """Behind a proxy that shares connections, that would let one client write another one's requests."""
    inner = head(doors, "/v1/eu/whoami")
    outer = head(
        doors, "/v1/eu/tokenize", "POST", "Connection: upgrade", f"Upgrade: {upgrade}",
        "Content-Type: application/json", f"Content-Length: {len(inner)}",
    )  # fmt: skip
    with doors.service.connect() as connection:
        connection.sendall(outer)
        assert read_answer(connection).status == 400
        with suppress(OSError):
            connection.sendall(inner)
        with suppress(ConnectionResetError):
            assert connection.makefile("rb").read() == b""
