"""Index keys rotated while clients look values up over HTTP: no look-up misses, and no value gets two tokens.

On SQLite by one process, on PostgreSQL by four.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.load import Api
from tests.harness.roomy import (
    EMAIL,
    HANDLE,
    NAME,
    ONE_CELL,
    PURPOSE,
    add_principal,
    grant_body,
    initialise_roomy,
)
from tests.support.servers import server
from tests.support.service import PATIENCE_S, Service

WORKERS: Final = 4
CLIENTS: Final = 6
KNOWN: Final = 120
AT_ONCE: Final = 10  # requests for each new value, from several clients
ROUNDS: Final = 2  # rotations of each index
SLOWLY: Final = "\n[worker]\nbatch = 16\npause_ms = 20\n"


@contextmanager
def deployed(kind: str, folder: Path) -> Iterator[Service]:
    """A service on a kind of database, whose jobs take small steps."""
    if kind == "sqlite":
        initialise_roomy(folder, ONE_CELL + SLOWLY)
        yield from _running(Service(folder))
        return
    with server() as postgres:
        text = ONE_CELL.replace("sqlite:///eu.db", postgres.database("eu"))
        initialise_roomy(folder, text.replace("[listen]", f"[listen]\nworkers = {WORKERS}") + SLOWLY)
        yield from _running(Service(folder))


def _running(service: Service) -> Iterator[Service]:
    service.start()
    try:
        yield service
    finally:
        service.stop()


class Clients:
    """Clients that tokenize values that are known, and new ones several at a time, and read by person."""

    def __init__(self, service: Service, credential: str) -> None:
        self._service, self._credential = service, credential
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._new = itertools.count()
        self.tokens: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.refused: list[Any] = []
        self.requests = 0
        with closing(Api(service.port, credential)) as api:
            self._begin(api)
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _begin(self, api: Api) -> None:
        names = [f"person-{number}" for number in range(KNOWN)]
        self.ask(api, EMAIL, [f"user{number}@example.org" for number in range(KNOWN)], names)
        self.ask(api, HANDLE, [f"handle {number}" for number in range(KNOWN)], names)
        status, made = api.call("POST", "tokenize", {"field": NAME, "values": names, "subjects": names})
        assert status == 200
        self._names = dict(zip(names, made["tokens"], strict=True))
        status, made = api.call("POST", "grants", grant_body([NAME], 100_000, names))
        assert status == 201, made
        self._grant = made["credential"]

    def stop(self) -> None:
        """Ends them, and asks for everything once more."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        with closing(Api(self._service.port, self._credential)) as api:
            for field in (EMAIL, HANDLE):
                values = sorted(value for of, value in self.tokens if of == field)
                for start in range(0, len(values), 200):
                    part = values[start : start + 200]
                    self.ask(api, field, part, ["person-0"] * len(part))

    def ask(self, api: Api, field: str, values: list[str], people: list[str]) -> None:
        """Tokenizes, and notes what each value's token was."""
        status, made = api.call("POST", "tokenize", {"field": field, "values": values, "subjects": people})
        with self._lock:
            self.requests += 1
            if status != 200:
                self.refused.append((status, made.get("code")))
                return
            for value, token in zip(values, made["tokens"], strict=True):
                self.tokens[field, value].add(token)

    def _run(self, seed: int) -> None:
        with closing(Api(self._service.port, self._credential)) as api:
            self._use(random.Random(seed), api)

    def _use(self, rng: random.Random, api: Api) -> None:
        while not self._stop.is_set():
            field, known = rng.choice(((EMAIL, "user{}@example.org"), (HANDLE, "handle {}")))
            new = next(self._new) // AT_ONCE
            number = rng.choice((rng.randrange(KNOWN), KNOWN + new))
            self.ask(api, field, [known.format(number)], [f"person-{rng.choice((number, new))}"])
            person = rng.choice(list(self._names))
            item = {"field": NAME, "token": self._names[person], "subject": person}
            status, shown = api.call("POST", "detokenize", {"purpose": PURPOSE, "items": [item]}, self._grant)
            if (status, shown.get("items")) != (200, [{"value": person}]):
                self.refused.append((status, shown.get("code")))


def rotate_all(service: Service) -> list[dict[str, Any]]:
    """Rotates the keys of both indexes and of references; the jobs, once they are done."""
    admin = service.credential("admin_key")
    jobs = []
    for kind in ("blind-index", "subject-reference"):
        keys = service.call("GET", f"keys?kind={kind}&state=active", key=admin).json()["items"]
        for key in keys:
            if key.get("field") in (EMAIL, HANDLE, None):
                jobs.append(service.call("POST", f"keys/{key['id']}/rotate", {}, key=admin).json()["job"])
    assert len(jobs) == 3
    end = time.monotonic() + 2 * PATIENCE_S
    while time.monotonic() < end:
        found = [service.call("GET", f"jobs/{job}", key=admin).json() for job in jobs]
        if all(job["state"] == "done" for job in found):
            return found
        assert not any(job["state"] == "failed" for job in found), found
        time.sleep(0.1)
    raise AssertionError(found)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_look_up_misses_and_no_value_gets_two_tokens(kind: str, tmp_path: Path) -> None:
    with deployed(kind, tmp_path / "deployment") as service:
        _, credential = add_principal(service, "looks-up")
        clients = Clients(service, credential)
        try:
            before = clients.requests
            for _ in range(ROUNDS):
                assert {job["step"] for job in rotate_all(service)} == {"done"}
            during = clients.requests - before
        finally:
            clients.stop()
        twice = {of: tokens for of, tokens in clients.tokens.items() if len(tokens) != 1}
        assert (clients.refused, twice) == ([], {})
        assert during > 100
        assert len(clients.tokens) > 2 * KNOWN  # new ones came
        admin = service.credential("admin_key")
        old = service.call("GET", "keys?kind=blind-index&state=deactivated", key=admin).json()["items"]
        assert {key["version"] for key in old} == {1, 2}
        for key in old:
            assert service.call("GET", f"keys/{key['id']}/coverage", key=admin).json()["live"] == 0
            done = service.call("POST", f"keys/{key['id']}/destroy", {}, key=admin)
            assert done.json()["state"] == "destroyed"
