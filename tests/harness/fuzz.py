"""Requests at random, made of what every route takes and of what no route wants, against the service.

    python -m tests.harness.fuzz --requests 1000000 --seed 1

Routes, bodies and places come from the table of routes. Every answer must be below 500, a code of the
table that the route's documentation lists, and echo nothing; the memory of the process stays bounded. The
last line on standard output counts; the exit code is 0 when nothing was found.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.harness.doors import (
    BY_NAME,
    UNKNOWN_ID,
    Doors,
    bodies_taken,
    complaints,
    initialise_doors,
    path_of,
    undocumented,
)
from tests.harness.hostile import MARK, Raw, at, bodies, mark, places, values, write
from tests.harness.roomy import AGENT, NAME, PURPOSE, TEXT, TOKENIZED, grant_body
from tests.support.service import Answer, Service, read_answer
from vault.api.route import Route
from vault.crypto import passwords

MIB: Final = 1024 * 1024
# Above idle: 64 MiB for all that is asked, and what the passwords take that are hashed at once.
MOST_MEMORY: Final = 64 * MIB + passwords.AT_ONCE * passwords.RFC9106_LOW_MEMORY.memory_kib * 1024
CLIENTS: Final = 2
PIPELINED: Final = 16
LARGE: Final = 20_000  # bytes of a hostile value that is not for every day
HEAVY: Final = 400  # one request in so many may be of those
SHOWN: Final = 20
_SEGMENTS: Final = (
    "", ".", "..", "%00", "%2e%2e", "%ff", "%F0%9F%98%80", "x" * 3000, "gr_" + "0" * 26, "gr_" + UNKNOWN_ID,
    "pr_" + UNKNOWN_ID, "ck_" + UNKNOWN_ID, "a/b", "%2F", "*", "~", "'", ";", "\xe9", "%EF%BC%91", MARK,
    "-1", "0", "null", "{id}", "customer.ssn", "%E2%80%AE", "%C0%AF",
)  # fmt: skip
_QUERIES: Final = (
    "limit=", "limit=0", "limit=501", "limit=-1", "limit=1e3", "limit=%EF%BC%91", "limit=1&limit=2",
    "limit=" + "9" * 400, "cursor=" + MARK,
    "cursor=%00", "cursor=", "cursor=AAAA", "x=" + MARK, "&", "=", "%",
    "a" * 3000, "limit=500", "state=active", "agent=" + MARK, "kind=" + MARK, "from=" + MARK,
    "to=9999-99-99T99:99:99Z", "%ff=1", "limit=%ff", "purpose=%F0%9F%98%80", "limit=10&cursor=" + MARK,
)  # fmt: skip
_MEDIA: Final = (
    "text/plain", "application/jsonx", "application/json; charset=utf-16", "", "APPLICATION/JSON", MARK,
    "application/problem+json", "multipart/form-data; boundary=" + MARK, "application/json;" * 20,
)  # fmt: skip
_KEYS: Final = ("", "a", MARK, "k" * 128, "k" * 129, '"q"', "\xe9", "a b", "a,b", " ")
_CREDENTIALS: Final = (
    "", "Bearer", "Bearer ", "Basic " + MARK, "Bearer " + MARK, "Bearer ck_", "Bearer ck__",
    "Bearer cg_" + MARK,
    f"Bearer ck_{UNKNOWN_ID}_{'a' * 43}", f"Bearer cg_{UNKNOWN_ID}_{'a' * 43}", "Bearer " + "x" * 5000,
    f"Bearer ck_{UNKNOWN_ID}_{'a' * 42}\xe9", "Grant gr_" + UNKNOWN_ID, "DPoP " + MARK, "bearer x y z",
)  # fmt: skip


_NUMBERS: Final = (0, -1, 1, 2, 10**6, 2**31, 2**32, 2**53, 2**63 - 1, -(2**63), 10**12)
_TEXTS: Final = (
    *TOKENIZED, TEXT, PURPOSE, AGENT, "reveal", "mask", "last4", "initial", "plain", "sealed", "service",
    "operator", "admin", "*", "", "a", "\uff11\uff12\uff13-45-6789", "123-45-6789", "000-00-0000",
    "4111111111111111",
    "4111111111111112", "tok_" + "a" * 26, "tok_" + "7" * 26, "PT0S", "P9999Y", "PT1H", "-P1D", "P1DT",
    "2100-01-01T00:00:00Z", "9999-12-31T23:59:60Z", "0000-00-00T00:00:00Z", "2100-01-01T00:00:00+00:00",
    "127.0.0.0/8", "::/0", "0.0.0.0/33", "1.2.3.4/-1", "gr_" + UNKNOWN_ID, "ve1.AAAA", "ve1.", "[fields]",
    "[purposes.a]\nlegal_basis = 1", "a = {", "x" * 300, "\u0000", "e\u0301", "\u202e", "agent:" + "a" * 90,
)  # fmt: skip


class Request(NamedTuple):
    """One request on the wire, and the route it was made for."""

    name: str
    method: str
    raw: bytes
    plain: bool  # whether what is answered must be in the route's documentation


@dataclass
class Report:
    """What was answered, and what was wrong with it."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    routes: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    memory: int = 0  # bytes above idle, at most

    def __str__(self) -> str:
        statuses = " ".join(f"{status}:{count}" for status, count in sorted(self.statuses.items()))
        return (
            f"fuzz: requests={self.requests} routes={len(self.routes)} codes={len(self.codes)} "
            f"memory=+{self.memory / MIB:.0f}MiB findings={len(self.findings)} statuses {statuses}"
        )


