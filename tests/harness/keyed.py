"""Keyed grants over HTTP, by as many processes as a cell has: exactly K, none after a revocation (P2, P8).

    python -m tests.harness.keyed --database postgresql --rounds 200 --stops 10000
    python -m tests.harness.keyed --database sqlite --rounds 200 --stops 10000

A *round*: a grant of K uses, and 256 contenders that ask at once, each on a connection and with a proof of
its own; exactly K are told a value, all others that the budget is exhausted, and the grant's counter says K.
A *stop*: a grant that four workers use without pause is revoked, or suspended, or its agent, its key or its
purpose is killed, in turn; what begins after that call has returned is refused. On PostgreSQL the cell has
four processes on one socket, on SQLite one. The last line counts; the exit code is 0 if nothing was found.
`--control` takes a call for returned before it was made: what is late then has to be found.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.harness.roomy import AGENT, NAME, ONE_CELL, PURPOSE, add_principal, initialise_roomy
from tests.support.servers import server
from tests.support.service import HOST, Service
from vault.client.proofs import proof_headers
from vault.clock import SystemClock
from vault.crypto.signing import Signer, keypair, thumbprint

CONTENDERS: Final = 256
WORKERS: Final = 4
TIMEOUT_S: Final = 120


@dataclass
class Report:
    """What a run found; `wrong` and `late` are empty when all is well."""

    rounds: int = 0
    served: int = 0
    stops: int = 0
    uses: int = 0
    wrong: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"keyed: rounds={self.rounds} served={self.served} stops={self.stops} uses={self.uses} "
            f"wrong={len(self.wrong)} late={len(self.late)}"
        )

    @property
    def well(self) -> bool:
        """Whether nothing was found."""
        return not (self.wrong or self.late)


@contextmanager
def deployment(kind: str, folder: Path) -> Iterator[tuple[Service, str]]:
    """A service, and the key of a principal that grants."""
    with ExitStack() as stack:
        settings = ONE_CELL.replace('level = "debug"', 'level = "error"')
        if kind == "postgresql":
            postgres = stack.enter_context(server({"max_connections": "200"}))
            settings = settings.replace("sqlite:///eu.db", postgres.database("eu"))
            settings = settings.replace("[listen]", f"[listen]\nworkers = {WORKERS}")
        initialise_roomy(folder, settings)
        service = Service(folder)
        service.start()
        stack.callback(service.kill)
        if kind == "postgresql":
            while len(service.children()) < WORKERS:
                time.sleep(0.1)
        _, key = add_principal(service, "grantor", roles=["operator"])
        yield service, key


class Caller:
    """One connection, and what is asked on it with a key's proofs."""

    def __init__(self, service: Service, token: str) -> None:
        self._service = service
        self._body = json.dumps({"purpose": PURPOSE, "field": NAME, "tokens": [token]}).encode()
        self._connection = http.client.HTTPConnection(HOST, service.port, timeout=TIMEOUT_S)

    def ready(self, signer: Signer, grant: str) -> dict[str, str]:
        """The headers of one request: a fresh proof."""
        url = f"{self._service.url}/v1/eu/detokenize"
        now = SystemClock().now()
        made = proof_headers(
            signer, method="POST", url=url, grant=grant, body=self._body, chain=None, now=now
        )
        return {**made, "content-type": "application/json"}

    def use(self, headers: dict[str, str]) -> str:
        """The code of the answer; empty if there was a value."""
        for again in (True, False):
            try:
                self._connection.request("POST", "/v1/eu/detokenize", self._body, headers)
                response = self._connection.getresponse()
                document = json.loads(response.read())
                return "" if response.status == 200 else str(document["code"])
            except (http.client.RemoteDisconnected, ConnectionError):
                self._connection.close()
                if not again:
                    raise
        raise AssertionError

    def connect(self) -> None:
        """Opens the connection."""
        self._connection.connect()


class Granting:
    """What makes grants and takes them back."""

    def __init__(self, service: Service, key: str) -> None:
        self.service, self._key = service, key
        made = self.post("tokenize", {"field": NAME, "values": ["Ada Lovelace"], "subjects": ["ada"]})
        self.token = str(made["tokens"][0])

    def post(self, path: str, body: Any) -> Any:
        """The document of an answer that says yes."""
        answer = self.service.call("POST", path, body, key=self._key)
        assert answer.status in (200, 201), (path, answer.status, answer.body)
        return answer.json()

    def grant(self, uses: int) -> tuple[Signer, str]:
        """A fresh holder's key and the grant that is bound to it."""
        signer = Signer(keypair()[0])
        body = {
            "agent": AGENT,
            "purpose": PURPOSE,
            "scope": [{"fields": [NAME], "operations": ["reveal"], "delivery": ["plain"]}],
            "limits": {"uses": uses, "batch": 1},
            "bind": {"cnf": {"jkt": thumbprint(signer.public)}},
        }
        return signer, str(self.post("grants", body)["id"])

    def stop(self, how: str, signer: Signer, grant: str) -> str | None:
        """Stops a grant; the switch that has to be lifted again."""
        if how in ("revoke", "suspend"):
            self.post(f"grants/{grant}/{how}", {})
            return None
        named = {"agent": AGENT, "holder": thumbprint(signer.public), "purpose": PURPOSE}[how]
        return str(self.post("kill", {how: named})["id"])

    def lift(self, switch: str) -> None:
        """Lifts a switch."""
        answer = self.service.call("DELETE", f"kill/{switch}", key=self._key)
        assert answer.status == 200, answer.body


