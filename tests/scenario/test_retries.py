"""P15 for whoever retries: killed between the commit and the answer, the same request again has one effect.

The service is a real process. The client sends, sees in the database that it was committed, kills the
service without having read an answer, starts it again and says the same with the same key.
"""

from __future__ import annotations

import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.harness.roomy import NAME, add_principal, grant_body, initialise_roomy
from tests.support.service import PATIENCE_S, Answer, Service, coatcheck

CLIENTS = 6
ROUNDS = 3


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    initialise_roomy(tmp_path / "deployment")
    made = Service(tmp_path / "deployment")
    made.start()
    try:
        yield made
    finally:
        made.kill()


def count(service: Service, table: str, where: str = "1") -> int:
    """Rows of a table, read beside the service."""
    with closing(sqlite3.connect(f"file:{service.folder / 'eu.db'}?mode=ro", uri=True)) as database:
        found: int = database.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0]
        return found


def send(service: Service, method: str, path: str, body: Any, key: str, once: str) -> Answer:
    headers = {
        "authorization": f"Bearer {key}", "content-type": "application/json", "idempotency-key": once,
    }  # fmt: skip
    return service.request(method, f"/v1/eu/{path}", json.dumps(body).encode(), headers)


def lose_the_answer(service: Service, sent: Callable[[], Any], committed: Callable[[], bool]) -> None:
    """Sends, waits for the commit, and kills the service before anybody reads an answer."""
    connection = sent()
    end = time.monotonic() + PATIENCE_S
    while not committed():
        assert time.monotonic() < end
    service.kill()
    connection.close()


def raw(service: Service, path: str, body: Any, key: str, once: str) -> Callable[[], Any]:
    """Sends a request and reads nothing."""
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/eu/{path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        f"idempotency-key: {once}\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )

    def sent() -> Any:
        connection = service.connect()
        connection.sendall(head.encode() + content)
        return connection

    return sent


def test_a_lost_answer_is_given_again_and_nothing_is_done_twice(service: Service) -> None:
    admin = service.credential("admin_key")
    owner, key = add_principal(service, "harness")
    asked: list[tuple[str, Any, str, str, str]] = [
        ("principals", {"kind": "service", "name": "lost"}, admin, "re_principals", "name = 'service:lost'"),
        (f"principals/{owner}/keys", {}, admin, "re_api_keys", f"principal = '{owner}'"),
        ("grants", grant_body([NAME], 5), key, "re_grants", "1"),
        ("tenants", {"name": "lost"}, admin, "re_tenants", "name = 'lost'"),
    ]
    for path, body, by, table, where in asked:
        before = count(service, table, where)

        def committed(table: str = table, where: str = where, before: int = before) -> bool:
            return count(service, table, where) > before

        lose_the_answer(service, raw(service, path, body, by, "again"), committed)
        service.start()
        answers = [send(service, "POST", path, body, by, "again") for _ in range(2)]
        assert [answer.status for answer in answers] == [201, 201], answers[0].body
        shown = answers[0].json()
        assert shown["replayed"] is True
        assert shown.get("credential") is None
        assert answers[1].json() == shown
        assert count(service, table, where) == before + 1
        conflict = send(service, "POST", path, body | {"reason": "another"}, by, "again")
        assert conflict.status in (400, 409)
    done = coatcheck("audit", "verify", "--config", service.folder, "--region", "eu")
    assert done.returncode == 0, done.stderr


def test_whatever_was_under_way_has_one_effect_after_all_retries(service: Service) -> None:
    """Clients retry until they are answered, while the service is killed under them at random moments."""
    admin = service.credential("admin_key")
    rng = random.Random("retries")
    made: dict[str, set[str]] = {}
    failures: list[str] = []

    def client(number: int, stop: threading.Event) -> None:
        step = 0
        while not stop.is_set():
            name = f"c{number}-{step}-{len(made)}"
            ids: set[str] = made.setdefault(name, set())
            while True:
                try:
                    answer = send(
                        service, "POST", "principals", {"kind": "service", "name": name}, admin, name
                    )
                except Exception:
                    time.sleep(0.02)
                    continue
                if answer.status == 201:
                    ids.add(answer.json()["id"])
                    break
                if answer.status not in (500, 503):
                    failures.append(answer.body.decode())
                    break
                time.sleep(0.02)
            step += 1

    stop = threading.Event()
    threads = [threading.Thread(target=client, args=(n, stop), daemon=True) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for _ in range(ROUNDS):
        time.sleep(rng.uniform(0.2, 0.8))
        service.kill()
        service.start()
    stop.set()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert failures == []
    assert len(made) > CLIENTS
    assert all(len(ids) == 1 for ids in made.values())
    assert count(service, "re_principals", "name LIKE 'service:c%-%'") == len(made)
    done = coatcheck("audit", "verify", "--config", service.folder, "--region", "eu")
    assert done.returncode == 0, done.stderr