class Maker:
    """Makes requests.

    Args:
        doors: whose credentials are used.
        known: ids that there are, by prefix.
        seed: of every choice.
    """

    def __init__(self, doors: Doors, known: dict[str, str], seed: str) -> None:
        self._doors = doors
        self._known = known
        self._rng = random.Random(seed)
        self._bodies = {
            name: bodies_taken(route) for name, route in BY_NAME.items() if route.body is not None
        }
        names = list(BY_NAME)
        self._names = names + 3 * [name for name in names if name in self._bodies]

    def make(self) -> Request:
        """A request for any of the routes."""
        rng = self._rng
        name = rng.choice(self._names)
        route = BY_NAME[name]
        plain = True
        path = path_of(route)
        if "{id}" in route.path and rng.random() < 0.5:
            prefix = path.split("/")[1][:2]
            path = path.replace(f"{prefix}_{UNKNOWN_ID}", self._known.get(prefix, UNKNOWN_ID))
        target = f"/v1/eu/{path}"
        if rng.random() < 0.06:
            plain = False
            target = self._target(target)
        if rng.random() < (0.4 if route.query else 0.04):
            target += "?" + "&".join(rng.choices(_QUERIES, k=rng.choice((1, 1, 2))))
        head = [f"{route.method} {target} HTTP/1.1", "host: x"]
        chance = rng.random()
        if chance < 0.88:
            head.append(f"authorization: Bearer {self._doors.credential(route)}")
        elif chance < 0.92:
            head.append(f"authorization: Bearer {self._doors.grant}")
        elif chance < 0.99:
            head.append(f"authorization: {rng.choice(_CREDENTIALS)}")
        if rng.random() < 0.05:
            head.append(f"idempotency-key: {rng.choice(_KEYS)}")
        body = b""
        if route.body is not None:
            body = self._body(name)
            media = rng.choice(_MEDIA) if rng.random() < 0.03 else "application/json"
            head.append(f"content-type: {media}")
        elif rng.random() < 0.05:
            body = mark().encode()
        head.append(f"content-length: {len(body)}")
        raw = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
        return Request(name, route.method, raw, plain)

    def _target(self, target: str) -> str:
        parts = target.split("/")
        place = self._rng.randrange(2, len(parts))
        parts[place] = self._rng.choice((*_SEGMENTS, "us", "mars"))
        return "/".join(parts)

    def _body(self, name: str) -> bytes:
        rng = self._rng
        document = rng.choice(self._bodies[name])
        chance = rng.random()
        if chance < 0.08:
            return write(document)
        if chance < 0.2:
            return self._bytes(write(document))
        if chance < 0.26:
            return rng.choice(_whole(name, document))
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            document = self._changed(document)
            if isinstance(document, Raw) or not isinstance(document, dict | list):
                break
        return write(document)

    def _changed(self, document: Any) -> Any:
        """The document with something else at one place, or one member more, less or twice."""
        rng = self._rng
        put = list(places(document))
        index = rng.randrange(len(put))
        inner = at(document, index)
        chance = rng.random()
        if isinstance(inner, dict) and inner and chance < 0.3:
            member = rng.choice(list(inner))
            if chance < 0.1:
                return put[index]({name: value for name, value in inner.items() if name != member})
            if chance < 0.2:
                return put[index]({**inner, mark(): inner[member]})
            twice = write(inner)[:-1] + b"," + write(member) + b":" + write(inner[member]) + b"}"
            return put[index](Raw(twice.decode("utf-8", "surrogateescape")))
        if isinstance(inner, list) and inner and chance < 0.2:
            return put[index](inner * rng.choice((0, 2, 50, 300)))
        return put[index](self._value(inner))

    def _value(self, before: Any) -> Any:
        """Something hostile, mostly of the kind that stood there, so that it is looked at further in."""
        rng = self._rng
        small, heavy = _values()
        if rng.randrange(HEAVY) == 0:
            return rng.choice(heavy)
        if isinstance(before, str) and rng.random() < 0.7:
            return rng.choice(_TEXTS) if rng.random() < 0.5 else rng.choice(_texts())
        if isinstance(before, int) and rng.random() < 0.7:
            return rng.choice(_NUMBERS)
        return rng.choice(small)

    def _bytes(self, raw: bytes) -> bytes:
        """The body with some bytes changed, gone, doubled or put in."""
        rng = self._rng
        found = bytearray(raw)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(found) + 1)
            match rng.randrange(4):
                case 0:
                    found[place:place] = rng.randbytes(rng.randint(1, 3))
                case 1:
                    del found[place : place + rng.randint(1, 8)]
                case 2:
                    found[place:place] = found[place : place + rng.randint(1, 20)]
                case _:
                    found[place : place + 1] = rng.choice(
                        (b'"', b"\\", b"{", b"[", b"\0", b",", b"\xff", b"0")
                    )
        return bytes(found)