def contend(granting: Granting, rounds: int, rng: random.Random, report: Report) -> None:
    """Contenders for K uses, round after round."""
    callers = [Caller(granting.service, granting.token) for _ in range(CONTENDERS)]
    for caller in callers:
        caller.connect()
    with ThreadPoolExecutor(CONTENDERS) as pool:
        for number in range(rounds):
            limit = rng.choice((1, 2, rng.randrange(3, 100)))
            signer, grant = granting.grant(limit)
            proofs = [caller.ready(signer, grant) for caller in callers]
            start = threading.Barrier(CONTENDERS)

            def ask(place: int, start: threading.Barrier = start, proofs: Any = proofs) -> str:
                start.wait()
                return callers[place].use(proofs[place])

            outcomes = Counter(pool.map(ask, range(CONTENDERS)))
            shown = granting.service.call("GET", f"grants/{grant}", key=granting._key).json()
            expected = {"": limit, "budget_exhausted": CONTENDERS - limit}
            if dict(outcomes) != expected or shown["uses"] != limit:
                report.wrong.append(
                    f"round {number}: {limit} uses, {dict(outcomes)}, {shown['uses']} counted"
                )
            report.rounds += 1
            report.served += outcomes[""]
            tell(f"round {report.rounds}/{rounds}")


class Hot:
    """Workers that use one grant after the other without pause."""

    def __init__(self, granting: Granting, report: Report) -> None:
        self._report = report
        self.gone = threading.Event()
        self._now: tuple[int, Signer, str] | None = None
        self._lock = threading.Lock()
        self._refused: Counter[int] = Counter()
        self._served: Counter[int] = Counter()
        self._changed = threading.Condition(self._lock)
        self._ended = False
        self._callers = [Caller(granting.service, granting.token) for _ in range(WORKERS)]
        self._threads = [threading.Thread(target=self._run, args=(caller,)) for caller in self._callers]
        for thread in self._threads:
            thread.start()

    def begin(self, number: int, signer: Signer, grant: str) -> None:
        """Gives them a grant, and waits until it was used."""
        with self._changed:
            self.gone.clear()
            self._now = number, signer, grant
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._served[number] >= WORKERS)

    def end(self, number: int) -> None:
        """It was stopped: waits until each worker was told so in a use that began since."""
        self.gone.set()
        with self._changed:
            self._changed.wait_for(lambda: self._refused[number] >= WORKERS)
            self._report.uses += self._served.pop(number)

    def close(self) -> None:
        """Ends them."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self, caller: Caller) -> None:
        done = -1
        while True:
            with self._changed:
                while not self._ended and (self._now is None or self._now[0] == done):
                    self._changed.wait()
                if self._ended or self._now is None:
                    return
                number, signer, grant = self._now
            headers = caller.ready(signer, grant)
            after = self.gone.is_set()
            code = caller.use(headers)
            with self._changed:
                if not code:
                    self._served[number] += 1
                    if after:
                        self._report.late.append(f"stop {number}: served")
                elif after:
                    self._refused[number] += 1
                    done = number
                self._changed.notify_all()


HOW: Final = ("revoke", "suspend", "revoke", "agent", "revoke", "holder", "revoke", "purpose")


def stops(granting: Granting, count: int, report: Report, *, control: bool = False) -> None:
    """Stops of a grant that is used all the while."""
    hot = Hot(granting, report)
    try:
        for number in range(count):
            signer, grant = granting.grant(1_000_000)
            hot.begin(number, signer, grant)
            if control:
                hot.gone.set()
                time.sleep(0.05)
            switch = granting.stop(HOW[number % len(HOW)], signer, grant)
            hot.end(number)
            if switch is not None:
                granting.lift(switch)
            report.stops += 1
            if number % 50 == 0:
                tell(f"stop {report.stops}/{count}")
    finally:
        hot.close()


def tell(text: str) -> None:
    """How far it is."""
    if sys.stderr.isatty():
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)


def main() -> int:
    """0 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), required=True)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--stops", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--control", action="store_true")
    options = parser.parse_args()
    report = Report()
    with (
        tempfile.TemporaryDirectory() as folder,
        deployment(options.database, Path(folder) / "deployment") as (service, key),
    ):
        granting = Granting(service, key)
        contend(granting, options.rounds, random.Random(options.seed), report)
        stops(granting, options.stops, report, control=options.control)
    for finding in (report.wrong + report.late)[:20]:
        print(finding, file=sys.stderr)
    print(report, f"on {options.database}, {os.cpu_count()} processors")
    return 0 if report.well else 1


if __name__ == "__main__":
    sys.exit(main())
