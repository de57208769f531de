"""P14: no body makes the service hold much memory, and nobody unknown makes it decode anything.

COATCHECK_FULL=1 tries every kind of body at every place of a document; else the kinds take turns.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from tests.harness.doors import BY_NAME, FOR_NOBODY, WITH_BODY, Doors, complaints, initialise_doors, path_of
from tests.harness.hostile import example, large
from tests.support.service import Answer
from vault.api.lobby import MAX_BODY
from vault.services.cell import Limits

FULL = os.environ.get("COATCHECK_FULL") == "1"
MIB = 1024 * 1024
MOST = 64 * MIB  # above idle, for one body
BATCH_CAP = Limits().batch_bytes
CAP = Limits().body_bytes


def cap_of(name: str) -> int:
    """The most bytes that a route's body may have."""
    if name in FOR_NOBODY:
        return MAX_BODY
    return BATCH_CAP if BY_NAME[name].batch else CAP


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    service = initialise_doors(tmp_path_factory.mktemp("memory") / "deployment")
    try:
        service.start()
        made = Doors(service)
        for name in WITH_BODY:  # everything is loaded before anything is measured
            for _, body in large(example(BY_NAME[name].body), 1024):
                made.send(BY_NAME[name], body)
        yield made
    finally:
        service.kill()


def growth(doors: Doors, name: str, body: bytes) -> tuple[int, Answer]:
    """How far resident memory rose at most while a body was answered."""
    before = doors.service.memory()
    doors.service.forget_peak()
    answer = doors.send(BY_NAME[name], body)
    return doors.service.memory("VmHWM") - before, answer


@pytest.mark.parametrize("name", WITH_BODY)
def test_memory_stays_bounded(doors: Doors, name: str) -> None:
    idle = doors.service.memory()
    wrong = []
    for what, body in large(example(BY_NAME[name].body), cap_of(name) - 1, turns=not FULL):
        risen, answer = growth(doors, name, body)
        wrong += [f"{what}: {complaint}" for complaint in complaints(answer)]
        if risen > MOST:
            wrong.append(f"{what}: {risen // MIB} MiB")
        if not 400 <= answer.status < 500:
            wrong.append(f"{what}: status {answer.status}")
    assert wrong == []
    assert doors.service.memory() - idle <= MOST


def test_a_rise_is_seen(doors: Doors) -> None:
    """A body that is taken, and needs room: the measure is not blind."""
    body = json.dumps({"field": "customer.note", "values": ["n" * 700] * 10_000}).encode()
    risen, answer = growth(doors, "POST tokenize", body)
    assert answer.status == 200
    assert risen > len(body)


@pytest.mark.parametrize("name", WITH_BODY)
def test_one_byte_too_many_is_refused(doors: Doors, name: str) -> None:
    cap = cap_of(name)
    at_cap = b'"' + b"a" * (cap - 2) + b'"'
    answer = doors.send(BY_NAME[name], at_cap)
    assert (answer.status, answer.code) == (400, "body_malformed")
    risen, answer = growth(doors, name, at_cap + b" ")
    assert (answer.status, answer.code, answer.json()["most"]) == (413, "body_too_large", cap)
    assert risen <= MOST


@pytest.mark.parametrize("name", WITH_BODY)
def test_a_chunked_body_is_bounded_as_it_comes(doors: Doors, name: str) -> None:
    """Nothing says beforehand how long it is; what is over the cap is not kept."""
    route = BY_NAME[name]
    head = (
        f"{route.method} /v1/eu/{path_of(route)} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {doors.credential(route)}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    before = doors.service.memory()
    doors.service.forget_peak()
    answer = doors.service.raw(head.encode() + chunk * (8 * cap_of(name) // 0x10000) + b"0\r\n\r\n")
    assert answer is not None
    assert (answer.status, answer.code) == (413, "body_too_large")
    assert doors.service.memory("VmHWM") - before <= MOST


@pytest.mark.parametrize("name", [name for name in WITH_BODY if name not in FOR_NOBODY])
@pytest.mark.parametrize("credential", ["", "Bearer ck_01M84HD64DFW18BYTQYF0BJRJQ_" + "a" * 43])
def test_nobody_unknown_has_a_body_decoded(doors: Doors, name: str, credential: str) -> None:
    """They are refused for who they are, whatever they send: also when nothing of it can be read."""
    route = BY_NAME[name]
    head = {"content-type": "application/json"} | ({"authorization": credential} if credential else {})
    before = doors.service.memory()
    doors.service.forget_peak()
    for body in (b"\xff" * CAP, b"[" * CAP, b"[" * BATCH_CAP, b'"",' * (BATCH_CAP // 3)):
        answer = doors.service.request(route.method, f"/v1/eu/{path_of(route)}", body, head)
        assert answer.status == 401
        assert complaints(answer) == []
    assert doors.service.memory("VmHWM") - before <= BATCH_CAP


@pytest.mark.parametrize("name", WITH_BODY)
def test_nobody_unknown_is_waited_for(doors: Doors, name: str) -> None:
    """The answer comes although the body never does; so does the one for a region hosted elsewhere."""
    route = BY_NAME[name]
    head = "Host: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    # Whoever signs in is told that 16 KiB are the most that is read of it.
    for region, status in (("eu", 413 if name in FOR_NOBODY else 401), ("mars", 421)):
        answer = doors.service.raw(
            f"{route.method} /v1/{region}/{path_of(route)} HTTP/1.1\r\n{head}".encode()
        )
        assert answer is not None
        assert answer.status == status
        assert complaints(answer) == []