def _texts() -> list[Any]:
    """The hostile values that are texts in JSON which can be read."""
    if not _readable:
        for value in _values()[0]:
            with contextlib.suppress(ValueError, RecursionError):
                if isinstance(json.loads(write(value)), str):
                    _readable.append(value)
    return _readable


_readable: Final[list[Any]] = []
_made: Final[dict[str, list[bytes]]] = {}
_both: Final[list[tuple[list[Any], list[Any]]]] = []


def _whole(name: str, document: Any) -> list[bytes]:
    """Hostile bodies of a route's document, made once."""
    if name not in _made:
        _made[name] = [body for _, body in bodies(document) if len(body) < LARGE]
    return _made[name]


def _values() -> tuple[list[Any], list[Any]]:
    """Hostile values: for every day, and those of many bytes."""
    if not _both:
        small: list[Any] = []
        heavy: list[Any] = []
        for _, value in values():
            (heavy if isinstance(value, Raw) and len(value) > LARGE else small).append(value)
        _both.append((small, heavy))
    return _both[0]


def judged(route: Route, request: Request, answer: Answer) -> list[str]:
    """What is wrong with an answer."""
    wrong = complaints(answer, request.method)
    if not wrong and request.plain:
        wrong = [f"code not documented: {code}" for code in undocumented(route, answer)]
    return wrong


