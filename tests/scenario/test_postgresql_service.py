"""Cells on PostgreSQL as they are run: `coatcheck` as processes, on a server that is a process too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness.load import Api
from tests.harness.roomy import NAME, ONE_CELL, SSN, add_principal, grant_body, initialise_roomy
from tests.support.servers import PostgreSQL, server
from tests.support.service import PATIENCE_S, Service, coatcheck, coatcheck_here

WORKERS: Final = 4
CONTENDERS: Final = 24
VALUE: Final = "123-45-6789"


class Deployment(Service):
    """Four processes on one cell, and its server."""

    postgres: PostgreSQL
    key: str = ""

    def host(self, *words: str) -> subprocess.CompletedProcess[str]:
        return coatcheck_here(*words, "--config", self.folder, "--region", "eu", "--json")

    def post(self, path: str, body: Any) -> Any:
        return self.call("POST", path, body, key=self.key)

    def api(self) -> Api:
        return Api(self.port, self.key)

    def writers(self) -> int:
        """How many processes have written since they began, as the server knows them."""
        statement = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"
        return int(self.postgres.run(statement)[0][0])

    def wait_for_all(self) -> None:
        """Until all processes are there, and have done something."""

        def done() -> bool:
            ask = lambda _: self.post("tokenize", {"field": SSN, "values": [VALUE]}).status  # noqa: E731
            with ThreadPoolExecutor(8) as pool:
                statuses = set(pool.map(ask, range(8)))
            return statuses == {200} and self.writers() == len(self.children()) == WORKERS

        until(done)


def until(done: Any) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            if done():
                return
        except OSError:
            pass
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("service")
    with server() as postgres:
        made = Deployment(folder / "deployment")
        made.postgres = postgres
        text = ONE_CELL.replace("sqlite:///eu.db", postgres.database("eu"))
        initialise_roomy(made.folder, text.replace("[listen]", f"[listen]\nworkers = {WORKERS}"))
        made.start()
        try:
            _, made.key = add_principal(made, "works")
            made.wait_for_all()
            yield made
        finally:
            pids = made.children() if made.process and made.process.poll() is None else []
            made.kill()
            for pid in pids:
                until(lambda pid=pid: not Path(f"/proc/{pid}").exists())


def grant(service: Deployment, uses: int) -> tuple[str, str]:
    made = service.post("grants", grant_body([SSN, NAME], uses))
    assert made.status == 201, made.body
    return made.json()["id"], made.json()["credential"]


def token_of(service: Deployment) -> str:
    return str(service.post("tokenize", {"field": NAME, "values": ["Ada"]}).json()["tokens"][0])


def reveal(token: str) -> dict[str, Any]:
    return {"purpose": "support", "items": [{"field": NAME, "token": token}]}


def test_exactly_k_are_served_by_four_processes(service: Deployment) -> None:
    """P2: contenders over all processes at once, while one of the processes is killed."""
    token, limit, each = token_of(service), 100, 12
    id_, credential = grant(service, limit)
    given: Counter[str] = Counter()
    start = threading.Barrier(CONTENDERS + 1)

    def contend() -> None:
        api, mine = service.api(), Counter[str]()
        start.wait()
        for _ in range(each):
            try:
                status, answer = api.call("POST", "detokenize", reveal(token), by=credential)
            except Exception:
                mine["gone"] += 1
                continue
            mine["value" if status == 200 else answer["code"]] += 1
        api.close()
        given.update(mine)

    threads = [threading.Thread(target=contend) for _ in range(CONTENDERS)]
    for thread in threads:
        thread.start()
    start.wait()
    time.sleep(0.1)
    os.kill(service.children()[0], signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert set(given) <= {"value", "budget_exhausted", "gone"}
    assert limit - given["gone"] <= given["value"] <= limit
    shown = service.call("GET", f"grants/{id_}", key=service.key).json()
    assert (
        shown["uses"] == limit
    )  # what was charged and not given was lost on the way, and is not given twice
    assert service.host("audit", "verify").returncode == 0
    service.wait_for_all()


def test_revoking_in_one_process_binds_all(service: Deployment) -> None:
    """P8: what begins after the revocation was acknowledged is refused, whoever answers it."""
    token = token_of(service)
    for _ in range(3):
        id_, credential = grant(service, 100_000)
        revoked, late, warm = threading.Event(), list[int](), threading.Barrier(CONTENDERS + 1)

        def ask(
            by: str = credential, over: threading.Event = revoked, seen: list[int] = late,
            start: threading.Barrier = warm,
        ) -> None:  # fmt: skip
            api = service.api()
            assert api.call("POST", "detokenize", reveal(token), by=by)[0] == 200
            start.wait()
            for _ in range(10):
                after = over.is_set()
                status, _ = api.call("POST", "detokenize", reveal(token), by=by)
                if after:
                    seen.append(status)
            api.close()

        threads = [threading.Thread(target=ask) for _ in range(CONTENDERS)]
        for thread in threads:
            thread.start()
        warm.wait()
        assert service.post(f"grants/{id_}/revoke", {"reason": "test"}).status == 200
        revoked.set()
        for thread in threads:
            thread.join()
        assert set(late) <= {401}
        assert service.call("POST", "detokenize", reveal(token), key=credential).status == 401


def test_a_schema_applied_on_the_host_is_everybody_s(service: Deployment) -> None:
    path = service.folder / "schema.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("max_uses = 1000000", "max_uses = 2000000"), encoding="utf-8")
    before = Counter(service.post("grants", grant_body([SSN], 1_500_000)).status for _ in range(8))
    assert before == {422: 8} or before == {400: 8} or 201 not in before
    applied = service.host("schema", "apply", "--yes")
    assert applied.returncode == 0, applied.stderr
    statuses = Counter(service.post("grants", grant_body([SSN], 900_000)).status for _ in range(16))
    assert statuses == {201: 16}


def test_host_verbs_beside_the_service(service: Deployment) -> None:
    created = service.host("principal", "create", "operator", f"host-{time.time_ns()}")
    assert created.returncode == 0, created.stderr
    [row] = json.loads(service.host("cell", "status").stdout)
    assert row["writers"] == WORKERS
    assert row["held_by"] is None
    assert row["pending"] == []
    [row] = json.loads(service.host("cell", "lock-info").stdout)
    assert row["held"] is True
    refused = service.host("cell", "downgrade", "0001", "--yes")
    assert refused.returncode == 7
    assert "cell_locked" in refused.stderr
    assert service.host("cell", "upgrade", "--yes").returncode == 0
    doctor = service.host("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "PostgreSQL" in doctor.stdout
    assert service.host("audit", "tail").returncode == 0
    names, tokens = service.folder / "names.csv", service.folder / "tokens.csv"
    rows = "".join(f"{number},Ada {number},{VALUE}\n" for number in range(300))
    names.write_text(f"id,name,ssn\n{rows}", encoding="utf-8")
    options = ["--in", str(names), "--out", str(tokens), "--column", f"name={NAME}", "--column", f"ssn={SSN}"]
    done = service.host("tokenize-file", *options)
    assert done.returncode == 0, done.stderr
    lines = tokens.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 301
    assert lines[1].startswith("0,tok_")
    assert VALUE not in "".join(lines)
    again = coatcheck("init", "--dev", service.folder)
    assert again.returncode == 0, again.stderr
    assert "already there, kept" in again.stderr


def test_metrics_are_those_of_all_processes(service: Deployment) -> None:
    def answered() -> float:
        text = service.get("/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith("coatcheck_requests_total{")]
        return sum(float(line.rpartition(" ")[2]) for line in lines if "GET whoami" in line)

    time.sleep(1.5)
    before = answered()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: service.call("GET", "whoami").status, range(64)))
    assert statuses == [200] * 64
    until(lambda: answered() == before + 64)
    time.sleep(1.5)  # what a process counted in its last second goes with it
    os.kill(service.children()[0], signal.SIGKILL)
    service.wait_for_all()
    until(lambda: answered() == before + 64)  # the one that was killed is counted on


def test_a_server_that_goes_and_comes_back(service: Deployment) -> None:
    pids = set(service.children())
    service.postgres.kill()
    try:
        answers = [service.post("tokenize", {"field": SSN, "values": [VALUE]}) for _ in range(6)]
        assert {(answer.status, answer.code) for answer in answers} == {(503, "database_unavailable")}
        assert {answer.header("retry-after") for answer in answers} == {"1"}
        assert service.get("/livez").status == 200
        assert service.get("/readyz").status == 503
        refused = service.host("principal", "list")
        assert refused.returncode == 9
        assert "database_unavailable" in refused.stderr
    finally:
        service.postgres.start()
    service.wait_for_all()
    assert set(service.children()) == pids  # by themselves
    assert "Traceback" not in service.log()


def test_it_drains(service: Deployment) -> None:
    assert service.stop() == 0
    refused = service.host("cell", "status")
    assert json.loads(refused.stdout)[0]["writers"] == 0
    service.start()
    service.wait_for_all()


def test_a_standby_says_so(service: Deployment, tmp_path: Path) -> None:
    """A stand-by without a primary: nobody can write, and whoever starts is told why."""
    assert service.stop() == 0
    service.postgres.stop()
    signal_file = service.postgres.folder / "standby.signal"
    signal_file.touch()
    os.chown(signal_file, service.postgres.folder.stat().st_uid, -1)
    try:
        service.postgres.start()
        refused = coatcheck("serve", "--config", service.folder)
        assert refused.returncode == 9
        assert "a stand-by, which cannot write" in refused.stderr
        doctor = service.host("doctor")
        assert doctor.returncode == 11
        assert "a stand-by, which cannot write" in doctor.stdout
        assert service.host("audit", "verify").returncode == 0
    finally:
        service.postgres.stop()
        signal_file.unlink()
        service.postgres.start()
        service.start()
    service.wait_for_all()