class Fuzz:
    """One run against a service that is up."""

    def __init__(self, doors: Doors, seed: int) -> None:
        self._doors, self._seed = doors, seed
        self._known = _known(doors)
        self._report = Report()
        self._lock = threading.Lock()

    def run(self, requests: int, say: Callable[[str], None] = lambda _: None) -> Report:
        """Sends so many requests; stops early when too much was found."""
        service, report = self._doors.service, self._report
        for request in self._some(200, "warm"):  # everything is loaded before anything is measured
            self._exchange([request])
        self._report = report = Report()
        idle = service.memory()
        service.forget_peak()
        share = requests // CLIENTS
        threads = [threading.Thread(target=self._client, args=(n, share)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(5)
            report.memory = max(report.memory, service.memory("VmHWM") - idle)
            say(str(report))
        report.memory = max(report.memory, service.memory("VmHWM") - idle)
        if report.memory > MOST_MEMORY:
            report.findings.append(f"memory rose by {report.memory // MIB} MiB")
        return report

    def _some(self, count: int, seed: str) -> Iterator[Request]:
        maker = Maker(self._doors, self._known, f"{self._seed} {seed}")
        for _ in range(count):
            yield maker.make()

    def _client(self, number: int, count: int) -> None:
        waiting: list[Request] = []
        try:
            for request in self._some(count, str(number)):
                waiting.append(request)
                if len(waiting) == PIPELINED:
                    self._exchange(waiting)
                    waiting = []
                if len(self._report.findings) > SHOWN:
                    return
            self._exchange(waiting)
        except Exception as problem:  # a harness that breaks has found something too
            with self._lock:
                self._report.findings.append(f"the client: {type(problem).__name__} {problem}")

    def _exchange(self, requests: list[Request]) -> None:
        """Sends requests one behind the other; what was not answered is sent again alone."""
        left = requests
        alone = False
        while left:
            answered = self._pipeline(left[:1] if alone else left)
            if not answered and alone:
                self._note(left[0], None)
                answered = 1
            left = left[answered:]
            alone = answered == 0 or alone

    def _pipeline(self, requests: list[Request]) -> int:
        """Sends some on one connection; how many were answered before it ended."""
        count = 0
        try:
            with self._doors.service.connect() as connection:
                sender = threading.Thread(target=_send, args=(connection, requests), daemon=True)
                sender.start()
                buffered = _Buffered(connection)
                for request in requests:
                    answer = read_answer(buffered, request.method)  # type: ignore[arg-type]
                    self._note(request, answer)
                    count += 1
                sender.join()
        except (OSError, http.client.HTTPException):
            pass
        return count

    def _note(self, request: Request, answer: Answer | None) -> None:
        wrong = ["no answer"] if answer is None else judged(BY_NAME[request.name], request, answer)
        with self._lock:
            report = self._report
            report.requests += 1
            report.routes[request.name] += 1
            if answer is not None:
                report.statuses[answer.status] += 1
                if answer.status >= 400 and request.method != "HEAD":
                    report.codes[str(json.loads(answer.body).get("code"))] += 1
            for one in wrong:
                shown = "" if answer is None else ascii(answer.body[:300])
                report.findings.append(f"{request.name}: {one}: {request.raw[:1500]!a} -> {shown}")


def _known(doors: Doors) -> dict[str, str]:
    """A principal, a grant and a key that may be spoilt."""
    key, call = doors.all_powerful, doors.service.call
    person = call("POST", "principals", {"kind": "service", "name": "spoilt"}, key=key).json()["id"]
    grant = call("POST", "grants", grant_body([NAME], 5), key=key).json()["id"]
    return {
        "pr": person, "gr": grant, "ck": call("POST", f"principals/{person}/keys", {}, key=key).json()["id"],
    }  # fmt: skip


class _Buffered:
    """A connection whose answers are read through one buffer, so that none is lost between two."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def makefile(self, *_: Any) -> Any:
        """The buffer, which nobody closes but its owner."""
        return _Kept(self._file)


class _Kept:
    def __init__(self, file: Any) -> None:
        self._file = file

    def close(self) -> None:
        """Not yet: the next answer is in it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _send(connection: socket.socket, requests: list[Request]) -> None:
    with contextlib.suppress(OSError):  # the service refused one and ended the connection
        connection.sendall(b"".join(request.raw for request in requests))


def run(folder: Path, requests: int, seed: int, say: Callable[[str], None] = lambda _: None) -> Report:
    """Starts a service in a new folder and sends it so many requests."""
    service: Service = initialise_doors(folder)
    try:
        service.start()
        return Fuzz(Doors(service), seed).run(requests, say)
    finally:
        service.kill()


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.harness.fuzz", description="P14.")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    began = time.monotonic()
    try:
        report = run(
            folder / "deployment", options.requests, options.seed, lambda line: print(line, file=sys.stderr)
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for sentence in report.findings[:SHOWN]:
        print(sentence, file=sys.stderr)
    print(f"{report} in {time.monotonic() - began:.0f} s")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
